// Reads packages from the cache that another process fills: it decides what is stored and evicted.
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { LRUCache } from "lru-cache";
import type { ByteRange } from "../../storage/tree.ts";
import type { Pieces } from "../resource.ts";
import { NotCached } from "../resource.ts";
import { cachedFileName, defaultPackageMemoryBytes, readFrom, wholeReadBytes } from "./package-cache.ts";
import type { ExpectedContent } from "./verified-stream.ts";
import { ContentCheck, ContentMismatch, verifiedStream } from "./verified-stream.ts";

/** Receives the events of the cache; files are given by their names. */
export interface CachedPackagesObserver {
  hit(file: string, bytes: number): void;
  damaged(file: string): void;
}

type Content = Pick<ExpectedContent, "sha256" | "sizeBytes">;

/** How many files that were checked are remembered. */
const maxChecked = 100_000;

export class CachedPackages {
  readonly #directory: string;
  readonly #observer: CachedPackagesObserver;
  readonly #memory = new LRUCache<string, Uint8Array>({
    maxSize: defaultPackageMemoryBytes,
    sizeCalculation: (bytes) => Math.max(1, bytes.length),
  });
  /** The files whose bytes were checked since the start: a disk may have changed them. */
  readonly #checked = new LRUCache<string, true>({ max: maxChecked });

  constructor(directory: string, observer: CachedPackagesObserver) {
    this.#directory = directory;
    this.#observer = observer;
  }

  /**
   * Reads a range of a package, which must be within it. Small packages are returned as one buffer.
   * @throws NotCached, also with the first chunk; before the last bytes of the package, ContentMismatch
   */
  async read(
    content: Content,
    { start, end = content.sizeBytes }: ByteRange,
    signal: AbortSignal,
    pieces?: Pieces,
  ): Promise<Uint8Array | AsyncIterable<Uint8Array>> {
    const file = cachedFileName(content);
    if (content.sizeBytes > wholeReadBytes) return this.#stream(file, content, { start, end }, signal, pieces);
    const whole = this.#memory.get(file) ?? (await this.#load(file, content));
    this.#observer.hit(file, end - start);
    return whole.subarray(start, end);
  }

  async #load(file: string, content: Content): Promise<Uint8Array> {
    const bytes = await readFile(join(this.#directory, file)).catch(notCached);
    try {
      if (!this.#checked.has(file)) checkWhole(content, bytes);
    } catch {
      this.#observer.damaged(file);
      return notCached();
    }
    this.#checked.set(file, true);
    this.#memory.set(file, bytes);
    return bytes;
  }

  /** Opens nothing before the first byte is requested, so that an unused stream holds no resources. */
  async *#stream(
    file: string,
    content: Content,
    range: Required<ByteRange>,
    signal: AbortSignal,
    pieces?: Pieces,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const handle = await open(join(this.#directory, file), "r").catch(notCached);
    this.#observer.hit(file, range.end - range.start);
    if (this.#checked.has(file)) return yield* readFrom(handle, range, signal, pieces);
    const all = { start: 0, end: content.sizeBytes };
    try {
      yield* verifiedStream({ ...content, source: () => readFrom(handle, all, signal) }, range, signal);
    } catch (thrown) {
      if (thrown instanceof ContentMismatch) this.#observer.damaged(file);
      throw thrown;
    }
    if (range.end === content.sizeBytes) this.#checked.set(file, true);
  }
}

/** @throws ContentMismatch */
function checkWhole(content: Content, bytes: Uint8Array): void {
  const check = new ContentCheck({ ...content, source: async function* () {} });
  check.add(bytes);
  check.finish();
}

const notCached = (): never => {
  throw new NotCached("the package is not in the cache");
};
