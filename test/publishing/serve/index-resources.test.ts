// Indices as resources: the same bytes in every way of reading, and little memory for each reader.
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { parseRepositoryName } from "../../../src/base/names.ts";
import type { SegmentSizes } from "../../../src/indices/assemble.ts";
import type { Pieces, Resource } from "../../../src/publishing/resource.ts";
import { IndexResources } from "../../../src/publishing/serve/index-resources.ts";
import type { PublishedIndex } from "../../../src/publishing/store/publication.ts";
import { PublicationStore } from "../../../src/publishing/store/publication-store.ts";
import { openStateDatabase } from "../../../src/publishing/store/state-database.ts";
import { isCorruption } from "../../../src/server/sound-database.ts";

const { signal } = new AbortController();

/** The plain form of an index of random segments with this size. @param kept how the store keeps them */
async function anIndex(segmentBytes: number, segmentCount: number, kept: "plain" | "compressed" = "plain") {
  const directory = mkdtempSync(join(tmpdir(), "index-reader-"));
  const root = openStateDatabase(join(directory, "database"));
  onTestFinished(async () => {
    await root.close();
    rmSync(directory, { recursive: true });
  });
  const store = new PublicationStore(root, parseRepositoryName("debian"));
  const segments: SegmentSizes[] = [];
  const plain: Buffer[] = [];
  for (let number = 0; number < segmentCount; number++) {
    const bytes = randomBytes(segmentBytes);
    const xz = { bytes, unpaddedBytes: bytes.length, uncompressedBytes: bytes.length };
    segments.push(await store.segments.put(String(number), bytes, { gz: gzipSync(bytes), xz, lines: 1 }, kept));
    plain.push(bytes);
  }
  await store.segments.written(segments.map(({ id }) => id));
  const whole = Buffer.concat(plain);
  const listed = { sizeBytes: whole.length, sha256: createHash("sha256").update(whole).digest("hex") };
  const index: PublishedIndex = {
    directory: "main",
    name: "Packages",
    segments,
    forms: { plain: listed, gz: listed, xz: listed },
  };
  return {
    whole,
    /** Changes one byte of a segment on disk. */
    async damage() {
      const bytes = root.openDB<Buffer, string>({ name: "debian/segments", encoding: "binary" });
      const changed = Buffer.from(bytes.get("1/plain") ?? "");
      changed[7] = (changed[7] ?? 0) ^ 1;
      await bytes.put("1/plain", changed);
    },
    resource: new IndexResources(store).resource({ kind: "index", index, form: "plain" }, 0, "immutable"),
  };
}

async function collected(resource: Resource, start: number, end: number, pieces?: Pieces): Promise<Buffer> {
  const body = await resource.read({ start, end }, signal, pieces);
  if (body instanceof Uint8Array) return Buffer.from(body);
  const chunks: Uint8Array[] = [];
  for await (const piece of body) chunks.push(pieces === "fleeting" ? Uint8Array.from(piece) : piece);
  return Buffer.concat(chunks);
}

test.each([
  ["small", 100_000, 3, "plain"],
  ["large", 300_000, 9, "plain"],
  ["large and kept compressed", 300_000, 9, "compressed"],
] as const)("a %s index is read whole and in any range", async (_what, segmentBytes, segmentCount, kept) => {
  const { whole, resource } = await anIndex(segmentBytes, segmentCount, kept);
  const ends = [0, 1, 65_535, 65_536, 65_537, segmentBytes - 1, segmentBytes, segmentBytes + 1, whole.length];
  for (const pieces of ["lasting", "fleeting"] as const) {
    for (const start of ends) {
      for (const end of ends) {
        if (start >= end) continue;
        expect((await collected(resource, start, end, pieces)).equals(whole.subarray(start, end))).toBe(true);
      }
    }
  }
});

test("a hundred readers in the middle of a large index use one small buffer each, which they reuse", async () => {
  const readers = 100;
  const mostBytesEach = 64 * 1024;
  const { whole, resource } = await anIndex(600_000, 8);
  const before = process.memoryUsage().arrayBuffers;
  const reading: AsyncIterator<Uint8Array>[] = [];
  for (let reader = 0; reader < readers; reader++) {
    const body = await resource.read({ start: 0, end: whole.length }, signal, "fleeting");
    if (body instanceof Uint8Array) throw new Error("it was to come as a stream");
    const pieces = body[Symbol.asyncIterator]();
    const buffers = new Set<unknown>();
    for (let piece = 0; piece < 20; piece++) {
      const step = await pieces.next();
      if (step.done !== true) buffers.add(step.value.buffer);
    }
    expect(buffers.size).toBe(1);
    reading.push(pieces);
  }
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1.5 * readers * mostBytesEach);
  for (const pieces of reading) await pieces.return?.();
});

test.each([
  ["small", 100_000, 3],
  ["large", 300_000, 9],
])("a %s index whose bytes were changed on disk is not served whole", async (_size, segmentBytes, segmentCount) => {
  const index = await anIndex(segmentBytes, segmentCount);
  const { whole, resource } = index;
  await index.damage();
  const reading = collected(resource, 0, whole.length);
  await expect(reading).rejects.toThrow("the state directory has other bytes of the file");
  await expect(reading).rejects.toSatisfy(isCorruption);
});
