// The storage interface: a read-only tree of directories and files.
import type { ContentId } from "../base/content-id.ts";
import { RepoError } from "../base/errors.ts";
import type { TreePath } from "../base/names.ts";
import type { InvalidNames } from "./invalid-names.ts";
import type { LocalFile } from "./local-file.ts";

/** A file in the listing of its directory. */
export interface FileEntry {
  readonly kind: "file";
  /** Undefined if the storage does not know the size without reading (a mutable file). */
  readonly sizeBytes: number | undefined;
  /** Undefined for a mutable file, whose bytes may change without a change of the listing. */
  readonly content: ContentId | undefined;
  /** When this name was first linked (Tahoe's linkcrtime; a folder's mtime), in ms since the epoch. Not trusted. */
  readonly linkedAtMs: number;
  /** When the link was last set (linkmotime; a folder's mtime), in ms since the epoch. Not trusted. */
  readonly relinkedAtMs: number;
  /** The metadata that the uploader stored with the link under the key `apt`; undefined if none. Not trusted. */
  readonly metadata: unknown;
}

/** A directory in the listing of its parent. */
export interface DirectoryEntry {
  readonly kind: "directory";
  /** Equal for all links to one directory; undefined if directories cannot be linked. A hash that gives no access. */
  readonly directoryIdentity?: string;
}

/**
 * An entry that is neither file nor directory and is never opened: an unknown cap, a link out of the folder, a pipe.
 */
export interface OtherEntry {
  readonly kind: "other";
  /** For people, e.g. "a symbolic link that leaves the tree". */
  readonly reason: string;
  /** Whether it may be a directory that cannot be read now, so that its known content may still exist. */
  readonly mayBeDirectory?: true;
}

export type Entry = FileEntry | DirectoryEntry | OtherEntry;

/** A directory with its entries by name. */
export interface Directory {
  readonly kind: "directory";
  readonly entries: ReadonlyMap<string, Entry>;
  /** Entries whose names `isEntryName` rejects; undefined if there are none. */
  readonly invalidNames?: InvalidNames;
}

/** The directory, file or other entry at a path. */
export type Node = Directory | FileEntry | OtherEntry;

/** The file to open: by content if it has one (which also works after it was unlinked), else by path. */
export interface FileRef {
  readonly path: TreePath;
  readonly content: ContentId | undefined;
}

/** A range in bytes. `end` is exclusive; by default it is the end of the file. */
export interface ByteRange {
  readonly start: number;
  readonly end?: number;
}

/**
 * A read-only tree. All calls throw `signal.reason` when the signal is aborted.
 */
export interface Tree {
  /**
   * Returns the node at a path; a directory comes with its complete listing.
   * @returns undefined if nothing is there
   * @throws StorageUnavailable, LimitExceeded
   */
  look(path: TreePath, signal: AbortSignal): Promise<Node | undefined>;
  /**
   * Streams bytes with back-pressure: at most about 100 kB are read ahead of the consumer. Ending the iteration early
   * closes the file.
   * @throws StorageUnavailable (also if the stream ends early), ContentGone, LimitExceeded; also while iterating
   */
  open(file: FileRef, range: ByteRange | undefined, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /**
   * Returns a file for `readLocalFile`, which is much cheaper in a worker than a stream. Only trees of local files have
   * this method, if no decorator changes what `open` does.
   * @returns undefined if the file can only be read with `open`
   */
  localFile?(file: FileRef): LocalFile | undefined;
}

/** The storage cannot respond now; a later retry may succeed. */
export class StorageUnavailable extends RepoError {
  readonly code = "storage/unavailable";
  readonly path: TreePath;
  /**
   * Whether a retry soon may succeed: true for timeouts, refused connections and status 5xx; false e.g. for an
   * unreadable cap.
   */
  readonly transient: boolean;
  /** Whether this machine lacks file descriptors, memory or threads; then the error says nothing about the path. */
  readonly shortage: boolean;
  constructor(
    path: TreePath,
    why: string,
    options: { readonly transient: boolean; readonly shortage?: boolean; readonly isChange?: boolean },
  ) {
    const what = options.isChange === true ? "change" : "read";
    super(`cannot ${what} ${path === "" ? "the tree's root" : path}: ${why}`);
    this.path = path;
    this.transient = options.transient;
    this.shortage = options.shortage ?? false;
  }
}

/** The content no longer exists: the file was removed, or (in a folder) changed since it was listed. */
export class ContentGone extends RepoError {
  readonly code = "storage/gone";
  readonly path: TreePath;
  constructor(path: TreePath) {
    super(`${path} is gone or was changed since it was listed`);
    this.path = path;
  }
}
