// Publishes what was noted of suites: at once for who waits for it, and soon for nobody.
import { codeOf, errorOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { Suite, TreePath } from "../../base/names.ts";
import type { Catalog, FileChange } from "../../catalog/catalog.ts";
import { distsPath, suitePath } from "../../catalog/layout/repository-layout.ts";
import type { PublishingObserver } from "../publishing-observer.ts";
import { RefreshQueue } from "./refresh-queue.ts";
import type { ServedSuite } from "./served-suite.ts";

/** What became of one attempt to publish a suite. */
export interface Published {
  readonly added: readonly TreePath[];
  readonly removed: readonly TreePath[];
  /** What was thrown; then this suite is served as before, and what was seen is published by the next attempt. */
  readonly failure: Error | undefined;
}

/** The suites that are known, by name. */
export interface ServedSuites {
  get(suite: Suite): ServedSuite | undefined;
  /** The suite, made known if it is new. */
  open(suite: Suite): ServedSuite;
  /** Takes a suite that is no more in the tree out of service. */
  close(suite: Suite): Promise<void>;
  names(): Iterable<Suite>;
}

/** How soon after a change it is published that nobody waits for, in ms: others may follow. */
const gatherMs = 1000;

export interface SuitePublisherOptions {
  readonly catalog: Catalog;
  readonly suites: ServedSuites;
  /** Told of what became of an attempt to publish a suite. */
  readonly tried: (suite: Suite, failure: Error | undefined) => void;
  /** To be awaited after suites were published, before the next ones are. */
  readonly published: (suites: readonly Suite[]) => Promise<void>;
  readonly observer: PublishingObserver;
  readonly log: Log;
  readonly now: () => number;
}

export class SuitePublisher {
  readonly #parts: SuitePublisherOptions;
  readonly #followed: (suite: Suite) => void;
  readonly #signal: AbortSignal;
  readonly #publishing: RefreshQueue<ReadonlyMap<Suite, Published>>;
  /** Suites with changes that nobody waits for. */
  readonly #gathering = new Map<Suite, NodeJS.Timeout>();

  /**
   * @param followed told of each suite that has taken in what was noted of it
   * @param signal ends what is under way
   */
  constructor(parts: SuitePublisherOptions, followed: (suite: Suite) => void, signal: AbortSignal) {
    this.#parts = parts;
    this.#followed = followed;
    this.#signal = signal;
    this.#publishing = new RefreshQueue((paths) => this.#publish(paths), distsPath);
  }

  /** Publishes what was seen of a suite, unless somebody who waits for it is quicker. */
  publishSoon(name: Suite): void {
    if (this.#gathering.has(name) || this.#parts.suites.get(name)?.surveyed !== true || this.#signal.aborted) return;
    const publish = () => void this.#publishing.request(suitePath(name)).catch(() => undefined);
    this.#gathering.set(name, setTimeout(publish, gatherMs));
  }

  /** Publishes until nothing at or below a path waits for that any more. @throws what publishing throws */
  async published(name: Suite, path: TreePath): Promise<Published> {
    let [added, removed]: [readonly TreePath[], readonly TreePath[]] = [[], []];
    do {
      const published = (await this.#publishing.request(suitePath(name))).get(name);
      if (published?.failure !== undefined) throw published.failure;
      added = added.concat(published?.added ?? []);
      removed = removed.concat(published?.removed ?? []);
    } while (this.#parts.suites.get(name)?.hasChangesWithin(path) === true);
    return { added, removed, failure: undefined };
  }

  async #publish(paths: readonly TreePath[]): Promise<ReadonlyMap<Suite, Published>> {
    const names = paths.includes(distsPath)
      ? this.#parts.suites.names()
      : paths.map((path) => this.#parts.catalog.layout.suiteOf(path));
    const published = new Map<Suite, Published>();
    for (const name of names) {
      const suite = name && this.#parts.suites.get(name);
      if (suite !== undefined) published.set(suite.name, await this.#publishSuite(suite));
    }
    await this.#parts.published([...published.keys()]);
    return published;
  }

  async #publishSuite(suite: ServedSuite): Promise<Published> {
    const { catalog, observer, log, now } = this.#parts;
    const { name } = suite;
    const begunMs = now();
    clearTimeout(this.#gathering.get(name));
    this.#gathering.delete(name);
    try {
      const before = suite.current?.id;
      const { changes, rejected } = await suite.follow(catalog, this.#signal);
      this.#followed(name);
      for (const { code } of rejected) observer.rejected(code);
      observer.pending(name, suite.pendingSources);
      if (suite.current === undefined && !suite.hasChanges) await this.#parts.suites.close(name);
      else if (suite.current?.id === before && suite.seenWhole && !suite.isRolledBack) observer.confirmed(name);
      const added = addedBy(changes, suite);
      const removed = removedBy(changes);
      if (suite.current !== undefined && suite.current.id !== before) {
        const seconds = (now() - begunMs) / 1000;
        observer.published(name, seconds);
        const counts = { added: added.length, removed: removed.length, rejected: rejected.length };
        log.info({ suite: name, publication: suite.current.id, ...counts, seconds }, "published");
      }
      if (suite.hasChanges) this.publishSoon(name);
      this.#parts.tried(name, undefined);
      return { added, removed, failure: undefined };
    } catch (thrown) {
      const failure = errorOf(thrown);
      if (!this.#signal.aborted) {
        const code = codeOf(failure);
        observer.refreshFailed(code);
        log.error({ suite: name, code, err: failure }, "the suite could not be brought up to date");
      }
      this.#parts.tried(name, failure);
      return { added: [], removed: [], failure };
    }
  }

  /** Runs a task while nothing is published. */
  alone<T>(task: () => Promise<T>): Promise<T> {
    return this.#publishing.alone(task);
  }

  /** Forgets what nobody waits for. */
  stopGathering(): void {
    for (const timer of this.#gathering.values()) clearTimeout(timer);
  }

  /** Resolves when nothing is published. */
  async idle(): Promise<void> {
    await this.#publishing.idle();
  }
}

/** The package files that are new or have new bytes, but for those that are in no index of their suite. */
export function addedBy(changes: readonly FileChange[], suite: ServedSuite | undefined): readonly TreePath[] {
  const isNew = ({ path, before, after }: FileChange) =>
    after?.finding !== undefined && after !== before && suite?.isRejected(path) !== true;
  return changes.filter(isNew).map(({ path }) => path);
}

/** The package files that are gone. */
export const removedBy = (changes: readonly FileChange[]): readonly TreePath[] =>
  changes.filter(({ before, after }) => before?.finding !== undefined && after === undefined).map(({ path }) => path);
