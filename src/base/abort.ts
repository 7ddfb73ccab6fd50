// Waiting with an abort signal, without leaving listeners on the signal.
import { setMaxListeners } from "node:events";
import { setTimeout as timer } from "node:timers/promises";

/**
 * The listeners of each signal. The signal itself has one: Node.js compares each added listener with all others, and
 * thousands of tasks may share one signal.
 */
const listenersOf = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls the listener once when the signal is aborted; at once if it is aborted already.
 * @returns a function that removes the listener. Call it in every case, because a signal may live as long as the server
 */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  if (signal.aborted) {
    listener();
    return () => {};
  }
  const known = listenersOf.get(signal);
  const listeners = known ?? new Set();
  // The same function may be added twice.
  const own = () => listener();
  listeners.add(own);
  if (known === undefined) {
    listenersOf.set(signal, listeners);
    // Many calls share one signal, and Node.js would warn of a leak at the eleventh listener.
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

/** @throws signal.reason when aborted; the timer of Node.js would throw an error of its own */
export async function sleep(delayMs: number, signal: AbortSignal): Promise<void> {
  setMaxListeners(0, signal);
  await timer(delayMs, undefined, { signal }).catch(() => {});
  signal.throwIfAborted();
}

/**
 * Waits for a callback.
 * @param enter registers the callback, whose argument becomes the result; returns a function that unregisters it
 * @throws signal.reason when aborted first; the callback is then unregistered
 */
export function calledOrAborted<T>(signal: AbortSignal, enter: (call: (value: T) => void) => () => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = enter((value) => {
      forget();
      resolve(value);
    });
    const forget = onAbort(signal, () => {
      leave();
      // The reason of the signal is passed on unchanged, as everywhere else.
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors
      reject(signal.reason);
    });
  });
}

/** Waits for work. @throws signal.reason when aborted first; the work itself continues */
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
