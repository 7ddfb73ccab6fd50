// Which packages a person means: `NAME`, `NAME=VERSION`, `src:NAME` or `src:NAME=VERSION`, each with `*` and `?`.
import { RepoError } from "../../base/errors.ts";
import { globMatcher } from "../../base/glob.ts";

class PatternError extends RepoError {
  readonly code = "builder/bad-pattern";
}

/** What a pattern is held against. */
export interface NamedPackage {
  readonly name: string;
  readonly version: string;
  /** The source package that it was built from; of a source package itself. The version may lack its epoch. */
  readonly source: { readonly name: string; readonly version: string };
}

/**
 * `src:` stands for a source package and all that was built from it. A version may be given without its epoch.
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
