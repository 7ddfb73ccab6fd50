// Reads given numbers of bytes from a content that is in memory or arrives in chunks of any size.

/** Bytes that are all in memory, or a stream of chunks. */
export type Content = Uint8Array | AsyncIterable<Uint8Array>;

/** The content as a stream of chunks. */
export async function* chunksOf(content: Content): AsyncGenerator<Uint8Array> {
  if (content instanceof Uint8Array) yield content;
  else yield* content;
}

/**
 * Passes a content on, up to a limit.
 * @param maxBytes the limit; a function is called again for each chunk
 * @param beyond makes the error for more bytes, which is thrown at once or while iterating
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

/**
 * Reads the content of an archive member in chunks.
 * @param body counts the bytes that are left, so that the caller can skip them
 * @param truncated makes the error for a content that ends before
 */
export async function* takeBody(
  reader: ByteReader,
  body: { left: number },
  truncated: () => Error,
): AsyncGenerator<Uint8Array> {
  while (body.left > 0) {
    const chunk = await reader.some(body.left);
    if (chunk === undefined) throw truncated();
    body.left -= chunk.byteLength;
    yield chunk;
  }
}

/** Reads from a content and holds at most one of its chunks. */
export class ByteReader {
  readonly #source: AsyncIterator<Uint8Array> | undefined;
  #chunk: Uint8Array = new Uint8Array(0);
  #position = 0;

  constructor(content: Content) {
    if (content instanceof Uint8Array) this.#chunk = content;
    else this.#source = content[Symbol.asyncIterator]();
  }

  /** How many bytes were read so far. */
  get position(): number {
    return this.#position;
  }

  /** Reads at least one byte and at most `most`; undefined at the end. */
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

  /** Reads `count` bytes without waiting, if the current chunk contains them all; otherwise reads nothing. */
  atHand(count: number): Uint8Array | undefined {
    if (this.#chunk.byteLength < count) return undefined;
    const taken = this.#chunk.subarray(0, count);
    this.#chunk = this.#chunk.subarray(count);
    this.#position += count;
    return taken;
  }

  /** Skips at most `most` bytes of the current chunk. @returns how many */
  skipAtHand(most: number): number {
    const skipped = Math.min(most, this.#chunk.byteLength);
    if (skipped > 0) this.#chunk = this.#chunk.subarray(skipped);
    this.#position += skipped;
    return skipped;
  }

  /** Reads `count` bytes into one buffer; fewer only if the content ends. The caller limits `count`. */
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

  /** Skips the rest. */
  async drain(): Promise<void> {
    while ((await this.some(Number.POSITIVE_INFINITY)) !== undefined);
  }

  /** Closes the content, whether it was read to its end or not. */
  async close(): Promise<void> {
    await this.#source?.return?.();
  }
}
