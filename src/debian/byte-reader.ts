// Exact runs of bytes out of a content that is at hand, or comes in chunks of any size.

/** Bytes that are all at hand, for which nobody has to wait, or chunks on their way. */
export type Content = Uint8Array | AsyncIterable<Uint8Array>;

/** For what works on chunks alone. */
export async function* chunksOf(content: Content): AsyncGenerator<Uint8Array> {
  if (content instanceof Uint8Array) yield content;
  else yield* content;
}

/**
 * Hands the content on up to a limit.
 * @param maxBytes the limit; a function is asked again with each chunk
 * @param beyond what is thrown, at once or while iterating, where there are more bytes
 */
export function atMost(content: Content, maxBytes: number | (() => number), beyond: () => Error): Content {
  const most = typeof maxBytes === "number" ? () => maxBytes : maxBytes;
  if (!(content instanceof Uint8Array)) return chunksAtMost(content, most, beyond);
  if (content.byteLength > most()) throw beyond();
  return content;
}

async function* chunksAtMost(
  content: AsyncIterable<Uint8Array>,
  maxBytes: () => number,
  beyond: () => Error,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of content) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes()) throw beyond();
    yield chunk;
  }
}

/** Pulls from a content, holding at most one of its chunks. */
export class ByteReader {
  readonly #source: AsyncIterator<Uint8Array> | undefined;
  #chunk: Uint8Array = new Uint8Array(0);
  #position = 0;

  constructor(content: Content) {
    if (content instanceof Uint8Array) this.#chunk = content;
    else this.#source = content[Symbol.asyncIterator]();
  }

  /** How many bytes were taken so far. */
  get position(): number {
    return this.#position;
  }

  /** Takes at least one byte and at most `most`; undefined at the end. */
  async some(most: number): Promise<Uint8Array | undefined> {
    while (this.#chunk.byteLength === 0) {
      const step = await this.#source?.next();
      if (step === undefined || step.done === true) return undefined;
      this.#chunk = step.value;
    }
    const taken = this.#chunk.subarray(0, most);
    this.#chunk = this.#chunk.subarray(taken.byteLength);
    this.#position += taken.byteLength;
    return taken;
  }

  /** Takes `count` bytes without waiting, where the chunk at hand has them all; else none, and undefined. */
  atHand(count: number): Uint8Array | undefined {
    if (this.#chunk.byteLength < count) return undefined;
    const taken = this.#chunk.subarray(0, count);
    this.#chunk = this.#chunk.subarray(count);
    this.#position += count;
    return taken;
  }

  /** Passes over at most so many bytes of the chunk at hand. @returns how many */
  skipAtHand(most: number): number {
    const skipped = Math.min(most, this.#chunk.byteLength);
    if (skipped > 0) this.#chunk = this.#chunk.subarray(skipped);
    this.#position += skipped;
    return skipped;
  }

  /** Takes `count` bytes into one buffer; fewer only where the content ends. The caller bounds `count`. */
  async read(count: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let left = count;
    while (left > 0) {
      const part = await this.some(left);
      if (part === undefined) break;
      parts.push(part);
      left -= part.byteLength;
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  }

  /** Passes over all that is left. */
  async drain(): Promise<void> {
    while ((await this.some(Number.POSITIVE_INFINITY)) !== undefined);
  }

  /** Closes the content, read to its end or not. */
  async close(): Promise<void> {
    await this.#source?.return?.();
  }
}
