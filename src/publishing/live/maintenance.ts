// Periodic work beside refreshes: renews publications before they expire, and removes old ones.

import type { Log } from "../../base/log.ts";
import type { StateName, Suite } from "../../base/names.ts";
import { repeat } from "../../base/repeat.ts";
import { RepeatedFailures } from "../../base/repeated-failures.ts";
import type { SerialQueue } from "../../base/serial-queue.ts";
import type { Catalog } from "../../catalog/catalog.ts";
import type { DeferredQueue } from "../deferred/deferred-queue.ts";
import type { PublishingObserver } from "../publishing-observer.ts";
import type { PublicationStore } from "../store/publication-store.ts";
import type { DeferredPublisher } from "./deferred-publisher.ts";
import { reportPublication } from "./report-publication.ts";
import type { ServedSuite } from "./served-suite.ts";
import type { ServedSuites } from "./served-suites.ts";

/** Contents that stay readable although they may be unlinked. */
export interface KeptContents {
  /** Removes every other content. */
  keepOnly(contentKeys: ReadonlySet<string>): Promise<void>;
}

interface MaintenanceOptions {
  readonly stateName: StateName;
  readonly store: PublicationStore;
  readonly catalog: Catalog;
  readonly suites: ServedSuites;
  /** The queue in which suites are published. */
  readonly publishQueue: SerialQueue;
  readonly deferredQueue: DeferredQueue;
  readonly deferredPublisher: DeferredPublisher;
  readonly observer: PublishingObserver;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** How long the files of a publication stay readable after the next publication. */
  readonly keepSeconds: number;
  /** Where the bytes of unlinked files are kept; undefined if the storage keeps them itself. */
  readonly keptFiles: KeptContents | undefined;
  /** Aborts what is running. */
  readonly signal: AbortSignal;
}

/** How often old publications are removed. */
const sweepSeconds = 3600;
/**
 * How long pdiffs stay readable after the next publication: the duration of a slow update. Every publication has other
 * pdiffs, and those of a whole week would take more space than the indices.
 */
const keepPatchesSeconds = 3600;
/** How often the suites are checked for publications to renew and for packages that have become too old for a view. */
const renewalSeconds = 60;

export class Maintenance {
  readonly #options: MaintenanceOptions;
  #sweepAtMs = 0;
  readonly #failures = new RepeatedFailures();

  constructor(options: MaintenanceOptions) {
    this.#options = options;
  }

  start(): void {
    const renew = async (): Promise<number> => {
      await this.renewNow();
      return renewalSeconds * 1000;
    };
    void repeat(renew, { firstDelayMs: 0, signal: this.#options.signal });
  }

  /** Publishes what is due to be published again. Failures are logged. */
  async renewNow(): Promise<void> {
    await this.#options.publishQueue.run(() => this.#renew());
  }

  /** Resolves when every deferred file was tried. @returns the suites that lack some */
  async deferredSettled(): Promise<ReadonlySet<Suite>> {
    return await this.#options.deferredQueue.settled();
  }

  /** Whether deferred files of the current publication of a suite are still to be generated. */
  isAwaitingDeferredFiles(suite: ServedSuite): boolean {
    return this.#options.deferredPublisher.isIncomplete(suite);
  }

  /** Resolves when nothing runs any more; `signal` must be aborted before. */
  async stop(): Promise<void> {
    await this.#options.deferredQueue.stop();
  }

  /** To be called at the end of each refresh, before the next one begins. A failure to remove is logged. */
  async afterRefresh(names: Iterable<Suite>): Promise<void> {
    const { suites, deferredQueue, deferredPublisher, now } = this.#options;
    for (const name of names) {
      const suite = suites.get(name);
      if (suite !== undefined && deferredPublisher.isIncomplete(suite)) deferredQueue.request(name);
    }
    if (now() < this.#sweepAtMs) return;
    if (await deferredQueue.unlessBusy(() => this.#trySweep())) this.#sweepAtMs = now() + sweepSeconds * 1000;
  }

  async #trySweep(): Promise<void> {
    const { stateName, log } = this.#options;
    try {
      await this.#sweep();
    } catch (thrown) {
      log.error({ repository: stateName, err: thrown }, "old publications could not be removed");
    }
  }

  async #renew(): Promise<void> {
    const { suites, catalog, deferredQueue, log, signal } = this.#options;
    for (const suite of suites) {
      try {
        await reportPublication(suite, this.#options, async () => {
          if (suite.isViewDue) {
            await suite.publishChanges(catalog, signal);
            deferredQueue.request(suite.name);
          }
          await suite.renew(signal);
        });
        this.#failures.succeeded(suite.name);
      } catch (thrown) {
        if (!signal.aborted && this.#failures.isNew(suite.name, thrown))
          log.error({ suite: suite.name, err: thrown }, "a publication could not be renewed");
      }
    }
  }

  async #sweep(): Promise<void> {
    const { stateName, store, now, keepSeconds, keptFiles, log } = this.#options;
    const keptSinceMs = now() - keepSeconds * 1000;
    const removed = await store.sweep(keptSinceMs, Math.max(keptSinceMs, now() - keepPatchesSeconds * 1000));
    if (removed === 0) return;
    await keptFiles?.keepOnly(store.pool.contentKeys());
    log.info({ repository: stateName, dropped: removed }, "removed old publications");
  }
}
