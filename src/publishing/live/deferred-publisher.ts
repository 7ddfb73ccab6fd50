// Publishes deferred files: the same packages again, with Contents or pdiffs that were generated for them meanwhile.
import { sleep } from "../../base/abort.ts";
import type { Suite } from "../../base/names.ts";
import type { SerialQueue } from "../../base/serial-queue.ts";
import type { DeferredFiles } from "../build/deferred-files.ts";
import type { Replicas } from "../build/replicas.ts";
import type { BackgroundPriority } from "../deferred/background-priority.ts";
import type { DeferredInput, DeferredTarget } from "../deferred/deferred-queue.ts";
import type { ServedSuite } from "./served-suite.ts";
import type { ServedSuites } from "./served-suites.ts";

interface DeferredPublisherOptions {
  readonly suites: ServedSuites;
  /** The queue in which suites are published. */
  readonly publishQueue: SerialQueue;
  readonly backgroundPriority: BackgroundPriority;
  readonly replicas: Replicas;
  /** How far Date lags behind the newest link. */
  readonly dateLagSeconds: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Aborts what is running. */
  readonly signal: AbortSignal;
}

/** The maximum wait for Date. A clock that was set back could make it much longer, to no purpose. */
const maxDateWaitMs = 10_000;

export class DeferredPublisher implements DeferredTarget {
  readonly #options: DeferredPublisherOptions;
  /** The last publication of each suite that contains deferred files. */
  readonly #completed = new Map<Suite, string>();

  constructor(options: DeferredPublisherOptions) {
    this.#options = options;
  }

  /** Whether deferred files must be generated for the current publication of a suite. */
  isIncomplete({ name, current, surveyed }: ServedSuite): boolean {
    const isOurs = this.#options.replicas.isPublisher;
    return isOurs && current !== undefined && surveyed && current.id !== this.#completed.get(name);
  }

  inputFor(suite: Suite): DeferredInput | undefined {
    const { suites, replicas } = this.#options;
    const served = suites.get(suite);
    const current = served?.current;
    if (!replicas.isPublisher || served === undefined || current === undefined || served.isRolledBack) return undefined;
    return { suite, current, entries: [...served.entries()] };
  }

  async publish(suite: Suite, generated: readonly [generator: string, DeferredFiles]): Promise<void> {
    const { backgroundPriority, publishQueue, signal } = this.#options;
    if (!this.#changesNothing(suite, generated)) {
      await this.#waitForDate(suite);
      await backgroundPriority.yieldToForeground(signal)();
    }
    await publishQueue.run(() => this.#publish(suite, generated));
  }

  /** Whether a generator has no files for this suite now and had none before. */
  #changesNothing(name: Suite, [generator, { indices, blobs }]: readonly [string, DeferredFiles]): boolean {
    const current = this.#options.suites.currentOf(name);
    const before = [...(current?.indices ?? []), ...(current?.blobs ?? [])];
    return indices.length + blobs.length === 0 && before.every(({ late }) => late?.maker !== generator);
  }

  /**
   * Each publication needs a later Date, and Date may not be too close to now, so a burst of publications uses up the
   * lag. Deferred files leave it to publications that a ping waits for.
   */
  async #waitForDate(name: Suite): Promise<void> {
    const { suites, now, dateLagSeconds, signal } = this.#options;
    const aheadMs = ((suites.currentOf(name)?.dateSeconds ?? 0) + 1 + dateLagSeconds) * 1000 - now();
    if (aheadMs > 0) await sleep(Math.min(aheadMs, maxDateWaitMs), signal);
  }

  async #publish(name: Suite, generated: readonly [generator: string, DeferredFiles]): Promise<void> {
    const suite = this.#options.suites.get(name);
    // The files belong to the content of the tree, not to the publication that the suite is rolled back to.
    if (suite === undefined || suite.isRolledBack) return;
    await suite.republish({ deferred: generated, signal: this.#options.signal });
    if (suite.current !== undefined) this.#completed.set(name, suite.current.id);
  }
}
