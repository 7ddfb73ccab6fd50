// Passes one stream to two readers, with memory for one chunk.
import { withResolvers } from "../../base/with-resolvers.ts";

/**
 * The main reader sets the pace together with the reader of the copy, which gets each chunk first. If the reader of the
 * copy ends early, the main one reads on alone.
 */
export class Tee {
  readonly #content: AsyncIterable<Uint8Array>;
  #chunk: Uint8Array | undefined;
  #end: { readonly error?: Error } | undefined;
  #isCopyRead = true;
  #changed = withResolvers<void>();

  constructor(content: AsyncIterable<Uint8Array>) {
    this.#content = content;
  }

  async *main(): AsyncGenerator<Uint8Array> {
    for await (const chunk of this.#content) {
      this.#chunk = chunk;
      this.#change();
      while (this.#chunk !== undefined && this.#isCopyRead) await this.#changed.promise;
      yield chunk;
    }
    this.#end = {};
    this.#change();
  }

  async *copy(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const chunk = this.#chunk;
        if (chunk !== undefined) {
          this.#chunk = undefined;
          this.#change();
          yield chunk;
        } else if (this.#end === undefined) await this.#changed.promise;
        else if (this.#end.error === undefined) return;
        else throw this.#end.error;
      }
    } finally {
      this.#isCopyRead = false;
      this.#change();
    }
  }

  /** Must be called when the main reader has ended: otherwise the copy could wait forever. */
  stop(): void {
    this.#end ??= { error: new Error("the stream was not read to its end") };
    this.#change();
  }

  #change(): void {
    const { resolve } = this.#changed;
    this.#changed = withResolvers<void>();
    resolve();
  }
}
