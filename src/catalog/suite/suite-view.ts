// A view of a suite: rules hide some of its packages from the indices, without deleting them.
import { globMatcher } from "../../base/glob.ts";
import type { Component } from "../../base/names.ts";
import { compareVersions } from "../../debian/version.ts";
import type { IndexEntry } from "./index-entry.ts";
import type { PackageListChange } from "./package-list.ts";

/** The rules of one suite. They apply in this order: packages hidden by one rule do not count for the next. */
export interface ViewRules {
  /** Shows only packages of these names: shell patterns with `*` and `?`. Undefined: all. */
  readonly show?: readonly string[] | undefined;
  /** Hides packages of these names: patterns too. */
  readonly hide?: readonly string[] | undefined;
  /** Hides packages that were linked longer ago. */
  readonly maxAgeSeconds?: number | undefined;
  /** The number of versions to show of each package, architecture and component: the newest in Debian's order. */
  readonly newest?: number | undefined;
}

/** A package in the difference between two views. */
export interface ViewedPackage {
  readonly component: Component;
  readonly package: string;
  readonly version: string;
  /** `source` for a source package. */
  readonly architecture: string;
}

/** Applies the rules for single packages; `View` counts versions. */
class RuleMatcher {
  readonly #show: readonly ReturnType<typeof globMatcher>[] | undefined;
  readonly #hide: readonly ReturnType<typeof globMatcher>[];
  readonly #maxAgeMs: number;

  constructor({ show, hide = [], maxAgeSeconds = Number.POSITIVE_INFINITY }: ViewRules) {
    this.#show = show?.map(globMatcher);
    this.#hide = hide.map(globMatcher);
    this.#maxAgeMs = maxAgeSeconds * 1000;
  }

  isNamed({ package: name }: IndexEntry): boolean {
    const isShown = this.#show?.some((matches) => matches(name)) ?? true;
    return isShown && !this.#hide.some((matches) => matches(name));
  }

  /** When a package becomes too old, in ms since the epoch. */
  endMs({ linkedAtMs }: IndexEntry): number {
    return linkedAtMs + this.#maxAgeMs;
  }
}

/** The visible packages of a suite. The cost of a change is proportional to the versions of the changed packages. */
export class View {
  readonly #rules: RuleMatcher;
  readonly #newest: number;
  /** All packages that the patterns show, by package and architecture. */
  readonly #groups = new Map<string, readonly IndexEntry[]>();
  readonly #visible = new Map<string, readonly IndexEntry[]>();
  /** When the next package becomes too old, in ms since the epoch. */
  #nextEndMs = Number.POSITIVE_INFINITY;

  constructor(rules: ViewRules) {
    this.#rules = new RuleMatcher(rules);
    this.#newest = rules.newest ?? Number.POSITIVE_INFINITY;
  }

  /** Every visible package, in no particular order. */
  *entries(): Iterable<IndexEntry> {
    for (const entries of this.#visible.values()) yield* entries;
  }

  /** Whether a visible package has become too old. */
  isDue(nowMs: number): boolean {
    return nowMs >= this.#nextEndMs;
  }

  /** Turns a change of the package list, and of the time, into a change of the view. */
  apply({ removed, added }: PackageListChange, nowMs: number): PackageListChange {
    const touched = new Set<string>();
    const update = (entry: IndexEntry, change: (group: readonly IndexEntry[]) => readonly IndexEntry[]): void => {
      if (!this.#rules.isNamed(entry)) return;
      const key = groupOf(entry);
      this.#groups.set(key, change(this.#groups.get(key) ?? []));
      touched.add(key);
    };
    for (const entry of removed) update(entry, (group) => group.filter(({ identity }) => identity !== entry.identity));
    for (const entry of added) update(entry, (group) => [...group, entry]);
    const isDue = this.isDue(nowMs);
    if (isDue) for (const [key, entries] of this.#visible) if (this.#earliestEnd(entries) <= nowMs) touched.add(key);
    const changes = [...touched].map((key) => this.#settle(key, nowMs));
    if (isDue) this.#nextEndMs = this.#earliestEnd(this.entries());
    return { removed: changes.flatMap((one) => one.removed), added: changes.flatMap((one) => one.added) };
  }

  #settle(key: string, nowMs: number): PackageListChange {
    const before = this.#visible.get(key) ?? [];
    const group = this.#groups.get(key) ?? [];
    const young = group.filter((entry) => this.#rules.endMs(entry) > nowMs);
    const after = young.length <= this.#newest ? young : young.toSorted(newestFirst).slice(0, this.#newest);
    if (group.length === 0) this.#groups.delete(key);
    if (after.length === 0) this.#visible.delete(key);
    else this.#visible.set(key, after.length === group.length ? group : after);
    this.#nextEndMs = Math.min(this.#nextEndMs, this.#earliestEnd(after));
    return {
      removed: before.filter((entry) => !after.includes(entry)),
      added: after.filter((entry) => !before.includes(entry)),
    };
  }

  #earliestEnd(entries: Iterable<IndexEntry>): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const entry of entries) earliest = Math.min(earliest, this.#rules.endMs(entry));
    return earliest;
  }
}

/** The packages that other rules would hide and show. */
export interface ViewDifference {
  readonly hides: readonly ViewedPackage[];
  readonly shows: readonly ViewedPackage[];
  /** How many packages are visible with both rules. */
  readonly stays: number;
}

/**
 * Compares the current view of a suite with that of other rules.
 * @param all the package list of the suite
 * @param visible the packages that it shows now
 * @param rules the other rules; undefined to show all packages
 */
export function viewDifference(
  all: Iterable<IndexEntry>,
  visible: Iterable<IndexEntry>,
  rules: ViewRules | undefined,
  nowMs: number,
): ViewDifference {
  const view = new View(rules ?? {});
  view.apply({ removed: [], added: [...all] }, nowMs);
  const [now, after] = [byIdentity(visible), byIdentity(view.entries())];
  const hides = [...now].filter(([identity]) => !after.has(identity)).map(([, entry]) => viewedPackage(entry));
  const shows = [...after].filter(([identity]) => !now.has(identity)).map(([, entry]) => viewedPackage(entry));
  return { hides, shows, stays: now.size - hides.length };
}

const byIdentity = (entries: Iterable<IndexEntry>): ReadonlyMap<string, IndexEntry> =>
  new Map([...entries].map((entry) => [entry.identity, entry]));

const architectureOf = (entry: IndexEntry): string =>
  entry.kind === "binary" ? (entry.variant ?? entry.architecture) : "source";

const viewedPackage = (entry: IndexEntry): ViewedPackage => ({
  component: entry.component,
  package: entry.package,
  version: entry.version,
  architecture: architectureOf(entry),
});

const groupOf = (entry: IndexEntry): string =>
  [entry.component, entry.package, architectureOf(entry), entry.kind === "binary" && entry.forInstaller].join(" ");

/** Versions that are equal but written differently (e.g. 1.0 and 1.00) are ordered by path. */
const newestFirst = (a: IndexEntry, b: IndexEntry): number =>
  compareVersions(b.version, a.version) || (a.path < b.path ? -1 : a.path > b.path ? 1 : 0);
