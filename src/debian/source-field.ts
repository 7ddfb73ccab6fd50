// The field Source of a binary package: the source package that it was built from.
import { packageNameOf } from "./package-name.ts";
import type { Stanza } from "./stanza.ts";
import { fieldOf } from "./stanza.ts";

export interface SourceName {
  readonly name: string;
  readonly version: string;
}

/**
 * Reads `Source: NAME (VERSION)` as apt's record parser does, for which a blank or a parenthesis ends the name: so also
 * `NAME(VERSION)`, and what stands behind the version does not count.
 * @returns the package's own name or version where the field does not tell another
 * @see Debian Policy 5.6.1; apt-pkg/deb/debrecords.cc, SourcePkg and SourceVer
 */
export function sourceOf(control: Stanza): SourceName {
  const [, name, version] = /^([^\s()]+)(?:[\s()]+([^\s()]+))?/.exec(fieldOf(control, "Source") ?? "") ?? [];
  return {
    name: name ?? packageNameOf(control),
    version: version ?? fieldOf(control, "Version") ?? "",
  };
}
