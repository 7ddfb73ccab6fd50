// Runs the requests for pages and for the API some at a time, so that most of the event loop's time is left to apt.
import { performance } from "node:perf_hooks";
import { calledOrAborted } from "../base/abort.ts";
import { HttpError } from "./error-responses.ts";

/** How many pages are made at the same time. */
const maxRunning = 16;
/** How many more may wait. */
const maxWaiting = 256;
/** A page that takes longer, in ms, waits for the storage: others begin. */
const slowPageMs = 2000;
/** How long a place stays empty at least while the event loop is busy, in ms: so at most 20 pages a second are made. */
const minPauseMs = 800;
/** The event loop is busy if this share of the time of a page was not idle. */
const busyShare = 0.8;

export class PageQueue {
  #running = 0;
  readonly #waiting = new Set<() => void>();

  /**
   * Runs a task when it has its turn. If the event loop was busy meanwhile, its place stays empty for as long again, or
   * longer.
   * @throws HttpError if too many wait, and what the task throws
   */
  async run(task: () => Promise<void>, signal: () => AbortSignal): Promise<void> {
    if (this.#running < maxRunning) this.#running += 1;
    else await this.#turn(signal());
    const begun = performance.eventLoopUtilization();
    const begunMs = performance.now();
    let isFree = false;
    const free = (): void => {
      if (isFree) return;
      isFree = true;
      this.#leave();
    };
    const slow = setTimeout(free, slowPageMs);
    try {
      await task();
    } finally {
      clearTimeout(slow);
      const isBusy = performance.eventLoopUtilization(begun).utilization > busyShare;
      if (isBusy) setTimeout(free, Math.max(minPauseMs, performance.now() - begunMs)).unref();
      else free();
    }
  }

  /** Resolves when another task has left its place to this one. */
  async #turn(signal: AbortSignal): Promise<void> {
    if (this.#waiting.size >= maxWaiting) throw new HttpError("server/not-ready", "too many pages are requested");
    await calledOrAborted<void>(signal, (call) => {
      const begin = () => call();
      this.#waiting.add(begin);
      return () => this.#waiting.delete(begin);
    });
  }

  #leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#running -= 1;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
