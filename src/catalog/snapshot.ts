// The packages that a suite holds at one moment, without double versions, and what is left out of it.
import type { TreePath } from "../base/names.ts";
import type { Candidate } from "./candidate.ts";
import { candidateOf } from "./candidate.ts";
import type { CatalogFile, FileChange } from "./catalog.ts";
import type { Pending, Rejection } from "./inspection.ts";
import type { Item } from "./item.ts";

/** What a change of files did to the packages of a suite. */
export interface SnapshotChange {
  readonly removed: readonly Item[];
  readonly added: readonly Item[];
}

/** A suite's packages, kept up to date change by change: the work is proportional to the change. */
export class Snapshot {
  readonly #candidates = new Map<TreePath, Candidate>();
  readonly #byKey = new Map<string, Candidate[]>();
  readonly #chosen = new Map<string, Item>();
  readonly #rejected = new Map<TreePath, Rejection>();
  readonly #pending = new Map<TreePath, Pending>();
  readonly #conflicts = new Map<string, ReadonlyMap<TreePath, Rejection>>();
  #newestLinkMs = 0;

  /** The newest link time that any package of this suite ever had here, in ms since the epoch. */
  get newestLinkMs(): number {
    return this.#newestLinkMs;
  }

  /** Every package, in no particular order. */
  items(): Iterable<Item> {
    return this.#chosen.values();
  }

  /** Every file that is in no index though its name announces a package. */
  *rejections(): Iterable<readonly [TreePath, Rejection]> {
    yield* this.#rejected;
    for (const conflicts of this.#conflicts.values()) yield* conflicts;
  }

  /** Every source package that waits for files. */
  pending(): Iterable<readonly [TreePath, Pending]> {
    return this.#pending;
  }

  /** @param fileAt the catalog's files after the change */
  apply(changes: readonly FileChange[], fileAt: (path: TreePath) => CatalogFile | undefined): SnapshotChange {
    const touched = new Set<string>();
    for (const { path, after } of changes) {
      this.#drop(path, touched);
      const decided = after === undefined ? undefined : candidateOf(after, fileAt);
      if (decided === undefined) continue;
      if ("code" in decided) this.#rejected.set(path, decided);
      else if ("missing" in decided) this.#pending.set(path, decided);
      else this.#add(decided, touched);
    }
    const removed: Item[] = [];
    const added: Item[] = [];
    for (const key of touched) {
      const before = this.#chosen.get(key);
      const after = this.#choose(key);
      if (before !== undefined && after !== undefined && isSameEntry(before, after)) continue;
      if (before !== undefined) removed.push(before);
      if (after !== undefined) added.push(after);
    }
    return { removed, added };
  }

  #drop(path: TreePath, touched: Set<string>): void {
    this.#rejected.delete(path);
    this.#pending.delete(path);
    const known = this.#candidates.get(path);
    if (known === undefined) return;
    this.#candidates.delete(path);
    const others = (this.#byKey.get(known.key) ?? []).filter((candidate) => candidate !== known);
    if (others.length > 0) this.#byKey.set(known.key, others);
    else this.#byKey.delete(known.key);
    touched.add(known.key);
  }

  #add(candidate: Candidate, touched: Set<string>): void {
    this.#candidates.set(candidate.item.path, candidate);
    this.#byKey.set(candidate.key, [...(this.#byKey.get(candidate.key) ?? []), candidate]);
    this.#newestLinkMs = Math.max(this.#newestLinkMs, candidate.item.entry.relinkedAtMs);
    touched.add(candidate.key);
  }

  /** One item per key: the newest link's bytes; of several paths with these bytes, the one linked first. */
  #choose(key: string): Item | undefined {
    const items = (this.#byKey.get(key) ?? []).map((candidate) => candidate.item);
    const newest = items.toSorted((a, b) => b.entry.relinkedAtMs - a.entry.relinkedAtMs || comparePaths(a, b))[0];
    this.#conflicts.delete(key);
    if (newest === undefined) {
      this.#chosen.delete(key);
      return undefined;
    }
    const same = items.filter((item) => item.sha256 === newest.sha256);
    const chosen = same.toSorted((a, b) => a.linkedAtMs - b.linkedAtMs || comparePaths(a, b))[0] ?? newest;
    const losers = items.filter((item) => item.sha256 !== newest.sha256);
    if (losers.length > 0) {
      const text = `${newest.path} is the same package and version with other bytes, and newer`;
      this.#conflicts.set(key, new Map(losers.map(({ path }) => [path, { kind: "rejected", code: "conflict", text }])));
    }
    this.#chosen.set(key, chosen);
    return chosen;
  }
}

const comparePaths = (a: Item, b: Item): number => (a.path < b.path ? -1 : 1);

/** Whether both make the same stanza at the same place of the index, out of files that are found in the same way. */
const isSameEntry = (a: Item, b: Item): boolean =>
  a.identity === b.identity && a.linkedAtMs === b.linkedAtMs && contentKeys(a).join() === contentKeys(b).join();

/** Equal bytes may have come to stand under another id: a package must then be read by the new one. */
const contentKeys = (item: Item): readonly (string | undefined)[] =>
  [item, ...(item.kind === "source" ? item.parts : [])].map(({ entry }) => entry.content?.key);
