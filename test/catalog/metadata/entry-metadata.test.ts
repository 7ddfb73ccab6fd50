// Metadata of uploaders: it parses to the inspection that it was made from, or is rejected.
import fc from "fast-check";
import { expect, test } from "vitest";
import { inspectContent } from "../../../src/catalog/inspection/inspect.ts";
import { defaultInspectLimits as limits } from "../../../src/catalog/inspection/inspect-limits.ts";
import type { PackageKind, SoundInspection } from "../../../src/catalog/inspection/inspection.ts";
import { difference } from "../../../src/catalog/metadata/claim-mismatch.ts";
import {
  entryMetadataOf,
  inspectionOf,
  metadataKey,
  parseEntryMetadata,
} from "../../../src/catalog/metadata/entry-metadata.ts";
import { aDeb, aDsc, inChunks } from "../../support/debs.ts";

const algorithms = ["md5", "sha256"] as const;

/** Metadata as it is read from a listing. */
function accepted(metadata: unknown, kind: PackageKind, sizeBytes?: number): SoundInspection | undefined {
  const parsed = parseEntryMetadata(JSON.parse(JSON.stringify(metadata)), limits);
  return parsed && inspectionOf(parsed, kind, { sizeBytes, algorithms, limits });
}

async function inspected(kind: PackageKind, bytes: Uint8Array): Promise<SoundInspection> {
  const inspection = await inspectContent(kind, inChunks(bytes), { limits, algorithms: ["md5", "sha1", "sha256"] });
  if (inspection.kind === "rejected") throw new Error(inspection.text);
  return inspection;
}

const line = fc.string({ unit: "grapheme", maxLength: 60 }).map((text) => text.replace(/\p{C}/gu, "").trim());
const folded = fc.array(
  line.filter((text) => text !== ""),
  { maxLength: 4 },
);
const field = fc.tuple(line, folded).map(([first, more]) => [first, ...more].join("\n "));
const hex = (digits: number) =>
  fc.string({ unit: fc.constantFrom(..."0123456789abcdef".split("")), minLength: digits, maxLength: digits });

test("metadata made from any binary package parses to the same inspection", () => {
  const fields = fc.uniqueArray(fc.tuple(fc.stringMatching(/^X[A-Za-z0-9-]{1,20}$/), field), {
    selector: ([name]) => name.toLowerCase(),
    maxLength: 12,
  });
  const digests = fc.record({ md5: hex(32), sha256: hex(64), sha512: hex(128) });
  const measures = fc.record({ sizeBytes: fc.nat(), builtAtSeconds: fc.nat(), digests });
  fc.assert(
    fc.property(
      fields,
      measures,
      fc.option(fc.stringMatching(/^URI:CHK:[a-z0-9:]{20,60}$/), { nil: undefined }),
      (more, measured, contents) => {
        const control = [["Package", "a"], ["Version", "1:2~rc1"], ["Architecture", "all"], ...more] as const;
        const inspection = { kind: "binary", control, ...measured, ...(contents && { contents }) } as const;
        expect(accepted(entryMetadataOf(inspection), "binary", measured.sizeBytes)).toEqual(inspection);
      },
    ),
  );
});

test("metadata of real files parses to the inspection of their bytes, and is about as long as a stanza", async () => {
  const { dsc, files } = aDsc();
  const cases = [
    ["binary", await aDeb()],
    [
      "binary",
      await aDeb({
        control: Buffer.from("Package: old\nVersion: 1\nArchitecture: all\nMaintainer: M\xfcller\n", "latin1"),
      }),
    ],
    ["source", files.get(dsc)!],
    ["part", Buffer.from("any bytes")],
  ] as const;
  for (const [kind, bytes] of cases) {
    const inspection = await inspected(kind, bytes);
    const metadata = entryMetadataOf(inspection);
    const back = accepted(metadata, kind, bytes.length);
    expect(back).toEqual(inspection);
    expect(difference(back!, inspection)).toBeUndefined();
    expect(JSON.stringify(metadata).length).toBeLessThan(1300);
  }
});

const sha256 = "ab".repeat(32);
const md5 = "cd".repeat(16);
const control = "Package: a\nVersion: 1\nArchitecture: all\n";
const good = { version: 1, sizeBytes: 10, md5, sha256, builtAtSeconds: 5, control };

test("the valid metadata that the invalid examples are made from is accepted", () => {
  expect(accepted(good, "binary", 10)).toMatchObject({ kind: "binary", builtAtSeconds: 5 });
  expect(accepted({ ...good, unknown: { key: [] } }, "binary", 10)).toMatchObject({ kind: "binary" });
});

