// The bound of a package's stanza holds after rendering, and is always below 1 MiB.
import fc from "fast-check";
import { expect, test } from "vitest";
import { inspectContent } from "../../../src/catalog/inspection/inspect.ts";
import type { InspectLimits } from "../../../src/catalog/inspection/inspect-limits.ts";
import { defaultInspectLimits } from "../../../src/catalog/inspection/inspect-limits.ts";
import type { Inspection } from "../../../src/catalog/inspection/inspection.ts";
import { stanzaBytesOf } from "../../../src/catalog/inspection/stanza-bytes.ts";
import { entryMetadataOf, inspectionOf } from "../../../src/catalog/metadata/entry-metadata.ts";
import { digestAlgorithms } from "../../../src/debian/digests.ts";
import { renderPackage } from "../../../src/indices/packages.ts";
import { renderSource } from "../../../src/indices/sources.ts";
import { aDeb, aDsc, inChunks } from "../../support/debs.ts";

const aptLimitBytes = 2 ** 20;
const longestPath = "p".repeat(2048);
const unlimited: InspectLimits = {
  ...defaultInspectLimits,
  maxStanzaBytes: 2 ** 30,
  maxSourceStanzaBytes: 2 ** 30,
  maxDscBytes: 2 ** 30,
};

const inspect = (kind: "binary" | "source", bytes: Uint8Array, limits = defaultInspectLimits): Promise<Inspection> =>
  inspectContent(kind, inChunks(Buffer.from(bytes)), { limits, algorithms: digestAlgorithms });

/** Rendered with every digest and the longest path. */
function renderedBytes(inspection: Inspection): number {
  if (inspection.kind === "binary") return Buffer.byteLength(renderPackage(inspection, longestPath, digestAlgorithms));
  if (inspection.kind !== "source") throw new Error("no package");
  const digests = inspection.digests;
  const parts = [{ name: "d".repeat(255), sizeBytes: Number.MAX_SAFE_INTEGER, digests }].concat(
    inspection.parts.map(({ name, sizeBytes }) => ({ name, sizeBytes, digests })),
  );
  return Buffer.byteLength(renderSource(inspection, longestPath, parts, digestAlgorithms));
}

function dscOf(recipe: Parameters<typeof aDsc>[0]): Uint8Array {
  const { dsc, files } = aDsc(recipe);
  return files.get(dsc)!;
}

const withLong = (bytes: number): Promise<Buffer> => aDeb({ fields: { "X-Long": "x".repeat(bytes) } });

test("no rendered stanza is longer than its bound plus the longest path", async () => {
  const text = fc
    .string({ unit: "grapheme", maxLength: 300 })
    .map((raw) => raw.replace(/[\p{Cc}\p{Cs}]|^\s+|\s+$/gu, "x"));
  await fc.assert(
    fc.asyncProperty(text, fc.integer({ min: 0, max: 40 }), async (value, partCount) => {
      const parts = Object.fromEntries(
        Array.from({ length: partCount + 1 }, (_, n) => [`hello_1.orig-${n}.tar.gz`, "x"]),
      );
      const binary = await inspect("binary", await aDeb({ fields: { "X-Text": value || "x" } }));
      const source = await inspect("source", dscOf({ fields: { "X-Text": value || "x" }, parts }));
      for (const found of [binary, source]) {
        if (found.kind !== "binary" && found.kind !== "source") throw new Error(JSON.stringify(found));
        expect(renderedBytes(found)).toBeLessThan(stanzaBytesOf(found) + 4096);
        expect(renderedBytes(found)).toBeGreaterThan(stanzaBytesOf(found) - 1024);
      }
    }),
    { numRuns: 50 },
  );
});

test("a stanza beyond max_stanza_bytes is rejected with that key, also if only Filename makes it too long", async () => {
  const { maxStanzaBytes } = defaultInspectLimits;
  expect(await inspect("binary", await withLong(maxStanzaBytes / 2))).toMatchObject({ kind: "binary" });
  for (const bytes of [maxStanzaBytes - 600, maxStanzaBytes + 1]) {
    expect(await inspect("binary", await withLong(bytes))).toMatchObject({
      kind: "rejected",
      code: "limit",
      text: expect.stringMatching(new RegExp(` max_stanza_bytes = ${maxStanzaBytes}$`)),
    });
  }
});

test("source packages have a separate limit, because their lists are longer", async () => {
  const { maxStanzaBytes, maxSourceStanzaBytes } = defaultInspectLimits;
  const source = (bytes: number) => inspect("source", dscOf({ fields: { "X-Long": "x".repeat(bytes) } }));
  expect(await source(maxStanzaBytes + 1)).toMatchObject({ kind: "source" });
  for (const bytes of [maxSourceStanzaBytes - 1000, maxSourceStanzaBytes + 1]) {
    expect(await source(bytes)).toMatchObject({
      kind: "rejected",
      text: expect.stringMatching(new RegExp(` max_source_stanza_bytes = ${maxSourceStanzaBytes}$`)),
    });
  }
});

test("whatever the configuration says, no stanza reaches 1 MiB, at which apt fails", async () => {
  const longest = await inspect("binary", await withLong(aptLimitBytes - 6000), unlimited);
  expect(renderedBytes(longest)).toBeLessThan(aptLimitBytes);
  for (const bytes of [aptLimitBytes - 4096, aptLimitBytes, 2 * aptLimitBytes]) {
    expect(await inspect("binary", await withLong(bytes), unlimited)).toMatchObject({
      code: "limit",
      text: expect.stringMatching(/ max_stanza_bytes = 1044480$/),
    });
  }
  const parts = Object.fromEntries(Array.from({ length: 900 }, (_, n) => [`${"n".repeat(200)}-${n}.tar.gz`, "x"]));
  expect(await inspect("source", dscOf({ parts }), unlimited)).toMatchObject({
    code: "limit",
    text: expect.stringMatching(/ max_source_stanza_bytes = 1044480$/),
  });
});

test("the same limit applies to the metadata of uploaders", async () => {
  const found = await inspect("binary", await withLong(10_000));
  if (found.kind !== "binary") throw new Error(found.kind);
  const demands = { sizeBytes: found.sizeBytes, algorithms: digestAlgorithms };
  const read = (limits: InspectLimits) => inspectionOf(entryMetadataOf(found), "binary", { ...demands, limits });
  expect(read(defaultInspectLimits)).toMatchObject({ kind: "binary" });
  expect(read({ ...defaultInspectLimits, maxStanzaBytes: 10_300 })).toBeUndefined();
});
