// Long work in the main thread, in turns with everybody else's.
import { setImmediate } from "node:timers/promises";

/** For so long, in ms, one piece of work has the main thread: requests wait meanwhile. */
const turnMs = 4;

/** To be awaited often: it costs next to nothing until the turn is over. */
export type GiveWay = () => Promise<void>;

/** @throws signal.reason from what is returned, when aborted */
export function turns(signal: AbortSignal): GiveWay {
  let begunMs = performance.now();
  return async () => {
    if (performance.now() - begunMs < turnMs) return;
    await setImmediate();
    signal.throwIfAborted();
    begunMs = performance.now();
  };
}
