// A file of this machine, read by whichever thread needs its bytes: the inode that was judged is the one that is read.

import type { BigIntStats } from "node:fs";
import {
  closeSync,
  constants,
  fstatSync,
  linkSync,
  lstatSync,
  openSync,
  readlinkSync,
  readSync,
  rmSync,
} from "node:fs";

/** Where a file is, and what it must be. Plain values, for threads to send each other. */
export interface LocalFileLocation {
  /** The tree's root as it truly lies; what does not lie below it is none of the tree's. */
  readonly root: string;
  readonly path: string;
  /** As `identityOf` has it. */
  readonly fileIdentity: string;
  /** Where to make a hard link, so that its bytes outlive their name; undefined where nothing is kept. */
  readonly hardLinkPath: string | undefined;
}

export interface LocalFile {
  readonly location: LocalFileLocation;
  /** Told by whoever had it read in a thread. @param seconds that the storage took */
  onRead?(seconds: number, bytes: number): void;
}

/** Files up to this size, in bytes, are read whole and in one go. */
export const maxLocalBytes = 2 ** 20;

/** open(2)'s O_PATH, which Node does not name: refers to an inode without opening what it is. */
export const O_PATH = 0o10_000_000;

/**
 * Names a file's bytes: a write changes its mtime, and another file in its place is another inode or was born later.
 * ctime is not in it, because a hard link changes that. Who sets mtime back is found out when the bytes are streamed.
 */
export const fileIdentityOf = (stat: BigIntStats): string =>
  `file:${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.birthtimeNs}`;

/** Whether a path without links is the root or lies below it. */
export const isBelow = (realPath: string, root: string): boolean =>
  realPath === root || realPath.startsWith(root === "/" ? root : `${root}/`);

/**
 * Reads a file whole, by calls that block: for a thread of which nobody asks anything else.
 * @returns undefined where it is not, or was not to its end, the small file that it should be: ask the tree for the
 *   reason
 */
export function readLocalFile({ root, path, fileIdentity, hardLinkPath }: LocalFileLocation): Uint8Array | undefined {
  const opened: number[] = [];
  const open = (name: string, flags: number): number => {
    const descriptor = openSync(name, flags);
    opened.push(descriptor);
    return descriptor;
  };
  const stat = (descriptor: number) => fstatSync(descriptor, { bigint: true });
  try {
    const pinned = open(path, O_PATH);
    const magicLink = `/proc/self/fd/${pinned}`;
    const realPath = readlinkSync(magicLink);
    const judged = stat(pinned);
    if (!isBelow(realPath, root) || !judged.isFile() || fileIdentityOf(judged) !== fileIdentity) return undefined;
    if (judged.size > maxLocalBytes) return undefined;
    if (hardLinkPath !== undefined) addHardLink(realPath, hardLinkPath, fileIdentity);
    // Through the magic link, this opens the very inode that was judged.
    const descriptor = open(magicLink, constants.O_RDONLY | constants.O_NONBLOCK);
    const bytes = new Uint8Array(Number(judged.size));
    for (let at = 0; at < bytes.length; ) {
      const came = readSync(descriptor, bytes, at, bytes.length - at, at);
      if (came === 0) return undefined;
      at += came;
    }
    // Written to while it was read: the bytes are neither the old ones nor the new.
    return fileIdentityOf(stat(descriptor)) === fileIdentity ? bytes : undefined;
  } catch {
    return undefined;
  } finally {
    for (const descriptor of opened) closeSync(descriptor);
  }
}

/** What can't be linked is not kept. */
function addHardLink(realPath: string, target: string, fileIdentity: string): void {
  try {
    linkSync(realPath, target);
  } catch {
    return;
  }
  if (fileIdentityOf(lstatSync(target, { bigint: true })) !== fileIdentity) rmSync(target, { force: true });
}
