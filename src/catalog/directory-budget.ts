// How much of a suite's indices one builder's directory may take: what was linked first stays, whoever looks and whenever.
import { beyondText } from "../base/errors.ts";
import type { TreePath } from "../base/names.ts";
import type { Steps } from "../base/steps.ts";
import { itemsPerStep, sorted } from "../base/steps.ts";
import type { Rejection } from "./inspection.ts";
import type { Item } from "./item.ts";
import { firstLinkedFirst } from "./item.ts";

export interface DirectoryLimits {
  /** How many packages of one builder's directory a suite lists. */
  readonly maxDirectoryPackages: number;
  /** How long their stanzas may be together, in bytes. */
  readonly maxDirectoryIndexBytes: number;
}

/** All of Debian 12's main, amd64, has 63,440 packages with 50 MB of stanzas. */
export const defaultDirectoryLimits: DirectoryLimits = {
  maxDirectoryPackages: 100_000,
  maxDirectoryIndexBytes: 128 * 2 ** 20,
};

/** What came within and beyond the budget because of a change, or is beyond it for another reason. */
export interface BudgetChange {
  readonly admitted: readonly Item[];
  readonly expelled: readonly Item[];
}

/** Between so many changes at once, each finds its place in the order by itself. */
const maxSingleChanges = 256;

/**
 * The packages of one builder's directory. Of those that are sound, in the order of their first links, the budget takes as
 * many as fit, and none behind the first that does not. So equal trees are judged equally, whatever was looked at when.
 */
export class DirectoryBudget {
  readonly #directory: TreePath;
  readonly #limits: DirectoryLimits;
  readonly #items = new Map<TreePath, Item>();
  #stanzaBytes = 0;
  /** What changed since `settle`. */
  #changed = new Map<TreePath, Item | undefined>();
  /** All in order, while they are beyond the budget. */
  #order: Item[] | undefined;
  #beyond: ReadonlySet<TreePath> = new Set();
  #rejection: Rejection | undefined;

  constructor(directory: TreePath, limits: DirectoryLimits) {
    this.#directory = directory;
    this.#limits = limits;
  }

  /** @param item undefined where none stands at this path any more */
  set(path: TreePath, item: Item | undefined): void {
    const before = this.#items.get(path);
    if (!this.#changed.has(path)) this.#changed.set(path, before);
    this.#stanzaBytes += (item?.stanzaBytes ?? 0) - (before?.stanzaBytes ?? 0);
    if (item === undefined) this.#items.delete(path);
    else this.#items.set(path, item);
  }

  get(path: TreePath): Item | undefined {
    return this.#items.get(path);
  }

  /** Why a package is beyond the budget; undefined for one that is not. As `settle` left it. */
  rejectionOf(path: TreePath): Rejection | undefined {
    return this.#beyond.has(path) ? this.#rejection : undefined;
  }

  /** @returns what changed sides without having changed itself */
  *settle(): Steps<BudgetChange> {
    const before = this.#beyond;
    const reasonBefore = this.#rejection?.text;
    const changed = this.#changed;
    this.#changed = new Map();
    const { maxDirectoryPackages, maxDirectoryIndexBytes } = this.#limits;
    if (this.#items.size <= maxDirectoryPackages && this.#stanzaBytes <= maxDirectoryIndexBytes) {
      this.#order = undefined;
      this.#beyond = new Set();
    } else {
      this.#order = yield* this.#ordered(changed);
      yield* this.#cut(this.#order);
    }
    const admitted: Item[] = [];
    const expelled: Item[] = [];
    for (const path of before) {
      const item = this.#items.get(path);
      if (item !== undefined && !changed.has(path) && !this.#beyond.has(path)) admitted.push(item);
    }
    for (const path of this.#beyond) {
      const item = this.#items.get(path);
      const isKnown = before.has(path) && this.#rejection?.text === reasonBefore;
      if (item !== undefined && !changed.has(path) && !isKnown) expelled.push(item);
    }
    return { admitted, expelled };
  }

  *#ordered(changed: ReadonlyMap<TreePath, Item | undefined>): Steps<Item[]> {
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

  *#cut(order: readonly Item[]): Steps<void> {
    const { maxDirectoryPackages, maxDirectoryIndexBytes } = this.#limits;
    let within = 0;
    for (let bytes = 0; within < Math.min(order.length, maxDirectoryPackages); within++) {
      bytes += order[within]?.stanzaBytes ?? 0;
      if (bytes > maxDirectoryIndexBytes) break;
      if (within % itemsPerStep === 0) yield;
    }
    this.#rejection = {
      kind: "rejected",
      code: "limit",
      text:
        within === maxDirectoryPackages
          ? beyondText("maxDirectoryPackages", maxDirectoryPackages, `the number of packages in ${this.#directory}`)
          : beyondText(
              "maxDirectoryIndexBytes",
              maxDirectoryIndexBytes,
              `the stanzas of ${this.#directory}, in bytes,`,
            ),
    };
    this.#beyond = new Set(order.slice(within).map(({ path }) => path));
  }
}

/** Where an item stands, or would stand. */
function placeIn(order: readonly Item[], item: Item): number {
  let [from, to] = [0, order.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    const there = order[middle];
    if (there !== undefined && firstLinkedFirst(there, item) < 0) from = middle + 1;
    else to = middle;
  }
  return from;
}
