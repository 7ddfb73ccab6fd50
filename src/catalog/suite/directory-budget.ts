// How much of a suite's indices one builder's directory may take: what was linked first stays, whoever looks and whenever.
import { addToCount } from "../../base/counts.ts";
import { beyondText } from "../../base/errors.ts";
import type { Architecture, TreePath } from "../../base/names.ts";
import type { Steps } from "../../base/steps.ts";
import { itemsPerStep, sorted } from "../../base/steps.ts";
import type { Rejection } from "../inspection/inspection.ts";
import type { IndexEntry } from "./index-entry.ts";
import { firstLinkedFirst } from "./index-entry.ts";

export interface DirectoryLimits {
  /** How many packages of one builder's directory a suite lists. */
  readonly maxDirectoryPackages: number;
  /** How long their stanzas may be together, in bytes. */
  readonly maxDirectoryIndexBytes: number;
  /** For how many variants of architectures it may have builds: each has indices of its own, with all of the suite. */
  readonly maxDirectoryVariants: number;
}

/** All of Debian 12's main, amd64, has 63,440 packages with 50 MB of stanzas. */
export const defaultDirectoryLimits: DirectoryLimits = {
  maxDirectoryPackages: 100_000,
  maxDirectoryIndexBytes: 128 * 2 ** 20,
  maxDirectoryVariants: 8,
};

/** What came within and beyond the budget because of a change, or is beyond it for another reason. */
export interface BudgetChange {
  readonly admitted: readonly IndexEntry[];
  readonly expelled: readonly IndexEntry[];
}

/** Between so many changes at once, each finds its place in the order by itself. */
const maxSingleChanges = 256;

/**
 * The packages of one builder's directory. Of those that are sound, in the order of their first links, the budget takes as
 * many as fit, and none behind the first that does not; builds for further variants take no place. So equal trees are judged equally, whatever was looked at when.
 */
export class DirectoryBudget {
  readonly #directory: TreePath;
  readonly #limits: DirectoryLimits;
  readonly #items = new Map<TreePath, IndexEntry>();
  /** How many items there are of each variant. */
  readonly #variants = new Map<Architecture, number>();
  #stanzaBytes = 0;
  /** What changed since `settle`. */
  #changed = new Map<TreePath, IndexEntry | undefined>();
  /** All in order, while they are beyond the budget. */
  #order: IndexEntry[] | undefined;
  #beyond: ReadonlyMap<TreePath, Rejection> = new Map();

  constructor(directory: TreePath, limits: DirectoryLimits) {
    this.#directory = directory;
    this.#limits = limits;
  }

