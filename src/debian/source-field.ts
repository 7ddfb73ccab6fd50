// The Source field of a binary package: the source package that it was built from.
import { packageNameOf } from "./package-name.ts";
import type { Stanza } from "./stanza.ts";
import { fieldOf } from "./stanza.ts";

export interface SourceName {
  readonly name: string;
  readonly version: string;
}

/**
 * Reads `Source: NAME (VERSION)` as the record parser of apt does: a blank or a parenthesis ends the name, so
 * `NAME(VERSION)` is valid too, and text after the version is ignored.
 * @returns the name or version of the binary package if the field does not contain another one
 * @see Debian Policy 5.6.1; apt-pkg/deb/debrecords.cc, SourcePkg and SourceVer
 */
export function sourceOf(control: Stanza): SourceName {
  const [, name, version] = /^([^\s()]+)(?:[\s()]+([^\s()]+))?/.exec(fieldOf(control, "Source") ?? "") ?? [];
  return {
    name: name ?? packageNameOf(control),
    version: version ?? fieldOf(control, "Version") ?? "",
  };
}
