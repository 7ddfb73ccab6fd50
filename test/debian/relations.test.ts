// Relation fields are accepted and refused as by the parser of apt, which python3-apt contains.
import { expect, test } from "vitest";
import { readBuildRelations, readRelations } from "../../src/debian/relations.ts";
import { buildRelationSeeds, FieldMutator, relationSeeds } from "../support/control-fields.ts";
import { runTool } from "../support/debs.ts";
import type { AptParser, AptVerdict } from "../support/python-apt.ts";
import { askingScript, isTaken, verdictsOf } from "../support/python-apt.ts";

function aptOn(parser: AptParser, fields: readonly string[]): readonly AptVerdict[] {
  const asked = JSON.stringify([parser, fields]);
  return verdictsOf(runTool("/usr/bin/python3", ["-c", askingScript], asked, "python3-apt").toString());
}

function differing(
  fields: readonly string[],
  read: typeof readRelations,
  apt: readonly AptVerdict[],
): readonly string[] {
  return fields.filter((field, index) => isTaken(read, field) !== (apt[index] === "taken"));
}

const countOf = (apt: readonly AptVerdict[], wanted: AptVerdict): number =>
  apt.filter((verdict) => verdict === wanted).length;

/** Fields for which apt may read beyond the end, so that its verdict depends on other memory. */
const isUnsafeToAsk = (field: string): boolean => /<[^>]*$/.test(field);
/** Fields that apt 2.6 accepts and apt 3 refuses: brackets without an architecture, `!=` without a version. */
const isForApt3 = (field: string): boolean => /\[[ \t\n]*\]|![ \t\n\]]|\([ \t\n]*!=[ \t\n]*\)/.test(field);

/** A bar at the end: the parser of apt accepts it, and the rest of apt crashes. */
const endsWithBar = (field: string): boolean => /\|[ \t\n,]*$/.test(field);

test("100,000 mutated relation fields get the same verdict as from the parser of apt", () => {
  const mutator = new FieldMutator(1);
  const fields = new Set(relationSeeds.map((seed) => seed.trimEnd()));
  while (fields.size < 110_000) fields.add(mutator.relation());
  const asked = [...fields].filter((field) => !isForApt3(field) && !endsWithBar(field));
  expect(asked.length).toBeGreaterThan(100_000);
  const apt = aptOn("parse_depends", asked);
  // Both verdicts must be frequent.
  expect(countOf(apt, "taken")).toBeGreaterThan(20_000);
  expect(countOf(apt, "refused")).toBeGreaterThan(20_000);
  expect(differing(asked, readRelations, apt)).toEqual([]);
});

/** apt skips superfluous commas before it calls the function that python3-apt calls. */
const hasSuperfluousComma = (field: string): boolean => /(^|[,|])[ \t\n]*,/.test(field);

test("30,000 mutated build relation fields get the verdict of apt, and fields on which apt crashes are refused", () => {
  const mutator = new FieldMutator(2);
  const fields = new Set(buildRelationSeeds.map((seed) => seed.trimEnd()));
  while (fields.size < 30_000) fields.add(mutator.relation(buildRelationSeeds));
  const asked = [...fields].filter(
    (field) => !isUnsafeToAsk(field) && !isForApt3(field) && !endsWithBar(field) && !hasSuperfluousComma(field),
  );
  expect(asked.length).toBeGreaterThan(15_000);
  const apt = aptOn("parse_src_depends", asked);
  expect(countOf(apt, "taken")).toBeGreaterThan(5_000);
  expect(countOf(apt, "refused")).toBeGreaterThan(5_000);
  expect(countOf(apt, "crashed")).toBeGreaterThan(20);
  expect(differing(asked, readBuildRelations, apt)).toEqual([]);
});

test("fields that apt 3 refuses or on which apt crashes are refused, and similar harmless fields are not", () => {
  for (const refused of ["foo (!= ), bar", "foo |", "foo, bar (= 1.0)|"]) {
    expect(isTaken(readRelations, refused), refused).toBe(false);
  }
  for (const refused of [
    "foo []",
    "foo [ ]",
    "foo [!]",
    "foo [! amd64]",
    "foo [i386 !]",
    "foo [amd64",
    "foo [i386  amd64]",
    "foo [  amd64]",
    "foo <!a  !b>",
    "foo <!a  >",
    "foo <!a\n !b>",
    "foo <a b",
    "foo <!a> <b",
    "foo <",
    "foo |",
    "foo |,",
    "foo [i386] | , ,",
  ]) {
    expect(isTaken(readBuildRelations, refused), refused).toBe(false);
  }
  for (const taken of [
    "foo [any !]",
    "foo [ amd64 i386 ]",
    "foo |, bar,",
    "foo [any  i386]",
    "foo <a  b>",
    "foo <!a !b>",
    "foo <!a> <!b  !c>",
    "foo <>",
  ]) {
    expect(isTaken(readBuildRelations, taken), taken).toBe(true);
  }
  const crashing = ["foo <!a  !b>", "foo <!a  >", "foo [i386  amd64]"];
  expect(aptOn("parse_src_depends", crashing)).toEqual(["crashed", "crashed", "crashed"]);
});

test("a relation has a name, an operator, a version and a place", () => {
  const field = "a (1.0), b:any(< 2 ) | c (>>3:4~5-6),\n d (!= 7 ),";
  expect([...readRelations(field)]).toEqual([
    { name: "a", operator: "=", version: "1.0", hasAlternative: false, offset: 0 },
    { name: "b:any", operator: "<=", version: "2", hasAlternative: true, offset: 9 },
    { name: "c", operator: ">>", version: "3:4~5-6", hasAlternative: false, offset: 23 },
    { name: "d", operator: "!=", version: "7", hasAlternative: false, offset: field.indexOf("d (") },
  ]);
  expect([...readBuildRelations(",a [amd64 !i386] <!x> <y z>,,b")].map(({ name }) => name)).toEqual(["a", "b"]);
});

test("an error names the relation, its place, and what is wrong there", () => {
  const messageOf = (field: string): string => {
    try {
      return String([...readRelations(field)].length);
    } catch (thrown) {
      return thrown instanceof Error ? thrown.message : String(thrown);
    }
  };
  expect(messageOf("libc6, irods-runtime (= ), bar")).toBe('"irods-runtime (= )" at character 8: its version is empty');
  expect(messageOf("foo bar | baz")).toBe('"foo bar " at character 1: "b" is where a comma or the end should be');
  expect(messageOf("foo, , bar")).toBe('", bar" at character 6: a package name is missing');
  expect(messageOf(`a, ${"b".repeat(2000)} (`).length).toBeLessThan(200);
});

test("fields of a mebibyte are read in one pass", () => {
  const long = (text: string): string => text.repeat(2 ** 20 / text.length);
  const started = performance.now();
  for (const part of ["a, ", "a|", " ", "\n ", "(", "a (= 1), ", "a (=   1   ), ", ",", "<", "a [", "a <!b> ", "a ["]) {
    isTaken(readRelations, `x ${long(part)}`);
    isTaken(readBuildRelations, `x ${long(part)}`);
    isTaken(readBuildRelations, `x [${long(part)}] <!${long(part)}`);
  }
  expect(performance.now() - started).toBeLessThan(20_000);
});
