// The fields of a stanza that apt reads: which of their values it refuses or warns about, on every client and for all packages.
import type { Flaw } from "./malformed.ts";
import { Malformed, quoted } from "./malformed.ts";
import type { Relation } from "./relations.ts";
import { placeOfRelation, RelationError, readBuildRelations, readRelations } from "./relations.ts";
import type { Stanza } from "./stanza.ts";
import { fieldOf } from "./stanza.ts";

const binaryRelations = [
  "Pre-Depends",
  "Depends",
  "Recommends",
  "Suggests",
  "Enhances",
  "Breaks",
  "Conflicts",
  "Replaces",
  "Provides",
] as const;

/** @see dpkg's lib/dpkg/fields.c, f_dependency */
const withoutAlternatives: ReadonlySet<string> = new Set(["Breaks", "Conflicts", "Replaces", "Provides"]);

const sourceRelations = [
  "Build-Depends",
  "Build-Depends-Arch",
  "Build-Depends-Indep",
  "Build-Conflicts",
  "Build-Conflicts-Arch",
  "Build-Conflicts-Indep",
] as const;

/** What apt's cache keeps of a stanza as one text each, beside the names and versions in relation fields. */
const cachedTexts = ["Version", "Section", "Source", "Architecture-Variant"] as const;

/**
 * How long a text in apt's cache may be, in bytes. apt ends by a signal from 65,535 bytes on, with the name of an
 * architecture that it adds to some names.
 */
const maxCachedTextBytes = 65_000;

/**
 * Checks what apt reads of a binary package's stanza. One value that it refuses ends every command of apt on every client,
 * for the packages of all repositories; one that it only warns about is printed by each of these commands. Empty fields
 * do not count: no index has them.
 * @throws Malformed `bad-control`
 * @see apt-pkg/deb/deblistparser.cc, debListParser::NewVersion and UsePackage
 */
export function checkBinaryFields(stanza: Stanza): void {
  for (const field of binaryRelations) {
    const value = fieldOf(stanza, field);
    if (value !== undefined) checkRelations(field, value, readRelations, "bad-control");
  }
  for (const field of cachedTexts) checkLength(field, fieldOf(stanza, field) ?? "", "bad-control");
  checkMultiArch(stanza);
  for (const field of ["Essential", "Protected"]) {
    checkWord(stanza, field, "yes or no", (value) => /^(yes|no)$/i.test(value));
  }
  // Unlike Essential and Protected, dpkg does not know it, so that whatever apt understands is taken.
  checkWord(stanza, "Important", "yes or no", isAptBoolean);
  checkWord(stanza, "Phased-Update-Percentage", "between 0 and 100", isAptPercentage);
}

/**
 * Checks what apt reads of a source package's stanza when it searches a source package or its build dependencies.
 * @throws Malformed `bad-dsc`
 * @see apt-pkg/deb/debsrcrecords.cc
 */
export function checkSourceFields(stanza: Stanza): void {
  for (const field of sourceRelations) {
    const value = fieldOf(stanza, field);
    if (value !== undefined) checkRelations(field, value, readBuildRelations, "bad-dsc");
  }
}

function checkRelations(
  field: string,
  value: string,
  read: (field: string) => Generator<Relation>,
  flaw: "bad-control" | "bad-dsc",
): void {
  try {
    for (const relation of read(value)) {
      checkLength(field, relation.name, flaw);
      checkLength(field, relation.version, flaw);
      checkMeaning(field, relation, value);
    }
  } catch (thrown) {
    if (!(thrown instanceof RelationError)) throw thrown;
    throw new Malformed(flaw, `apt cannot read its ${field}, ${thrown.message}`, { cause: thrown });
  }
}

/**
 * In Breaks, Conflicts and Replaces, apt copies each relation by itself to the other architectures of the package that it
 * names, still marked as one that an alternative follows, and then crashes as if nothing followed. In Provides it ignores
 * alternatives and operators other than `=`, with a warning. dpkg refuses all of these.
 */
function checkMeaning(field: string, { operator, hasAlternative, offset }: Relation, value: string): void {
  const place = () => placeOfRelation(value, offset);
  if (hasAlternative && withoutAlternatives.has(field)) {
    throw new Malformed(
      "bad-control",
      `its ${field} has alternatives, which apt and dpkg do not allow there: ${place()}`,
    );
  }
  if (field === "Provides" && (operator ?? "=") !== "=") {
    throw new Malformed(
      "bad-control",
      `its Provides has the operator ${operator}, where only = is allowed: ${place()}`,
    );
  }
}

function checkLength(field: string, text: string, flaw: Flaw): void {
  const bytes = Buffer.byteLength(text);
  if (bytes <= maxCachedTextBytes) return;
  throw new Malformed(
    flaw,
    `its ${field} has a text of ${bytes} bytes, and apt fails at more than ${maxCachedTextBytes}`,
  );
}

function checkMultiArch(stanza: Stanza): void {
  checkWord(stanza, "Multi-Arch", "no, same, foreign or allowed", (value) => /^(no|same|foreign|allowed)$/.test(value));
  if (fieldOf(stanza, "Multi-Arch") === "same" && fieldOf(stanza, "Architecture") === "all") {
    throw new Malformed("bad-control", "its Multi-Arch is same, which a package for all architectures cannot be");
  }
}

function checkWord(stanza: Stanza, field: string, wanted: string, isTaken: (value: string) => boolean): void {
  const value = fieldOf(stanza, field);
  if (value === undefined || value === "" || isTaken(value)) return;
  throw new Malformed("bad-control", `its ${field} is ${quoted(value)}, not ${wanted}`);
}

/** @see apt-pkg/contrib/strutl.cc, StringToBool */
const isAptBoolean = (value: string): boolean =>
  /^([\t-\r ]*([+-]?(0+|0x0+)|\+?(0*1|0x0*1))|(\n [ \t]*)?(no|false|without|off|disable|yes|true|with|on|enable))$/i.test(
    value,
  );

/** apt does not read a longer value as a number. */
const maxNumberBytes = 99;

/** apt reads the number that a value begins with; where there is none, it takes all for 100. */
function isAptPercentage(value: string): boolean {
  if (Buffer.byteLength(value.trim()) > maxNumberBytes) return true;
  const [, sign, digits] = /^[\t-\r ]*([+-]?)([0-9]+)/.exec(value) ?? [];
  return digits === undefined || Number(digits) === 0 || (sign !== "-" && Number(digits) <= 100);
}
