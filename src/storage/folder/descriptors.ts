// Promises for system calls with numeric file descriptors: Node's FileHandle takes twice as long, which matters for
// 60,000 files.

import type { BigIntStats } from "node:fs";
import fs from "node:fs";

type Callback<T> = (error: NodeJS.ErrnoException | null, value: T) => void;

function promisified<T>(call: (callback: Callback<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => call((error, value) => (error === null ? resolve(value) : reject(error))));
}

/** @see open(2) */
export const open = (path: string, flags: number): Promise<number> => promisified((done) => fs.open(path, flags, done));

/** Closes a descriptor. Errors are ignored, because the descriptor is released in any case. */
export const close = (descriptor: number): Promise<void> =>
  new Promise((resolve) => fs.close(descriptor, () => resolve()));

/** @returns the number of bytes read; 0 at the end */
export const read = (descriptor: number, buffer: Uint8Array, position: number): Promise<number> =>
  promisified((done) => fs.read(descriptor, buffer, 0, buffer.length, position, done));

export const statOf = (descriptor: number): Promise<BigIntStats> =>
  promisified((done) => fs.fstat(descriptor, { bigint: true }, done));

/** Does not follow a symbolic link. @see lstat(2) */
export const lstatOf = (path: string): Promise<BigIntStats> =>
  promisified((done) => fs.lstat(path, { bigint: true }, done));

export const linkTarget = (path: string): Promise<string> => promisified((done) => fs.readlink(path, done));
