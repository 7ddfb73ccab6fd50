// A tree in a local folder. Every check is made on an open inode, so that a path cannot be replaced by a link between
// check and use.

import { isUtf8 } from "node:buffer";
import type { BigIntStats, Dirent } from "node:fs";
import { constants, promises as fs } from "node:fs";
import { join } from "node:path";
import { sleep } from "../../base/abort.ts";
import { ContentId } from "../../base/content-id.ts";
import { LimitExceeded, RepoError, systemCodeOf } from "../../base/errors.ts";
import { forEachConcurrent } from "../../base/for-each-concurrent.ts";
import type { TreePath } from "../../base/names.ts";
import { isEntryName, joinPath, parentPath, rootPath } from "../../base/names.ts";
import { Semaphore } from "../../base/semaphore.ts";
import type { FairShareKeyOf } from "../decorators/limited-tree.ts";
import { InvalidNameCollector } from "../invalid-names.ts";
import type { LocalFile } from "../local-file.ts";
import { fileIdentityOf, isBelow, O_PATH } from "../local-file.ts";
import type { ByteRange, Directory, Entry, FileRef, Node, OtherEntry, Tree } from "../tree.ts";
import { ContentGone, StorageUnavailable } from "../tree.ts";
import * as descriptors from "./descriptors.ts";
import type { HardLinks, OpenedFile } from "./hard-links.ts";
import type { FileStat } from "./stats.ts";
import { fileStat, isAbsence, statsOf } from "./stats.ts";

/** Limits of a folder tree. */
export interface FolderLimits {
  /** The number of entries in one directory. */
  readonly maxEntries: number;
  /** Directories that are listed concurrently. Each needs a file descriptor; others wait in a queue. */
  readonly maxLooks: number;
  /** Concurrent threads for large directories; each needs about 12 MB. */
  readonly maxStatThreads: number;
  /** Symbolic links that are followed concurrently; the thread pool of Node.js has four threads. */
  readonly parallelLinks: number;
  /** The size of one read. */
  readonly chunkBytes: number;
}

export const defaultFolderLimits: FolderLimits = {
  maxEntries: 500_000,
  maxLooks: 8,
  maxStatThreads: 2,
  parallelLinks: 64,
  chunkBytes: 64 * 1024,
};

/** The delays in ms before retries when the machine lacks e.g. file descriptors. */
const shortageDelaysMs = [50, 200, 500, 1000];

/** An inode that is open with O_PATH, its real path and its stat. */
interface InodeHandle {
  readonly descriptor: number;
  /** Opens this inode even if its name has changed. @see proc(5) */
  readonly magicLink: string;
  readonly realPath: string;
  readonly stat: BigIntStats;
}

/**
 * Requires Linux with /proc. Symbolic links within the folder are followed: links to files always, links to directories
 * at most once in a path, to avoid cycles.
 */
export class FolderTree implements Tree {
  readonly #root: string;
  readonly #limits: FolderLimits;
  readonly #hardLinks: HardLinks | undefined;
  readonly #fairShareKeyOf: FairShareKeyOf;
  readonly #looks: Semaphore;
  readonly #statThreads: Semaphore;
  #lastRoot: string | undefined;

  /** @param hardLinks holds what was once read by its content, so that it can be opened again after it was unlinked */
  constructor(
    root: string,
    limits: FolderLimits = defaultFolderLimits,
    hardLinks?: HardLinks,
    fairShareKeyOf: FairShareKeyOf = () => undefined,
  ) {
    this.#fairShareKeyOf = fairShareKeyOf;
    this.#root = root;
    this.#limits = limits;
    this.#hardLinks = hardLinks;
    this.#looks = new Semaphore(limits.maxLooks);
    this.#statThreads = new Semaphore(limits.maxStatThreads);
  }

