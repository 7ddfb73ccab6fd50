// The package cache in use: one download per content, paced by its readers, and verified to the last byte.
import { readdirSync, statSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { downloadWindowBytes } from "../../../src/publishing/serve/cache-download.ts";
import { wholeReadBytes } from "../../../src/publishing/serve/package-cache.ts";
import type { ExpectedContent } from "../../../src/publishing/serve/verified-stream.ts";
import { ContentMismatch, heldBackBytes } from "../../../src/publishing/serve/verified-stream.ts";
import { cases } from "../../support/cases.ts";
import {
  aCache,
  cached,
  chunkBytes,
  collect,
  never,
  readAll,
  readUntilFailure,
  Source,
  someBytes,
} from "../../support/package-source.ts";
import { onceUnchanged } from "../../support/unchanged.ts";

test("a package is read from its source once, and from the cache after that", async () => {
  const { cache, counts, directory } = aCache();
  const bytes = someBytes(300_000);
  const source = new Source(bytes);
  expect((await readAll(cache, source.expected)).equals(bytes)).toBe(true);
  const path = await cached(directory, source.expected);
  expect((await readAll(cache, source.expected)).equals(bytes)).toBe(true);
  expect((await readAll(cache, source.expected, { start: 5, end: 9 })).equals(bytes.subarray(5, 9))).toBe(true);
  expect(source.opened).toBe(1);
  expect([counts.misses, counts.hits, counts.heldBytes]).toEqual([1, 2, 300_000]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("a large cached package is streamed as a whole and in ranges", async () => {
  const { cache, directory } = aCache();
  const bytes = someBytes(wholeReadBytes + 100_000);
  const source = new Source(bytes);
  await readAll(cache, source.expected);
  await cached(directory, source.expected);
  const body = await cache.read(source.expected, { start: 0 }, never());
  expect(body).not.toBeInstanceOf(Uint8Array);
  expect((await collect(body)).equals(bytes)).toBe(true);
  expect(
    (await readAll(cache, source.expected, { start: wholeReadBytes })).equals(bytes.subarray(wholeReadBytes)),
  ).toBe(true);
  expect(source.opened).toBe(1);
});

test("many readers of an uncached package share one download", async () => {
  const { cache } = aCache();
  const bytes = someBytes(2_000_000);
  const source = new Source(bytes);
  const starts = [0, 0, 1, 70_000, 1_999_999, 1_000_000];
  const read = await Promise.all(starts.map((start) => readAll(cache, source.expected, { start })));
  for (const [at, start] of starts.entries()) expect(read[at]?.equals(bytes.subarray(start))).toBe(true);
  expect(source.opened).toBe(1);
});

test("the first bytes are served before the last ones have arrived", async () => {
  const { cache } = aCache();
  let openGate: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    openGate = resolve;
  });
  const bytes = someBytes(1_000_000);
  const slow = new Source(bytes);
  const expected: ExpectedContent = {
    ...slow.expected,
    source: async function* () {
      yield bytes.subarray(0, 500_000);
      await gate;
      yield bytes.subarray(500_000);
    },
  };
  const body = (await cache.read(expected, { start: 0 }, never())) as AsyncIterable<Uint8Array>;
  const iterator = body[Symbol.asyncIterator]();
  expect((await iterator.next()).value).toBeDefined();
  openGate();
  await iterator.return?.();
});

test.each([
  ["other bytes of the same size", (bytes: Buffer) => someBytes(bytes.length, 99)],
  [
    "one flipped bit at the very end",
    (bytes: Buffer) => Buffer.concat([bytes.subarray(0, -1), Buffer.from([bytes.at(-1)! ^ 1])]),
  ],
  ["a truncated file", (bytes: Buffer) => bytes.subarray(0, -1)],
  ["a file with extra bytes", (bytes: Buffer) => Buffer.concat([bytes, Buffer.from("x")])],
  ["an empty file", () => Buffer.alloc(0)],
])("%s never reaches a reader completely, is not cached, and is reported once", async (_what, sabotage) => {
  const { cache, counts, directory } = aCache();
  const bytes = someBytes(400_000);
  const source = new Source(bytes, { given: sabotage(bytes) });
  const bodies = await Promise.all([0, 0, 100_000].map((start) => cache.read(source.expected, { start }, never())));
  const ends = await Promise.all(bodies.map(readUntilFailure));
  for (const { error, bytes: got } of ends) {
    expect(error).toBeInstanceOf(ContentMismatch);
    expect(got.length).toBeLessThanOrEqual(bytes.length - heldBackBytes);
  }
  expect([source.mismatches, counts.mismatches]).toEqual([1, 1]);
  await expect.poll(() => readdirSync(directory)).toEqual([]);
});

test("a source that fails during the download fails its readers and leaves nothing; the next reader starts again", async () => {
  const { cache, directory } = aCache();
  const bytes = someBytes(400_000);
  const failing = new Source(bytes, { failAt: 200_000 });
  const { error } = await readUntilFailure(await cache.read(failing.expected, { start: 0 }, never()));
  expect(error).toHaveProperty("message", "the grid is down");
  await expect.poll(() => readdirSync(directory)).toEqual([]);
  expect((await readAll(cache, new Source(bytes).expected)).equals(bytes)).toBe(true);
});

test("a download is never further ahead of its fastest reader than its window", async () => {
  const { cache } = aCache();
  const bytes = someBytes(downloadWindowBytes + 4_000_000);
  const source = new Source(bytes);
  const body = (await cache.read(source.expected, { start: 0 }, never())) as AsyncIterable<Uint8Array>;
  const iterator = body[Symbol.asyncIterator]();
  const first = await iterator.next();
  await expect.poll(() => source.givenBytes, { timeout: 20_000 }).toBeGreaterThan(1_000_000);
  expect(await onceUnchanged(() => source.givenBytes)).toBeLessThanOrEqual(
    downloadWindowBytes + 2 * 256 * 1024 + chunkBytes,
  );
  const rest = await collect({ [Symbol.asyncIterator]: () => iterator });
  expect(Buffer.concat([first.value as Uint8Array, rest]).equals(bytes)).toBe(true);
});

test("an uncached package can be resumed far beyond the window", async () => {
  const { cache } = aCache();
  const bytes = someBytes(downloadWindowBytes + 1_000_000);
  const start = bytes.length - 10;
  expect((await readAll(cache, new Source(bytes).expected, { start })).equals(bytes.subarray(start))).toBe(true);
});

test("when the last reader leaves, the source is aborted; one of two readers does not affect the other", async () => {
  const { cache, directory } = aCache();
  const bytes = someBytes(downloadWindowBytes + 4_000_000);
  const source = new Source(bytes);
  const open = async () =>
    ((await cache.read(source.expected, { start: 0 }, never())) as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  const [one, two] = [await open(), await open()];
  await Promise.all([one.next(), two.next()]);
  await one.return?.();
  expect(source.aborted).toBe(0);
  await two.next();
  await two.return?.();
  expect(source.aborted).toBe(1);
  await expect.poll(() => readdirSync(directory)).toEqual([]);
  expect(source.opened).toBe(1);
});

test("an aborted reader fails with the signal's reason, even while it waits for bytes", async () => {
  const { cache } = aCache();
  const source = new Source(someBytes(1000), { gate: new Promise(() => {}) });
  const asker = new AbortController();
  const reading = collect(await cache.read(source.expected, { start: 0 }, asker.signal));
  await expect.poll(() => source.opened).toBe(1);
  asker.abort(new Error("gone"));
  await expect(reading).rejects.toThrow("gone");
});

test("any range of any package is exact: uncached, cached or without the cache", async () => {
  const ranges = fc.record({
    size: fc.integer({ min: 1, max: 300_000 }),
    from: fc.double({ min: 0, max: 1, noNaN: true }),
    to: fc.double({ min: 0, max: 1, noNaN: true }),
    maxBytes: fc.constantFrom(50_000, 1_000_000),
  });
  await fc.assert(
    fc.asyncProperty(ranges, async ({ size, from, to, maxBytes }) => {
      const { cache } = aCache(undefined, { maxBytes });
      const bytes = someBytes(size);
      const { expected } = new Source(bytes);
      const start = Math.min(size - 1, Math.floor(Math.min(from, to) * size));
      const end = Math.max(start + 1, Math.floor(Math.max(from, to) * size));
      for (let round = 0; round < 2; round += 1) {
        expect((await readAll(cache, expected, { start, end })).equals(bytes.subarray(start, end))).toBe(true);
      }
    }),
    { numRuns: cases(60) },
  );
});
