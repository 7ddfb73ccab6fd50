// Generates deferred files in the background: for one suite at a time, shortly after its packages were published. Pings
// have priority.

import { sleep } from "../../base/abort.ts";
import { codeOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { Suite } from "../../base/names.ts";
import { RepeatedFailures } from "../../base/repeated-failures.ts";
import { SerialQueue } from "../../base/serial-queue.ts";
import type { DeferredFiles, DeferredGenerator, DeferredRequest } from "../build/deferred-files.ts";
import type { PublishingObserver } from "../publishing-observer.ts";
import type { BackgroundPriority } from "./background-priority.ts";

/** The delays of the deferred queue. */
export interface DeferredTimes {
  /**
   * From a publication to its deferred files. Publications in between need no run of their own. 0 for a suite's first.
   */
  readonly settleMs: number;
  /** From a failure to the next attempt. */
  readonly retryMs: number;
}

/** The delays that apply if the configuration has no others. */
export const defaultDeferredTimes: DeferredTimes = { settleMs: 1000, retryMs: 60_000 };

/** How often `settled` checks whether work is left, in ms. */
const pollMs = 20;

/** The input of the generators, without what the queue itself adds. */
export type DeferredInput = Omit<DeferredRequest, "yieldNow" | "signal">;

/** Where deferred files are published. */
export interface DeferredTarget {
  /** @returns undefined for a suite that is no longer served, or needs no deferred files now */
  inputFor(suite: Suite): DeferredInput | undefined;
  /** Publishes the files of one generator. */
  publish(suite: Suite, generated: readonly [generator: string, DeferredFiles]): Promise<void>;
}

/** The collaborators of `DeferredQueue`, and its delays. */
export interface DeferredQueueOptions {
  readonly generators: readonly DeferredGenerator[];
  readonly target: DeferredTarget;
  readonly backgroundPriority: Pick<BackgroundPriority, "yieldToForeground">;
  readonly observer: PublishingObserver;
  readonly log: Log;
  readonly now: () => number;
  readonly times: DeferredTimes;
}

/** Runs the deferred generators of one repository, for one suite at a time. */
export class DeferredQueue {
  readonly #options: DeferredQueueOptions;
  readonly #runs = new SerialQueue();
  readonly #failures = new RepeatedFailures();
  /** The suites that wait, with the time of the first publication that needs the run, in ms since the epoch. */
  readonly #waiting = new Map<Suite, number>();
  /** The suites that were requested before. */
  readonly #requested = new Set<Suite>();
  /** The waiting suites whose last run failed. */
  readonly #failed = new Set<Suite>();
  readonly #stopping = new AbortController();

  constructor(options: DeferredQueueOptions) {
    this.#options = options;
  }

  /** Requests the deferred files of a suite. Requests before the run begins are merged. */
  request(suite: Suite): void {
    if (this.#options.generators.length === 0 || this.#waiting.has(suite)) return;
    const sinceMs = this.#options.now();
    this.#waiting.set(suite, sinceMs);
    void this.#runAfter(this.#requested.has(suite) ? this.#options.times.settleMs : 0, suite, sinceMs);
    this.#requested.add(suite);
  }

  /**
   * Resolves when every requested run has succeeded or failed.
   * @returns the suites whose run failed and will be repeated
   */
  async settled(): Promise<ReadonlySet<Suite>> {
    while (this.#waiting.size > this.#failed.size) await sleep(pollMs, this.#stopping.signal);
    await this.#runs.run(async () => undefined);
    return new Set(this.#failed);
  }

  /**
   * Runs a task that must not overlap with a run of this queue.
   * @returns false, without running the task, if the queue is busy
   */
  async unlessBusy(task: () => Promise<void>): Promise<boolean> {
    if (!this.#runs.isIdle) return false;
    await this.#runs.run(task);
    return true;
  }

  /** Aborts the run in progress. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the server stops"));
    await this.#runs.run(async () => undefined);
  }

  async #runAfter(delayMs: number, suite: Suite, sinceMs: number): Promise<void> {
    const { signal } = this.#stopping;
    try {
      await sleep(delayMs, signal);
      await this.#runs.run(async () => {
        signal.throwIfAborted();
        this.#waiting.delete(suite);
        this.#failed.delete(suite);
        await this.#generateAll(suite, sinceMs, signal);
        if (this.#failures.succeeded(suite)) this.#options.log.info({ suite }, "deferred files were generated again");
      });
    } catch (thrown) {
      if (signal.aborted) return;
      this.#options.observer.refreshFailed(codeOf(thrown));
      if (this.#failures.isNew(suite, thrown))
        this.#options.log.error({ suite, err: thrown }, "deferred files could not be generated");
      if (this.#waiting.has(suite)) return;
      this.#waiting.set(suite, sinceMs);
      this.#failed.add(suite);
      void this.#runAfter(this.#options.times.retryMs, suite, sinceMs);
    }
  }

  /** Runs all generators, even if one fails. */
  async #generateAll(suite: Suite, sinceMs: number, signal: AbortSignal): Promise<void> {
    const failures: unknown[] = [];
    for (const generator of this.#options.generators) {
      await this.#generate(generator, suite, sinceMs, signal).catch((thrown: unknown) => failures.push(thrown));
    }
    if (failures.length > 0) throw failures[0];
  }

  async #generate(generator: DeferredGenerator, suite: Suite, sinceMs: number, signal: AbortSignal): Promise<void> {
    const input = this.#options.target.inputFor(suite);
    if (input === undefined) return;
    const yieldNow = this.#options.backgroundPriority.yieldToForeground(signal);
    const files = await generator.generate({ ...input, yieldNow, signal });
    await this.#options.target.publish(suite, [generator.name, files]);
    this.#options.observer.deferredGenerated(suite, generator.name, (this.#options.now() - sinceMs) / 1000);
  }
}