  /** @param item undefined where none stands at this path any more */
  set(path: TreePath, item: IndexEntry | undefined): void {
    const before = this.#items.get(path);
    if (!this.#changed.has(path)) this.#changed.set(path, before);
    this.#stanzaBytes += (item?.stanzaBytes ?? 0) - (before?.stanzaBytes ?? 0);
    this.#countVariant(before, -1);
    this.#countVariant(item, 1);
    if (item === undefined) this.#items.delete(path);
    else this.#items.set(path, item);
  }

  get(path: TreePath): IndexEntry | undefined {
    return this.#items.get(path);
  }

  /** Why a package is beyond the budget; undefined for one that is not. As `settle` left it. */
  rejectionOf(path: TreePath): Rejection | undefined {
    return this.#beyond.get(path);
  }

  /** @returns what changed sides without having changed itself */
  *settle(): Steps<BudgetChange> {
    const before = this.#beyond;
    const changed = this.#changed;
    this.#changed = new Map();
    if (this.#isWithin()) {
      this.#order = undefined;
      this.#beyond = new Map();
    } else {
      this.#order = yield* this.#ordered(changed);
      this.#beyond = yield* this.#cut(this.#order);
    }
    const admitted: IndexEntry[] = [];
    const expelled: IndexEntry[] = [];
    for (const path of before.keys()) {
      const item = this.#items.get(path);
      if (item !== undefined && !changed.has(path) && !this.#beyond.has(path)) admitted.push(item);
    }
    for (const [path, { text }] of this.#beyond) {
      const item = this.#items.get(path);
      const isKnown = before.get(path)?.text === text;
      if (item !== undefined && !changed.has(path) && !isKnown) expelled.push(item);
    }
    return { admitted, expelled };
  }

  *#ordered(changed: ReadonlyMap<TreePath, IndexEntry | undefined>): Steps<IndexEntry[]> {
    if (this.#order === undefined || changed.size > maxSingleChanges) {
      return yield* sorted([...this.#items.values()], firstLinkedFirst);
    }
    const order = this.#order;
    for (const [path, before] of changed) {
      const now = this.#items.get(path);
      if (before !== undefined) order.splice(placeIn(order, before), 1);
      if (now !== undefined) order.splice(placeIn(order, now), 0, now);
      yield;
    }
    return order;
  }

  #isWithin(): boolean {
    const { maxDirectoryPackages, maxDirectoryIndexBytes, maxDirectoryVariants } = this.#limits;
    return (
      this.#items.size <= maxDirectoryPackages &&
      this.#stanzaBytes <= maxDirectoryIndexBytes &&
      this.#variants.size <= maxDirectoryVariants
    );
  }

  *#cut(order: readonly IndexEntry[]): Steps<Map<TreePath, Rejection>> {
    const beyond = new Map<TreePath, Rejection>();
    const variants = new Set<Architecture>();
    let packages = 0;
    let stanzaBytes = 0;
    let rejection: Rejection | undefined;
    for (const [at, item] of order.entries()) {
      if (at % itemsPerStep === 0) yield;
      rejection ??= this.#rejectionAfter(packages + 1, stanzaBytes + item.stanzaBytes);
      const forThis = rejection ?? this.#variantRejection(item, variants);
      if (forThis !== undefined) {
        beyond.set(item.path, forThis);
        continue;
      }
      packages += 1;
      stanzaBytes += item.stanzaBytes;
      const variant = variantOf(item);
      if (variant !== undefined) variants.add(variant);
    }
    return beyond;
  }

  #rejectionAfter(packages: number, stanzaBytes: number): Rejection | undefined {
    const { maxDirectoryPackages, maxDirectoryIndexBytes } = this.#limits;
    if (packages > maxDirectoryPackages) {
      return this.#rejection("maxDirectoryPackages", `the number of packages in ${this.#directory}`);
    }
    if (stanzaBytes > maxDirectoryIndexBytes) {
      return this.#rejection("maxDirectoryIndexBytes", `the stanzas of ${this.#directory}, in bytes,`);
    }
    return undefined;
  }

  #variantRejection(item: IndexEntry, variants: ReadonlySet<Architecture>): Rejection | undefined {
    const variant = variantOf(item);
    if (variant === undefined || variants.has(variant) || variants.size < this.#limits.maxDirectoryVariants) {
      return undefined;
    }
    return this.#rejection("maxDirectoryVariants", `the number of architecture variants in ${this.#directory}`);
  }

  #rejection(limit: keyof DirectoryLimits, what: string): Rejection {
    return { kind: "rejected", code: "limit", text: beyondText(limit, this.#limits[limit], what) };
  }

  #countVariant(item: IndexEntry | undefined, by: 1 | -1): void {
    const variant = item && variantOf(item);
    if (variant !== undefined) addToCount(this.#variants, variant, by);
  }
}

const variantOf = (item: IndexEntry): Architecture | undefined => (item.kind === "binary" ? item.variant : undefined);

/** Where an item stands, or would stand. */
function placeIn(order: readonly IndexEntry[], item: IndexEntry): number {
  let [from, to] = [0, order.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    const there = order[middle];
    if (there !== undefined && firstLinkedFirst(there, item) < 0) from = middle + 1;
    else to = middle;
  }
  return from;
}
