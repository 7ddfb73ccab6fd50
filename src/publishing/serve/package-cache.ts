// Caches packages on disk: a directory of verified files by SHA256 with a size limit. Each is downloaded once on
// request.
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
import type { ExpectedContent } from "./verified-stream.ts";
import { ContentCheck, ContentMismatch, verifiedStream } from "./verified-stream.ts";

/** The default size of the cache on disk. */
const defaultPackageCacheBytes = 2 * 1024 ** 3;
/** The default memory for frequently requested small packages. */
export const defaultPackageMemoryBytes = 16 * 1024 ** 2;
/** The memory that each reader of a larger package needs. */
const pieceBytes = 128 * 1024;
/** Packages up to this size are read as one buffer when they are in the cache. */
export const wholeReadBytes = 4 * 1024 ** 2;

/** Receives the events of the cache. */
export interface PackageCacheObserver {
  hit(bytes: number): void;
  miss(bytes: number): void;
  /** A package was streamed without the cache: it is too large beside the current downloads, or the disk failed. */
  bypassed(reason: "size" | "disk"): void;
  stored(bytes: number): void;
  evicted(bytes: number): void;
  mismatched(): void;
  /** The cache has a new size. */
  sizeChanged(bytes: number, files: number): void;
}

/** The directory and the limits of the cache. */
export interface PackageCacheOptions {
  readonly directory: string;
  /** The limit includes temporary files; 0 disables the cache. */
  readonly maxBytes?: number;
  readonly maxMemoryBytes?: number;
  readonly observer: PackageCacheObserver;
  readonly log: Log;
}

const temporarySuffix = ".part";
const cacheName = /^[0-9a-f]{64}-([0-9]+)$/;

/** The name of a package's file in the directory of the cache. */
export const cachedFileName = ({ sha256, sizeBytes }: Pick<ExpectedContent, "sha256" | "sizeBytes">): string =>
  `${sha256}-${sizeBytes}`;

/** The package cache of the server. All repositories share it. */
export class PackageCache {
  readonly #directory: string;
  readonly #maxBytes: number;
  readonly #observer: PackageCacheObserver;
  readonly #log: Log;
  /** The sizes of the cached files, by name. Decides which files to evict. */
  readonly #files: LRUCache<string, number>;
  readonly #memory: LRUCache<string, Uint8Array>;
  /** The files whose bytes were checked since the start: a disk may have changed the files of an earlier run. */
  readonly #checked = new Set<string>();
  readonly #downloads = new Map<string, CacheDownload>();
  #downloadingBytes = 0;
  #startedDownloads = 0;
  #isUnwritable = false;

