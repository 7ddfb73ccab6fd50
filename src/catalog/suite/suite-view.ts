// What a suite shows of the packages that it holds: rules hide some of them, and delete none.
import { globMatcher } from "../../base/glob.ts";
import type { Component } from "../../base/names.ts";
import { compareVersions } from "../../debian/version.ts";
import type { IndexEntry } from "./index-entry.ts";
import type { PackageListChange } from "./package-list.ts";

/** The rules of one suite, each of which may hide; what one hides takes no place in those after it. */
export interface ViewRules {
  /** Only packages of these names are shown: shell patterns with `*` and `?`. Undefined: all. */
  readonly show?: readonly string[] | undefined;
  /** Packages of these names are hidden, likewise. */
  readonly hide?: readonly string[] | undefined;
  /** What was linked longer ago is hidden. */
  readonly maxAgeSeconds?: number | undefined;
  /** So many versions are shown of each package and architecture in its component, the newest by Debian's order. */
  readonly newest?: number | undefined;
}

/** One side of the difference that other rules would make. */
export interface ViewedPackage {
  readonly component: Component;
  readonly package: string;
  readonly version: string;
  /** `source` for a source package. */
  readonly architecture: string;
}

/** Judges single packages; how many versions are shown is for a `View` to count. */
class Judge {
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

  /** The moment from which on a package is too old, in ms since the epoch. */
  endMs({ linkedAtMs }: IndexEntry): number {
    return linkedAtMs + this.#maxAgeMs;
  }
}

/** The visible packages of a suite, kept up to date: a change costs as much as the versions of its packages. */
export class View {
  readonly #judge: Judge;
  readonly #newest: number;
  /** All that the patterns show, by package and architecture. */
  readonly #groups = new Map<string, readonly IndexEntry[]>();
  readonly #visible = new Map<string, readonly IndexEntry[]>();
  /** When the next package grows too old, in ms since the epoch. */
  #nextEndMs = Number.POSITIVE_INFINITY;

  constructor(rules: ViewRules) {
    this.#judge = new Judge(rules);
    this.#newest = rules.newest ?? Number.POSITIVE_INFINITY;
  }

  /** Every visible package, in no particular order. */
  *items(): Iterable<IndexEntry> {
    for (const items of this.#visible.values()) yield* items;
  }

  /** Whether time alone has something to hide. */
  isDue(nowMs: number): boolean {
    return nowMs >= this.#nextEndMs;
  }

  /** Turns what changed in the suite, and that time went on, into what changed in its view. */
  apply({ removed, added }: PackageListChange, nowMs: number): PackageListChange {
    const touched = new Set<string>();
    const update = (item: IndexEntry, change: (group: readonly IndexEntry[]) => readonly IndexEntry[]): void => {
      if (!this.#judge.isNamed(item)) return;
      const key = groupOf(item);
      this.#groups.set(key, change(this.#groups.get(key) ?? []));
      touched.add(key);
    };
    for (const item of removed) update(item, (group) => group.filter(({ identity }) => identity !== item.identity));
    for (const item of added) update(item, (group) => [...group, item]);
    const isDue = this.isDue(nowMs);
    if (isDue) for (const [key, items] of this.#visible) if (this.#earliestEnd(items) <= nowMs) touched.add(key);
    const changes = [...touched].map((key) => this.#settle(key, nowMs));
    if (isDue) this.#nextEndMs = this.#earliestEnd(this.items());
    return { removed: changes.flatMap((one) => one.removed), added: changes.flatMap((one) => one.added) };
  }

  #settle(key: string, nowMs: number): PackageListChange {
    const before = this.#visible.get(key) ?? [];
    const group = this.#groups.get(key) ?? [];
    const young = group.filter((item) => this.#judge.endMs(item) > nowMs);
    const after = young.length <= this.#newest ? young : young.toSorted(newestFirst).slice(0, this.#newest);
    if (group.length === 0) this.#groups.delete(key);
    if (after.length === 0) this.#visible.delete(key);
    else this.#visible.set(key, after.length === group.length ? group : after);
    this.#nextEndMs = Math.min(this.#nextEndMs, this.#earliestEnd(after));
    return {
      removed: before.filter((item) => !after.includes(item)),
      added: after.filter((item) => !before.includes(item)),
    };
  }

  #earliestEnd(items: Iterable<IndexEntry>): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const item of items) earliest = Math.min(earliest, this.#judge.endMs(item));
    return earliest;
  }
}

/** What a suite would hide and show if it had these rules. */
export interface ViewDifference {
  readonly hides: readonly ViewedPackage[];
  readonly shows: readonly ViewedPackage[];
  /** How many packages are visible either way. */
  readonly stays: number;
}

/**
 * @param all what the suite holds
 * @param visible what it shows now
 * @param rules undefined: all would be shown
 */
export function viewDifference(
  all: Iterable<IndexEntry>,
  visible: Iterable<IndexEntry>,
  rules: ViewRules | undefined,
  nowMs: number,
): ViewDifference {
  const view = new View(rules ?? {});
  view.apply({ removed: [], added: [...all] }, nowMs);
  const [now, then] = [byIdentity(visible), byIdentity(view.items())];
  const hides = [...now].filter(([identity]) => !then.has(identity)).map(([, item]) => viewed(item));
  const shows = [...then].filter(([identity]) => !now.has(identity)).map(([, item]) => viewed(item));
  return { hides, shows, stays: now.size - hides.length };
}

const byIdentity = (items: Iterable<IndexEntry>): ReadonlyMap<string, IndexEntry> =>
  new Map([...items].map((item) => [item.identity, item]));

const architectureOf = (item: IndexEntry): string =>
  item.kind === "binary" ? (item.variant ?? item.architecture) : "source";

const viewed = (item: IndexEntry): ViewedPackage => ({
  component: item.component,
  package: item.package,
  version: item.version,
  architecture: architectureOf(item),
});

const groupOf = (item: IndexEntry): string =>
  [item.component, item.package, architectureOf(item), item.kind === "binary" && item.forInstaller].join(" ");

/** Versions that are equal though written differently are told apart by their paths. */
const newestFirst = (a: IndexEntry, b: IndexEntry): number =>
  compareVersions(b.version, a.version) || (a.path < b.path ? -1 : a.path > b.path ? 1 : 0);
