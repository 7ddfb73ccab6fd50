// Stanzas as text: reading returns what was written, and refuses what other programs could read differently.
import fc from "fast-check";
import { expect, test } from "vitest";
import { Deb822Error, formatStanza, parseStanza, parseStanzas } from "../../src/debian/deb822.ts";
import { Malformed } from "../../src/debian/malformed.ts";
import { fieldOf } from "../../src/debian/stanza.ts";

const limits = { maxStanzaBytes: 10_000, maxFields: 50, maxFieldNameBytes: 100 };
const parse = (text: string | Uint8Array) => parseStanza(Buffer.from(text as Uint8Array), limits);

const nameCharacter = fc.constantFrom(...Array.from("AZaz09_.+-!~$("));
const fieldName = fc.string({ unit: nameCharacter, minLength: 1, maxLength: 20 }).filter((name) => !/^[-#]/.test(name));
const printable = fc
  .string({
    unit: fc.oneof(
      fc.constantFrom(...Array.from("ab: \t.-#")),
      fc.string({ unit: "grapheme", minLength: 1, maxLength: 1 }),
    ),
    maxLength: 20,
  })
  .map((text) => text.replace(/[\0-\x08\x0a-\x1f\x7f]/g, ""));
const firstLine = printable.map((text) => text.replace(/^[ \t]+|[ \t]+$/g, ""));
const moreLine = fc
  .tuple(
    fc.constantFrom(" ", "\t"),
    printable.filter((text) => /[^ \t]/.test(text)),
  )
  .map((both) => both.join(""));
const value = fc
  .tuple(firstLine, fc.array(moreLine, { maxLength: 3 }))
  .map(([first, more]) => [first, ...more].join("\n"));
const stanza = fc.uniqueArray(fc.tuple(fieldName, value), {
  minLength: 1,
  maxLength: 8,
  selector: ([name]) => name.toLowerCase(),
});

test("any stanza that is formatted reads back the same", () => {
  fc.assert(
    fc.property(stanza, (one) => {
      expect(parse(formatStanza(one))).toEqual(one);
    }),
  );
});

test("any stanzas joined by blank lines read back as those stanzas", () => {
  fc.assert(
    fc.property(fc.array(stanza, { maxLength: 4 }), fc.integer({ min: 1, max: 3 }), (some, blank) => {
      const text = some.map(formatStanza).join("\n".repeat(blank));
      expect(parseStanzas(Buffer.from(text), { ...limits, maxStanzaBytes: 100_000 })).toEqual(some);
    }),
  );
});

test("any bytes give stanzas that can be formatted and read back, or a typed error", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc
      .array(fc.constantFrom("A", "b", ":", "\n", "\n\n", " ", "\t", "\r", "#", "é", "\0", "-"), { maxLength: 40 })
      .map((some) => Buffer.from(some.join(""))),
  );
  fc.assert(
    fc.property(bytes, (raw) => {
      let read: ReturnType<typeof parseStanzas>;
      try {
        read = parseStanzas(raw, limits);
      } catch (thrown) {
        expect(thrown instanceof Deb822Error || thrown instanceof Malformed).toBe(true);
        return;
      }
      const again = Buffer.from(read.map(formatStanza).join("\n"));
      expect(parseStanzas(again, { ...limits, maxStanzaBytes: 100_000 })).toEqual(read);
    }),
    { numRuns: 2000 },
  );
});

test("a continuation line keeps its white space, and the first line loses white space around it", () => {
  expect(parse("Description:  short \t\n  two spaces \n\ttab\n .\n")).toEqual([
    ["Description", "short\n  two spaces \n\ttab\n ."],
  ]);
});

test("carriage returns at line ends are white space, as in dpkg", () => {
  const text = "A: 1\nB: x\n y  z\n .\n";
  for (const end of ["\r\n", "\r\r\n", " \r\n", "\f\n", "\v\r\n"]) {
    expect(parse(text.replaceAll("\n", end)), JSON.stringify(end)).toEqual(parse(text));
  }
});

test("field names are compared without case and keep their case", () => {
  expect(fieldOf(parse("pAcKaGe: a\n"), "Package")).toBe("a");
  expect(parse("pAcKaGe: a\n")[0]?.[0]).toBe("pAcKaGe");
});

test.each([
  ["a duplicate field", "A: 1\nA: 2\n", 2],
  ["a duplicate field in lower case", "A: 1\na: 2\n", 2],
  ["a duplicate field in upper case", "a: 1\nA: 2\n", 2],
  ["a continuation of nothing", " x\n", 1],
  ["a continuation after a blank line", "A: 1\n\n x\n", 3],
  ["a blank line with white space inside a field", "A: 1\n \n b\n", 2],
  ["a comment", "A: 1\n# x\n", 2],
  ["a comment with a colon", "# x: y\n", 1],
  ["a name that starts with a hyphen", "-A: 1\n", 1],
  ["a line without a colon", "A\n", 1],
  ["a colon without a name", ": x\n", 1],
  ["a line of a carriage return alone", "A: 1\n\r\n", 2],
  ["a carriage return inside a value", "A: 1\rB: 2\n", 1],
  ["a NUL", "A: 1\0\n", 1],
  ["a name beyond ASCII", "Ä: 1\n", 1],
  ["a byte order mark", "\ufeffA: 1\n", 1],
  ["a last line that does not end", "A: 1\nB: 2", 2],
  ["two stanzas", "A: 1\n\nB: 2\n", 3],
  ["nothing", "\n\n", 1],
])("%s is refused with the number of the line", (_what, text, line) => {
  expect(() => parse(text)).toThrow(Deb822Error);
  expect(() => parse(text)).toThrow(`line ${line}:`);
});

test("text that is not UTF-8 is read as Latin-1, so that an index is always UTF-8", () => {
  expect(parse(Buffer.from("Maintainer: Jos\xe9\n", "latin1"))).toEqual([["Maintainer", "José"]]);
  expect(parse("Maintainer: José\n")).toEqual([["Maintainer", "José"]]);
});

test.each([
  ["max_stanza_bytes", `A: ${"x".repeat(limits.maxStanzaBytes)}\n`],
  ["max_fields", Array.from({ length: limits.maxFields + 1 }, (_none, index) => `A${index}: x\n`).join("")],
  ["max_field_name_bytes", `${"A".repeat(limits.maxFieldNameBytes + 1)}: x\n`],
])("a text beyond %s is refused with the name of the limit", (limit, text) => {
  expect(() => parse(text)).toThrow(Malformed);
  expect(() => parse(text)).toThrow(limit);
});

test("a line of blanks takes no longer than a line of letters", () => {
  const generous = { ...limits, maxStanzaBytes: 4_000_000 };
  const blanks = " \t".repeat(500_000);
  const begunMs = performance.now();
  const stanza = parseStanza(Buffer.from(`A: a${blanks}b${blanks}\n c${blanks}d\n`), generous);
  // Quadratic time would be many minutes.
  expect(performance.now() - begunMs).toBeLessThan(20_000);
  expect(fieldOf(stanza, "A")).toBe(`a${blanks}b\n c${blanks}d`);
});
