// The packages that a suite holds at one moment, without double versions, and what is left out of it.
import type { TreePath } from "../base/names.ts";
import { isKnownTime } from "../storage/link-times.ts";
import { candidateOf, uniqueKeyOf } from "./candidate.ts";
import type { FileChange } from "./catalog.ts";
import type { Pending, Rejection } from "./inspection.ts";
import type { Item } from "./item.ts";
import type { CatalogFile } from "./known-file.ts";

/** What a change of files did to the packages of a suite. */
export interface SnapshotChange {
  readonly removed: readonly Item[];
  readonly added: readonly Item[];
}

/** A suite's packages, kept up to date change by change: the work is proportional to the change. */
export class Snapshot {
  readonly #chosen = new Map<string, Item>();
  /** By key: all candidates, where there is another beside the chosen one. */
  readonly #rivals = new Map<string, readonly Item[]>();
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
    const contenders = new Map<string, readonly Item[]>();
    /** Whatever stands at this path under a key makes room. */
    const contend = (file: CatalogFile | undefined, item?: Item) => {
      const key = file && uniqueKeyOf(file);
      if (file === undefined || key === undefined) return;
      const others = (contenders.get(key) ?? this.#contenders(key)).filter(({ path }) => path !== file.path);
      contenders.set(key, item === undefined ? others : [...others, item]);
    };
    for (const { path, before, after } of changes) {
      this.#rejected.delete(path);
      this.#pending.delete(path);
      contend(before);
      const decided = after === undefined ? undefined : candidateOf(after, fileAt);
      if (decided === undefined) continue;
      if (decided.kind === "rejected") this.#rejected.set(path, decided);
      else if (decided.kind === "pending") this.#pending.set(path, decided);
      else {
        this.#newestLinkMs = Math.max(this.#newestLinkMs, decided.entry.relinkedAtMs);
        contend(after, decided);
      }
    }
    const removed: Item[] = [];
    const added: Item[] = [];
    for (const [key, items] of contenders) {
      const before = this.#chosen.get(key);
      const after = this.#choose(key, items);
      if (before !== undefined && after !== undefined && isSameEntry(before, after)) continue;
      if (before !== undefined) removed.push(before);
      if (after !== undefined) added.push(after);
    }
    return { removed, added };
  }

  #contenders(key: string): readonly Item[] {
    const only = this.#chosen.get(key);
    return this.#rivals.get(key) ?? (only === undefined ? [] : [only]);
  }

  /** One item per key: the newest link's bytes; of several paths with these bytes, the one linked first. */
  #choose(key: string, items: readonly Item[]): Item | undefined {
    this.#conflicts.delete(key);
    const [newest] = items.toSorted((a, b) => b.entry.relinkedAtMs - a.entry.relinkedAtMs || comparePaths(a, b));
    if (newest === undefined || items.length === 1) {
      this.#rivals.delete(key);
      if (newest === undefined) this.#chosen.delete(key);
      else this.#chosen.set(key, newest);
      return newest;
    }
    this.#rivals.set(key, items);
    const same = items.filter((item) => item.sha256 === newest.sha256);
    const chosen = same.toSorted((a, b) => compareFirstLinks(a, b) || comparePaths(a, b))[0] ?? newest;
    const losers = items.filter((item) => item.sha256 !== newest.sha256);
    if (losers.length > 0) {
      const rejections = losers.map((loser): [TreePath, Rejection] => [
        loser.path,
        { kind: "rejected", code: "conflict", text: conflictText(loser, newest) },
      ]);
      this.#conflicts.set(key, new Map(rejections));
    }
    this.#chosen.set(key, chosen);
    return chosen;
  }
}

/** Unknown times come last. */
const compareFirstLinks = (a: Item, b: Item): number =>
  isKnownTime(a.linkedAtMs) && isKnownTime(b.linkedAtMs)
    ? a.linkedAtMs - b.linkedAtMs
    : Number(isKnownTime(b.linkedAtMs)) - Number(isKnownTime(a.linkedAtMs));

function conflictText(loser: Item, { path }: Item): string {
  const text = `${path} is the same package and version with other bytes, and newer`;
  if (isKnownTime(loser.entry.relinkedAtMs)) return text;
  return `${text}: a file whose link time is unknown or in the future counts as the oldest`;
}

const comparePaths = (a: Item, b: Item): number => (a.path < b.path ? -1 : 1);

/** Whether both make the same stanza at the same place of the index, out of files that are found in the same way. */
const isSameEntry = (a: Item, b: Item): boolean =>
  a.identity === b.identity && a.linkedAtMs === b.linkedAtMs && contentKeys(a).join() === contentKeys(b).join();

/** Equal bytes may have come to stand under another id: a package must then be read by the new one. */
const contentKeys = (item: Item): readonly (string | undefined)[] =>
  [item, ...(item.kind === "source" ? item.parts : [])].map(({ entry }) => entry.content?.key);
