// The storage port: a tree of directories and files, read-only.
import type { ContentId } from "../base/content-id.ts";
import { RepoError } from "../base/errors.ts";
import type { TreePath } from "../base/names.ts";
import type { InvalidNames } from "./invalid-names.ts";
import type { LocalFile } from "./local-file.ts";

/** One file as its directory's listing tells of it. */
export interface FileEntry {
  readonly kind: "file";
  /** Undefined where the storage does not know it without reading (a mutable file). */
  readonly sizeBytes: number | undefined;
  /** Undefined for a mutable file: its bytes may change without a change of the listing. */
  readonly content: ContentId | undefined;
  /** When this name was first linked (Tahoe's linkcrtime; a folder's mtime), in ms since the epoch. Not trusted. */
  readonly linkedAtMs: number;
  /** When the link was last set (linkmotime; a folder's mtime), in ms since the epoch. Not trusted. */
  readonly relinkedAtMs: number;
  /** What the uploader put beside the link under the key `apt`; undefined if nothing. Not trusted. */
  readonly metadata: unknown;
}

export interface DirectoryEntry {
  readonly kind: "directory";
  /** Equal for one directory that is linked at several places; undefined where no directory is. A hash, no authority. */
  readonly directoryIdentity?: string;
}

/** What is there but is neither, and is never opened: an unknown cap, a link that leaves the folder, a pipe. */
export interface OtherEntry {
  readonly kind: "other";
  /** For people, e.g. "a symbolic link that leaves the tree". */
  readonly reason: string;
  /** Whether it may be a directory for all that is known, so that what was in it may be still. */
  readonly mayBeDirectory?: true;
}

export type Entry = FileEntry | DirectoryEntry | OtherEntry;

/** A directory with all its entries by name. */
export interface Directory {
  readonly kind: "directory";
  readonly entries: ReadonlyMap<string, Entry>;
  /** Those with names that `isEntryName` refuses; undefined where there are none. */
  readonly invalidNames?: InvalidNames;
}

/** What is at a path. */
export type Node = Directory | FileEntry | OtherEntry;

/** Which bytes to open: by content where there is one (it may have been unlinked since), else by path. */
export interface FileRef {
  readonly path: TreePath;
  readonly content: ContentId | undefined;
}

/** From `start` on, in bytes; `end` is exclusive and by default the file's end. */
export interface ByteRange {
  readonly start: number;
  readonly end?: number;
}

/**
 * A read-only tree. All calls end with `signal.reason` when the signal is aborted.
 */
export interface Tree {
  /**
   * Looks once: a directory comes with its whole listing.
   * @returns undefined if nothing is there
   * @throws StorageUnavailable, LimitExceeded
   */
  look(path: TreePath, signal: AbortSignal): Promise<Node | undefined>;
  /**
   * Streams bytes with back-pressure: nothing is read ahead of the consumer beyond some 100 kB. Ending the iteration early closes it.
   * @throws StorageUnavailable, ContentGone, LimitExceeded; also while iterating. A stream that ends short throws StorageUnavailable.
   */
  open(file: FileRef, range: ByteRange | undefined, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /**
   * The file for `readLocal`, which in a thread costs a fraction of a stream. Only of trees whose files are this
   * machine's, with nothing between that `open` would do.
   * @returns undefined where the file can only be opened
   */
  localFile?(file: FileRef): LocalFile | undefined;
}

/** The storage can't answer now; trying again later may help. */
export class StorageUnavailable extends RepoError {
  readonly code = "storage/unavailable";
  readonly path: TreePath;
  /** Whether to try again soon can help: true for time-outs, refused connections and 5xx; false for a cap that can't be read. */
  readonly transient: boolean;
  /** Whether this machine lacks descriptors, memory or threads: then it says nothing of what is at the path. */
  readonly shortage: boolean;
  constructor(path: TreePath, why: string, options: { readonly transient: boolean; readonly shortage?: boolean }) {
    super(`cannot read ${path === "" ? "the tree's root" : path}: ${why}`);
    this.path = path;
    this.transient = options.transient;
    this.shortage = options.shortage ?? false;
  }
}

/** These bytes are not there any more: the file was removed, or (in a folder) changed since it was listed. */
export class ContentGone extends RepoError {
  readonly code = "storage/gone";
  readonly path: TreePath;
  constructor(path: TreePath) {
    super(`${path} is gone or was changed since it was listed`);
    this.path = path;
  }
}
