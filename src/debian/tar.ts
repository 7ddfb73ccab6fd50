// The entries of a tar archive, streamed.
import type { Extract, Header } from "tar-stream";
import { extract } from "tar-stream";
import { Malformed } from "./malformed.ts";
import { watch } from "./through.ts";

/** One entry. Its content can be read once and only until the next entry is asked for; unread bytes are skipped. */
export interface TarEntry {
  /** As written, except that leading `./` and double slashes are gone: `control` for `./control`. */
  readonly name: string;
  readonly type: Header["type"];
  readonly sizeBytes: number;
  readonly content: AsyncIterable<Uint8Array>;
}

/**
 * Reads an archive in one pass, to its very end.
 * @throws Malformed while iterating: `bad-control`; what `content` throws passes by
 */
export async function* readTar(content: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry> {
  const source = watch(content);
  const archive = extract();
  // What fails the feeding fails the reading below as well; there it is dealt with.
  const fed = feed(source.content, archive).catch((thrown: unknown) => archive.destroy(thrown as Error));
  try {
    for await (const entry of archive) {
      const { name, type, size } = entry.header;
      yield { name: plainName(name), type, sizeBytes: size, content: bytesOf(entry) };
      entry.resume();
    }
    await fed;
  } catch (thrown) {
    throw source.failure === undefined ? explain(thrown) : source.failure.thrown;
  } finally {
    archive.destroy();
    source.close();
  }
}

async function feed(content: AsyncIterable<Uint8Array>, archive: Extract): Promise<void> {
  let wake = (): void => {};
  archive.on("drain", () => wake()).on("close", () => wake());
  for await (const chunk of content) {
    if (archive.destroyed) return;
    const drained = new Promise<void>((resolve) => {
      wake = resolve;
    });
    if (!archive.write(chunk)) await drained;
  }
  archive.end(undefined);
}

// The stream's own types do not say that it yields bytes.
async function* bytesOf(entry: AsyncIterable<unknown>): AsyncGenerator<Uint8Array> {
  for await (const chunk of entry) yield chunk as Uint8Array;
}

const plainName = (name: string): string =>
  name
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/");

const explain = (cause: unknown) =>
  new Malformed("bad-control", "its control archive is not a whole tar archive", { cause });
