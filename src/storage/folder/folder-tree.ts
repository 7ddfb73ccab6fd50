// A tree in a local folder. Every decision is made about a pinned inode, so that no link can be swapped in between.

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

export interface FolderLimits {
  /** In one directory. */
  readonly maxEntries: number;
  /** Directories that are looked at at once. Each holds a descriptor; the others wait, in the order of asking. */
  readonly maxLooks: number;
  /** Threads at once that look at the files of a large directory; each takes about 12 MB. */
  readonly maxStatThreads: number;
  /** How many links are followed together: Node's own pool has four threads. */
  readonly parallelLinks: number;
  /** Of one read. */
  readonly chunkBytes: number;
}

export const defaultFolderLimits: FolderLimits = {
  maxEntries: 500_000,
  maxLooks: 8,
  maxStatThreads: 2,
  parallelLinks: 64,
  chunkBytes: 64 * 1024,
};

/** How long is waited, in ms, before each further attempt at what the machine was short of, e.g. descriptors. */
const shortageDelaysMs = [50, 200, 500, 1000];

/** An inode held fast, where it truly lies, and what it is. */
interface InodeHandle {
  readonly descriptor: number;
  /** Leads to the inode itself whatever its name has become. @see proc(5) */
  readonly magicLink: string;
  readonly realPath: string;
  readonly stat: BigIntStats;
}

/**
 * Needs Linux with /proc. Links that stay inside the folder are followed: those to files always, those to directories
 * at most once on a path, so that no walk goes round in circles.
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
    // Where the root was when it was last looked at: should it be elsewhere now, what is opened lies outside and is gone.
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
      // Written to while it was read: the bytes were neither the old ones nor the new.
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
      const linked = inode.realPath !== join(root, path);
      if (linked && (await this.#isSecondLink(root, path))) return secondLink;
      return await this.#list(root, path, inode, linked, signal);
    } finally {
      await descriptors.close(inode.descriptor);
    }
  }

  async #list(
    root: string,
    path: TreePath,
    { magicLink }: InodeHandle,
    linked: boolean,
    signal: AbortSignal,
  ): Promise<Directory> {
    const unnamed = new InvalidNameCollector();
    const found = (await entriesOf(magicLink, unnamed)).filter(({ name }) => {
      if (isEntryName(name)) return true;
      unnamed.add(name);
      return false;
    });
    const { maxEntries, parallelLinks } = this.#limits;
    if (found.length > maxEntries) throw new LimitExceeded("maxEntries", maxEntries, "a directory's number of entries");
    const entries = new Map<string, Entry>();
    for (const entry of found) entries.set(entry.name, entry.isDirectory() ? { kind: "directory" } : notAFile);
    const put = (name: string, entry: Entry | undefined) =>
      entry === undefined ? entries.delete(name) : entries.set(name, entry);
    const names = found.filter((entry) => entry.isFile()).map(({ name }) => name);
    const stats = await statsOf({ directory: magicLink, names }, this.#statThreads, signal);
    for (const [index, stat] of stats.entries()) put(names[index] ?? "", stat && fileEntry(stat));
    const links = found.filter((entry) => entry.isSymbolicLink());
    await forEachConcurrent(links, parallelLinks, async ({ name }) => {
      signal.throwIfAborted();
      put(name, await this.#followLink(root, joinPath(path, name), linked));
    });
    return { kind: "directory", entries, ...unnamed.asProperty };
  }

  async #followLink(root: string, path: TreePath, linkedAlready: boolean): Promise<Entry | undefined> {
    const inode = await openInode(join(root, path));
    if (inode === undefined) return this.#dangling(root, path);
    try {
      const entry = entryOf(root, inode);
      return entry.kind === "directory" && linkedAlready ? secondLink : entry;
    } finally {
      await descriptors.close(inode.descriptor);
    }
  }

  /** Of a path that leads nowhere: whether nothing is there, or a link to nothing. */
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

  /** By path if it still is what was listed there, else from what was kept. */
  async #openRegular(root: string, { path, content }: FileRef): Promise<OpenedFile | undefined> {
    const inode = await openInode(join(root, path));
    if (inode === undefined) return await this.#openHardLink(content);
    try {
      const entry = entryOf(root, inode);
      const wanted = content === undefined || (entry.kind === "file" && entry.content?.reveal() === content.reveal());
      if (entry.kind !== "file" || !wanted) return await this.#openHardLink(content);
      if (content !== undefined) await this.#hardLinks?.add(content, inode.realPath, isContent(content));
      // Through the magic link, this opens the very inode that was judged.
      const descriptor = await descriptors.open(inode.magicLink, constants.O_RDONLY | constants.O_NONBLOCK);
      return { descriptor, sizeBytes: Number(inode.stat.size) };
    } finally {
      await descriptors.close(inode.descriptor);
    }
  }

  async #openHardLink(content: ContentId | undefined): Promise<OpenedFile | undefined> {
    return content && (await this.#hardLinks?.open(content, isContent(content)));
  }

  /** Without its root a tree is not empty but unavailable: else a lost mount would unpublish everything. */
  async #realRoot(): Promise<string> {
    try {
      // The dot makes a file in the folder's place an error, too.
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
 * What is in a directory.
 * @param unnamed gets the names that are not UTF-8: as text, such a name would look like one, and open nothing
 */
async function entriesOf(directory: string, unnamed: InvalidNameCollector): Promise<Dirent[]> {
  // The bytes of each name take longer than all else that is done with a listing. Where the system does not tell what an
  // entry is, a name that is not UTF-8 fails here.
  const asText = await fs.readdir(directory, { withFileTypes: true }).catch(() => undefined);
  if (asText?.every(({ name }) => !name.includes(replacementCharacter)) === true) return asText;
  return (await fs.readdir(directory, { withFileTypes: true, encoding: "buffer" })).flatMap((entry) => {
    const name = entry.name.toString();
    if (isUtf8(entry.name)) return [Object.assign(entry, { name })];
    unnamed.add(name);
    return [];
  });
}

/** Stands in a text for bytes that are not UTF-8. */
const replacementCharacter = "\ufffd";

/** Undefined if nothing is there; also for a link that leads nowhere, unless O_NOFOLLOW is given. */
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
    throw new StorageUnavailable(rootPath, `/proc can't be read (${codeOf(thrown)})`, { transient: false });
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

/** What this machine lacks, whatever it was asked for: descriptors, memory, threads. */
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
 * Turns the system's errors into the port's; undefined where it says that nothing is there. What the machine is short of
 * is often there again in a moment, so that is tried again before anybody hears of it.
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
