// The history of a repository: its snapshots, their differences, and earlier versions of packages.
import { LRUCache } from "lru-cache";
import pLimit from "p-limit";
import { runSteps } from "../../base/steps.ts";
import { yieldToEventLoop } from "../../base/yield-to-event-loop.ts";
import type { ListedPackage, PublicationChanges } from "../../publishing/build/publication-changes.ts";
import { changesBetween, segmentsThatDiffer } from "../../publishing/build/publication-changes.ts";
import type { ServedRepository } from "../../publishing/served-repository.ts";
import type { Manifest } from "../../publishing/store/publication.ts";
import { cut, pageOf, pageOfAll, sliceOf } from "./cursors.ts";
import { differencesOf } from "./differences.ts";
import type { ListedRow } from "./package-index.ts";
import type { CurrentSuite, Publications } from "./publications.ts";
import type {
  Cut,
  Diff,
  DiffQuery,
  DiffSide,
  EarlierVersion,
  ListedVersion,
  Page,
  Snapshot,
  SnapshotChanges,
  SnapshotQuery,
} from "./repository-data.ts";
import { BadQuery } from "./repository-data.ts";
import { shortened } from "./shortened.ts";

/** The most snapshots of each suite that are searched for earlier versions of a package. */
const maxSnapshotsSearched = 50;
/**
 * The most segments that are compared for them, each of some hundred packages. So what snapshots with many changes need
 * is bounded, and less than what is kept in memory.
 */
const maxSegmentsCompared = 300;
/** The most entries of changes that are kept in memory. */
const maxChangesKept = 200_000;
/** The most packages that the changes of a snapshot name. */
const maxNamedChanges = 100;

