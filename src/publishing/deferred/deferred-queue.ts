// Makes late files in the background: for one suite at a time, some moments after its packages were published, and
// never in the way of a ping.
import pLimit from "p-limit";
import { sleep } from "../../base/abort.ts";
import { codeOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { Suite } from "../../base/names.ts";
import type { DeferredFiles, DeferredGenerator, DeferredRequest } from "../build/deferred-files.ts";
import type { PublishingObserver } from "../publishing-observer.ts";
import type { BackgroundPriority } from "./background-priority.ts";

/** How often late files are made and tried. */
export interface DeferredTimes {
  /** From a publication to the work for it and all that follow meanwhile; a suite's first does not wait for others. */
  readonly settleMs: number;
  /** From a failure to the next try. */
  readonly retryMs: number;
}

export const defaultDeferredTimes: DeferredTimes = { settleMs: 1000, retryMs: 60_000 };

/** How often those who wait look whether there is something left to do. */
const pollMs = 20;

export interface DeferredQueueOptions {
  readonly makers: readonly DeferredGenerator[];
  /** What to work for; undefined for a suite that is not to be served any more. */
  readonly orderFor: (suite: Suite) => Omit<DeferredRequest, "yieldNow" | "signal"> | undefined;
  /** Publishes what one maker has made. */
  readonly publish: (suite: Suite, made: readonly [maker: string, DeferredFiles]) => Promise<void>;
  readonly backgroundPriority: Pick<BackgroundPriority, "yieldToForeground">;
  readonly observer: PublishingObserver;
  readonly log: Log;
  readonly now: () => number;
  readonly times: DeferredTimes;
}

export class DeferredQueue {
  readonly #parts: DeferredQueueOptions;
  readonly #inTurn = pLimit(1);
  /** Suites whose work has not begun, with the time of the first publication that it is for, ms since the epoch. */
  readonly #wanted = new Map<Suite, number>();
  /** Suites that were ever asked for. */
  readonly #begun = new Set<Suite>();
  /** Those of the wanted whose work failed last time. */
  readonly #failed = new Set<Suite>();
  readonly #stopping = new AbortController();

  constructor(parts: DeferredQueueOptions) {
    this.#parts = parts;
  }

  /** Sees to it that what is late of this suite is made soon. Work that is asked for before it begins is done once. */
  request(suite: Suite): void {
    if (this.#parts.makers.length === 0 || this.#wanted.has(suite)) return;
    const sinceMs = this.#parts.now();
    this.#wanted.set(suite, sinceMs);
    void this.#soon(suite, sinceMs, this.#begun.has(suite) ? this.#parts.times.settleMs : 0);
    this.#begun.add(suite);
  }

  /** Resolves when everything was tried. @returns the suites whose work failed and is to be tried again later */
  async settled(): Promise<ReadonlySet<Suite>> {
    while (this.#wanted.size > this.#failed.size) await sleep(pollMs, this.#stopping.signal);
    await this.#inTurn(async () => undefined);
    return new Set(this.#failed);
  }

  /**
   * Runs a task that must not meet any of this work.
   * @returns false, with nothing done, while there is work under way
   */
  async unlessBusy(task: () => Promise<void>): Promise<boolean> {
    if (this.#inTurn.activeCount + this.#inTurn.pendingCount > 0) return false;
    await this.#inTurn(task);
    return true;
  }

  /** Abandons what is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the server stops"));
    await this.#inTurn(async () => undefined);
  }

  async #soon(suite: Suite, sinceMs: number, waitMs: number): Promise<void> {
    const { signal } = this.#stopping;
    try {
      await sleep(waitMs, signal);
      await this.#inTurn(async () => {
        signal.throwIfAborted();
        this.#wanted.delete(suite);
        this.#failed.delete(suite);
        await this.#makeAll(suite, sinceMs, signal);
      });
    } catch (thrown) {
      if (signal.aborted) return;
      this.#parts.observer.refreshFailed(codeOf(thrown));
      this.#parts.log.error({ suite, err: thrown }, "what is made in the background could not be made");
      if (this.#wanted.has(suite)) return;
      this.#wanted.set(suite, sinceMs);
      this.#failed.add(suite);
      void this.#soon(suite, sinceMs, this.#parts.times.retryMs);
    }
  }

  /** What one maker fails at does not keep the others from their work. */
  async #makeAll(suite: Suite, sinceMs: number, signal: AbortSignal): Promise<void> {
    const failures: unknown[] = [];
    for (const maker of this.#parts.makers) {
      await this.#make(maker, suite, sinceMs, signal).catch((thrown: unknown) => failures.push(thrown));
    }
    if (failures.length > 0) throw failures[0];
  }

  async #make(maker: DeferredGenerator, suite: Suite, sinceMs: number, signal: AbortSignal): Promise<void> {
    const order = this.#parts.orderFor(suite);
    if (order === undefined) return;
    const yieldNow = this.#parts.backgroundPriority.yieldToForeground(signal);
    const files = await maker.make({ ...order, yieldNow, signal });
    await this.#parts.publish(suite, [maker.name, files]);
    this.#parts.observer.deferredGenerated(suite, maker.name, (this.#parts.now() - sinceMs) / 1000);
  }
}
