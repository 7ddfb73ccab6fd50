// Atomic writes: a reader sees a whole file or none, also after an interruption.
import { createHash, randomUUID } from "node:crypto";
import { link, open, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { systemCodeOf } from "./errors.ts";

/** The content of a file. If an iterable throws, nothing changes. */
export type FileContent = string | Uint8Array | AsyncIterable<Uint8Array>;

interface WriteOptions {
  /** The exact permissions of the new file; by default 0o666 without the bits of the umask. */
  readonly mode?: number;
  /** The user and group that the new file belongs to, before it has its name; by default those of this process. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
  readonly signal?: AbortSignal;
}

/**
 * Creates a file, or replaces the one with this name. Readers see the old bytes or the new ones, also after a power
 * failure. If several writers replace a file at the same time, the bytes of the last one remain, whole.
 */
export async function replaceFile(file: string, content: FileContent, options: WriteOptions = {}): Promise<void> {
  await write(file, content, options, async (draft) => await rename(draft, file));
}

/**
 * Creates a file. An existing file stays unchanged.
 * @returns whether the file was created
 */
export async function createFile(file: string, content: FileContent, options: WriteOptions = {}): Promise<boolean> {
  return await write(file, content, options, async (draft) => await linkUnlessThere(draft, file));
}

/**
 * Gives a file a second name. Unlike a rename, it never replaces an existing file.
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
  { mode, owner, signal }: WriteOptions,
  place: (draft: string) => Promise<T>,
): Promise<T> {
  const draft = join(dirname(file), draftNameOf(file));
  try {
    const handle = await open(draft, "wx", mode);
    try {
      if (owner !== undefined) await handle.chown(owner.uid, owner.gid);
      // The umask may have removed permissions that the caller wants.
      if (mode !== undefined) await handle.chmod(mode);
      await writeFile(handle, content, { signal });
      // Without this, the file could be empty or incomplete after a power failure.
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

/**
 * Each writer has a draft of its own. The name has a fixed length, because the file may have the longest possible name.
 */
function draftNameOf(file: string): string {
  const name = createHash("sha256").update(file).digest("hex").slice(0, 16);
  return `.${name}.${randomUUID()}.unfinished`;
}
