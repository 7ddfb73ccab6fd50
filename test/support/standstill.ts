// For how long the main thread was at nothing but one piece of work: nobody was answered meanwhile.
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Does some work and tells the longest time, in ms, between two turns of a timer of one millisecond. Of a machine with other
 * work to do that says little: compare it with the same work done otherwise, not with a clock.
 */
export async function longestStandstillMs(work: () => unknown): Promise<number> {
  let longestMs = 0;
  let lastMs = performance.now();
  const look = () => {
    longestMs = Math.max(longestMs, performance.now() - lastMs);
    lastMs = performance.now();
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
