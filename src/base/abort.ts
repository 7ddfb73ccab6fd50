// Heeding an abort signal without leaving traces on it.
import { once, setMaxListeners } from "node:events";
import { setTimeout as timer } from "node:timers/promises";

/**
 * Calls once when the signal is aborted, at once if it is already.
 * @returns takes the listener away; to be called in every case, since a signal may live as long as the server
 */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  if (signal.aborted) {
    listener();
    return () => {};
  }
  // Many calls share one signal, and Node would warn of a leak at the eleventh.
  setMaxListeners(0, signal);
  signal.addEventListener("abort", listener, { once: true });
  return () => signal.removeEventListener("abort", listener);
}

/** @throws signal.reason, unlike Node's own, which throws an error of its making */
export async function sleep(delayMs: number, signal: AbortSignal): Promise<void> {
  setMaxListeners(0, signal);
  await timer(delayMs, undefined, { signal }).catch(() => {});
  signal.throwIfAborted();
}

/** Rejects when the signal is aborted first; the work itself goes on. */
export async function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  // Where nobody waits for it any more, what it fails at is nobody's concern.
  work.catch(() => undefined);
  signal.throwIfAborted();
  setMaxListeners(0, signal);
  const ended = new AbortController();
  const aborted = once(signal, "abort", { signal: ended.signal }).then(() => signal.throwIfAborted());
  try {
    await Promise.race([work, aborted]);
    return await work;
  } finally {
    ended.abort();
    aborted.catch(() => undefined);
  }
}
