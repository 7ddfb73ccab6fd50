// Package caches, sources of packages that count requests, and readers.
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { silentLog } from "../../src/base/log.ts";
import type { PackageCacheObserver } from "../../src/publishing/serve/package-cache.ts";
import { PackageCache } from "../../src/publishing/serve/package-cache.ts";
import type { ExpectedContent } from "../../src/publishing/serve/verified-stream.ts";
import type { ByteRange } from "../../src/storage/tree.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

export const chunkBytes = 64 * 1024;
export const never = () => new AbortController().signal;

export const aDirectory = (): string => temporaryDirectory("package-cache");

export function someBytes(size: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0, state = seed; at < size; at += 1) {
    state = (state * 1103515245 + 12345) % 2147483648;
    bytes[at] = state >> 16;
  }
  return bytes;
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** A source in memory that counts requests. */
export class Source {
  opened = 0;
  givenBytes = 0;
  aborted = 0;
  mismatches = 0;
  readonly expected: ExpectedContent;
  constructor(bytes: Buffer, options: { given?: Buffer; failAt?: number; gate?: Promise<void> } = {}) {
    const given = options.given ?? bytes;
    this.expected = {
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
  stored() {}
  evicted() {}
  mismatched() {
    this.mismatches += 1;
  }
  sizeChanged(bytes: number) {
    this.heldBytes = bytes;
  }
}

export function aCache(directory = aDirectory(), options: { maxBytes?: number; maxMemoryBytes?: number } = {}) {
  const counts = new Counts();
  const warnings: string[] = [];
  const log = { ...silentLog, warn: (_context: object, message: string) => void warnings.push(message) };
  return { counts, warnings, directory, cache: PackageCache.open({ directory, observer: counts, log, ...options }) };
}

export async function collect(body: Uint8Array | AsyncIterable<Uint8Array>): Promise<Buffer> {
  if (body instanceof Uint8Array) return Buffer.from(body);
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  return Buffer.concat(pieces);
}

export const readAll = async (cache: PackageCache, expected: ExpectedContent, range: ByteRange = { start: 0 }) =>
  collect(await cache.read(expected, range, never()));

/** The bytes that arrived before the stream threw, and the error. */
export async function readUntilFailure(body: Uint8Array | AsyncIterable<Uint8Array>) {
  const pieces: Uint8Array[] = [];
  try {
    for await (const piece of body as AsyncIterable<Uint8Array>) pieces.push(piece);
  } catch (error) {
    return { error, bytes: Buffer.concat(pieces) };
  }
  throw new Error("the stream ended as if all were well");
}

export async function cached(directory: string, expected: ExpectedContent): Promise<string> {
  const path = join(directory, `${expected.sha256}-${expected.sizeBytes}`);
  for (let tries = 0; tries < 500; tries += 1) {
    if (readdirSync(directory).includes(`${expected.sha256}-${expected.sizeBytes}`)) {
      await sleep(5);
      return path;
    }
    await sleep(5);
  }
  throw new Error("the package did not come into the cache");
}
