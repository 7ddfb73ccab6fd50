// Local files that a worker thread can read itself. The inode that is checked is also the one that is read.

import type { BigIntStats } from "node:fs";
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  linkSync,
  lstatSync,
  openSync,
  readlinkSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";

/** The location of a file and its expected identity, as plain values that can be sent to a worker. */
export interface LocalFileLocation {
  /** The real path of the tree's root; files outside of it do not belong to the tree. */
  readonly root: string;
  readonly path: string;
  /** The result of `fileIdentityOf`; undefined for any regular file that has this path. */
  readonly fileIdentity: string | undefined;
  /** Where to create a hard link, which keeps the bytes after the file is deleted; undefined for none. */
  readonly hardLinkPath: string | undefined;
  /** Where to write the bytes that were read, readable by everyone. There must be no such file yet. */
  readonly copyPath?: string;
}

/** A file that `readLocalFile` can read. */
export interface LocalFile {
  readonly location: LocalFileLocation;
  /** Callers report a read in a worker with it. @param seconds the duration of the read */
  onRead?(seconds: number, bytes: number): void;
  /** Receives the bytes that a worker has read, before the result of its inspection. */
  onContent?(content: Uint8Array): void;
}

/** The maximum size in bytes of files that are read at once. */
export const maxLocalBytes = 2 ** 20;

/** The permissions of files that everyone may read. */
export const publicMode = 0o644;

/** O_PATH of open(2), which Node.js does not define: refers to an inode without opening the file. */
export const O_PATH = 0o10_000_000;

/**
 * Identifies the bytes of a file: a write changes its mtime, and a file that replaces it has another inode or birth
 * time. ctime is excluded because creating a hard link changes it. If the mtime is reset, the change is found
 * when the bytes are streamed.
 */
export const fileIdentityOf = (stat: BigIntStats): string =>
  `file:${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.birthtimeNs}`;

/** Whether a real path is the root or is below it. */
export const isBelow = (realPath: string, root: string): boolean =>
  realPath === root || realPath.startsWith(root === "/" ? root : `${root}/`);

/**
 * Reads a complete file with blocking calls, for use in worker threads only.
 * @returns undefined if the file is too large, is another one or changed during the read; `Tree.open` reports the
 *   reason
 */
export function readLocalFile({
  root,
  path,
  fileIdentity: expected,
  hardLinkPath,
  copyPath,
}: LocalFileLocation): Uint8Array<ArrayBuffer> | undefined {
  const opened: number[] = [];
  const open = (name: string, flags: number | "wx"): number => {
    const descriptor = openSync(name, flags, publicMode);
    opened.push(descriptor);
    return descriptor;
  };
  const statOf = (descriptor: number) => fstatSync(descriptor, { bigint: true });
  try {
    const inode = open(path, O_PATH);
    const magicLink = `/proc/self/fd/${inode}`;
    const realPath = readlinkSync(magicLink);
    const stat = statOf(inode);
    const fileIdentity = fileIdentityOf(stat);
    if (!isBelow(realPath, root) || !stat.isFile() || fileIdentity !== (expected ?? fileIdentity)) return undefined;
    if (stat.size > maxLocalBytes) return undefined;
    if (hardLinkPath !== undefined) addHardLink(realPath, hardLinkPath, fileIdentity);
    // Opening the magic link opens exactly the inode that was checked.
    const descriptor = open(magicLink, constants.O_RDONLY | constants.O_NONBLOCK);
    const bytes = new Uint8Array(Number(stat.size));
    for (let at = 0; at < bytes.length; ) {
      const bytesRead = readSync(descriptor, bytes, at, bytes.length - at, at);
      if (bytesRead === 0) return undefined;
      at += bytesRead;
    }
    // If the file was written during the read, the bytes are neither the old nor the new content.
    if (fileIdentityOf(statOf(descriptor)) !== fileIdentity) return undefined;
    if (copyPath !== undefined) {
      const copy = open(copyPath, "wx");
      writeFileSync(copy, bytes);
      // The umask may have removed permissions.
      fchmodSync(copy, publicMode);
    }
    return bytes;
  } catch {
    return undefined;
  } finally {
    for (const descriptor of opened) closeSync(descriptor);
  }
}

/** Creates a hard link to a file; does nothing if that fails. */
function addHardLink(realPath: string, target: string, fileIdentity: string): void {
  try {
    linkSync(realPath, target);
  } catch {
    return;
  }
  if (fileIdentityOf(lstatSync(target, { bigint: true })) !== fileIdentity) rmSync(target, { force: true });
}
