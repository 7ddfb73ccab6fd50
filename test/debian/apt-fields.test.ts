// Field values that apt refuses or warns about are refused with name and place; values that apt and dpkg accept are
// accepted.
import { expect, test } from "vitest";
import { checkBinaryFields, checkSourceFields } from "../../src/debian/apt-fields.ts";
import { Malformed } from "../../src/debian/malformed.ts";
import { sourceOf } from "../../src/debian/source-field.ts";
import type { Stanza } from "../../src/debian/stanza.ts";
import { relationFields } from "../support/control-fields.ts";

/** Why a field is refused; "" if it is accepted. */
function refusal(check: (stanza: Stanza) => void, ...fields: Stanza): string {
  try {
    check(fields);
    return "";
  } catch (thrown) {
    if (thrown instanceof Malformed) return `${thrown.flaw}: ${thrown.message}`;
    throw thrown;
  }
}

test.each(relationFields)("a relation of %s that apt cannot read is quoted with its place", (field) => {
  expect(refusal(checkBinaryFields, [field, "libc6, irods-runtime (= ), bar"])).toBe(
    `bad-control: apt cannot read its ${field}, "irods-runtime (= )" at character 8: its version is empty`,
  );
  for (const value of ["foo [amd64]", "a, , b", "foo bar", "foo (>= 1.0"]) {
    expect(refusal(checkBinaryFields, [field.toLowerCase(), value])).toContain(`its ${field}, `);
  }
  for (const value of ["", "foo", "foo:any (= 1), bar,", "foo,\n bar"]) {
    expect(refusal(checkBinaryFields, [field, value]), value).toBe("");
  }
});

test("alternatives are allowed only in the fields in which dpkg allows them, and a bar must not be the end", () => {
  for (const field of relationFields) {
    const isAllowed = ["Pre-Depends", "Depends", "Recommends", "Suggests", "Enhances"].includes(field);
    expect(refusal(checkBinaryFields, [field, "x, foo | bar"])).toBe(
      isAllowed
        ? ""
        : `bad-control: its ${field} has alternatives, which apt and dpkg do not allow there: "foo " at character 4`,
    );
    expect(refusal(checkBinaryFields, [field, "foo | bar |"])).toMatch(
      /^bad-control: .*(nothing follows|alternatives)/,
    );
  }
});

test.each<[string, readonly string[], readonly string[]]>([
  ["Provides", ["foo (= 1.0)", "foo (1.0)", "foo:any (= 1)"], ["foo (>= 1.0)", "foo (!= 1.0)", "foo (< 1.0)"]],
  ["Multi-Arch", ["no", "same", "foreign", "allowed", ""], ["Same", "same foreign", "bogus", "yes"]],
  ["Essential", ["yes", "no", "YES", ""], ["maybe", "true", "1", "yes no"]],
  ["Protected", ["yes", "no", "No"], ["maybe", "true", "0"]],
  ["Important", ["yes", "no", "True", "0", "1", "0x1", "\n yes"], ["maybe", "2", "-1", "yes!"]],
  [
    "Phased-Update-Percentage",
    ["0", "50", "100", "abc", "50 %", "-0", "", "0".repeat(100), `${"0".repeat(97)}101`],
    ["101", "-5", "\n 101", "+200", "9".repeat(99)],
  ],
  ["Priority", ["optional", "bogus"], []],
  ["Section", ["s".repeat(65_000)], ["s".repeat(65_001), "ß".repeat(33_000)]],
  ["Source", ["foo bar", "foo (1"], [`${"s".repeat(65_000)} (1)`]],
  ["Depends", ["d".repeat(65_000)], ["d".repeat(65_001), `d (= ${"1".repeat(65_001)})`]],
])("some values of %s are accepted, and others refused", (field, taken, refused) => {
  for (const value of taken) expect(refusal(checkBinaryFields, [field, value]), value.slice(0, 80)).toBe("");
  for (const value of refused) {
    const why = refusal(checkBinaryFields, [field, value]);
    expect(why, value.slice(0, 80)).toMatch(new RegExp(`^bad-control: its ${field} (is|has) `));
    expect(why.length).toBeLessThan(200);
  }
});

test("a package for all architectures is not Multi-Arch: same", () => {
  const same = ["Multi-Arch", "same"] as const;
  expect(refusal(checkBinaryFields, same, ["Architecture", "all"])).toMatch(/^bad-control: its Multi-Arch is same/);
  expect(refusal(checkBinaryFields, same, ["Architecture", "amd64"])).toBe("");
});

test.each([
  "Build-Depends",
  "Build-Depends-Arch",
  "Build-Depends-Indep",
  "Build-Conflicts",
  "Build-Conflicts-Arch",
  "Build-Conflicts-Indep",
])("a relation of %s in a .dsc that apt cannot read is quoted with its place", (field) => {
  expect(refusal(checkSourceFields, [field, "debhelper, foo [amd64"])).toBe(
    `bad-dsc: apt cannot read its ${field}, "foo [amd64" at character 12: its architectures have no closing bracket`,
  );
  expect(refusal(checkSourceFields, [field, "debhelper, foo [amd64 !i386] <!nocheck>,"])).toBe("");
});

test.each([
  ["foo (1.0)", "foo", "1.0"],
  ["foo(1.0)", "foo", "1.0"],
  ["foo\t(1.0)", "foo", "1.0"],
  ["foo  ( 1.0 ) more", "foo", "1.0"],
  ["foo (1.0", "foo", "1.0"],
  ["foo bar", "foo", "bar"],
  ["foo ()", "foo", "2.0"],
  ["foo", "foo", "2.0"],
  ["(1.0)", "libfoo", "2.0"],
  ["", "libfoo", "2.0"],
])("Source: %s is read as by the record parser of apt", (value, name, version) => {
  const control = [
    ["Package", "libfoo"],
    ["Version", "2.0"],
    ["Source", value],
  ] as const;
  expect(sourceOf(control)).toEqual({ name, version });
});
