// Packages near at hand: a bounded directory of verified files by SHA256, filled once per content while it is served.
import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { LRUCache } from "lru-cache";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { ByteRange } from "../../storage/tree.ts";
import type { Pieces } from "../resource.ts";
import type { CacheDownloadOutcome } from "./cache-download.ts";
import { CacheDownload, CacheUnwritable, readPiece } from "./cache-download.ts";
import type { PromisedContent } from "./verified-stream.ts";
import { verifiedStream } from "./verified-stream.ts";

/** What the cache may take up on disk by default. */
const defaultPackageCacheBytes = 2 * 1024 ** 3;
/** What the most wanted small packages may take up in memory by default. */
const defaultPackageMemoryBytes = 16 * 1024 ** 2;
/** What of a larger one each of its readers has in memory. */
const pieceBytes = 128 * 1024;
/** Packages up to this size are read as one buffer when they are in the cache. */
export const wholeReadBytes = 4 * 1024 ** 2;

/** Told of what the cache does. */
export interface PackageCacheObserver {
  hit(bytes: number): void;
  miss(bytes: number): void;
  /** A package was streamed past the cache: it or what is under way is too large, or the disk refused. */
  bypassed(reason: "size" | "disk"): void;
  filled(bytes: number): void;
  evicted(bytes: number): void;
  mismatched(): void;
  /** What the cache holds now. */
  holds(bytes: number, files: number): void;
}

export interface PackageCacheOptions {
  readonly directory: string;
  /** Temporary files included; 0 switches the cache off. */
  readonly maxBytes?: number;
  readonly maxMemoryBytes?: number;
  readonly observer: PackageCacheObserver;
  readonly log: Log;
}

const temporarySuffix = ".part";
const cacheName = /^[0-9a-f]{64}-([0-9]+)$/;

export class PackageCache {
  readonly #directory: string;
  readonly #maxBytes: number;
  readonly #observer: PackageCacheObserver;
  readonly #log: Log;
  /** Which files there are, by name, with their sizes; decides which to drop. */
  readonly #files: LRUCache<string, number>;
  readonly #memory: LRUCache<string, Uint8Array>;
  readonly #fills = new Map<string, CacheDownload>();
  #fillingBytes = 0;
  #fillsStarted = 0;
  #refused = false;

  /** Takes over what an earlier run left, the longest unused first in line to go; half-written files are removed. */
  static open(options: PackageCacheOptions): PackageCache {
    const cache = new PackageCache(options);
    try {
      cache.#adopt();
    } catch (thrown) {
      cache.#refuse(new CacheUnwritable(thrown));
    }
    return cache;
  }

