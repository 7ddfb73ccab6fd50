// Bodies in both directions, timed by silence and never by a total: what moves goes on.
import { Readable } from "node:stream";

/** Pieces of this size, in bytes, tell progress; a slow line takes seconds for each. */
const pieceBytes = 64 * 1024;

/** What an upload's body says of itself while it is sent. */
export interface SendProgress {
  /** The connection takes no more for now, or has everything: from now on it is waited for. */
  waiting(sentBytes: number, isWhole: boolean): void;
  /** It took what it was given: now the body's own source is waited for, which is nobody's silence. */
  moved(): void;
}

/**
 * A body that tells when its consumer takes something.
 * @param body at most `pieceBytes` are taken at once, however long a piece of it is
 */
export function observedBody(body: Uint8Array | AsyncIterable<Uint8Array>, progress: SendProgress): Readable {
  async function* pieces(): AsyncGenerator<Uint8Array> {
    let sentBytes = 0;
    for await (const chunk of body instanceof Uint8Array ? [body] : body) {
      for (let at = 0; at < chunk.length; at += pieceBytes) {
        const piece = chunk.subarray(at, at + pieceBytes);
        progress.waiting(sentBytes, false);
        yield piece;
        sentBytes += piece.length;
        progress.moved();
      }
    }
    progress.waiting(sentBytes, true);
  }
  // Without this, 16 pieces would be read ahead and count as sent.
  return Readable.from(pieces(), { highWaterMark: 1 });
}

/** How fast what is waited for comes, over windows of waiting; a consumer that takes its time does not count. */
export class TransferRate {
  readonly #windowMs: number;
  readonly #minBytesPerSecond: number;
  #waitedMs = 0;
  #bytes = 0;

  constructor(windowMs: number, minBytesPerSecond: number) {
    this.#windowMs = windowMs;
    this.#minBytesPerSecond = minBytesPerSecond;
  }

  /** @returns whether the whole window was too slow */
  add(bytes: number, waitedMs: number): boolean {
    this.#waitedMs += waitedMs;
    this.#bytes += bytes;
    if (this.#waitedMs < this.#windowMs) return false;
    const tooSlow = this.isSlow(0);
    this.#waitedMs = 0;
    this.#bytes = 0;
    return tooSlow;
  }

  /** Whether it is too slow as far as this window has come. @param waitedMs for what has not come yet */
  isSlow(waitedMs: number): boolean {
    return this.#bytes * 1000 < this.#minBytesPerSecond * (this.#waitedMs + waitedMs);
  }

  /** @param waitedMs for what has not come yet */
  waitedMs(waitedMs: number): number {
    return this.#waitedMs + waitedMs;
  }
}
