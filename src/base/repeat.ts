// Periodic work: one run at a time, with a pause between the end of a run and the start of the next.
import { onAbort } from "./abort.ts";

interface RepeatOptions {
  /** Before the first run; 0: the first run starts before `repeat` returns. */
  readonly firstDelayMs: number;
  /** Ends the repetition. A run that is under way is not interrupted. */
  readonly signal: AbortSignal;
}

/**
 * Runs a task again and again. The pauses do not keep the process alive.
 * @param task returns the pause before its next run, in ms; it handles its own errors
 * @returns resolves once the signal is aborted and the last run has ended
 */
export async function repeat(
  task: () => number | Promise<number>,
  { firstDelayMs, signal }: RepeatOptions,
): Promise<void> {
  for (let delayMs = firstDelayMs; ; ) {
    if (delayMs > 0) await pause(delayMs, signal);
    if (signal.aborted) return;
    delayMs = await task();
  }
}

/** Resolves after a time, or when the signal is aborted. */
function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      forget();
      resolve();
    };
    const timer = setTimeout(end, delayMs).unref();
    const forget = onAbort(signal, end);
  });
}
