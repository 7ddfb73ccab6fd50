// The suites of a repository that are in service, by name.
import type { Suite, TreePath } from "../../base/names.ts";
import type { IndexEntry } from "../../catalog/suite/index-entry.ts";
import type { PublishingObserver } from "../publishing-observer.ts";
import type { PublishedSuites } from "../serve/published-suites.ts";
import type { Manifest } from "../store/publication.ts";
import type { SuiteSettingsProvider } from "../suite-settings.ts";
import type { ServedSuiteOptions } from "./served-suite.ts";
import { ServedSuite } from "./served-suite.ts";

export interface ServedSuitesOptions extends ServedSuiteOptions {
  readonly suiteSettings: SuiteSettingsProvider;
  readonly observer: PublishingObserver;
}

export class ServedSuites implements PublishedSuites, Iterable<ServedSuite> {
  readonly #options: ServedSuitesOptions;
  readonly #byName = new Map<Suite, ServedSuite>();

  /** Puts every suite into service that has a stored publication, except those with prebuilt indices. */
  constructor(options: ServedSuitesOptions) {
    this.#options = options;
    const { store, observer, suiteSettings } = options;
    const isPrebuilt = (name: Suite): boolean => suiteSettings.of(name).indices === "prebuilt";
    for (const manifest of store.current()) {
      if (isPrebuilt(manifest.suite)) continue;
      this.#add(manifest.suite, manifest);
      observer.restored(manifest.suite);
    }
    // After the restore of a backup, a suite may be rolled back to a publication without having a current one.
    for (const [name, id] of store.pins.rolledBack())
      if (!this.has(name) && !isPrebuilt(name) && store.get(name, id) !== undefined) this.#add(name, undefined);
  }

  [Symbol.iterator](): Iterator<ServedSuite> {
    return this.#byName.values();
  }

  has(name: Suite): boolean {
    return this.#byName.has(name);
  }

  get(name: Suite): ServedSuite | undefined {
    return this.#byName.get(name);
  }

  names(): Iterable<Suite> {
    return this.#byName.keys();
  }

  /** Returns a suite, which is put into service if it is new. */
  open(name: Suite): ServedSuite {
    return this.#byName.get(name) ?? this.#add(name, undefined);
  }

  /** Takes a suite out of service that is no longer in the tree. */
  async close(name: Suite): Promise<void> {
    const { suiteBuilder, now } = this.#options;
    const nowMs = now();
    await suiteBuilder.replicas.announceWithdrawal(name, nowMs);
    await this.withdraw(name, nowMs);
  }

  /**
   * Takes a suite out of service here only. Its object stays as long as the catalog has files of the suite: those that
   * this replica has not missed yet, or new ones that are to be published. Until the withdrawal is stored the suite is
   * served: without either, what the fleet has had before would look new.
   * @param nowMs in ms since the epoch
   * @param dateSeconds as for `PublicationStore.withdraw`
   */
  async withdraw(name: Suite, nowMs: number, dateSeconds?: number): Promise<void> {
    const { store, observer } = this.#options;
    if (!this.#isStoredAsWithdrawn(name, dateSeconds)) await store.withdraw(name, nowMs, dateSeconds);
    const suite = this.#byName.get(name);
    suite?.withdraw();
    this.#dropIfGone(name);
    if (suite !== undefined) observer.withdrawn(name);
  }

  /** A suite whose directory has no packages is withdrawn again after each look at it. */
  #isStoredAsWithdrawn(name: Suite, dateSeconds = this.#options.store.lastDate(name)): boolean {
    const { store } = this.#options;
    return store.currentId(name) === undefined && store.withdrawalOf(name)?.dateSeconds === dateSeconds;
  }

  /** Drops a suite that is withdrawn already, if its files are gone from the catalog by now. */
  dropWithdrawn(name: Suite): void {
    const { store, observer } = this.#options;
    if (store.withdrawalOf(name) !== undefined && this.#dropIfGone(name)) observer.withdrawn(name);
  }

  #dropIfGone(name: Suite): boolean {
    return this.#byName.get(name)?.isGone(this.#options.catalog) === true && this.#byName.delete(name);
  }

  currentOf(name: Suite): Manifest | undefined {
    return this.#byName.get(name)?.current;
  }

  isUnlisted(path: TreePath): boolean {
    for (const suite of this.#byName.values()) if (suite.isUnlisted(path)) return true;
    return false;
  }

  published(): { readonly state: string; readonly entries: Iterable<IndexEntry> } {
    const suites = [...this.#byName.values()];
    return { state: suites.map(({ name, current }) => `${name} ${current?.id}`).join(), entries: entriesOf(suites) };
  }

  #add(name: Suite, current: Manifest | undefined): ServedSuite {
    const suite = new ServedSuite(name, current, this.#options.suiteSettings.of(name), this.#options);
    this.#byName.set(name, suite);
    return suite;
  }
}

function* entriesOf(suites: Iterable<ServedSuite>): Iterable<IndexEntry> {
  for (const suite of suites) yield* suite.entries();
}
