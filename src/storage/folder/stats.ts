// Stats the files of a directory: a few with asynchronous calls, many in a worker thread with blocking calls.

import type { BigIntStats } from "node:fs";
import { Worker } from "node:worker_threads";
import { abortable } from "../../base/abort.ts";
import { systemCodeOf } from "../../base/errors.ts";
import { forEachConcurrent } from "../../base/for-each-concurrent.ts";
import type { Semaphore } from "../../base/semaphore.ts";
import { youngHeapMebibytes } from "../../base/worker-heap.ts";
import { fileIdentityOf } from "../local-file.ts";
import * as descriptors from "./descriptors.ts";

/** The properties of a file that a listing needs, as plain values that threads can send to each other. */
export interface FileStat {
  readonly isFile: boolean;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** The result of `fileIdentityOf`. */
  readonly fileIdentity: string;
}

/** The files to stat. */
export interface StatRequest {
  readonly directory: string;
  readonly names: readonly string[];
}

/** The results in the order of the names; undefined for files that no longer exist. */
export type Stats = readonly (FileStat | undefined)[];

/** From this number of names on, a thread is used. Starting it takes as long as about a thousand calls. */
const manyNames = 2_000;

/** Concurrent calls; the thread pool of Node.js has four threads. */
const parallelStats = 64;

const absenceErrors: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG"]);

/** Whether a system call failed because the path does not exist. */
export const isAbsence = (thrown: unknown): boolean => absenceErrors.has(systemCodeOf(thrown) ?? "");

export const fileStat = (stat: BigIntStats): FileStat => ({
  isFile: stat.isFile(),
  sizeBytes: Number(stat.size),
  modifiedMs: Math.max(0, Number(stat.mtimeMs)),
  fileIdentity: fileIdentityOf(stat),
});

/**
 * Stats files without following links.
 * @param threads limits the number of threads
 * @returns the results in the order of the names; undefined for files that no longer exist
 * @throws system errors; signal.reason
 */
export async function statsOf(files: StatRequest, threads: Semaphore, signal: AbortSignal): Promise<Stats> {
  if (files.names.length < manyNames) return await statsWithoutThread(files, signal);
  const release = await threads.take(signal);
  try {
    return await statsInThread(files, signal);
  } finally {
    release();
  }
}

async function statsWithoutThread({ directory, names }: StatRequest, signal: AbortSignal): Promise<Stats> {
  const stats: (FileStat | undefined)[] = names.map(() => undefined);
  await forEachConcurrent(names.entries(), parallelStats, async ([index, name]) => {
    signal.throwIfAborted();
    try {
      stats[index] = fileStat(await descriptors.lstatOf(`${directory}/${name}`));
    } catch (thrown) {
      if (!isAbsence(thrown)) throw thrown;
    }
  });
  return stats;
}

// Node.js 20 cannot run TypeScript: if this file runs from src/ (in tests), the worker comes from the build.
const workerUrl = new URL(
  import.meta.url.endsWith(".ts") ? "../../../dist/storage/folder/stats-worker.js" : "stats-worker.js",
  import.meta.url,
);

/** Like `statsOf`, in a new thread, so that a file system that hangs does not block other operations. */
export async function statsInThread(files: StatRequest, signal: AbortSignal): Promise<Stats> {
  signal.throwIfAborted();
  const resourceLimits = { maxYoungGenerationSizeMb: youngHeapMebibytes };
  const worker = new Worker(workerUrl, { workerData: files, env: {}, execArgv: [], resourceLimits });
  const stats: (FileStat | undefined)[] = [];
  const ended = new Promise<void>((resolve, reject) => {
    worker.on("message", (part: Stats) => {
      stats.push(...part);
      if (stats.length === files.names.length) resolve();
    });
    worker.on("error", reject);
    worker.on("exit", () => reject(new Error("the thread that stats files was stopped")));
  });
  try {
    await abortable(ended, signal);
    return stats;
  } finally {
    // Not awaited: if a call hangs, the thread ends when that call returns.
    void worker.terminate();
  }
}
