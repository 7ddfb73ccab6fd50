// Publishes changes of suites: at once for a request that waits for them, otherwise about a second later.
import { codeOf, errorOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { Suite, TreePath } from "../../base/names.ts";
import type { SerialQueue } from "../../base/serial-queue.ts";
import type { Catalog, FileChange } from "../../catalog/catalog.ts";
import { distsPath, suitePath } from "../../catalog/layout/repository-layout.ts";
import type { Replicas } from "../build/replicas.ts";
import type { PublishingObserver } from "../publishing-observer.ts";
import type { Maintenance } from "./maintenance.ts";
import { RefreshQueue } from "./refresh-queue.ts";
import type { RefreshStatus } from "./refresh-status.ts";
import { reportPublication } from "./report-publication.ts";
import type { ServedSuite } from "./served-suite.ts";
import type { ServedSuites } from "./served-suites.ts";

/** The package files that publications have added and removed. */
export interface PublishedFiles {
  readonly added: readonly TreePath[];
  readonly removed: readonly TreePath[];
}

/** The outcome of one attempt to publish a suite. */
interface PublishingAttempt extends PublishedFiles {
  /** After a failure the suite is served as before, and the next attempt publishes the same changes. */
  readonly failure: Error | undefined;
}

/** How long changes are collected, in ms, before they are published if no request waits for them. */
const collectMs = 1000;

interface SuitePublisherOptions {
  readonly catalog: Catalog;
  readonly suites: ServedSuites;
  readonly status: RefreshStatus;
  readonly maintenance: Maintenance;
  readonly replicas: Replicas;
  /** The queue in which everything is published. */
  readonly publishQueue: SerialQueue;
  readonly observer: PublishingObserver;
  readonly log: Log;
  readonly now: () => number;
  /** Aborts what is running. */
  readonly signal: AbortSignal;
}

export class SuitePublisher {
  readonly #options: SuitePublisherOptions;
  readonly #requests: RefreshQueue<ReadonlyMap<Suite, PublishingAttempt>>;
  /** Suites whose changes are published soon, although no request waits for them. */
  readonly #scheduled = new Map<Suite, NodeJS.Timeout>();

  constructor(options: SuitePublisherOptions) {
    this.#options = options;
    this.#requests = new RefreshQueue((paths) => this.#publishAt(paths), distsPath, options.publishQueue);
  }

  /** Publishes the changes of a suite soon, unless a request publishes them earlier. */
  publishSoon(name: Suite): void {
    const { suites, signal } = this.#options;
    if (this.#scheduled.has(name) || suites.get(name)?.surveyed !== true || signal.aborted) return;
    const publish = () => void this.#requests.request(suitePath(name)).catch(() => undefined);
    this.#scheduled.set(name, setTimeout(publish, collectMs));
  }

  /** Publishes a suite until the present changes at or below a path are published. @throws what building and storing throw */
  async publish(name: Suite, path: TreePath): Promise<PublishedFiles> {
    let [added, removed]: [readonly TreePath[], readonly TreePath[]] = [[], []];
    const { suites } = this.#options;
    const suite = suites.get(name);
    const areWaiting = suite?.changesWaitingWithin(path);
    do {
      const attempt = (await this.#requests.request(suitePath(name))).get(name);
      if (attempt?.failure !== undefined) throw attempt.failure;
      added = added.concat(attempt?.added ?? []);
      removed = removed.concat(attempt?.removed ?? []);
      // A suite that was dropped is not published any more: without this check the event loop would starve.
    } while (areWaiting?.() === true && suites.get(name) === suite);
    return { added, removed };
  }

  /** Cancels what was scheduled. */
  cancelScheduled(): void {
    for (const timer of this.#scheduled.values()) clearTimeout(timer);
  }

  async #publishAt(paths: readonly TreePath[]): Promise<ReadonlyMap<Suite, PublishingAttempt>> {
    const { suites, catalog, maintenance } = this.#options;
    const names = paths.includes(distsPath) ? suites.names() : paths.map((path) => catalog.layout.suiteOf(path));
    const attempts = new Map<Suite, PublishingAttempt>();
    for (const name of names) {
      const suite = name && suites.get(name);
      if (suite !== undefined) attempts.set(suite.name, await this.#publishSuite(suite));
    }
    await maintenance.afterRefresh(attempts.keys());
    return attempts;
  }

  async #publishSuite(suite: ServedSuite): Promise<PublishingAttempt> {
    const { catalog, suites, status, replicas, observer, log, signal } = this.#options;
    const { name } = suite;
    clearTimeout(this.#scheduled.get(name));
    this.#scheduled.delete(name);
    try {
      const { result, seconds } = await reportPublication(suite, this.#options, () =>
        suite.publishChanges(catalog, signal),
      );
      const { changes, rejected } = result;
      for (const { code } of rejected) observer.rejected(code);
      observer.pending(name, suite.pendingSources);
      if (!replicas.isPublisher) {
        status.notePublishing(name, undefined);
        if (suite.hasChanges) this.publishSoon(name);
        else suites.dropWithdrawn(name);
        return { added: addedBy(changes, suite), removed: removedBy(changes), failure: undefined };
      }
      if (suite.isGone(catalog) && !suite.isRolledBack) await suites.close(name);
      else if (seconds === undefined && suite.isFullyListed && !suite.isRolledBack) observer.confirmed(name);
      const added = addedBy(changes, suite);
      const removed = removedBy(changes);
      if (suite.current !== undefined && seconds !== undefined) {
        const counts = { added: added.length, removed: removed.length, rejected: rejected.length };
        log.info({ suite: name, publication: suite.current.id, ...counts, seconds }, "published");
      }
      if (suite.hasChanges) this.publishSoon(name);
      status.notePublishing(name, undefined);
      return { added, removed, failure: undefined };
    } catch (thrown) {
      const failure = errorOf(thrown);
      const isNew = status.notePublishing(name, failure);
      if (!signal.aborted) {
        const code = codeOf(failure);
        observer.refreshFailed(code);
        // Another replica that has the lease publishes the same changes.
        if (isNew && code !== "cluster/lease-lost")
          log.error({ suite: name, code, err: failure }, "the suite could not be published");
      }
      return { added: [], removed: [], failure };
    }
  }
}

/** Returns the package files that are new or have new bytes, without those that are rejected. */
export function addedBy(changes: readonly FileChange[], suite: ServedSuite | undefined): readonly TreePath[] {
  const isAdded = ({ path, before, after }: FileChange) =>
    after?.finding !== undefined && after !== before && suite?.isRejected(path) !== true;
  return changes.filter(isAdded).map(({ path }) => path);
}

/** Returns the package files that no longer exist. */
export const removedBy = (changes: readonly FileChange[]): readonly TreePath[] =>
  changes.filter(({ before, after }) => before?.finding !== undefined && after === undefined).map(({ path }) => path);
