// Gives requests that a client waits for priority over background work, which pauses meanwhile.
import { sleep } from "../../base/abort.ts";
import type { YieldFunction } from "../../base/yield-to-event-loop.ts";
import { yieldToEventLoop } from "../../base/yield-to-event-loop.ts";

/**
 * How long background work pauses at most, in ms, until it has run equally long. So under a constant stream of pings it
 * still gets half of the time.
 */
const maxPauseMs = 5_000;
/** How often paused work checks whether it may continue, in ms. */
const pollMs = 5;

/** Counts foreground work, and makes background work pause while there is any. */
export class BackgroundPriority {
  readonly #now: () => number;
  #foregroundCount = 0;
  #pauseLeftMs = maxPauseMs;
  #isPaused = false;
  #updatedMs: number;

  /** @param now in milliseconds */
  constructor(now: () => number) {
    this.#now = now;
    this.#updatedMs = now();
  }

  /** Runs foreground work; background work pauses until it ends. */
  async runInForeground<T>(work: Promise<T>): Promise<T> {
    this.#foregroundCount += 1;
    try {
      return await work;
    } finally {
      this.#foregroundCount -= 1;
    }
  }

  /**
   * Creates a function that background work must await often. It yields to the event loop, and pauses while foreground
   * work is running. Do not await it while holding anything that foreground work needs, such as the refresh queue: that
   * would be a deadlock.
   * @returns a function that throws signal.reason when aborted
   */
  yieldToForeground(signal: AbortSignal): YieldFunction {
    const yieldNow = yieldToEventLoop(signal);
    return async () => {
      await yieldNow();
      while (this.#mustPause()) await sleep(pollMs, signal);
    };
  }

  #mustPause(): boolean {
    const nowMs = this.#now();
    const passedMs = nowMs - this.#updatedMs;
    this.#updatedMs = nowMs;
    const leftMs = this.#pauseLeftMs + (this.#isPaused ? -passedMs : passedMs);
    this.#pauseLeftMs = Math.min(Math.max(0, leftMs), maxPauseMs);
    this.#isPaused = this.#foregroundCount > 0 && this.#pauseLeftMs > 0;
    return this.#isPaused;
  }
}
