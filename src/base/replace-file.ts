// Files that are whole or not there, whoever reads them and whatever interrupts the writing.
import { createHash, randomUUID } from "node:crypto";
import { link, open, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { systemCodeOf } from "./errors.ts";

/** What a file is to hold. An iterable that throws leaves everything as it was. */
export type FileContent = string | Uint8Array | AsyncIterable<Uint8Array>;

interface WriteOptions {
  /** The permissions of the new file, exactly; by default those that the umask leaves of 0o666. */
  readonly mode?: number;
  readonly signal?: AbortSignal;
}

/**
 * Puts a new file in the place of whatever has this name. Readers see the old bytes or the new ones, also after a power
 * failure. Of several writers at once the last one's bytes stay, whole.
 */
export async function replaceFile(file: string, content: FileContent, options: WriteOptions = {}): Promise<void> {
  await write(file, content, options, async (draft) => await rename(draft, file));
}

/**
 * Makes a file unless there is one, which then stays as it is.
 * @returns whether it was made
 */
export async function createFile(file: string, content: FileContent, options: WriteOptions = {}): Promise<boolean> {
  return await write(file, content, options, async (draft) => await linkUnlessThere(draft, file));
}

/**
 * Gives a file another name. Unlike a rename, it never replaces what has that name already.
 * @returns whether the name was free
 */
export async function linkUnlessThere(existing: string, path: string): Promise<boolean> {
  try {
    await link(existing, path);
    return true;
  } catch (thrown) {
    if (systemCodeOf(thrown) === "EEXIST") return false;
    throw thrown;
  }
}

async function write<T>(
  file: string,
  content: FileContent,
  { mode, signal }: WriteOptions,
  place: (draft: string) => Promise<T>,
): Promise<T> {
  const draft = join(dirname(file), draftNameOf(file));
  try {
    const handle = await open(draft, "wx", mode);
    try {
      // The umask may have taken away more than the caller wants.
      if (mode !== undefined) await handle.chmod(mode);
      await writeFile(handle, content, { signal });
      // Without it a power failure could leave the name on bytes that were never written.
      await handle.sync();
    } finally {
      await handle.close();
    }
    signal?.throwIfAborted();
    return await place(draft);
  } finally {
    await rm(draft, { force: true });
  }
}

/** No writer's draft is another's. Of its own length, because the file's name may be as long as a name can be. */
function draftNameOf(file: string): string {
  const name = createHash("sha256").update(file).digest("hex").slice(0, 16);
  return `.${name}.${randomUUID()}.unfinished`;
}
