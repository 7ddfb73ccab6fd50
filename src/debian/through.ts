// Pipes a content through a Node.js stream, and distinguishes errors of the content from errors of the stream.

import type { Readable, Writable } from "node:stream";
import { errorOf } from "../base/errors.ts";

/** Both ends of a transformation: the same duplex stream twice, or the pipes of a process. */
export interface Transforming {
  readonly input: Writable;
  readonly output: Readable;
}

/**
 * Writes the content to the input and yields the output, with back-pressure. Once the output has ended, nothing waits
 * for the input. When the iteration ends early, both are destroyed and the content is closed.
 * @param explain turns an error of the output into one of ours; errors of the content pass through
 * @param maxTrailingBytes how many bytes of the content may be left when the output ends; they are read and dropped. A
 *   chunk that was written in part counts as written
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
 * Replaces the iterator of the stream: that of lzma-native also waits for the end of the input, which never comes after
 * trailing bytes.
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

/** Writes a content to a stream, one chunk at a time, so that the stream never buffers several chunks. */
class Feeder {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #input: Writable;
  readonly #done: Promise<void>;
  #failure: { readonly thrown: unknown } | undefined;
  #isStopped = false;
  /** A chunk that was read but not written, because the feeder was stopped meanwhile. */
  #unwritten: Uint8Array | undefined;
  /** Ends the wait for a write: a decoder that has finished never accepts another chunk. */
  #abandonWrite = () => {};

  /** @param output destroyed when the content fails, so that its reader gets an error */
  constructor(content: AsyncIterable<Uint8Array>, input: Writable, output: Readable) {
    this.#source = content[Symbol.asyncIterator]();
    this.#input = input;
    // A failed write ends the feeder; the output gives the cause. Without a listener the error would end the process.
    input.on("error", () => this.#abandonWrite());
    this.#done = this.#feed().catch((thrown: unknown) => void output.destroy(errorOf(thrown)));
  }

  /** Set once reading the content has failed. */
  get failure(): { readonly thrown: unknown } | undefined {
    return this.#failure;
  }

  /** Stops the feeder and reads the rest, but not much more than `most` bytes. @returns how many bytes were read */
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

  /** Stops the feeder and closes the content. A pending read ends first, because two reads must never overlap. */
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
