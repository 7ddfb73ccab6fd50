// Measures how long the main thread was blocked by a single piece of work.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Runs some work and returns the longest time, in ms, between two ticks of a timer of one millisecond. On a busy
 * machine the value means little by itself: compare it with the same work done in another way.
 */
export const longestBlockMs = (work: () => unknown): Promise<number> =>
  longestBetweenTicks(() => performance.now(), work);

/**
 * Runs some work and returns the longest time, in ms, that the main thread computed between two ticks of a timer of one
 * millisecond. It is CPU time of this thread, so it does not grow if the machine is busy.
 */
export const longestComputingMs = (work: () => unknown): Promise<number> => longestBetweenTicks(mainThreadMs, work);

/** @param nowMs a clock */
async function longestBetweenTicks(nowMs: () => number, work: () => unknown): Promise<number> {
  let longestMs = 0;
  let lastMs = nowMs();
  const look = () => {
    const tickMs = nowMs();
    longestMs = Math.max(longestMs, tickMs - lastMs);
    lastMs = tickMs;
  };
  const timer = setInterval(look, 1);
  try {
    await sleep(5);
    longestMs = 0;
    await work();
    await sleep(1);
    look();
  } finally {
    clearInterval(timer);
  }
  return longestMs;
}

/** The CPU time of the main thread of this process. It has the id of the process. */
function mainThreadMs(): number {
  const [nanoseconds] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ");
  return Number(nanoseconds) / 1e6;
}