export class PublicationHistory {
  readonly #repository: Pick<ServedRepository, "snapshots">;
  readonly #publications: Publications;
  /** Changes between two publications, by suites and ids. */
  readonly #changes = new LRUCache<string, PublicationChanges>({
    maxSize: maxChangesKept,
    sizeCalculation: ({ added, removed }) => 1 + added.length + removed.length,
  });
  /** Comparing reads segments in the main thread, so it must not run several times at once. */
  readonly #comparing = pLimit(1);

  constructor(repository: Pick<ServedRepository, "snapshots">, publications: Publications) {
    this.#repository = repository;
    this.#publications = publications;
  }

  /** As in `RepositoryData`. */
  async snapshots({ suite, ...page }: SnapshotQuery, signal: AbortSignal): Promise<Page<Snapshot>> {
    const slice = sliceOf(page);
    const all = [...this.#repository.snapshots()];
    const found = all.filter((one) => suite === undefined || one.suite === suite);
    const entries: Snapshot[] = [];
    for (const one of found.slice(slice.skip, slice.skip + slice.limit)) {
      signal.throwIfAborted();
      const at = this.#publications.find(one.suite);
      const next = all[all.indexOf(one) + 1];
      const manifest = at?.repository.publication(one.suite, one.id);
      const older = next?.suite === one.suite ? at?.repository.publication(next.suite, next.id) : undefined;
      if (at === undefined || manifest === undefined) continue;
      const changes = older && (await this.#changesBetween(at, older, manifest, signal));
      const { id, servedSeconds, isCurrent, pins } = one;
      const { binaryPackages, sourcePackages } = manifest;
      entries.push({
        suite: one.suite,
        id,
        servedSeconds,
        isCurrent,
        pins,
        binaryPackages,
        sourcePackages,
        changes: changes && snapshotChangesOf(changes),
      });
    }
    return pageOf(slice, entries, found.length);
  }

  /** As in `RepositoryData`. */
  async diff({ from, to, ...page }: DiffQuery, signal: AbortSignal): Promise<Diff | undefined> {
    const slice = sliceOf(page);
    const [before, after] = [this.#sideOf(from), this.#sideOf(to)];
    if (before === undefined || after === undefined) return undefined;
    const changes = await this.#changesBetween(before.at, before.manifest, after.manifest, signal, after.at);
    const differences = await runSteps(differencesOf(changes), yieldToEventLoop(signal));
    const counts = { added: 0, removed: 0, changed: 0 };
    for (const { kind } of differences) counts[kind] += 1;
    return { ...pageOfAll(slice, differences), from: before.side, to: after.side, counts };
  }

  /**
   * Returns the versions of a package in snapshots that are not current, the newest snapshot first. It looks into the
   * newest snapshots: as many as it can compare with a bounded effort.
   * @param rows the current ones of the package
   */
  async earlierVersions(
    name: string,
    rows: readonly ListedRow[],
    signal: AbortSignal,
  ): Promise<readonly EarlierVersion[]> {
    const current = new Set(rows.map(({ suite, version, architecture }) => [suite, version, architecture].join(" ")));
    const found = new Map<string, EarlierVersion>();
    const counts = new Map<string, number>();
    let segments = 0;
    const all = [...this.#repository.snapshots()];
    for (const [at, newer] of all.entries()) {
      const older = all[at + 1];
      const count = (counts.get(newer.suite) ?? 0) + 1;
      counts.set(newer.suite, count);
      const suite = this.#publications.find(newer.suite);
      if (older?.suite !== newer.suite || suite === undefined || count > maxSnapshotsSearched) continue;
      const [before, after] = [older, newer].map(({ id }) => suite.repository.publication(newer.suite, id));
      if (before === undefined || after === undefined) continue;
      const { onlyOlder, onlyNewer } = segmentsThatDiffer(before, after);
      segments += onlyOlder.length + onlyNewer.length;
      if (segments > maxSegmentsCompared) break;
      const { removed } = await this.#changesBetween(suite, before, after, signal);
      for (const { package: changed, version: whole, architecture, component } of removed) {
        const version = shortened(whole);
        const key = [suite.publicName, version, architecture].join(" ");
        if (changed !== name || architecture === "source" || current.has(key) || found.has(key)) continue;
        found.set(key, {
          suite: suite.publicName,
          version,
          architecture,
          component,
          snapshot: older.id,
          snapshotSeconds: older.servedSeconds,
        });
      }
    }
    return [...found.values()];
  }

  async #changesBetween(
    at: CurrentSuite,
    older: Manifest,
    newer: Manifest,
    signal: AbortSignal,
    other: CurrentSuite = at,
  ): Promise<PublicationChanges> {
    const key = [at.publicName, older.id, other.publicName, newer.id].join(" ");
    const known = this.#changes.get(key);
    if (known !== undefined) return known;
    const segments = {
      read: (id: string) => (at.repository.segments.has(id) ? at : other).repository.segments.read(id, "plain"),
    };
    const changes = await this.#comparing(() => changesBetween(older, newer, segments, signal));
    this.#changes.set(key, changes);
    return changes;
  }

  /** @param text `SUITE` or `SUITE@SNAPSHOT` */
  #sideOf(text: string): { at: CurrentSuite; manifest: Manifest; side: DiffSide } | undefined {
    const [, name = "", when] = /^([^@]{1,255})(?:@([^@]{1,255}))?$/.exec(text) ?? [];
    if (name === "") throw new BadQuery("from and to are SUITE or SUITE@SNAPSHOT");
    const at = this.#publications.find(name);
    if (at === undefined) return undefined;
    const id = when === undefined ? at.manifest.id : at.repository.snapshotId(at.suite, when);
    const manifest = id === undefined ? undefined : at.repository.publication(at.suite, id);
    if (manifest === undefined) return undefined;
    const { dateSeconds } = manifest;
    const side = { suite: name, snapshot: manifest.id, isCurrent: manifest.id === at.manifest.id, dateSeconds };
    return { at, manifest, side };
  }
}

function snapshotChangesOf({ added, removed }: PublicationChanges): SnapshotChanges {
  const shown = (list: readonly ListedPackage[]): Cut<ListedVersion> => {
    const { entries, total } = cut(list, maxNamedChanges);
    const named = entries.map(({ package: name, component, version, architecture }) => ({
      name,
      component,
      version: shortened(version),
      architecture,
    }));
    return { entries: named, total };
  };
  return { added: shown(added), removed: shown(removed) };
}