  /** Opens the cache with the files of an earlier run, least recently used first. Incomplete files are deleted. */
  static open(options: PackageCacheOptions): PackageCache {
    const cache = new PackageCache(options);
    try {
      cache.#loadFiles();
    } catch (thrown) {
      cache.#reportUnwritable(new CacheUnwritable(thrown));
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
        if (reason !== "set") this.#remove(name, bytes);
      },
    });
  }

  /**
   * Reads a range of a package from memory, disk or its source. The range must be within the package. Small cached
   * packages are returned as one buffer.
   * @throws (while iterating, before the last bytes of the package) ContentMismatch, errors of the source
   */
  async read(
    expected: ExpectedContent,
    range: ByteRange,
    signal: AbortSignal,
    pieces?: Pieces,
  ): Promise<Uint8Array | AsyncIterable<Uint8Array>> {
    const name = cachedFileName(expected);
    const end = range.end ?? expected.sizeBytes;
    const whole =
      this.#files.get(name) === undefined ? undefined : (this.#memory.get(name) ?? (await this.#load(name, expected)));
    if (whole === undefined) return this.#stream(name, expected, { start: range.start, end }, signal, pieces);
    this.#observer.hit(end - range.start);
    return whole.subarray(range.start, end);
  }

  /**
   * Takes note of what other processes have read from the directory: it decides which packages stay longest.
   * @param names of files, which may be gone
   */
  noteReads(names: Iterable<string>): void {
    for (const name of names) this.#files.get(name);
  }

  /** Removes a file whose bytes another process has found to be wrong. */
  removeDamaged(name: string): void {
    if (this.#files.has(name)) this.#removeDamaged(name);
  }

  /** @returns undefined if the file is long, or if it is damaged, which removes it */
  async #load(name: string, expected: ExpectedContent): Promise<Uint8Array | undefined> {
    const sizeBytes = this.#files.peek(name) ?? 0;
    if (sizeBytes > wholeReadBytes) return undefined;
    const bytes = await readFile(this.#pathOf(name)).catch(() => undefined);
    if (bytes?.length !== sizeBytes) {
      this.#files.delete(name);
      return undefined;
    }
    if (!this.#checked.has(name)) {
      try {
        const check = new ContentCheck(withoutEvents(expected));
        check.add(bytes);
        check.finish();
      } catch {
        this.#removeDamaged(name);
        return undefined;
      }
      this.#checked.add(name);
    }
    if (this.#files.has(name)) this.#memory.set(name, bytes);
    return bytes;
  }

  /** Opens and downloads nothing before the first byte is requested, so that an unused stream holds no resources. */
  async *#stream(
    name: string,
    content: ExpectedContent,
    range: Required<ByteRange>,
    signal: AbortSignal,
    pieces?: Pieces,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    let position = range.start;
    const file = await this.#openCached(name);
    if (file !== undefined) {
      this.#observer.hit(range.end - range.start);
      const isChecked = this.#checked.has(name);
      const checked = () =>
        verifiedStream(
          { ...withoutEvents(content), source: () => readFrom(file, { start: 0, end: content.sizeBytes }, signal) },
          range,
          signal,
        );
      try {
        for await (const piece of isChecked ? readFrom(file, range, signal, pieces) : checked()) {
          position += piece.length;
          yield piece;
        }
        if (position === content.sizeBytes) this.#checked.add(name);
      } catch (thrown) {
        if (!(thrown instanceof ContentMismatch)) throw thrown;
        this.#removeDamaged(name);
        // Wrong bytes were sent already; the client notices that the response is incomplete.
        if (position > range.start) throw thrown;
      }
      if (position === range.end) return;
      // Somebody truncated the file; the rest comes from the source.
      this.#files.delete(name);
    }
    this.#observer.miss(range.end - position);
    const expected = {
      ...content,
      mismatched: () => {
        this.#observer.mismatched();
        content.mismatched?.();
      },
    };
    try {
      const download = this.#downloadOf(name, expected);
      for await (const piece of download?.read({ start: position, end: range.end }, signal) ?? []) {
        position += piece.length;
        yield piece;
      }
    } catch (thrown) {
      if (!(thrown instanceof CacheUnwritable)) throw thrown;
      this.#observer.bypassed("disk");
    }
    if (position < range.end) yield* verifiedStream(expected, { start: position, end: range.end }, signal);
  }

  /** Ends early if the file was evicted. */
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

  /** The download in progress or a new one; undefined if the content does not fit into the cache. */
  #downloadOf(name: string, expected: ExpectedContent): CacheDownload | undefined {
    const current = this.#downloads.get(name);
    if (current !== undefined) return current;
    const { sizeBytes } = expected;
    if (this.#downloadingBytes + sizeBytes > this.#maxBytes) {
      this.#observer.bypassed("size");
      return undefined;
    }
    this.#downloadingBytes += sizeBytes;
    this.#shrinkTo(this.#maxBytes - this.#downloadingBytes);
    const final = this.#pathOf(name);
    this.#startedDownloads += 1;
    const paths = { final, temporary: `${final}.${this.#startedDownloads}${temporarySuffix}` };
    const download = new CacheDownload(expected, paths, (outcome) => this.#settle(name, expected, outcome));
    this.#downloads.set(name, download);
    return download;
  }

  #settle(name: string, { sizeBytes, cached }: ExpectedContent, outcome: CacheDownloadOutcome): void {
    this.#downloads.delete(name);
    this.#downloadingBytes -= sizeBytes;
    if (outcome.kind === "cached") {
      this.#isUnwritable = false;
      this.#files.set(name, sizeBytes);
      this.#checked.add(name);
      this.#observer.stored(sizeBytes);
      this.#reportSize();
      cached?.(() => this.#readBack(name, sizeBytes));
    } else if (outcome.error instanceof CacheUnwritable) {
      this.#reportUnwritable(outcome.error);
      // The disk is full: evict the least recently used files, so that the next package may fit.
      if (outcome.error.reason === "ENOSPC") this.#shrinkTo(this.#files.calculatedSize - sizeBytes);
    }
  }

  #shrinkTo(bytes: number): void {
    while (this.#files.size > 0 && this.#files.calculatedSize > bytes) this.#files.pop();
  }

  #removeDamaged(name: string): void {
    this.#log.warn({ file: this.#pathOf(name) }, "a file of the package cache is damaged: it is fetched again");
    this.#files.delete(name);
  }

  // Synchronous, so that no later download of the same content is renamed to this path before the file is deleted.
  #remove(name: string, bytes: number): void {
    this.#memory.delete(name);
    this.#checked.delete(name);
    try {
      rmSync(this.#pathOf(name), { force: true });
    } catch (thrown) {
      this.#log.warn({ error: messageOf(thrown) }, "a file of the package cache could not be removed");
    }
    this.#observer.evicted(bytes);
    this.#reportSize();
  }

  #loadFiles(): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const found: { name: string; sizeBytes: number; usedAtMs: number }[] = [];
    for (const name of readdirSync(this.#directory)) {
      const path = join(this.#directory, name);
      if (name.endsWith(temporarySuffix)) rmSync(path, { force: true });
      const expectedBytes = cacheName.exec(name)?.[1];
      if (expectedBytes === undefined) continue;
      const { size, mtimeMs } = statSync(path);
      if (size === Number(expectedBytes)) found.push({ name, sizeBytes: size, usedAtMs: mtimeMs });
      else rmSync(path, { force: true });
    }
    found.sort((a, b) => a.usedAtMs - b.usedAtMs);
    for (const { name, sizeBytes } of found) {
      this.#files.set(name, sizeBytes);
      if (!this.#files.has(name)) this.#remove(name, sizeBytes);
    }
    this.#reportSize();
  }

  #reportUnwritable(error: CacheUnwritable): void {
    if (!this.#isUnwritable)
      this.#log.warn({ reason: error.reason }, "the package cache cannot be written: packages are streamed without it");
    this.#isUnwritable = true;
  }

  #reportSize(): void {
    this.#observer.sizeChanged(this.#files.calculatedSize, this.#files.size);
  }

  #pathOf(name: string): string {
    if (!cacheName.test(name)) throw new TypeError("a cached package must be named by its SHA256 and size");
    return join(this.#directory, name);
  }
}

/** What differs in the cache says nothing about the source. */
const withoutEvents = ({ sha256, isHashOf, sizeBytes, source }: ExpectedContent): ExpectedContent => ({
  sha256,
  ...(isHashOf !== undefined && { isHashOf }),
  sizeBytes,
  source,
});

/** Ends early if the file is shorter. */
export async function* readFrom(
  file: FileHandle,
  range: Required<ByteRange>,
  signal: AbortSignal,
  pieces: Pieces = "lasting",
): AsyncGenerator<Uint8Array, void, undefined> {
  const reused =
    pieces === "fleeting" ? Buffer.allocUnsafeSlow(Math.min(pieceBytes, range.end - range.start)) : undefined;
  try {
    for (let position = range.start; position < range.end; ) {
      signal.throwIfAborted();
      const wanted = Math.min(pieceBytes, range.end - position);
      const piece = await readPiece(file, position, reused?.subarray(0, wanted) ?? Buffer.allocUnsafeSlow(wanted));
      if (piece.length === 0) return;
      position += piece.length;
      yield piece;
    }
  } finally {
    await file.close();
  }
}
