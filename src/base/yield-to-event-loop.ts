// Long work in the main thread, in turns with everybody else's.
import { setImmediate } from "node:timers/promises";

/** For so long, in ms, one piece of work has the main thread: requests wait meanwhile. */
const turnMs = 4;

/** To be awaited often: it costs next to nothing until the turn is over. */
export type YieldFunction = () => Promise<void>;

/**
 * Gives everybody else a turn whenever one's own is over. What goes on side by side shares one of these, and its turn.
 * @throws signal.reason from what is returned, when aborted
 */
export function yieldToEventLoop(signal?: AbortSignal): YieldFunction {
  let begunMs = performance.now();
  let others: Promise<void> | undefined;
  return async () => {
    if (others === undefined && performance.now() - begunMs < turnMs) return;
    // One for all who wait: with one each, they would begin one turn behind the other.
    others ??= setImmediate().then(() => {
      others = undefined;
      begunMs = performance.now();
    });
    await others;
    signal?.throwIfAborted();
  };
}
