// What an operator does with the past of a repository: pin a publication, roll a suite back to one, and resume.
import { RepoError } from "../../base/errors.ts";
import type { Suite } from "../../base/names.ts";
import type { PublicationChanges } from "../build/publication-changes.ts";
import { changesBetween } from "../build/publication-changes.ts";
import type { KeptPublication } from "../served-repository.ts";
import type { Manifest } from "../store/publication.ts";
import type { PublicationStore } from "../store/publication-store.ts";
import { isPinName } from "../store/snapshot-pins.ts";

/** What was asked for can't be done, and nothing was changed. */
class NoSuchPast extends RepoError {
  readonly code = "publishing/no-such-past";
}

/** A snapshot and what it holds. */
export interface DescribedSnapshot extends KeptPublication {
  /** Release's Date, seconds since the epoch. */
  readonly dateSeconds: number;
  readonly binaryPackages: number;
  readonly sourcePackages: number;
  readonly changes: PublicationChanges | undefined;
}

/** The suites in service. */
export interface LiveSuites {
  /** Runs a task while nothing is refreshed, swept or published. */
  alone<T>(task: () => Promise<T>): Promise<T>;
  /** Resolves when the suite serves what this publication held. */
  rollBack(past: Manifest): Promise<void>;
  /** Resolves when the suite serves what the tree holds. */
  resume(suite: Suite): Promise<void>;
}

export class SnapshotControl {
  readonly #store: PublicationStore;
  readonly #live: LiveSuites | undefined;

  /** @param live undefined where no server runs: then a suite changes with the next start of one */
  constructor(store: PublicationStore, live?: LiveSuites) {
    this.#store = store;
    this.#live = live;
  }

  /** Those of one suite side by side, the newest first. */
  *snapshots(): Iterable<KeptPublication> {
    const current = new Map(this.#store.currentIds());
    const pins = [...this.#store.pins.all()];
    for (const [suite, id] of this.#store.ids()) {
      const names = pins.filter((pin) => pin.suite === suite && pin.id === id).map(({ name }) => name);
      const servedSeconds = this.#store.servedSince(suite, id);
      yield { suite, id, servedSeconds, isCurrent: current.get(suite) === id, pins: names };
    }
  }

  /**
   * The snapshots with what they hold, and what changed since the one before: undefined for the oldest one of a suite.
   * In the order of `snapshots`.
   */
  async *described(): AsyncIterable<DescribedSnapshot> {
    let newer: { readonly snapshot: KeptPublication; readonly manifest: Manifest } | undefined;
    for (const snapshot of this.snapshots()) {
      const manifest = this.#store.get(snapshot.suite, snapshot.id);
      if (manifest === undefined) continue;
      const isSameSuite = newer?.snapshot.suite === snapshot.suite;
      if (newer !== undefined)
        yield await this.#describe(newer.snapshot, newer.manifest, isSameSuite ? manifest : undefined);
      newer = { snapshot, manifest };
    }
    if (newer !== undefined) yield await this.#describe(newer.snapshot, newer.manifest, undefined);
  }

  async #describe(
    snapshot: KeptPublication,
    manifest: Manifest,
    older: Manifest | undefined,
  ): Promise<DescribedSnapshot> {
    const { dateSeconds, binaryPackages, sourcePackages } = manifest;
    const changes = older && (await changesBetween(older, manifest, this.#store.segments));
    return { ...snapshot, dateSeconds, binaryPackages, sourcePackages, changes };
  }

  /** The suites that are rolled back, each with the publication whose content it serves. */
  rolledBack(): Iterable<readonly [Suite, string]> {
    return this.#store.pins.rolledBack();
  }

  /**
   * Keeps a publication for ever.
   * @param when its id, a moment, or a name that it has already
   * @returns its id @throws NoSuchPast
   */
  async pin(suite: Suite, when: string, name: string): Promise<string> {
    return await this.#alone(async () => {
      if (!isPinName(name)) throw new NoSuchPast(`${JSON.stringify(name.slice(0, 80))} is no name for a pin`);
      const id = this.#find(suite, when);
      const known = this.#store.pins.idOf(suite, name);
      if (known !== undefined && known !== id) throw new NoSuchPast(`${name} is ${known} of ${suite} already`);
      await this.#store.pins.pin({ suite, name, id });
      return id;
    });
  }

  /** Lets go of a name: the publication is kept as long as any other. @throws NoSuchPast */
  async unpin(suite: Suite, name: string): Promise<string> {
    return await this.#alone(async () => {
      const id = isPinName(name) ? this.#store.pins.idOf(suite, name) : undefined;
      if (id === undefined)
        throw new NoSuchPast(`nothing of ${suite} is pinned as ${JSON.stringify(name.slice(0, 80))}`);
      await this.#store.pins.unpin(suite, name);
      return id;
    });
  }

  /**
   * Makes a suite serve what a publication held, under a new Date, until it is resumed. After a failure it is tried
   * again: what was asked for is kept first.
   * @param when as for `pin` @returns the publication's id @throws NoSuchPast, and what publishing throws
   */
  async rollBack(suite: Suite, when: string): Promise<string> {
    return await this.#alone(async () => {
      const id = this.#find(suite, when);
      const past = this.#store.get(suite, id);
      await this.#store.pins.rollBack(suite, id);
      if (past !== undefined) await this.#live?.rollBack(past);
      return id;
    });
  }

  /** Makes a suite serve what the tree holds again. @throws NoSuchPast, and what looking at the tree throws */
  async resume(suite: Suite): Promise<void> {
    await this.#alone(async () => {
      if (this.#store.pins.rolledBackTo(suite) === undefined) throw new NoSuchPast(`${suite} is not rolled back`);
      await this.#store.pins.resume(suite);
    });
    await this.#live?.resume(suite);
  }

  #find(suite: Suite, when: string): string {
    const id = this.#store.idAt(suite, when);
    if (id !== undefined && this.#store.get(suite, id) !== undefined) return id;
    throw new NoSuchPast(`no publication of ${suite} is kept for ${JSON.stringify(when.slice(0, 80))}`);
  }

  #alone<T>(task: () => Promise<T>): Promise<T> {
    return this.#live?.alone(task) ?? task();
  }
}
