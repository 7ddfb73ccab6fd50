// Measures the progress of request and response bodies. Timeouts apply to stalled transfers only: there is no limit on
// the total duration.
import { Readable } from "node:stream";

/** The size in bytes after which progress is reported; a slow connection takes seconds for it. */
const sliceBytes = 64 * 1024;

/** Receives the progress of an upload's body. */
export interface SendProgress {
  /** From now on the upload waits for the connection, which has been given a slice, or (if `isWhole`) everything. */
  waiting(sentBytes: number, isWhole: boolean): void;
  /** The connection has accepted the slice: from now on the upload waits for the body's source, without a timeout. */
  sourceReading(): void;
}

/**
 * Wraps a body to report when its consumer reads from it.
 * @param body its chunks are split into slices of at most `sliceBytes`
 */
export function observedBody(body: Uint8Array | AsyncIterable<Uint8Array>, progress: SendProgress): Readable {
  async function* slices(): AsyncGenerator<Uint8Array> {
    let sentBytes = 0;
    for await (const chunk of body instanceof Uint8Array ? [body] : body) {
      for (let at = 0; at < chunk.length; at += sliceBytes) {
        const slice = chunk.subarray(at, at + sliceBytes);
        progress.waiting(sentBytes, false);
        yield slice;
        sentBytes += slice.length;
        progress.sourceReading();
      }
    }
    progress.waiting(sentBytes, true);
  }
  // With the default, 16 slices would be read ahead and count as sent.
  return Readable.from(slices(), { highWaterMark: 1 });
}

/** Measures the rate of a transfer in windows of waiting time, without the time that the consumer takes. */
export class TransferRate {
  readonly #windowMs: number;
  readonly #minBytesPerSecond: number;
  #waitedMs = 0;
  #bytes = 0;

  constructor(windowMs: number, minBytesPerSecond: number) {
    this.#windowMs = windowMs;
    this.#minBytesPerSecond = minBytesPerSecond;
  }

  /** Counts received bytes. @returns whether a window has ended that was too slow */
  add(bytes: number, waitedMs: number): boolean {
    this.#waitedMs += waitedMs;
    this.#bytes += bytes;
    if (this.#waitedMs < this.#windowMs) return false;
    const tooSlow = this.isSlow(0);
    this.#waitedMs = 0;
    this.#bytes = 0;
    return tooSlow;
  }

  /** Whether the current window is too slow so far. @param waitedMs the time waited since the last bytes */
  isSlow(waitedMs: number): boolean {
    return this.#bytes * 1000 < this.#minBytesPerSecond * (this.#waitedMs + waitedMs);
  }

  /** The waiting time in the current window. @param waitedMs the time waited since the last bytes */
  waitedMs(waitedMs: number): number {
    return this.#waitedMs + waitedMs;
  }
}
