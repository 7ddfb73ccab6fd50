// Waits for a moment without a change, for things that must not happen and have no event.
import { setTimeout as sleep } from "node:timers/promises";

const momentMs = 200;
const lookEveryMs = 10;

/** Resolves with a value once it has not changed for a moment. */
export async function onceUnchanged<T>(read: () => T): Promise<T> {
  for (let [value, sinceMs] = [read(), performance.now()]; ; ) {
    await sleep(lookEveryMs);
    const now = read();
    if (now !== value) [value, sinceMs] = [now, performance.now()];
    else if (performance.now() - sinceMs > momentMs) return value;
  }
}

/** Whether work is still pending after a moment. */
export const isPending = async (work: Promise<unknown>): Promise<boolean> =>
  await Promise.race([work.then(() => false), sleep(momentMs / 4).then(() => true)]);
