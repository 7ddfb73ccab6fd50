// Checks the fields of a stanza that apt reads. A value that apt refuses breaks apt on every client, for all packages.
import type { Flaw } from "./malformed.ts";
import { Malformed, quoted } from "./malformed.ts";
import type { Relation } from "./relations.ts";
import { placeOfRelation, RelationError, readBuildRelations, readRelations } from "./relations.ts";
import type { Stanza } from "./stanza.ts";
import { fieldOf } from "./stanza.ts";

/** The relation fields of a binary package that apt reads. */
export const binaryRelations = [
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

/** The relation fields of a source package that apt reads. */
export const sourceRelations = [
  "Build-Depends",
  "Build-Depends-Arch",
  "Build-Depends-Indep",
  "Build-Conflicts",
  "Build-Conflicts-Arch",
  "Build-Conflicts-Indep",
] as const;

/** Fields that apt's cache stores as one text each, besides the names and versions in relation fields. */
const cachedTexts = ["Version", "Section", "Source", "Architecture-Variant"] as const;

/**
 * The longest text in apt's cache, in bytes. apt crashes at 65,535 bytes, which include the name of an architecture
 * that it appends to some names.
 */
const maxCachedTextBytes = 65_000;

/**
 * Checks the fields of a binary package that apt reads. If apt refuses one value, every apt command on every client
 * fails, for the packages of all repositories; a warning is printed by each of these commands. Empty fields are
 * ignored, because no index contains them.
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
  // dpkg does not read this field, so every value that apt understands is accepted.
  checkWord(stanza, "Important", "yes or no", isAptBoolean);
  checkWord(stanza, "Phased-Update-Percentage", "between 0 and 100", isAptPercentage);
}

/**
 * Checks the fields of a source package that apt reads when it looks for a source package or its build dependencies.
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
 * In Breaks, Conflicts and Replaces, apt copies each relation separately to the other architectures of the named
 * package. The copy is still marked as one with an alternative, and apt crashes because none follows. In Provides, apt
 * ignores alternatives and operators other than `=`, with a warning. dpkg refuses all of these.
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

function checkWord(stanza: Stanza, field: string, wanted: string, isAccepted: (value: string) => boolean): void {
  const value = fieldOf(stanza, field);
  if (value === undefined || value === "" || isAccepted(value)) return;
  throw new Malformed("bad-control", `its ${field} is ${quoted(value)}, not ${wanted}`);
}

/** @see apt-pkg/contrib/strutl.cc, StringToBool */
const isAptBoolean = (value: string): boolean =>
  /^([\t-\r ]*([+-]?(0+|0x0+)|\+?(0*1|0x0*1))|(\n [ \t]*)?(no|false|without|off|disable|yes|true|with|on|enable))$/i.test(
    value,
  );

/** apt does not parse a longer value as a number. */
const maxNumberBytes = 99;

/** apt reads the number at the start of a value; without one, it takes the value as 100. */
function isAptPercentage(value: string): boolean {
  if (Buffer.byteLength(value.trim()) > maxNumberBytes) return true;
  const [, sign, digits] = /^[\t-\r ]*([+-]?)([0-9]+)/.exec(value) ?? [];
  return digits === undefined || Number(digits) === 0 || (sign !== "-" && Number(digits) <= 100);
}
