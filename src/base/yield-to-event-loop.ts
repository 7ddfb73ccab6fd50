// Lets other events run during long work in the main thread.
import { setImmediate } from "node:timers/promises";

/** How long work may block the event loop before it yields, in ms. Requests wait meanwhile. */
const maxBlockMs = 4;

/** Await this often: it returns at once until the time is over. */
export type YieldFunction = () => Promise<void>;

/**
 * Makes a function that yields to the event loop once work has blocked it for some milliseconds. Concurrent parts of
 * the same work share one such function, and so share the time.
 * @returns a function that throws signal.reason when aborted
 */
export function yieldToEventLoop(signal?: AbortSignal): YieldFunction {
  let begunMs = performance.now();
  let others: Promise<void> | undefined;
  return async () => {
    if (others === undefined && performance.now() - begunMs < maxBlockMs) return;
    // One promise for all that wait: with separate ones, each would block the event loop in turn.
    others ??= setImmediate().then(() => {
      others = undefined;
      begunMs = performance.now();
    });
    await others;
    signal?.throwIfAborted();
  };
}
