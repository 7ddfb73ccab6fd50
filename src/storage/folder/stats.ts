// What the names in a directory stand for: of a few by calls that do not block, of many by a thread whose calls do.

import type { BigIntStats } from "node:fs";
import { Worker } from "node:worker_threads";
import { abortable } from "../../base/abort.ts";
import { systemCodeOf } from "../../base/errors.ts";
import { forEachConcurrent } from "../../base/for-each-concurrent.ts";
import type { Semaphore } from "../../base/semaphore.ts";
import { youngHeapMebibytes } from "../../base/worker-heap.ts";
import { fileIdentityOf } from "../local-file.ts";
import * as descriptors from "./descriptors.ts";

/** What a listing tells of a file; plain, for threads to send each other. */
export interface FileStat {
  readonly isFile: boolean;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** As `identityOf` has it. */
  readonly fileIdentity: string;
}

/** Whose stats are wanted. */
export interface StatRequest {
  readonly directory: string;
  readonly names: readonly string[];
}

/** In the order of the names; undefined for what is not there any more. */
export type Stats = readonly (FileStat | undefined)[];

/** From so many names on, a thread is started: it takes as long as some thousand calls, and less of the main thread. */
const manyNames = 2_000;

/** How many are asked for together: Node's own pool has four threads. */
const parallelStats = 64;

const absenceErrors: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG"]);

/** Whether a system call failed because nothing is there. */
export const isAbsence = (thrown: unknown): boolean => absenceErrors.has(systemCodeOf(thrown) ?? "");

export const fileStat = (stat: BigIntStats): FileStat => ({
  isFile: stat.isFile(),
  sizeBytes: Number(stat.size),
  modifiedMs: Math.max(0, Number(stat.mtimeMs)),
  fileIdentity: fileIdentityOf(stat),
});

/**
 * @param threads where a large directory waits for a thread to be free
 * @returns the stats in the order of the names, of links themselves; undefined for what is not there any more
 * @throws the system's errors; signal.reason
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

// Node 20 runs no TypeScript: where this file itself runs from src/ (in tests), the worker comes from the build.
const workerUrl = new URL(
  import.meta.url.endsWith(".ts") ? "../../../dist/storage/folder/stats-worker.js" : "stats-worker.js",
  import.meta.url,
);

/** As `statsOf`, by a thread that lives as long as this takes: a storage that hangs holds nothing else up. */
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
    worker.on("exit", () => reject(new Error("the thread that looks at files was stopped")));
  });
  try {
    await abortable(ended, signal);
    return stats;
  } finally {
    // Not awaited: where a call hangs, the thread ends as soon as that does.
    void worker.terminate();
  }
}
