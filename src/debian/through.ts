// A content through a Node stream, with errors kept apart: the content's own, and the stream's about the bytes.
import type { Duplex, Writable } from "node:stream";

/**
 * Feeds the content to a transforming stream and yields what comes out, with back-pressure. Ending the iteration early
 * destroys the stream and closes the content.
 * @param explain turns what the stream throws about the bytes into an error of ours; the content's own errors pass by
 */
export async function* through(
  content: AsyncIterable<Uint8Array>,
  stream: Duplex,
  explain: (thrown: unknown) => Error,
): AsyncGenerator<Uint8Array> {
  const source = watch(content);
  // When the content fails, the reading below must end, too: destroying the stream does that.
  const fed = feed(source.content, stream).catch((thrown: unknown) => void stream.destroy(thrown as Error));
  try {
    for await (const chunk of stream) yield chunk as Uint8Array;
    await fed;
  } catch (thrown) {
    throw source.failure === undefined ? explain(thrown) : source.failure.thrown;
  } finally {
    stream.destroy();
    source.close();
  }
}

/** One chunk at a time, so that a stream never gathers several and transforms them as one. */
async function feed(content: AsyncIterable<Uint8Array>, stream: Writable): Promise<void> {
  for await (const chunk of content) {
    await new Promise<void>((resolve, reject) => {
      stream.write(chunk, (error) => (error ? reject(error) : resolve()));
    });
  }
  stream.end();
}

/** A content that remembers whether it was the one to fail. */
interface Watched {
  readonly content: AsyncIterable<Uint8Array>;
  /** Set once reading the content itself has thrown. */
  readonly failure: { readonly thrown: unknown } | undefined;
  /** Ends the content even while a writer sits on a chunk; after a read that is under way, if there is one. */
  close(): void;
}

function watch(content: AsyncIterable<Uint8Array>): Watched {
  let failure: { readonly thrown: unknown } | undefined;
  async function* watched(): AsyncGenerator<Uint8Array> {
    try {
      yield* content;
    } catch (thrown) {
      failure = { thrown };
      throw thrown;
    }
  }
  const passed = watched();
  return {
    content: passed,
    get failure() {
      return failure;
    },
    close() {
      passed.return(undefined).catch(() => undefined);
    },
  };
}
