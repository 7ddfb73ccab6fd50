// One cold package on its way into the cache: a temporary file that grows while any number of readers follow it.
import type { FileHandle } from "node:fs/promises";
import { open, rename, rm } from "node:fs/promises";
import { errorOf, RepoError, systemCodeOf } from "../../base/errors.ts";
import type { ByteRange } from "../../storage/tree.ts";
import type { PromisedContent } from "./verified-stream.ts";
import { ContentCheck, heldBackFrom } from "./verified-stream.ts";

/** How far a fill runs ahead of its fastest reader while it has patience. More than `heldBackBytes`, or it could never end. */
export const downloadWindowBytes = 8 * 1024 * 1024;
/**
 * How long a fill lets its readers hold it up, from the first time that they do. It holds one of the few streams that the
 * storage gives at once, inspections among them: readers that take a byte now and then must not keep it.
 */
const readersPatienceMs = 10_000;
/** The largest piece in which a growing file is read for a reply. */
const fileReadBytes = 256 * 1024;

/** The disk took no more: readers go on from the source. */
export class CacheUnwritable extends RepoError {
  readonly code = "cache/unwritable";
  /** The system's error code, e.g. ENOSPC. */
  readonly reason: string;
  constructor(cause: unknown) {
    const reason = systemCodeOf(cause) ?? "unknown";
    super(`the package cache can't be written: ${reason}`);
    this.reason = reason;
  }
}

/** How a fill ended: cached, or not and why. Told once, before any reader hears of it. */
export type CacheDownloadOutcome = { readonly kind: "cached" } | { readonly kind: "failed"; readonly error: unknown };

export class CacheDownload {
  readonly #promised: PromisedContent;
  readonly #temporaryPath: string;
  readonly #settled: (outcome: CacheDownloadOutcome) => void;
  readonly #patienceMs: number;
  readonly #abandoned = new AbortController();
  readonly #grown = new Bell();
  readonly #consumed = new Bell();
  #file: FileHandle | undefined;
  #writtenBytes = 0;
  #verified = false;
  #failure: Error | undefined;
  #ended = false;
  #readers = 0;
  #fastestReaderAt = 0;

  /** Starts at once. @param settled called exactly once, synchronously with the state that readers see */
  constructor(
    promised: PromisedContent,
    paths: { readonly temporary: string; readonly final: string },
    settled: (outcome: CacheDownloadOutcome) => void,
    patienceMs = readersPatienceMs,
  ) {
    this.#patienceMs = patienceMs;
    this.#promised = promised;
    this.#temporaryPath = paths.temporary;
    this.#settled = settled;
    void this.#run(paths.final);
  }

  /**
   * Follows the growing file; when the last reader leaves before the end, the fill is given up.
   * @throws ContentMismatch, CacheUnwritable, whatever the source throws
   */
  async *read(range: ByteRange, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    const end = range.end ?? this.#promised.sizeBytes;
    let position = range.start;
    this.#readers += 1;
    this.#consumedTo(position);
    try {
      while (position < end) {
        signal.throwIfAborted();
        if (this.#failure !== undefined) throw this.#failure;
        const available = Math.min(end, this.#readableBytes()) - position;
        if (available <= 0 || this.#file === undefined) {
          await this.#grown.next(signal);
          continue;
        }
        const piece = await readPiece(this.#file, position, Buffer.allocUnsafe(Math.min(available, fileReadBytes)));
        position += piece.length;
        this.#consumedTo(position);
        yield piece;
      }
    } finally {
      this.#readers -= 1;
      if (this.#readers === 0) await this.#abandon();
    }
  }

  #consumedTo(position: number): void {
    this.#fastestReaderAt = Math.max(this.#fastestReaderAt, position);
    this.#consumed.ring();
  }

  #readableBytes(): number {
    return this.#verified
      ? this.#promised.sizeBytes
      : Math.min(this.#writtenBytes, heldBackFrom(this.#promised.sizeBytes));
  }

  async #run(finalPath: string): Promise<void> {
    try {
      this.#file = await open(this.#temporaryPath, "wx+", 0o600).catch(unwritable);
      await this.#pour(this.#file);
      this.#verified = true;
      this.#grown.ring();
      // Without this a power failure could leave the final name on a file whose bytes were never written.
      await this.#file.datasync().catch(unwritable);
      await rename(this.#temporaryPath, finalPath).catch(unwritable);
      this.#end({ kind: "cached" });
    } catch (thrown) {
      if (!this.#verified) this.#failure = errorOf(thrown);
      this.#end({ kind: "failed", error: thrown });
      await rm(this.#temporaryPath, { force: true }).catch(() => undefined);
    }
    this.#grown.ring();
    if (this.#readers === 0) await this.#close();
  }

  async #pour(file: FileHandle): Promise<void> {
    const { signal } = this.#abandoned;
    const check = new ContentCheck(this.#promised);
    let patience: AbortSignal | undefined;
    for await (const chunk of this.#promised.source({ start: 0 }, signal)) {
      check.add(chunk);
      await writeWhole(file, chunk, this.#writtenBytes).catch(unwritable);
      this.#writtenBytes += chunk.length;
      this.#grown.ring();
      while (this.#writtenBytes - this.#fastestReaderAt > downloadWindowBytes) {
        patience ??= AbortSignal.any([signal, AbortSignal.timeout(this.#patienceMs)]);
        if (patience.aborted) break;
        await this.#consumed.next(patience);
      }
      signal.throwIfAborted();
    }
    check.finish();
  }

  /** Nobody reads any more: what is verified is still kept, the rest is given up. */
  async #abandon(): Promise<void> {
    if (this.#ended) return this.#close();
    if (this.#verified) return;
    this.#failure ??= new DOMException("every reader has gone", "AbortError");
    this.#end({ kind: "failed", error: this.#failure });
    this.#abandoned.abort(this.#failure);
  }

  #end(outcome: CacheDownloadOutcome): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#settled(outcome);
  }

  async #close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch(() => undefined);
  }
}

/** Wakes all who wait. */
class Bell {
  readonly #waiting = new Set<() => void>();

  ring(): void {
    for (const wake of this.#waiting) wake();
  }

  /** Resolves at the next ring, or when the signal is aborted. */
  next(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener("abort", wake, { once: true });
      if (signal.aborted) wake();
    });
  }
}

/** Reads at most what a buffer holds. @returns a part of that buffer, empty at the file's end */
export async function readPiece(file: FileHandle, position: number, buffer: Uint8Array): Promise<Uint8Array> {
  const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
  return buffer.subarray(0, bytesRead);
}

async function writeWhole(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  }
}

function unwritable(cause: unknown): never {
  throw new CacheUnwritable(cause);
}
