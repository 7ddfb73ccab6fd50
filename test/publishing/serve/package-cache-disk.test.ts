// The directory of the package cache: its size limit, restarts, and errors that must not prevent serving.
import { readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { wholeReadBytes } from "../../../src/publishing/serve/package-cache.ts";
import { ContentMismatch, heldBackBytes } from "../../../src/publishing/serve/verified-stream.ts";
import {
  aCache,
  aDirectory,
  cached,
  collect,
  never,
  readAll,
  readUntilFailure,
  Source,
  someBytes,
} from "../../support/package-source.ts";

test("the directory never exceeds its limit, and the least recently used package is evicted first", async () => {
  const { cache, counts, directory } = aCache(undefined, { maxBytes: 350_000 });
  const sources = [1, 2, 3].map((seed) => new Source(someBytes(100_000, seed)));
  for (const source of sources) {
    await readAll(cache, source.expected);
    await cached(directory, source.expected);
  }
  await readAll(cache, sources[0]!.expected);
  const fourth = new Source(someBytes(100_000, 4));
  await readAll(cache, fourth.expected);
  await cached(directory, fourth.expected);
  expect(counts.heldBytes).toBe(300_000);
  expect(readdirSync(directory).sort()).toEqual(
    [sources[0]!, sources[2]!, fourth].map(({ expected }) => `${expected.sha256}-100000`).sort(),
  );
});

test("a reader of a package that is evicted meanwhile still gets all of it", async () => {
  const size = wholeReadBytes + 2_000_000;
  const { cache, directory } = aCache(undefined, { maxBytes: size + 10 });
  const bytes = someBytes(size);
  const source = new Source(bytes);
  await readAll(cache, source.expected);
  await cached(directory, source.expected);
  const body = (await cache.read(source.expected, { start: 0 }, never())) as AsyncIterable<Uint8Array>;
  const iterator = body[Symbol.asyncIterator]();
  const first = await iterator.next();
  const other = new Source(someBytes(size, 2));
  await readAll(cache, other.expected);
  await cached(directory, other.expected);
  const rest = await collect({ [Symbol.asyncIterator]: () => iterator });
  expect(Buffer.concat([first.value as Uint8Array, rest]).equals(bytes)).toBe(true);
  expect(source.opened).toBe(1);
});

test("a package larger than the cache is streamed without it, and still verified", async () => {
  const { cache, counts, directory } = aCache(undefined, { maxBytes: 100_000 });
  const bytes = someBytes(400_000);
  expect((await readAll(cache, new Source(bytes).expected, { start: 7 })).equals(bytes.subarray(7))).toBe(true);
  const wrong = new Source(bytes, { given: someBytes(400_000, 2) });
  const { error, bytes: got } = await readUntilFailure(await cache.read(wrong.expected, { start: 0 }, never()));
  expect(error).toBeInstanceOf(ContentMismatch);
  expect(got.length).toBeLessThanOrEqual(400_000 - heldBackBytes);
  expect(counts.bypasses).toEqual(["size", "size"]);
  expect(readdirSync(directory)).toEqual([]);
});

test("a directory that cannot be created or written causes one warning, and packages are served without it", async () => {
  const file = join(aDirectory(), "not-a-directory");
  writeFileSync(file, "");
  const { cache, warnings, counts } = aCache(join(file, "cache"));
  const bytes = someBytes(200_000);
  for (let round = 0; round < 3; round += 1) {
    expect((await readAll(cache, new Source(bytes).expected)).equals(bytes)).toBe(true);
  }
  expect(warnings).toHaveLength(1);
  expect(counts.bypasses).toEqual(["disk", "disk", "disk"]);
});

test("a restart keeps the files, evicts the oldest first, and deletes incomplete and truncated ones", async () => {
  const directory = aDirectory();
  const first = aCache(directory);
  const sources = [1, 2].map((seed) => new Source(someBytes(100_000, seed)));
  for (const [at, source] of sources.entries()) {
    await readAll(first.cache, source.expected);
    utimesSync(await cached(directory, source.expected), 1000 - at, 1000 - at);
  }
  writeFileSync(join(directory, `${"a".repeat(64)}-5.1.part`), "ha");
  writeFileSync(join(directory, `${"b".repeat(64)}-5`), "shor");
  const { cache, counts } = aCache(directory, { maxBytes: 250_000 });
  expect(readdirSync(directory)).toHaveLength(2);
  expect(counts.heldBytes).toBe(200_000);
  const third = new Source(someBytes(100_000, 3));
  await readAll(cache, third.expected);
  await cached(directory, third.expected);
  await readAll(cache, sources[0]!.expected);
  expect(sources[0]!.opened).toBe(1);
  await readAll(cache, sources[1]!.expected);
  expect(sources[1]!.opened).toBe(2);
});

test("a restart with a lower limit shrinks the directory", async () => {
  const directory = aDirectory();
  const { cache } = aCache(directory);
  for (const seed of [1, 2, 3]) {
    const { expected } = new Source(someBytes(100_000, seed));
    await readAll(cache, expected);
    await cached(directory, expected);
  }
  expect(aCache(directory, { maxBytes: 150_000 }).counts.heldBytes).toBe(100_000);
  expect(readdirSync(directory)).toHaveLength(1);
});

test.each([["deleted"], ["truncated"]])("a cached file that somebody %s is downloaded again", async (what) => {
  for (const size of [100_000, wholeReadBytes + 1000]) {
    const { cache, directory } = aCache(undefined, { maxMemoryBytes: 0 });
    const bytes = someBytes(size);
    const source = new Source(bytes);
    await readAll(cache, source.expected);
    const path = await cached(directory, source.expected);
    if (what === "deleted") rmSync(path);
    else writeFileSync(path, readFileSync(path).subarray(0, 50_000));
    expect((await readAll(cache, source.expected)).equals(bytes)).toBe(true);
    expect(source.opened).toBe(2);
  }
});

test("a claim with the correct digest and a wrong size does not affect other readers", async () => {
  const { cache } = aCache();
  const bytes = someBytes(200_000);
  const liar = new Source(bytes);
  const lie = { ...liar.expected, sizeBytes: 150_000 };
  const [failure] = await Promise.all([
    readUntilFailure(await cache.read(lie, { start: 0 }, never())),
    readAll(cache, new Source(bytes).expected).then((got) => expect(got.equals(bytes)).toBe(true)),
  ]);
  expect(failure.error).toBeInstanceOf(ContentMismatch);
});

test.each([
  ["small", 100_000],
  ["large", wholeReadBytes + 300_000],
])("a %s package whose cached bytes were changed on disk is never served: it is fetched again", async (_size, size) => {
  const directory = aDirectory();
  const bytes = someBytes(size);
  const source = new Source(bytes);
  const first = aCache(directory);
  await readAll(first.cache, source.expected);
  await cached(directory, source.expected);
  const file = join(directory, `${source.expected.sha256}-${size}`);
  const damaged = readFileSync(file);
  damaged[size - 5] = (damaged[size - 5] ?? 0) ^ 1;
  writeFileSync(file, damaged);

  const { cache } = aCache(directory);
  if (size > wholeReadBytes) {
    // Its beginning was sent before the damage was found: the response is incomplete.
    const { error } = await readUntilFailure(await cache.read(source.expected, { start: 0 }, never()));
    expect(error).toBeInstanceOf(ContentMismatch);
  }
  expect((await readAll(cache, source.expected)).equals(bytes)).toBe(true);
  expect(source.opened).toBe(2);
  expect(source.mismatches).toBe(0);
});

test("cached bytes of an earlier run are checked once, and then served in parts too", async () => {
  const directory = aDirectory();
  const size = wholeReadBytes + 300_000;
  const bytes = someBytes(size);
  const source = new Source(bytes);
  await readAll(aCache(directory).cache, source.expected);
  await cached(directory, source.expected);
  const { cache } = aCache(directory);
  expect((await readAll(cache, source.expected, { start: 7, end: 1000 })).equals(bytes.subarray(7, 1000))).toBe(true);
  expect((await readAll(cache, source.expected, { start: 100 })).equals(bytes.subarray(100))).toBe(true);
  expect((await readAll(cache, source.expected, { start: 9, end: 20 })).equals(bytes.subarray(9, 20))).toBe(true);
  expect(source.opened).toBe(1);
});
