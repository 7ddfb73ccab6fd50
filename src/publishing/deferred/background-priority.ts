// Work that somebody waits for goes before what is made in the background, which rests meanwhile.
import { sleep } from "../../base/abort.ts";
import type { YieldFunction } from "../../base/yield-to-event-loop.ts";
import { yieldToEventLoop } from "../../base/yield-to-event-loop.ts";

/**
 * How long late work rests at most, in ms, until it has worked as long again: under pings without an end it has half of
 * the time.
 */
const mostRestMs = 5_000;
/** How often resting work looks whether it may go on, in ms. */
const lookMs = 5;

export class BackgroundPriority {
  readonly #now: () => number;
  #waitedFor = 0;
  #restLeftMs = mostRestMs;
  #isResting = false;
  #reckonedMs: number;

  /** @param now in milliseconds */
  constructor(now: () => number) {
    this.#now = now;
    this.#reckonedMs = now();
  }

  /** What somebody waits for has begun: until it ends, late work rests. */
  async first<T>(work: Promise<T>): Promise<T> {
    this.#waitedFor += 1;
    try {
      return await work;
    } finally {
      this.#waitedFor -= 1;
    }
  }

  /**
   * For late work, to be awaited often: besides taking turns, it rests while there is work that somebody waits for. Not
   * to be awaited while holding what such work needs, as the queue of refreshes: they would wait for one another.
   * @throws signal.reason from what is returned, when aborted
   */
  yieldToForeground(signal: AbortSignal): YieldFunction {
    const takeTurns = yieldToEventLoop(signal);
    return async () => {
      await takeTurns();
      while (this.#mustRest()) await sleep(lookMs, signal);
    };
  }

  #mustRest(): boolean {
    const nowMs = this.#now();
    const passedMs = nowMs - this.#reckonedMs;
    this.#reckonedMs = nowMs;
    const leftMs = this.#restLeftMs + (this.#isResting ? -passedMs : passedMs);
    this.#restLeftMs = Math.min(Math.max(0, leftMs), mostRestMs);
    this.#isResting = this.#waitedFor > 0 && this.#restLeftMs > 0;
    return this.#isResting;
  }
}
