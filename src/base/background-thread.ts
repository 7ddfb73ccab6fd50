// The priority of worker threads that nobody waits for.
import { setPriority } from "node:os";
import { isMainThread } from "node:worker_threads";

/** A tenth of the share of a thread with the usual priority, when both want the same core (sched(7)). */
const niceness = 10;

/**
 * To be called in a worker thread: the threads that clients wait for go first when cores are short. Linux has a
 * priority for each thread, setpriority(2); elsewhere the whole process would get it, so nothing happens there.
 */
export function lowerThreadPriority(): void {
  if (process.platform !== "linux" || isMainThread) return;
  try {
    setPriority(niceness);
  } catch {
    // A sandbox forbids it: then all threads share the cores evenly.
  }
}
