// Heeding an abort signal without leaving traces on it.
import { setMaxListeners } from "node:events";
import { setTimeout as timer } from "node:timers/promises";

/**
 * All that is called when a signal is aborted. The signal itself has one listener: Node compares each that is added with
 * all that are there, and thousands of tasks may share one signal.
 */
const listenersOf = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls once when the signal is aborted, at once if it is already.
 * @returns takes the listener away; to be called in every case, since a signal may live as long as the server
 */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  if (signal.aborted) {
    listener();
    return () => {};
  }
  const known = listenersOf.get(signal);
  const listeners = known ?? new Set();
  // The same function may be given twice.
  const own = () => listener();
  listeners.add(own);
  if (known === undefined) {
    listenersOf.set(signal, listeners);
    // Many calls share one signal, and Node would warn of a leak at the eleventh.
    setMaxListeners(0, signal);
    signal.addEventListener("abort", callAll, { once: true });
  }
  return () => {
    listeners.delete(own);
    if (listeners.size > 0 || listenersOf.get(signal) !== listeners) return;
    listenersOf.delete(signal);
    signal.removeEventListener("abort", callAll);
  };
}

function callAll(this: AbortSignal): void {
  const listeners = listenersOf.get(this) ?? [];
  listenersOf.delete(this);
  for (const listener of listeners) listener();
}

/** @throws signal.reason, unlike Node's own, which throws an error of its making */
export async function sleep(delayMs: number, signal: AbortSignal): Promise<void> {
  setMaxListeners(0, signal);
  await timer(delayMs, undefined, { signal }).catch(() => {});
  signal.throwIfAborted();
}

/**
 * Waits to be called.
 * @param enter takes what to call, with what to resolve with; returns how to leave without having been called
 * @throws signal.reason when aborted first, after leaving
 */
export function calledOrAborted<T>(signal: AbortSignal, enter: (call: (value: T) => void) => () => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = enter((value) => {
      forget();
      resolve(value);
    });
    const forget = onAbort(signal, () => {
      leave();
      // What the signal gives is passed on as it is, like everywhere else.
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors
      reject(signal.reason);
    });
  });
}

/** Rejects when the signal is aborted first; the work itself goes on. */
export async function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  // Once the caller has aborted, later rejections of the work are ignored.
  work.catch(() => undefined);
  signal.throwIfAborted();
  return await calledOrAborted<Promise<T>>(signal, (call) => {
    const settle = (): void => call(work);
    work.then(settle, settle);
    return () => undefined;
  });
}
