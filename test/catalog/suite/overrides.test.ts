// Overrides of index fields: which packages they match, and which rules are invalid.
import { expect, test } from "vitest";
import type { OverrideRule } from "../../../src/catalog/suite/overrides.ts";
import { checkOverride } from "../../../src/catalog/suite/overrides.ts";
import { packageMatcher } from "../../../src/catalog/suite/package-pattern.ts";

const packages = "hello";
const problemOf = (rule: OverrideRule): string => {
  try {
    checkOverride(rule);
    return "";
  } catch (thrown) {
    return (thrown as Error).message;
  }
};

test.each([
  { Section: "utils", Priority: "optional" },
  { "Phased-Update-Percentage": "0" },
  { "Phased-Update-Percentage": "100" },
  { "X-Ours": "yes" },
  { Bugs: "mailto:bugs@example.org", Origin: "Example" },
])("%j can be set", (set) => {
  expect(problemOf({ packages, set })).toBe("");
});

test.each([
  [{}, /sets no field/],
  [{ Version: "2" }, /Version cannot be overridden/],
  [{ depends: "x" }, /depends cannot be overridden/],
  [{ SHA256: "0".repeat(64) }, /SHA256 cannot be overridden/],
  [{ Description: "x" }, /Description cannot be overridden/],
  [{ "Phased-Update-Percentage": "101" }, /Phased-Update-Percentage/],
  [{ "Phased-Update-Percentage": "many" }, /Phased-Update-Percentage/],
  [{ Section: "a\nEssential: yes" }, /one line/],
  [{ Section: " " }, /one line/],
  [{ Section: "x".repeat(2000) }, /one line of at most 1000/],
  [{ "Two words": "x" }, /not a field's name/],
  [{ "": "x" }, /not a field's name/],
  [{ "Sec:tion": "x" }, /not a field's name/],
  [{ "-x": "x" }, /not a field's name/],
  [{ "#x": "x" }, /not a field's name/],
] as ReadonlyArray<[OverrideRule["set"], RegExp]>)("%j is refused", (set, why) => {
  expect(problemOf({ packages, set })).toMatch(why);
});

const built = { name: "libhello2", version: "1:2.0-1+b1", source: { name: "hello", version: "2.0-1" } };

test.each([
  ["libhello2", true],
  ["libhello*", true],
  ["hello", false],
  ["libhello2=1:2.0-1+b1", true],
  ["libhello2=2.0-1+b1", true],
  ["libhello2=2.0-1", false],
  ["libhello2=2.0-*", true],
  ["src:hello", true],
  ["src:hello=2.0-1", true],
  ["src:hello=2.0-2", false],
  ["src:libhello2", false],
])("%s is %s for a package of another source, with an epoch and a binary version of its own", (pattern, isMeant) => {
  expect(packageMatcher(pattern)(built)).toBe(isMeant);
});
