// The thread in which Contents are sorted, merged, cut and compressed. It is started on demand and ends when idle.
import type { MessagePort } from "node:worker_threads";
import { youngHeapMebibytes } from "../../../base/worker-heap.ts";
import type { CompressedSegment } from "../../../indices/compression/compress.ts";
import { CompressionPool } from "../../../indices/compression/compression-pool.ts";
import type {
  compressPaths,
  MergeTask,
  mergeFiles,
  PlanTask,
  planEdits,
  RecutTask,
  recutSegment,
  SortTask,
  sortLists,
} from "./contents-tasks.ts";

/** The tasks of contents-tasks.ts, in any thread. */
export interface ContentsTasks {
  sortLists(task: SortTask, signal: AbortSignal): ReturnType<typeof sortLists>;
  mergeFiles(task: MergeTask, signal: AbortSignal): ReturnType<typeof mergeFiles>;
  planEdits(task: PlanTask, signal: AbortSignal): Promise<ReturnType<typeof planEdits>>;
  recutSegment(task: RecutTask, signal: AbortSignal): ReturnType<typeof recutSegment>;
  compressPaths(plain: Uint8Array, signal: AbortSignal): ReturnType<typeof compressPaths>;
}

/** How long the idle thread is kept, in milliseconds. */
const idleThreadMs = 2_000;
/** The thread's heap, in MiB: several times the size of the lines that it sorts at once. */
const maxHeapMebibytes = 256;

/** @returns the tasks, in one thread for all repositories; `close` ends the thread when no task is running */
export function createContentsThread(): ContentsTasks & { close(): Promise<void> } {
  const pool = new CompressionPool({
    filename: taskUrl().href,
    minThreads: 0,
    maxThreads: 1,
    idleTimeout: idleThreadMs,
    resourceLimits: { maxOldGenerationSizeMb: maxHeapMebibytes, maxYoungGenerationSizeMb: youngHeapMebibytes },
  });
  // Aborting ends the thread, because a task may take minutes. The next task gets a new thread.
  const run = async <Result>(
    name: keyof ContentsTasks,
    task: object,
    signal: AbortSignal,
    moved: readonly MessagePort[] = [],
  ): Promise<Result> => await pool.run<Result>(name, task, signal, moved);
  return {
    sortLists: (task, signal) => run("sortLists", task, signal),
    mergeFiles: (task, signal) => run("mergeFiles", task, signal, [task.port]),
    planEdits: (task, signal) => run("planEdits", task, signal),
    recutSegment: (task, signal) => run("recutSegment", task, signal),
    async compressPaths(plain, signal) {
      signal.throwIfAborted();
      return await pool.compress<CompressedSegment>("compressPaths", plain);
    },
    close: () => pool.close(),
  };
}

/** Node 20 cannot run TypeScript. If this file runs from src/ (in tests), the thread runs the build in dist/. */
function taskUrl(): URL {
  return import.meta.url.endsWith(".ts")
    ? new URL("../../../../dist/publishing/deferred/contents/contents-tasks.js", import.meta.url)
    : new URL("./contents-tasks.js", import.meta.url);
}