  async look(path: TreePath, signal: AbortSignal): Promise<Node | undefined> {
    const release = await this.#looks.take(signal, this.#fairShareKeyOf(path));
    try {
      const root = await this.#realRoot();
      return await withStorageErrors(path, signal, () => this.#look(root, path, signal));
    } finally {
      release();
    }
  }

  async *open(file: FileRef, range: ByteRange | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    signal.throwIfAborted();
    const { path, content } = file;
    // The last known real path of the root. If the root has moved since, the file is outside of it and counts as gone.
    const root = this.#lastRoot ?? (await this.#realRoot());
    const opened = await withStorageErrors(path, signal, () => this.#openRegular(root, file));
    if (opened === undefined) throw new ContentGone(path);
    const { descriptor, sizeBytes } = opened;
    try {
      const end = Math.min(range?.end ?? Number.POSITIVE_INFINITY, sizeBytes);
      for (let position = range?.start ?? 0; position < end; ) {
        signal.throwIfAborted();
        const buffer = Buffer.allocUnsafe(Math.min(this.#limits.chunkBytes, end - position));
        const bytesRead =
          (await withStorageErrors(path, signal, () => descriptors.read(descriptor, buffer, position))) ?? 0;
        if (bytesRead === 0) break;
        position += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
      // If the file was written during the read, the bytes are neither the old nor the new content.
      if (content !== undefined && fileIdentityOf(await descriptors.statOf(descriptor)) !== content.reveal()) {
        throw new ContentGone(path);
      }
    } finally {
      await descriptors.close(descriptor);
    }
  }

  localFile({ path, content }: FileRef): LocalFile | undefined {
    const root = this.#lastRoot;
    if (root === undefined || content === undefined) return undefined;
    const identity = content.reveal();
    return {
      location: {
        root,
        path: join(root, path),
        fileIdentity: identity,
        hardLinkPath: this.#hardLinks?.pathOf(content),
      },
    };
  }

  async #look(root: string, path: TreePath, signal: AbortSignal): Promise<Node | undefined> {
    const inode = await openInode(join(root, path));
    if (inode === undefined) return this.#dangling(root, path);
    try {
      const entry = entryOf(root, inode);
      if (entry.kind !== "directory") return entry;
      const isLinked = inode.realPath !== join(root, path);
      if (isLinked && (await this.#isSecondLink(root, path))) return secondLink;
      return await this.#list(root, path, inode, isLinked, signal);
    } finally {
      await descriptors.close(inode.descriptor);
    }
  }

  async #list(
    root: string,
    path: TreePath,
    { magicLink }: InodeHandle,
    isLinked: boolean,
    signal: AbortSignal,
  ): Promise<Directory> {
    const invalidNames = new InvalidNameCollector();
    const dirents = (await entriesOf(magicLink, invalidNames)).filter(({ name }) => {
      if (isEntryName(name)) return true;
      invalidNames.add(name);
      return false;
    });
    const { maxEntries, parallelLinks } = this.#limits;
    if (dirents.length > maxEntries)
      throw new LimitExceeded("maxEntries", maxEntries, "a directory's number of entries");
    const entries = new Map<string, Entry>();
    for (const entry of dirents) entries.set(entry.name, entry.isDirectory() ? { kind: "directory" } : notAFile);
    const setEntry = (name: string, entry: Entry | undefined) =>
      entry === undefined ? entries.delete(name) : entries.set(name, entry);
    const names = dirents.filter((entry) => entry.isFile()).map(({ name }) => name);
    const stats = await statsOf({ directory: magicLink, names }, this.#statThreads, signal);
    for (const [index, stat] of stats.entries()) setEntry(names[index] ?? "", stat && fileEntry(stat));
    const links = dirents.filter((entry) => entry.isSymbolicLink());
    await forEachConcurrent(links, parallelLinks, async ({ name }) => {
      signal.throwIfAborted();
      setEntry(name, await this.#followLink(root, joinPath(path, name), isLinked));
    });
    return { kind: "directory", entries, ...invalidNames.asProperty };
  }

  async #followLink(root: string, path: TreePath, isBelowLink: boolean): Promise<Entry | undefined> {
    const inode = await openInode(join(root, path));
    if (inode === undefined) return this.#dangling(root, path);
    try {
      const entry = entryOf(root, inode);
      return entry.kind === "directory" && isBelowLink ? secondLink : entry;
    } finally {
      await descriptors.close(inode.descriptor);
    }
  }

  /** Distinguishes a missing path from a dangling link. */
  async #dangling(root: string, path: TreePath): Promise<OtherEntry | undefined> {
    const inode = await openInode(join(root, path), constants.O_NOFOLLOW);
    if (inode !== undefined) await descriptors.close(inode.descriptor);
    return inode === undefined ? undefined : { kind: "other", reason: "a symbolic link to nothing" };
  }

  async #isSecondLink(root: string, path: TreePath): Promise<boolean> {
    if (path === rootPath || !(await fs.lstat(join(root, path))).isSymbolicLink()) return false;
    const parent = join(root, parentPath(path));
    return (await fs.realpath(parent)) !== parent;
  }

  /** Opens a file by its path if it is unchanged, else by its hard link. */
  async #openRegular(root: string, { path, content }: FileRef): Promise<OpenedFile | undefined> {
    const inode = await openInode(join(root, path));
    if (inode === undefined) return await this.#openHardLink(content);
    try {
      const entry = entryOf(root, inode);
      const isSame = content === undefined || (entry.kind === "file" && entry.content?.reveal() === content.reveal());
      if (entry.kind !== "file" || !isSame) return await this.#openHardLink(content);
      if (content !== undefined) await this.#hardLinks?.add(content, inode.realPath, isContent(content));
      // Opening the magic link opens exactly the inode that was checked.
      const descriptor = await descriptors.open(inode.magicLink, constants.O_RDONLY | constants.O_NONBLOCK);
      return { descriptor, sizeBytes: Number(inode.stat.size) };
    } finally {
      await descriptors.close(inode.descriptor);
    }
  }

  async #openHardLink(content: ContentId | undefined): Promise<OpenedFile | undefined> {
    return content && (await this.#hardLinks?.open(content, isContent(content)));
  }

  /** A missing root is an error, not an empty tree: otherwise an unmounted disk would withdraw all suites. */
  async #realRoot(): Promise<string> {
    try {
      // The dot makes it an error if the path is a file.
      this.#lastRoot = await fs.realpath(`${this.#root}/.`);
      return this.#lastRoot;
    } catch (thrown) {
      throw new StorageUnavailable(rootPath, `the folder is not there (${codeOf(thrown)})`, { transient: true });
    }
  }
}

const notAFile: OtherEntry = { kind: "other", reason: "neither a file nor a directory" };
const secondLink: OtherEntry = { kind: "other", reason: "a symbolic link to a directory below another such link" };

/**
 * Reads the entries of a directory.
 * @param invalidNames receives names that are not UTF-8: decoded to text, they could not be opened
 */
async function entriesOf(directory: string, invalidNames: InvalidNameCollector): Promise<Dirent[]> {
  // Reading names as bytes takes longer than everything else in a listing, so text is tried first. If the file system
  // does not report types of entries, this call fails for names that are not UTF-8.
  const asText = await fs.readdir(directory, { withFileTypes: true }).catch(() => undefined);
  if (asText?.every(({ name }) => !name.includes(replacementCharacter)) === true) return asText;
  return (await fs.readdir(directory, { withFileTypes: true, encoding: "buffer" })).flatMap((entry) => {
    const name = entry.name.toString();
    if (isUtf8(entry.name)) return [Object.assign(entry, { name })];
    invalidNames.add(name);
    return [];
  });
}

/** Replaces bytes that are not UTF-8 in decoded text. */
const replacementCharacter = "\ufffd";

/** @returns undefined if nothing is there, or (without O_NOFOLLOW) for a dangling link */
async function openInode(path: string, flags = 0): Promise<InodeHandle | undefined> {
  const descriptor = await undefinedIfAbsent(() => descriptors.open(path, O_PATH | flags));
  if (descriptor === undefined) return undefined;
  try {
    const magicLink = `/proc/self/fd/${descriptor}`;
    const [realPath, stat] = await Promise.all([descriptors.linkTarget(magicLink), descriptors.statOf(descriptor)]);
    return { descriptor, magicLink, realPath, stat };
  } catch (thrown) {
    await descriptors.close(descriptor);
    if (isShortage(thrown)) throw thrown;
    throw new StorageUnavailable(rootPath, `/proc cannot be read (${codeOf(thrown)})`, { transient: false });
  }
}

function entryOf(root: string, { realPath, stat }: InodeHandle): Entry {
  if (!isBelow(realPath, root)) {
    return { kind: "other", reason: "a symbolic link that leaves the tree" };
  }
  if (stat.isDirectory()) return { kind: "directory" };
  return fileEntry(fileStat(stat));
}

function fileEntry({ isFile, sizeBytes, modifiedMs, fileIdentity: identity }: FileStat): Entry {
  if (!isFile) return notAFile;
  return {
    kind: "file",
    sizeBytes,
    content: new ContentId(identity),
    linkedAtMs: modifiedMs,
    relinkedAtMs: modifiedMs,
    metadata: undefined,
  };
}

const isContent =
  (content: ContentId) =>
  (stat: BigIntStats): boolean =>
    fileIdentityOf(stat) === content.reveal();

const permanentErrors: ReadonlySet<string> = new Set(["EACCES", "EPERM"]);

/** Errors because the machine lacks file descriptors, memory or threads. */
const shortageErrors: ReadonlySet<string> = new Set([
  "EMFILE",
  "ENFILE",
  "ENOMEM",
  "EAGAIN",
  "ERR_WORKER_INIT_FAILED",
  "ERR_WORKER_OUT_OF_MEMORY",
]);

const isShortage = (thrown: unknown): boolean => shortageErrors.has(codeOf(thrown));

const codeOf = (thrown: unknown): string => systemCodeOf(thrown) ?? "unknown";

async function undefinedIfAbsent<T>(action: () => Promise<T>): Promise<T | undefined> {
  try {
    return await action();
  } catch (thrown) {
    if (isAbsence(thrown)) return undefined;
    throw thrown;
  }
}

/**
 * Turns system errors into errors of the Tree interface, and absence into undefined. Operations that fail because the
 * machine lacks resources are retried, because these are often available again soon.
 */
async function withStorageErrors<T>(
  path: TreePath,
  signal: AbortSignal,
  action: () => Promise<T>,
): Promise<T | undefined> {
  for (let attempt = 0; ; attempt++) {
    try {
      const value = await undefinedIfAbsent(action);
      signal.throwIfAborted();
      return value;
    } catch (thrown) {
      if (signal.aborted || thrown instanceof RepoError) throw thrown;
      const code = codeOf(thrown);
      const shortage = isShortage(thrown);
      if (!shortage && !/^E[A-Z0-9]+$/.test(code)) throw thrown;
      const delayMs = shortageDelaysMs[attempt];
      if (!shortage || delayMs === undefined) {
        throw new StorageUnavailable(path, `the system says ${code}`, {
          transient: !permanentErrors.has(code),
          shortage,
        });
      }
      await sleep(delayMs, signal);
    }
  }
}
