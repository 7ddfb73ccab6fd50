// The operator's commands for snapshots: pin a publication, roll a suite back to one, and resume.
import { RepoError } from "../../base/errors.ts";
import type { Suite } from "../../base/names.ts";
import type { PublicationChanges } from "../build/publication-changes.ts";
import { changesBetween } from "../build/publication-changes.ts";
import type { KeptPublication } from "../served-repository.ts";
import type { Manifest } from "../store/publication.ts";
import type { PublicationStore } from "../store/publication-store.ts";
import { isPinName } from "../store/snapshot-pins.ts";

/** The command cannot be executed, and nothing was changed. */
class NoSuchPast extends RepoError {
  readonly code = "publishing/no-such-past";
}

/** A snapshot with a summary of its content. */
export interface DescribedSnapshot extends KeptPublication {
  /** Release's Date, seconds since the epoch. */
  readonly dateSeconds: number;
  readonly binaryPackages: number;
  readonly sourcePackages: number;
  readonly changes: PublicationChanges | undefined;
}

/** The repository in service whose suites are rolled back and resumed. */
export interface SuiteRollback {
  /** Runs a task while nothing is published or removed. */
  whileNothingIsPublished<T>(task: () => Promise<T>): Promise<T>;
  /** Resolves when the suite serves the content of this publication. */
  rollBack(past: Manifest): Promise<void>;
  /** Resolves when the suite serves the content of the tree. */
  resume(suite: Suite): Promise<void>;
}

/** Executes commands on all replicas. */
export interface SharedSnapshots {
  /** Resolves when all know a pin. @param id undefined: the name is removed */
  pin(suite: Suite, name: string, id: string | undefined): Promise<void>;
  /** Resolves when all serve a past publication again. @param id undefined: they serve the content of the tree */
  rollBack(suite: Suite, id: string | undefined): Promise<void>;
}

export class SnapshotControl {
  #shared: SharedSnapshots | undefined;
  readonly #store: PublicationStore;
  readonly #live: SuiteRollback | undefined;

  /** @param live undefined if no server runs; then a rollback takes effect when one starts */
  constructor(store: PublicationStore, live?: SuiteRollback) {
    this.#store = store;
    this.#live = live;
  }

  /** Executes commands on all replicas from now on. */
  share(shared: SharedSnapshots): void {
    this.#shared = shared;
  }

  /** Pins or unpins a publication as another replica has. @returns whether it is kept here */
  async followPin(suite: Suite, name: string, id: string | undefined): Promise<boolean> {
    const { pins } = this.#store;
    if (pins.idOf(suite, name) === id) return true;
    if (id !== undefined && !this.#store.has(suite, id)) return false;
    await this.#whileNothingIsPublished(() =>
      id === undefined ? pins.unpin(suite, name) : pins.pin({ suite, name, id }),
    );
    return true;
  }

  /** Rolls a suite back, or resumes it, as another replica has. @returns whether the publication is kept here */
  async followRollback(suite: Suite, id: string | undefined): Promise<boolean> {
    const { pins } = this.#store;
    if (pins.rolledBackTo(suite) === id) return true;
    if (id === undefined) await this.#resume(suite);
    else if (this.#store.has(suite, id)) await this.#rollBack(suite, id);
    else return false;
    return true;
  }

  /** Returns the snapshots by suite, the newest first. */
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
   * Returns the snapshots in the order of `snapshots`, each with a summary of its content and the changes since the
   * previous one, which are undefined for the oldest snapshot of a suite.
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

  /** Returns the suites that are rolled back, each with the id of the publication whose content it serves. */
  rolledBack(): Iterable<readonly [Suite, string]> {
    return this.#store.pins.rolledBack();
  }

  /**
   * Keeps a publication forever, under a name.
   * @param when its id, a time, or a name that it already has
   * @returns its id
   * @throws NoSuchPast
   */
  async pin(suite: Suite, when: string, name: string): Promise<string> {
    return await this.#whileNothingIsPublished(async () => {
      if (!isPinName(name)) throw new NoSuchPast(`${JSON.stringify(name.slice(0, 80))} is not a name for a pin`);
      const id = this.#find(suite, when);
      const known = this.#store.pins.idOf(suite, name);
      if (known !== undefined && known !== id) throw new NoSuchPast(`${name} is ${known} of ${suite} already`);
      await this.#shared?.pin(suite, name, id);
      await this.#store.pins.pin({ suite, name, id });
      return id;
    });
  }

  /** Removes a name, so that the publication is kept only as long as any other. @throws NoSuchPast */
  async unpin(suite: Suite, name: string): Promise<string> {
    return await this.#whileNothingIsPublished(async () => {
      const id = isPinName(name) ? this.#store.pins.idOf(suite, name) : undefined;
      if (id === undefined)
        throw new NoSuchPast(`nothing of ${suite} is pinned as ${JSON.stringify(name.slice(0, 80))}`);
      await this.#shared?.pin(suite, name, undefined);
      await this.#store.pins.unpin(suite, name);
      return id;
    });
  }

  /**
   * Lets a suite serve the content of an earlier publication, under a new Date, until `resume`. The command is stored
   * first, so it is retried after a failure.
   * @param when as for `pin`
   * @returns the id of the publication
   * @throws NoSuchPast, and errors of publishing
   */
  async rollBack(suite: Suite, when: string): Promise<string> {
    const id = this.#find(suite, when);
    if (this.#shared === undefined) await this.#rollBack(suite, id);
    else await this.#shared.rollBack(suite, id);
    return id;
  }

  async #rollBack(suite: Suite, id: string): Promise<void> {
    await this.#whileNothingIsPublished(async () => {
      const past = this.#store.get(suite, id);
      if (past === undefined) throw new NoSuchPast(`${id} of ${suite} is not kept any more`);
      await this.#store.pins.rollBack(suite, id);
      await this.#live?.rollBack(past);
    });
  }

  /** Lets a suite serve the content of the tree again. @throws NoSuchPast, and errors of the refresh */
  async resume(suite: Suite): Promise<void> {
    if (this.#store.pins.rolledBackTo(suite) === undefined) throw new NoSuchPast(`${suite} is not rolled back`);
    if (this.#shared === undefined) await this.#resume(suite);
    else await this.#shared.rollBack(suite, undefined);
  }

  async #resume(suite: Suite): Promise<void> {
    await this.#whileNothingIsPublished(() => this.#store.pins.resume(suite));
    await this.#live?.resume(suite);
  }

  #find(suite: Suite, when: string): string {
    const id = this.#store.idAt(suite, when);
    if (id !== undefined && this.#store.get(suite, id) !== undefined) return id;
    throw new NoSuchPast(`no publication of ${suite} is kept for ${JSON.stringify(when.slice(0, 80))}`);
  }

  #whileNothingIsPublished<T>(task: () => Promise<T>): Promise<T> {
    return this.#live?.whileNothingIsPublished(task) ?? task();
  }
}