  private constructor(options: PackageCacheOptions) {
    this.#directory = options.directory;
    this.#maxBytes = options.maxBytes ?? defaultPackageCacheBytes;
    this.#observer = options.observer;
    this.#log = options.log;
    this.#memory = new LRUCache({
      maxSize: Math.max(1, options.maxMemoryBytes ?? defaultPackageMemoryBytes),
      sizeCalculation: (bytes) => Math.max(1, bytes.length),
    });
    this.#files = new LRUCache({
      maxSize: Math.max(1, this.#maxBytes),
      sizeCalculation: (bytes) => Math.max(1, bytes),
      disposeAfter: (bytes, name, reason) => {
        if (reason !== "set") this.#drop(name, bytes);
      },
    });
  }

  /**
   * Reads a range of a package that lies inside it, from memory, disk or its source. Small cached ones come as one buffer.
   * @throws ContentMismatch, and whatever the source throws, from the iteration and before the package's last bytes
   */
  async read(
    promised: PromisedContent,
    range: ByteRange,
    signal: AbortSignal,
    pieces?: Pieces,
  ): Promise<Uint8Array | AsyncIterable<Uint8Array>> {
    const name = `${promised.sha256}-${promised.sizeBytes}`;
    const end = range.end ?? promised.sizeBytes;
    const whole =
      this.#files.get(name) === undefined ? undefined : (this.#memory.get(name) ?? (await this.#load(name)));
    if (whole === undefined) return this.#stream(name, promised, { start: range.start, end }, signal, pieces);
    this.#observer.hit(end - range.start);
    return whole.subarray(range.start, end);
  }

  async #load(name: string): Promise<Uint8Array | undefined> {
    const sizeBytes = this.#files.peek(name) ?? 0;
    if (sizeBytes > wholeReadBytes) return undefined;
    const bytes = await readFile(this.#pathOf(name)).catch(() => undefined);
    if (bytes?.length !== sizeBytes) {
      this.#files.delete(name);
      return undefined;
    }
    if (this.#files.has(name)) this.#memory.set(name, bytes);
    return bytes;
  }

  /** Opens and joins nothing before the first byte is asked for, so a stream that is never read holds nothing. */
  async *#stream(
    name: string,
    content: PromisedContent,
    range: Required<ByteRange>,
    signal: AbortSignal,
    pieces?: Pieces,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    let position = range.start;
    const file = await this.#openCached(name);
    if (file !== undefined) {
      this.#observer.hit(range.end - range.start);
      for await (const piece of readFrom(file, range, signal, pieces)) {
        position += piece.length;
        yield piece;
      }
      if (position === range.end) return;
      // Somebody cut the file short under our hands: the source has the rest.
      this.#files.delete(name);
    }
    this.#observer.miss(range.end - position);
    const promised = {
      ...content,
      mismatched: () => {
        this.#observer.mismatched();
        content.mismatched?.();
      },
    };
    try {
      const fill = this.#fillOf(name, promised);
      for await (const piece of fill?.read({ start: position, end: range.end }, signal) ?? []) {
        position += piece.length;
        yield piece;
      }
    } catch (thrown) {
      if (!(thrown instanceof CacheUnwritable)) throw thrown;
      this.#observer.bypassed("disk");
    }
    if (position < range.end) yield* verifiedStream(promised, { start: position, end: range.end }, signal);
  }

  /** Ends short where the file was dropped meanwhile. */
  async *#readBack(name: string, sizeBytes: number): AsyncGenerator<Uint8Array, void, undefined> {
    const file = await this.#openCached(name);
    if (file !== undefined) yield* readFrom(file, { start: 0, end: sizeBytes }, new AbortController().signal);
  }

  async #openCached(name: string): Promise<FileHandle | undefined> {
    if (this.#files.get(name) === undefined) return undefined;
    return open(this.#pathOf(name), "r").catch(() => {
      this.#files.delete(name);
      return undefined;
    });
  }

  /** The fill that is under way, or a new one; undefined where the content must go past the cache. */
  #fillOf(name: string, promised: PromisedContent): CacheDownload | undefined {
    const underWay = this.#fills.get(name);
    if (underWay !== undefined) return underWay;
    const { sizeBytes } = promised;
    if (this.#fillingBytes + sizeBytes > this.#maxBytes) {
      this.#observer.bypassed("size");
      return undefined;
    }
    this.#fillingBytes += sizeBytes;
    this.#shrinkTo(this.#maxBytes - this.#fillingBytes);
    const final = this.#pathOf(name);
    this.#fillsStarted += 1;
    const paths = { final, temporary: `${final}.${this.#fillsStarted}${temporarySuffix}` };
    const fill = new CacheDownload(promised, paths, (outcome) => this.#settle(name, promised, outcome));
    this.#fills.set(name, fill);
    return fill;
  }

  #settle(name: string, { sizeBytes, cached }: PromisedContent, outcome: CacheDownloadOutcome): void {
    this.#fills.delete(name);
    this.#fillingBytes -= sizeBytes;
    if (outcome.kind === "cached") {
      this.#refused = false;
      this.#files.set(name, sizeBytes);
      this.#observer.filled(sizeBytes);
      this.#tellHoldings();
      cached?.(() => this.#readBack(name, sizeBytes));
    } else if (outcome.error instanceof CacheUnwritable) {
      this.#refuse(outcome.error);
      // A full disk: what was used least makes room, so that the next package may fit.
      if (outcome.error.reason === "ENOSPC") this.#shrinkTo(this.#files.calculatedSize - sizeBytes);
    }
  }

  #shrinkTo(bytes: number): void {
    while (this.#files.size > 0 && this.#files.calculatedSize > bytes) this.#files.pop();
  }

  // Synchronous, so that no later fill of the same content can be renamed into place before this unlinks it.
  #drop(name: string, bytes: number): void {
    this.#memory.delete(name);
    try {
      rmSync(this.#pathOf(name), { force: true });
    } catch (thrown) {
      this.#log.warn({ error: messageOf(thrown) }, "a file of the package cache could not be removed");
    }
    this.#observer.evicted(bytes);
    this.#tellHoldings();
  }

  #adopt(): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const found: { name: string; sizeBytes: number; usedAtMs: number }[] = [];
    for (const name of readdirSync(this.#directory)) {
      const path = join(this.#directory, name);
      if (name.endsWith(temporarySuffix)) rmSync(path, { force: true });
      const promisedBytes = cacheName.exec(name)?.[1];
      if (promisedBytes === undefined) continue;
      const { size, mtimeMs } = statSync(path);
      if (size === Number(promisedBytes)) found.push({ name, sizeBytes: size, usedAtMs: mtimeMs });
      else rmSync(path, { force: true });
    }
    found.sort((a, b) => a.usedAtMs - b.usedAtMs);
    for (const { name, sizeBytes } of found) {
      this.#files.set(name, sizeBytes);
      if (!this.#files.has(name)) this.#drop(name, sizeBytes);
    }
    this.#tellHoldings();
  }

  #refuse(error: CacheUnwritable): void {
    if (!this.#refused)
      this.#log.warn({ reason: error.reason }, "packages are streamed past the cache: it can't be written");
    this.#refused = true;
  }

  #tellHoldings(): void {
    this.#observer.holds(this.#files.calculatedSize, this.#files.size);
  }

  #pathOf(name: string): string {
    if (!cacheName.test(name)) throw new TypeError("a package is cached by its SHA256 and size");
    return join(this.#directory, name);
  }
}

/** Ends early where the file does. */
async function* readFrom(
  file: FileHandle,
  range: Required<ByteRange>,
  signal: AbortSignal,
  pieces: Pieces = "lasting",
): AsyncGenerator<Uint8Array, void, undefined> {
  const again =
    pieces === "fleeting" ? Buffer.allocUnsafeSlow(Math.min(pieceBytes, range.end - range.start)) : undefined;
  try {
    for (let position = range.start; position < range.end; ) {
      signal.throwIfAborted();
      const wanted = Math.min(pieceBytes, range.end - position);
      const piece = await readPiece(file, position, again?.subarray(0, wanted) ?? Buffer.allocUnsafeSlow(wanted));
      if (piece.length === 0) return;
      position += piece.length;
      yield piece;
    }
  } finally {
    await file.close();
  }
}
