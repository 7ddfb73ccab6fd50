// Waiting that an abort ends.
import { setTimeout as timer } from "node:timers/promises";

/** @throws signal.reason, unlike Node's own, which throws an error of its making */
export async function sleep(delayMs: number, signal: AbortSignal): Promise<void> {
  await timer(delayMs, undefined, { signal }).catch(() => {});
  signal.throwIfAborted();
}
