// Checks the fields that a binary package or a source package needs.
import { baseOfVariant, isArchitectureWildcard, tryParseArchitecture } from "../base/names.ts";
import { checkBinaryFields, checkSourceFields } from "./apt-fields.ts";
import type { Flaw } from "./malformed.ts";
import { Malformed, quoted } from "./malformed.ts";
import type { Stanza } from "./stanza.ts";
import { fieldOf } from "./stanza.ts";
import { parseVersion, VersionError } from "./version.ts";

/** Policy requires lower case and at least two characters; dpkg also installs these. @see Debian Policy 5.6.1 */
const packageName = /^[A-Za-z0-9][A-Za-z0-9+._-]*$/;

/** The longest package name, in bytes: file names contain it together with a version and an architecture. */
const maxPackageNameBytes = 200;

/**
 * The architecture variant that a package is built for; undefined if every machine of the architecture can run it.
 * @see apt.conf(5), APT::Architecture-Variants
 */
export function variantOf(stanza: Stanza): string | undefined {
  const variant = fieldOf(stanza, "Architecture-Variant");
  return variant === "" || variant === fieldOf(stanza, "Architecture") ? undefined : variant;
}

const singleLine = ["Source", "Section", "Priority", "Multi-Arch", "Essential", "Installed-Size", "Format"] as const;

/**
 * Checks the control stanza of a .deb for everything that the index and apt rely on.
 * @throws Malformed `bad-control`
 */
export function checkBinaryControl(stanza: Stanza): void {
  checkName(stanza, "Package", "bad-control");
  checkVersion(stanza, "bad-control");
  checkArchitecture(stanza);
  checkSingleLines(stanza, "bad-control");
  checkBinaryFields(stanza);
}

/**
 * Checks the stanza of a .dsc for everything that the index and apt rely on, except its lists of files.
 * @throws Malformed `bad-dsc`
 */
export function checkSourceControl(stanza: Stanza): void {
  const format = required(stanza, "Format", "bad-dsc");
  if (!/^[0-9]+(\.[0-9]+)?( \([a-z0-9]+\))?$/.test(format)) {
    throw new Malformed("bad-dsc", `its Format is ${quoted(format)}`);
  }
  checkName(stanza, "Source", "bad-dsc");
  checkVersion(stanza, "bad-dsc");
  checkSingleLines(stanza, "bad-dsc");
  checkSourceFields(stanza);
}

function checkArchitecture(stanza: Stanza): void {
  const raw = required(stanza, "Architecture", "bad-control");
  const architecture = tryParseArchitecture(raw);
  if (architecture === undefined) {
    throw new Malformed("bad-control", `its Architecture ${quoted(raw)} is not an architecture name`);
  }
  if (isArchitectureWildcard(architecture)) {
    throw new Malformed("bad-control", `its Architecture is ${architecture}, which no machine has`);
  }
  const variant = variantOf(stanza);
  if (variant === undefined) return;
  const parsedVariant = tryParseArchitecture(variant);
  // Otherwise a package could claim another architecture, and enter the index of that one.
  if (parsedVariant === undefined || baseOfVariant(parsedVariant) !== architecture) {
    const text = `its Architecture-Variant ${quoted(variant)} is not ${architecture} with v and a number behind`;
    throw new Malformed("bad-control", text);
  }
}

function required(stanza: Stanza, field: string, flaw: Flaw): string {
  const value = fieldOf(stanza, field);
  if (value === undefined || value === "") throw new Malformed(flaw, `it has no ${field}`);
  return value;
}

function checkName(stanza: Stanza, field: string, flaw: Flaw): void {
  const name = required(stanza, field, flaw);
  if (!packageName.test(name) || name.length > maxPackageNameBytes) {
    throw new Malformed(flaw, `its ${field} is ${quoted(name)}, which is not a package name`);
  }
}

function checkVersion(stanza: Stanza, flaw: Flaw): void {
  const version = required(stanza, "Version", flaw);
  // parseVersion accepts white space around a version, and so a second line.
  if (/\s/.test(version)) throw new Malformed(flaw, `its Version ${quoted(version)} has white space`);
  try {
    parseVersion(version);
  } catch (thrown) {
    throw thrown instanceof VersionError ? new Malformed(flaw, thrown.message, { cause: thrown }) : thrown;
  }
}

function checkSingleLines(stanza: Stanza, flaw: Flaw): void {
  const folded = singleLine.find((field) => fieldOf(stanza, field)?.includes("\n"));
  if (folded !== undefined) throw new Malformed(flaw, `its ${folded} has more than one line`);
}
