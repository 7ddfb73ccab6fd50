// The package cache: one fill per content, truthful to the last byte, bounded, and never in the way of serving.
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import { fillWindowBytes } from "../../src/publishing/fill.ts";
import type { PackageCacheObserver } from "../../src/publishing/package-cache.ts";
import { PackageCache, wholeReadBytes } from "../../src/publishing/package-cache.ts";
import type { PromisedContent } from "../../src/publishing/verified-stream.ts";
import { ContentMismatch, heldBackBytes } from "../../src/publishing/verified-stream.ts";
import type { ByteRange } from "../../src/storage/tree.ts";

const chunkBytes = 64 * 1024;
const madeDirectories: string[] = [];
const never = () => new AbortController().signal;

afterEach(() => {
  for (const directory of madeDirectories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

function aDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "package-cache-"));
  madeDirectories.push(directory);
  return directory;
}

function someBytes(size: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0, state = seed; at < size; at += 1) {
    state = (state * 1103515245 + 12345) % 2147483648;
    bytes[at] = state >> 16;
  }
  return bytes;
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** A source in memory that counts what is asked of it. */
class Source {
  opened = 0;
  givenBytes = 0;
  aborted = 0;
  mismatches = 0;
  readonly promised: PromisedContent;
  constructor(bytes: Buffer, options: { given?: Buffer; failAt?: number; gate?: Promise<void> } = {}) {
    const given = options.given ?? bytes;
    this.promised = {
      sha256: sha256(bytes),
      sizeBytes: bytes.length,
      mismatched: () => {
        this.mismatches += 1;
      },
      source: (range, signal) => this.#stream(given, range, signal, options),
    };
  }
  async *#stream(
    given: Buffer,
    range: ByteRange,
    signal: AbortSignal,
    options: { failAt?: number; gate?: Promise<void> },
  ) {
    this.opened += 1;
    signal.addEventListener("abort", () => {
      this.aborted += 1;
    });
    for (let at = range.start; at < given.length; at += chunkBytes) {
      if (options.gate !== undefined) await Promise.race([options.gate, aborted(signal)]);
      await sleep(0);
      signal.throwIfAborted();
      if (options.failAt !== undefined && at >= options.failAt) throw new Error("the grid is down");
      const piece = given.subarray(at, at + chunkBytes);
      this.givenBytes += piece.length;
      yield piece;
    }
  }
}

const aborted = (signal: AbortSignal) => new Promise((resolve) => signal.addEventListener("abort", resolve));

class Counts implements PackageCacheObserver {
  hits = 0;
  misses = 0;
  bypasses: string[] = [];
  heldBytes = 0;
  mismatches = 0;
  hit() {
    this.hits += 1;
  }
  miss() {
    this.misses += 1;
  }
  bypassed(reason: string) {
    this.bypasses.push(reason);
  }
  filled() {}
  evicted() {}
  mismatched() {
    this.mismatches += 1;
  }
  holds(bytes: number) {
    this.heldBytes = bytes;
  }
}

function aCache(directory = aDirectory(), options: { maxBytes?: number; maxMemoryBytes?: number } = {}) {
  const counts = new Counts();
  const warnings: string[] = [];
  const log = { ...silentLog, warn: (_context: object, message: string) => void warnings.push(message) };
  return { counts, warnings, directory, cache: PackageCache.open({ directory, observer: counts, log, ...options }) };
}

async function collect(body: Uint8Array | AsyncIterable<Uint8Array>): Promise<Buffer> {
  if (body instanceof Uint8Array) return Buffer.from(body);
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  return Buffer.concat(pieces);
}

const readAll = async (cache: PackageCache, promised: PromisedContent, range: ByteRange = { start: 0 }) =>
  collect(await cache.read(promised, range, never()));

/** What arrived before the stream threw, and what it threw. */
async function readUntilFailure(body: Uint8Array | AsyncIterable<Uint8Array>) {
  const pieces: Uint8Array[] = [];
  try {
    for await (const piece of body as AsyncIterable<Uint8Array>) pieces.push(piece);
  } catch (error) {
    return { error, bytes: Buffer.concat(pieces) };
  }
  throw new Error("the stream ended as if all were well");
}

