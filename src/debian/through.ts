// A content through a Node stream, with errors kept apart: the content's own, and the stream's about the bytes.

import type { Readable, Writable } from "node:stream";
import { errorOf } from "../base/errors.ts";

/** Both ends of what transforms bytes: twice the same duplex stream, or the pipes of a process. */
export interface Transforming {
  readonly input: Writable;
  readonly output: Readable;
}

/**
 * Feeds the content to what transforms it and yields what comes out, with back-pressure. Once the output has ended,
 * nothing waits for the input to take more. Ending the iteration early destroys both and closes the content.
 * @param explain turns what the output throws about the bytes into an error of ours; the content's own errors pass by
 * @param maxTrailingBytes how much of the content may be left when the output ends: it is read and dropped. A chunk of
 *   which the stream took a part counts as taken
 */
export async function* through(
  content: AsyncIterable<Uint8Array>,
  { input, output }: Transforming,
  explain: (thrown: unknown) => Error,
  maxTrailingBytes = 0,
): AsyncGenerator<Uint8Array> {
  const feeder = new Feeder(content, input, output);
  try {
    yield* chunksFrom(output);
    if ((await feeder.dropRest(maxTrailingBytes)) > maxTrailingBytes) {
      throw new Error(`more than ${maxTrailingBytes} bytes follow the end of the data`);
    }
  } catch (thrown) {
    throw feeder.failure === undefined ? explain(thrown) : feeder.failure.thrown;
  } finally {
    input.destroy();
    output.destroy();
    await feeder.close();
  }
}

/**
 * Not the stream's own iterator: that of lzma-native's streams waits for the input to end too, which after trailing bytes
 * it never does.
 */
async function* chunksFrom(output: Readable): AsyncGenerator<Uint8Array> {
  let end: { readonly failure?: unknown } | undefined;
  let wake = () => {};
  const endsWith = (ending: { readonly failure?: unknown }) => {
    end ??= ending;
    wake();
  };
  output.on("readable", () => wake());
  output.on("end", () => endsWith({}));
  output.on("error", (failure) => endsWith({ failure }));
  output.on("close", () => endsWith({ failure: new Error("the stream was closed before its end") }));
  for (;;) {
    const chunk: unknown = output.read();
    if (chunk instanceof Uint8Array) yield chunk;
    else if (end === undefined) await new Promise<void>((resolve) => (wake = resolve));
    else if ("failure" in end) throw end.failure;
    else return;
  }
}

/** Writes a content into a stream: one chunk at a time, so that it never gathers several to transform them as one. */
class Feeder {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #input: Writable;
  readonly #done: Promise<void>;
  #failure: { readonly thrown: unknown } | undefined;
  #isStopped = false;
  /** Read, but not written, because the feeding was stopped meanwhile. */
  #unwritten: Uint8Array | undefined;
  /** Ends the waiting for a write: a decoder that has finished never takes a chunk that it has not taken by then. */
  #abandonWrite = () => {};

  /** @param output destroyed when the content fails, so that its reader learns of that */
  constructor(content: AsyncIterable<Uint8Array>, input: Writable, output: Readable) {
    this.#source = content[Symbol.asyncIterator]();
    this.#input = input;
    // A failed write ends the feeding, and how the output ends says why. Without a listener it would end the process.
    input.on("error", () => this.#abandonWrite());
    this.#done = this.#feed().catch((thrown: unknown) => void output.destroy(errorOf(thrown)));
  }

  /** Set once reading the content itself has thrown. */
  get failure(): { readonly thrown: unknown } | undefined {
    return this.#failure;
  }

  /** Stops the feeding and reads on until there is nothing left, or more than `most` bytes. @returns how many bytes */
  async dropRest(most: number): Promise<number> {
    await this.#stop();
    if (this.#failure !== undefined) throw this.#failure.thrown;
    let bytes = this.#unwritten?.byteLength ?? 0;
    while (bytes <= most) {
      const chunk = await this.#next();
      if (chunk === undefined) break;
      bytes += chunk.byteLength;
    }
    return bytes;
  }

  /** Stops the feeding and closes the content. A read that is under way ends first: two must never overlap. */
  async close(): Promise<void> {
    await this.#stop();
    await this.#source.return?.();
  }

  async #feed(): Promise<void> {
    while (!this.#isStopped && this.#input.writable) {
      const chunk = await this.#next();
      if (this.#isStopped) {
        this.#unwritten = chunk;
      } else if (chunk === undefined) {
        this.#input.end();
        return;
      } else {
        await this.#write(chunk);
      }
    }
  }

  async #stop(): Promise<void> {
    this.#isStopped = true;
    this.#abandonWrite();
    await this.#done;
  }

  async #write(chunk: Uint8Array): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#abandonWrite = resolve;
      this.#input.write(chunk, () => resolve());
    });
  }

  async #next(): Promise<Uint8Array | undefined> {
    try {
      const step = await this.#source.next();
      return step.done === true ? undefined : step.value;
    } catch (thrown) {
      this.#failure = { thrown };
      throw thrown;
    }
  }
}