test.each<[string, unknown]>([
  ["nothing", null],
  ["a list", [good]],
  ["a string", JSON.stringify(good)],
  ["another version", { ...good, version: 2 }],
  ["a version as text", { ...good, version: "1" }],
  ["another size than the listing's", { ...good, sizeBytes: 11 }],
  ["a negative size", { ...good, sizeBytes: -10 }],
  ["a size with a fraction", { ...good, sizeBytes: 10.5 }],
  ["no SHA256", { ...good, sha256: undefined }],
  ["no MD5 where it is asked for", { ...good, md5: undefined }],
  ["a digest in upper case", { ...good, sha256: sha256.toUpperCase() }],
  ["a short digest", { ...good, sha256: sha256.slice(2) }],
  ["a digest with a line behind it", { ...good, md5: `${md5.slice(1)}\n` }],
  ["a digest of another type", { ...good, sha1: [] }],
  ["no time", { ...good, builtAtSeconds: undefined }],
  ["a time beyond ar's", { ...good, builtAtSeconds: 1e12 }],
  ["no control", { ...good, control: undefined }],
  ["a control of another type", { ...good, control: { Package: "a" } }],
  ["a control with a second stanza", { ...good, control: `${control}\nPackage: b\nVersion: 1\nArchitecture: all\n` }],
  ["a control with a carriage return", { ...good, control: `${control}X: a\rPackage: b\n` }],
  ["a control with a NUL", { ...good, control: `${control}X: \0\n` }],
  ["a control whose last line is open", { ...good, control: control.trimEnd() }],
  ["a control with a field twice", { ...good, control: `${control}package: b\n` }],
  ["a control with a version that is none", { ...good, control: control.replace("1", "one two") }],
  ["a control with an architecture that is a path", { ...good, control: control.replace("all", "../all") }],
  ["a control without a name", { ...good, control: control.replace("Package: a\n", "") }],
  ["a huge control", { ...good, control: `${control}X: ${"x".repeat(limits.maxStanzaBytes)}\n` }],
  [
    "a huge control of wide characters",
    { ...good, control: `${control}X: ${"€".repeat(limits.maxStanzaBytes / 2)}\n` },
  ],
  [
    "a control of too many fields",
    { ...good, control: control + Array.from({ length: 501 }, (_, n) => `X${n}: 1\n`).join("") },
  ],
  ["contents with a space", { ...good, contents: "URI:CHK: x" }],
  ["contents of another type", { ...good, contents: ["URI:CHK:x"] }],
  ["contents without end", { ...good, contents: "U".repeat(10_000) }],
])("metadata with %s is not believed", (_what, metadata) => {
  expect(accepted(metadata, "binary", 10)).toBeUndefined();
});

test.each<[string, string]>([
  ["names a file outside", "../passwd"],
  ["names a .dsc", "other.dsc"],
])("a source package's metadata that %s is not believed", (_what, name) => {
  const { dsc, files } = aDsc();
  const text = files.get(dsc)!.toString();
  const metadata = { version: 1, sizeBytes: 10, md5, sha256, dsc: text };
  expect(accepted(metadata, "source", 10)).toMatchObject({ kind: "source" });
  expect(accepted({ ...metadata, dsc: text.replaceAll("hello_1.0.orig.tar.gz", name) }, "source", 10)).toBeUndefined();
});

test.each(["Depends: foo (= )", "Multi-Arch: bogus"])(
  "a control stanza with %s, which apt rejects, is rejected as it would be in the bytes",
  async (field) => {
    const metadata = entryMetadataOf(await inspected("binary", await aDeb()));
    expect(accepted(metadata, "binary")).toBeDefined();
    expect(accepted({ ...metadata, control: `${metadata.control}${field}\n` }, "binary")).toBeUndefined();
  },
);

test("build dependencies that apt rejects are rejected", async () => {
  const { dsc, files } = aDsc();
  const metadata = entryMetadataOf(await inspected("source", files.get(dsc)!));
  expect(accepted(metadata, "source")).toBeDefined();
  const spoiled = metadata.dsc?.replace(/^Build-Depends:.*$/m, "Build-Depends: foo (= )");
  expect(accepted({ ...metadata, dsc: spoiled }, "source")).toBeUndefined();
});

test("deep and arbitrary JSON is rejected without side effects", () => {
  const deep: unknown = JSON.parse(`${"[".repeat(500_000)}${"]".repeat(500_000)}`);
  for (const key of ["control", "sha256", "contents", "version", "other"]) {
    const parsed = parseEntryMetadata({ ...good, [key]: deep }, limits);
    if (key === "other") expect(metadataKey(parsed!)).toBe(metadataKey(parseEntryMetadata(good, limits)!));
    else expect(parsed).toBeUndefined();
  }
  expect(parseEntryMetadata(deep, limits)).toBeUndefined();
  fc.assert(
    fc.property(
      fc.record({
        version: fc.constant(1),
        sizeBytes: fc.jsonValue(),
        sha256: fc.jsonValue(),
        control: fc.jsonValue(),
      }),
      (metadata) => {
        expect(accepted(metadata, "binary")).toBeUndefined();
      },
    ),
  );
});

test("the metadata key depends on every known property", () => {
  const key = (metadata: object) => metadataKey(parseEntryMetadata(metadata, limits)!);
  const others = [
    good,
    { ...good, sizeBytes: 11 },
    { ...good, md5: md5.replace("c", "0") },
    { ...good, sha1: "ef".repeat(20) },
    { ...good, builtAtSeconds: 6 },
    { ...good, control: `${control}\n` },
    { ...good, dsc: control },
    { ...good, contents: "URI:CHK:x" },
  ];
  expect(new Set(others.map(key)).size).toBe(others.length);
  expect(key({ ...good, other: 1 })).toBe(key(good));
});