async function cached(directory: string, promised: PromisedContent): Promise<string> {
  const path = join(directory, `${promised.sha256}-${promised.sizeBytes}`);
  for (let tries = 0; tries < 500; tries += 1) {
    if (readdirSync(directory).includes(`${promised.sha256}-${promised.sizeBytes}`)) {
      await sleep(5);
      return path;
    }
    await sleep(5);
  }
  throw new Error("the package did not come into the cache");
}

test("a package is read from its source once and from the cache ever after", async () => {
  const { cache, counts, directory } = aCache();
  const bytes = someBytes(300_000);
  const source = new Source(bytes);
  expect((await readAll(cache, source.promised)).equals(bytes)).toBe(true);
  const path = await cached(directory, source.promised);
  expect((await readAll(cache, source.promised)).equals(bytes)).toBe(true);
  expect((await readAll(cache, source.promised, { start: 5, end: 9 })).equals(bytes.subarray(5, 9))).toBe(true);
  expect(source.opened).toBe(1);
  expect([counts.misses, counts.hits, counts.heldBytes]).toEqual([1, 2, 300_000]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("a large cached package comes as a stream, whole and in ranges", async () => {
  const { cache, directory } = aCache();
  const bytes = someBytes(wholeReadBytes + 100_000);
  const source = new Source(bytes);
  await readAll(cache, source.promised);
  await cached(directory, source.promised);
  const body = await cache.read(source.promised, { start: 0 }, never());
  expect(body).not.toBeInstanceOf(Uint8Array);
  expect((await collect(body)).equals(bytes)).toBe(true);
  expect(
    (await readAll(cache, source.promised, { start: wholeReadBytes })).equals(bytes.subarray(wholeReadBytes)),
  ).toBe(true);
  expect(source.opened).toBe(1);
});

test("many readers of one cold package share one fill", async () => {
  const { cache } = aCache();
  const bytes = someBytes(2_000_000);
  const source = new Source(bytes);
  const starts = [0, 0, 1, 70_000, 1_999_999, 1_000_000];
  const read = await Promise.all(starts.map((start) => readAll(cache, source.promised, { start })));
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
  const promised: PromisedContent = {
    ...slow.promised,
    source: async function* () {
      yield bytes.subarray(0, 500_000);
      await gate;
      yield bytes.subarray(500_000);
    },
  };
  const body = (await cache.read(promised, { start: 0 }, never())) as AsyncIterable<Uint8Array>;
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
  ["a file that goes on", (bytes: Buffer) => Buffer.concat([bytes, Buffer.from("x")])],
  ["an empty file", () => Buffer.alloc(0)],
])("%s never reaches a reader whole, is not kept, and is reported once", async (_what, sabotage) => {
  const { cache, counts, directory } = aCache();
  const bytes = someBytes(400_000);
  const source = new Source(bytes, { given: sabotage(bytes) });
  const bodies = await Promise.all([0, 0, 100_000].map((start) => cache.read(source.promised, { start }, never())));
  const ends = await Promise.all(bodies.map(readUntilFailure));
  for (const { error, bytes: got } of ends) {
    expect(error).toBeInstanceOf(ContentMismatch);
    expect(got.length).toBeLessThanOrEqual(bytes.length - heldBackBytes);
  }
  expect([source.mismatches, counts.mismatches]).toEqual([1, 1]);
  await sleep(20);
  expect(readdirSync(directory)).toEqual([]);
});

test("a source that fails on the way fails its readers and leaves nothing; the next reader begins anew", async () => {
  const { cache, directory } = aCache();
  const bytes = someBytes(400_000);
  const failing = new Source(bytes, { failAt: 200_000 });
  const { error } = await readUntilFailure(await cache.read(failing.promised, { start: 0 }, never()));
  expect(error).toHaveProperty("message", "the grid is down");
  await sleep(20);
  expect(readdirSync(directory)).toEqual([]);
  expect((await readAll(cache, new Source(bytes).promised)).equals(bytes)).toBe(true);
});

test("a fill runs ahead of its fastest reader by no more than its window", async () => {
  const { cache } = aCache();
  const bytes = someBytes(fillWindowBytes + 4_000_000);
  const source = new Source(bytes);
  const body = (await cache.read(source.promised, { start: 0 }, never())) as AsyncIterable<Uint8Array>;
  const iterator = body[Symbol.asyncIterator]();
  const first = await iterator.next();
  await sleep(400);
  expect(source.givenBytes).toBeGreaterThan(1_000_000);
  expect(source.givenBytes).toBeLessThanOrEqual(fillWindowBytes + 2 * 256 * 1024 + chunkBytes);
  const rest = await collect({ [Symbol.asyncIterator]: () => iterator });
  expect(Buffer.concat([first.value as Uint8Array, rest]).equals(bytes)).toBe(true);
});

test("a cold package can be resumed far beyond the window", async () => {
  const { cache } = aCache();
  const bytes = someBytes(fillWindowBytes + 1_000_000);
  const start = bytes.length - 10;
  expect((await readAll(cache, new Source(bytes).promised, { start })).equals(bytes.subarray(start))).toBe(true);
});

test("when the last reader goes away the source is given up, and one of two leaves the other alone", async () => {
  const { cache, directory } = aCache();
  const bytes = someBytes(fillWindowBytes + 4_000_000);
  const source = new Source(bytes);
  const open = async () =>
    ((await cache.read(source.promised, { start: 0 }, never())) as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  const [one, two] = [await open(), await open()];
  await Promise.all([one.next(), two.next()]);
  await one.return?.();
  expect(source.aborted).toBe(0);
  await two.next();
  await two.return?.();
  expect(source.aborted).toBe(1);
  await sleep(50);
  expect(readdirSync(directory)).toEqual([]);
  expect(source.opened).toBe(1);
});

test("an aborted reader ends with the signal's reason, also while it waits for bytes", async () => {
  const { cache } = aCache();
  const source = new Source(someBytes(1000), { gate: new Promise(() => {}) });
  const asker = new AbortController();
  const reading = collect(await cache.read(source.promised, { start: 0 }, asker.signal));
  setTimeout(() => asker.abort(new Error("gone")), 20);
  await expect(reading).rejects.toThrow("gone");
});

test("the directory never outgrows its bound, and what was used least goes first", async () => {
  const { cache, counts, directory } = aCache(undefined, { maxBytes: 350_000 });
  const sources = [1, 2, 3].map((seed) => new Source(someBytes(100_000, seed)));
  for (const source of sources) {
    await readAll(cache, source.promised);
    await cached(directory, source.promised);
  }
  await readAll(cache, sources[0]!.promised);
  const fourth = new Source(someBytes(100_000, 4));
  await readAll(cache, fourth.promised);
  await cached(directory, fourth.promised);
  expect(counts.heldBytes).toBe(300_000);
  expect(readdirSync(directory).sort()).toEqual(
    [sources[0]!, sources[2]!, fourth].map(({ promised }) => `${promised.sha256}-100000`).sort(),
  );
});

test("a reader of a package that is dropped meanwhile still gets all of it", async () => {
  const size = wholeReadBytes + 2_000_000;
  const { cache, directory } = aCache(undefined, { maxBytes: size + 10 });
  const bytes = someBytes(size);
  const source = new Source(bytes);
  await readAll(cache, source.promised);
  await cached(directory, source.promised);
  const body = (await cache.read(source.promised, { start: 0 }, never())) as AsyncIterable<Uint8Array>;
  const iterator = body[Symbol.asyncIterator]();
  const first = await iterator.next();
  const other = new Source(someBytes(size, 2));
  await readAll(cache, other.promised);
  await cached(directory, other.promised);
  const rest = await collect({ [Symbol.asyncIterator]: () => iterator });
  expect(Buffer.concat([first.value as Uint8Array, rest]).equals(bytes)).toBe(true);
  expect(source.opened).toBe(1);
});

test("a package larger than the cache is streamed past it, and still verified", async () => {
  const { cache, counts, directory } = aCache(undefined, { maxBytes: 100_000 });
  const bytes = someBytes(400_000);
  expect((await readAll(cache, new Source(bytes).promised, { start: 7 })).equals(bytes.subarray(7))).toBe(true);
  const wrong = new Source(bytes, { given: someBytes(400_000, 2) });
  const { error, bytes: got } = await readUntilFailure(await cache.read(wrong.promised, { start: 0 }, never()));
  expect(error).toBeInstanceOf(ContentMismatch);
  expect(got.length).toBeLessThanOrEqual(400_000 - heldBackBytes);
  expect(counts.bypasses).toEqual(["size", "size"]);
  expect(readdirSync(directory)).toEqual([]);
});

test("a directory that can't be made or written is warned of once, and packages are served past it", async () => {
  const file = join(aDirectory(), "not-a-directory");
  writeFileSync(file, "");
  const { cache, warnings, counts } = aCache(join(file, "cache"));
  const bytes = someBytes(200_000);
  for (let round = 0; round < 3; round += 1) {
    expect((await readAll(cache, new Source(bytes).promised)).equals(bytes)).toBe(true);
  }
  expect(warnings).toHaveLength(1);
  expect(counts.bypasses).toEqual(["disk", "disk", "disk"]);
});

test("a restart takes over the files, the oldest first in line to go, and removes half-written and short ones", async () => {
  const directory = aDirectory();
  const first = aCache(directory);
  const sources = [1, 2].map((seed) => new Source(someBytes(100_000, seed)));
  for (const [at, source] of sources.entries()) {
    await readAll(first.cache, source.promised);
    utimesSync(await cached(directory, source.promised), 1000 - at, 1000 - at);
  }
  writeFileSync(join(directory, `${"a".repeat(64)}-5.1.part`), "ha");
  writeFileSync(join(directory, `${"b".repeat(64)}-5`), "shor");
  const { cache, counts } = aCache(directory, { maxBytes: 250_000 });
  expect(readdirSync(directory)).toHaveLength(2);
  expect(counts.heldBytes).toBe(200_000);
  const third = new Source(someBytes(100_000, 3));
  await readAll(cache, third.promised);
  await cached(directory, third.promised);
  await readAll(cache, sources[0]!.promised);
  expect(sources[0]!.opened).toBe(1);
  await readAll(cache, sources[1]!.promised);
  expect(sources[1]!.opened).toBe(2);
});

test("a restart with a smaller bound shrinks the directory to it", async () => {
  const directory = aDirectory();
  const { cache } = aCache(directory);
  for (const seed of [1, 2, 3]) {
    const { promised } = new Source(someBytes(100_000, seed));
    await readAll(cache, promised);
    await cached(directory, promised);
  }
  expect(aCache(directory, { maxBytes: 150_000 }).counts.heldBytes).toBe(100_000);
  expect(readdirSync(directory)).toHaveLength(1);
});

test.each([["removed"], ["cut short"]])("a cached file that somebody %s is fetched again", async (what) => {
  for (const size of [100_000, wholeReadBytes + 1000]) {
    const { cache, directory } = aCache(undefined, { maxMemoryBytes: 0 });
    const bytes = someBytes(size);
    const source = new Source(bytes);
    await readAll(cache, source.promised);
    const path = await cached(directory, source.promised);
    if (what === "removed") rmSync(path);
    else writeFileSync(path, readFileSync(path).subarray(0, 50_000));
    expect((await readAll(cache, source.promised)).equals(bytes)).toBe(true);
    expect(source.opened).toBe(2);
  }
});

test("a claim of the right digest with a wrong size spoils nobody else's reading", async () => {
  const { cache } = aCache();
  const bytes = someBytes(200_000);
  const liar = new Source(bytes);
  const lie = { ...liar.promised, sizeBytes: 150_000 };
  const [told] = await Promise.all([
    readUntilFailure(await cache.read(lie, { start: 0 }, never())),
    readAll(cache, new Source(bytes).promised).then((got) => expect(got.equals(bytes)).toBe(true)),
  ]);
  expect(told.error).toBeInstanceOf(ContentMismatch);
});

test("any range of any package arrives exactly, cold or cached or past the cache", async () => {
  const cases = fc.record({
    size: fc.integer({ min: 1, max: 300_000 }),
    from: fc.double({ min: 0, max: 1, noNaN: true }),
    to: fc.double({ min: 0, max: 1, noNaN: true }),
    maxBytes: fc.constantFrom(50_000, 1_000_000),
  });
  await fc.assert(
    fc.asyncProperty(cases, async ({ size, from, to, maxBytes }) => {
      const { cache } = aCache(undefined, { maxBytes });
      const bytes = someBytes(size);
      const { promised } = new Source(bytes);
      const start = Math.min(size - 1, Math.floor(Math.min(from, to) * size));
      const end = Math.max(start + 1, Math.floor(Math.max(from, to) * size));
      for (let round = 0; round < 2; round += 1) {
        expect((await readAll(cache, promised, { start, end })).equals(bytes.subarray(start, end))).toBe(true);
      }
    }),
    { numRuns: 60 },
  );
});
