// Patterns that select packages: `NAME`, `NAME=VERSION`, `src:NAME` or `src:NAME=VERSION`, each with `*` and `?`.
import { RepoError } from "../../base/errors.ts";
import { globMatcher } from "../../base/glob.ts";

/** A pattern that cannot be parsed. */
class PatternError extends RepoError {
  readonly code = "builder/bad-pattern";
}

/** A package that a pattern may match. */
export interface NamedPackage {
  readonly name: string;
  readonly version: string;
  /** The source package that it was built from, or is. The version may lack its epoch. */
  readonly source: { readonly name: string; readonly version: string };
}

/**
 * Compiles a pattern. `src:` selects a source package and everything that was built from it. Versions match with and
 * without their epochs.
 * @throws PatternError
 */
export function packageMatcher(raw: string): (one: NamedPackage) => boolean {
  const [, ofSource, rawName, rawVersion] = /^(src:)?([^=]+)(?:=(.+))?$/.exec(raw) ?? [];
  if (rawName === undefined)
    throw new PatternError(
      `${JSON.stringify(raw.slice(0, 80))} is not NAME, NAME=VERSION, src:NAME or src:NAME=VERSION`,
    );
  const isName = globMatcher(rawName);
  const isVersion = globMatcher(rawVersion ?? "*");
  return (one) => {
    const { name, version } = ofSource === undefined ? one : one.source;
    return isName(name) && (isVersion(version) || isVersion(version.replace(/^\d+:/, "")));
  };
}
