// Downloads one package into the cache: a temporary file that grows while any number of readers follow it.
import type { FileHandle } from "node:fs/promises";
import { open, rename, rm } from "node:fs/promises";
import { errorOf, RepoError, systemCodeOf } from "../../base/errors.ts";
import type { ByteRange } from "../../storage/tree.ts";
import type { ExpectedContent } from "./verified-stream.ts";
import { ContentCheck, heldBackFrom } from "./verified-stream.ts";

/** How far a download may be ahead of its fastest reader before it waits. It must be greater than `heldBackBytes`. */
export const downloadWindowBytes = 8 * 1024 * 1024;
/**
 * How long a download waits for its readers in total, from the first wait on. A download uses one of the few streams
 * that the storage allows at once, which inspections need too. Very slow readers must not block it.
 */
const maxReaderWaitMs = 10_000;
/** The largest piece in which a growing file is read for a response. */
const fileReadBytes = 256 * 1024;

/** The cache could not be written. Readers continue from the source. */
export class CacheUnwritable extends RepoError {
  readonly code = "cache/unwritable";
  /** The system's error code, e.g. ENOSPC. */
  readonly reason: string;
  constructor(cause: unknown) {
    const reason = systemCodeOf(cause) ?? "unknown";
    super(`the package cache cannot be written: ${reason}`);
    this.reason = reason;
  }
}

/** The result of a download. It is reported once, before any reader gets it. */
export type CacheDownloadOutcome = { readonly kind: "cached" } | { readonly kind: "failed"; readonly error: unknown };

/**
 * A download in progress. It ends when all bytes are verified and cached, when it fails, or when the last reader has
 * left.
 */
export class CacheDownload {
  readonly #expected: ExpectedContent;
  readonly #temporaryPath: string;
  readonly #onSettled: (outcome: CacheDownloadOutcome) => void;
  readonly #readerWaitMs: number;
  readonly #abandoned = new AbortController();
  readonly #grown = new Notifier();
  readonly #consumed = new Notifier();
  #file: FileHandle | undefined;
  #writtenBytes = 0;
  #verified = false;
  #failure: Error | undefined;
  #ended = false;
  #readers = 0;
  #fastestReaderAt = 0;

  /**
   * Starts the download.
   * @param onSettled called exactly once, in the same tick in which readers get the result
   * @param readerWaitMs how long to wait for slow readers in total
   */
  constructor(
    expected: ExpectedContent,
    paths: { readonly temporary: string; readonly final: string },
    onSettled: (outcome: CacheDownloadOutcome) => void,
    readerWaitMs = maxReaderWaitMs,
  ) {
    this.#readerWaitMs = readerWaitMs;
    this.#expected = expected;
    this.#temporaryPath = paths.temporary;
    this.#onSettled = onSettled;
    void this.#run(paths.final);
  }

  /**
   * Reads the growing file. If the last reader leaves before the end, the download is aborted.
   * @throws ContentMismatch, CacheUnwritable, errors of the source
   */
  async *read(range: ByteRange, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    const end = range.end ?? this.#expected.sizeBytes;
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
    this.#consumed.notify();
  }

  #readableBytes(): number {
    return this.#verified
      ? this.#expected.sizeBytes
      : Math.min(this.#writtenBytes, heldBackFrom(this.#expected.sizeBytes));
  }

  async #run(finalPath: string): Promise<void> {
    try {
      this.#file = await open(this.#temporaryPath, "wx+", 0o600).catch(unwritable);
      await this.#download(this.#file);
      this.#verified = true;
      this.#grown.notify();
      // Otherwise a power failure could leave a file with the final name whose bytes were never written.
      await this.#file.datasync().catch(unwritable);
      await rename(this.#temporaryPath, finalPath).catch(unwritable);
      this.#end({ kind: "cached" });
    } catch (thrown) {
      if (!this.#verified) this.#failure = errorOf(thrown);
      this.#end({ kind: "failed", error: thrown });
      await rm(this.#temporaryPath, { force: true }).catch(() => undefined);
    }
    this.#grown.notify();
    if (this.#readers === 0) await this.#close();
  }

  async #download(file: FileHandle): Promise<void> {
    const { signal } = this.#abandoned;
    const check = new ContentCheck(this.#expected);
    let waitLimit: AbortSignal | undefined;
    for await (const chunk of this.#expected.source({ start: 0 }, signal)) {
      check.add(chunk);
      await writeWhole(file, chunk, this.#writtenBytes).catch(unwritable);
      this.#writtenBytes += chunk.length;
      this.#grown.notify();
      while (this.#writtenBytes - this.#fastestReaderAt > downloadWindowBytes) {
        waitLimit ??= AbortSignal.any([signal, AbortSignal.timeout(this.#readerWaitMs)]);
        if (waitLimit.aborted) break;
        await this.#consumed.next(waitLimit);
      }
      signal.throwIfAborted();
    }
    check.finish();
  }

  /** Called when no reader is left. Verified bytes are still kept; an incomplete download is aborted. */
  async #abandon(): Promise<void> {
    if (this.#ended) return this.#close();
    if (this.#verified) return;
    this.#failure ??= new DOMException("all readers have left", "AbortError");
    this.#end({ kind: "failed", error: this.#failure });
    this.#abandoned.abort(this.#failure);
  }

  #end(outcome: CacheDownloadOutcome): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onSettled(outcome);
  }

  async #close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch(() => undefined);
  }
}

/** An event without data that several callers can await. */
class Notifier {
  readonly #waiting = new Set<() => void>();

  notify(): void {
    for (const wake of this.#waiting) wake();
  }

  /** Resolves at the next `notify`, or when the signal is aborted. */
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

/**
 * Reads as many bytes as fit into a buffer.
 * @returns a part of that buffer; empty at the end of the file
 */
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
