// What a repository does beside its refreshes: late files, renewals of what would expire, and dropping what is old.
import { sleep } from "../../base/abort.ts";
import type { Log } from "../../base/log.ts";
import type { StateName, Suite } from "../../base/names.ts";
import type { Catalog } from "../../catalog/catalog.ts";
import type { DeferredFiles, DeferredGenerator } from "../build/deferred-files.ts";
import type { BackgroundPriority } from "../deferred/background-priority.ts";
import type { DeferredTimes } from "../deferred/deferred-queue.ts";
import { DeferredQueue } from "../deferred/deferred-queue.ts";
import type { PublishingObserver } from "../publishing-observer.ts";
import type { PublicationStore } from "../store/publication-store.ts";
import type { ServedSuite } from "./served-suite.ts";

/** Contents that are kept readable though they may be unlinked. */
export interface KeptContents {
  /** Lets go of every other content. */
  keepOnly(contentKeys: ReadonlySet<string>): Promise<void>;
}

export interface MaintenanceOptions {
  readonly stateName: StateName;
  readonly store: PublicationStore;
  readonly catalog: Catalog;
  readonly suites: ReadonlyMap<Suite, ServedSuite>;
  /** Runs a task while no refresh runs. */
  readonly alone: (task: () => Promise<void>) => Promise<void>;
  /** What is made in the background, in this order. */
  readonly deferredGenerators: readonly DeferredGenerator[];
  readonly deferredTimes: DeferredTimes;
  readonly backgroundPriority: BackgroundPriority;
  readonly observer: PublishingObserver;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** How far Date lags behind the newest link. */
  readonly dateLagSeconds: number;
  /** How long what a publication names stays readable after the next one took its place. */
  readonly keepSeconds: number;
  /** Where the bytes of unlinked files are kept, if the storage does not keep them by itself. */
  readonly keptFiles: KeptContents | undefined;
}

/** How often old publications are dropped. */
const sweepSeconds = 3600;
/**
 * How long patches stay readable after the next publication: as long as an update takes. Each publication has others, and
 * all of a week's would take up more than its indices.
 */
const keepPatchesSeconds = 3600;
/** How often it is seen whether a publication has to be renewed, or packages have grown too old to be shown. */
const renewalSeconds = 60;

/** Where the clock was set back, waiting for it is of no use. */
const longestDateWaitMs = 10_000;

export class Maintenance {
  readonly #parts: MaintenanceOptions;
  readonly #late: DeferredQueue;
  /** The publication that late files were last made for, or with. */
  readonly #workedFor = new Map<Suite, string>();
  readonly #stopping = new AbortController();
  #renewals: NodeJS.Timeout | undefined;
  #sweepAtMs = 0;

  constructor(parts: MaintenanceOptions) {
    this.#parts = parts;
    this.#late = new DeferredQueue({
      ...parts,
      generators: parts.deferredGenerators,
      times: parts.deferredTimes,
      requestFor: (suite) => {
        const served = parts.suites.get(suite);
        const current = served?.current;
        return served === undefined || current === undefined || served.isRolledBack
          ? undefined
          : { suite, current, entries: [...served.items()] };
      },
      publish: async (suite, made) => {
        if (!this.#bringsNothing(suite, made)) {
          await this.#untilDateLags(suite);
          await parts.backgroundPriority.yieldToForeground(this.#stopping.signal)();
        }
        await parts.alone(() => this.#amend(suite, made));
      },
    });
  }

  start(): void {
    const renew = () => void this.#parts.alone(() => this.#renew());
    renew();
    this.#renewals = setInterval(renew, renewalSeconds * 1000);
  }

  /** Resolves when all late work was tried. @returns the suites that lack some of it */
  async deferredSettled(): Promise<ReadonlySet<Suite>> {
    return await this.#late.settled();
  }

  /** Abandons what is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the server stops"));
    clearInterval(this.#renewals);
    await this.#late.stop();
  }

  /** To be called at the end of each refresh, before the next one begins. */
  async afterRefresh(suites: Iterable<Suite>): Promise<void> {
    for (const name of suites) {
      const suite = this.#parts.suites.get(name);
      if (suite?.current === undefined || !suite.surveyed || suite.current.id === this.#workedFor.get(name)) continue;
      this.#late.request(name);
    }
    if (this.#parts.now() < this.#sweepAtMs) return;
    if (await this.#late.unlessBusy(() => this.#sweep())) this.#sweepAtMs = this.#parts.now() + sweepSeconds * 1000;
  }

  /** Whether the maker has nothing for this suite, as before. */
  #bringsNothing(name: Suite, [maker, { indices, blobs }]: readonly [string, DeferredFiles]): boolean {
    const current = this.#parts.suites.get(name)?.current;
    const before = [...(current?.indices ?? []), ...(current?.blobs ?? [])];
    return indices.length + blobs.length === 0 && before.every(({ late }) => late?.maker !== maker);
  }

  /** What is late leaves the lag, which a burst of changes uses up, to those who wait for a ping. */
  async #untilDateLags(name: Suite): Promise<void> {
    const { suites, now, dateLagSeconds } = this.#parts;
    const aheadMs = ((suites.get(name)?.current?.dateSeconds ?? 0) + 1 + dateLagSeconds) * 1000 - now();
    if (aheadMs > 0) await sleep(Math.min(aheadMs, longestDateWaitMs), this.#stopping.signal);
  }

  async #amend(name: Suite, late: readonly [maker: string, DeferredFiles]): Promise<void> {
    const suite = this.#parts.suites.get(name);
    // It was made for what the tree holds.
    if (suite?.isRolledBack) return;
    await suite?.amend({ deferred: late, signal: this.#stopping.signal });
    if (suite?.current !== undefined) this.#workedFor.set(name, suite.current.id);
  }

  async #renew(): Promise<void> {
    const { suites, catalog, log } = this.#parts;
    for (const [name, suite] of suites) {
      try {
        if (suite.isAging) {
          await suite.follow(catalog, this.#stopping.signal);
          this.#late.request(name);
        }
        await suite.renew(this.#stopping.signal);
      } catch (thrown) {
        if (!this.#stopping.signal.aborted) log.error({ suite: name, err: thrown }, "could not be renewed");
      }
    }
  }

  async #sweep(): Promise<void> {
    const { stateName, store, now, keepSeconds, keptFiles, log } = this.#parts;
    const keptSinceMs = now() - keepSeconds * 1000;
    const dropped = await store.sweep(keptSinceMs, Math.max(keptSinceMs, now() - keepPatchesSeconds * 1000));
    if (dropped === 0) return;
    await keptFiles?.keepOnly(store.pool.contentKeys());
    log.info({ repository: stateName, dropped }, "dropped old publications");
  }
}
