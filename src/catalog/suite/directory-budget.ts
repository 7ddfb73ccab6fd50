// Limits how much of a suite's indices one builder's directory may use. The packages that were linked first are listed,
// so the result is the same on all servers and at all times.
import { addToCount } from "../../base/counts.ts";
import { limitMessage } from "../../base/errors.ts";
import type { Architecture, TreePath } from "../../base/names.ts";
import type { Steps } from "../../base/steps.ts";
import { itemsPerStep, sorted } from "../../base/steps.ts";
import type { Rejection } from "../inspection/inspection.ts";
import type { IndexEntry } from "./index-entry.ts";
import { firstLinkedFirst } from "./index-entry.ts";

/** The limits for each builder's directory. Each has a configuration key of the same name. */
export interface DirectoryLimits {
  /** The number of packages that a suite lists. */
  readonly maxDirectoryPackages: number;
  /** The total length of their stanzas, in bytes. */
  readonly maxDirectoryIndexBytes: number;
  /** The number of architecture variants of its packages. Each adds indices with all packages of the suite. */
  readonly maxDirectoryVariants: number;
}

/** For comparison: main of Debian 12 for amd64 has 63,440 packages with 50 MB of stanzas. */
export const defaultDirectoryLimits: DirectoryLimits = {
  maxDirectoryPackages: 100_000,
  maxDirectoryIndexBytes: 128 * 2 ** 20,
  maxDirectoryVariants: 8,
};

/**
 * Packages that the budget admits or rejects because of changes to others, or rejects for another reason than before.
 */
export interface BudgetChange {
  readonly admitted: readonly IndexEntry[];
  readonly expelled: readonly IndexEntry[];
}

/** Up to this number of changes, each is inserted into the sorted list; above it the list is sorted again. */
const maxSingleChanges = 256;

/**
 * The packages of one builder's directory. In the order of their first links, valid packages are admitted up to the
 * first one that exceeds a limit; that one and all later ones are rejected. Packages for too many variants are rejected
 * without counting. So the result depends on the tree only, and not on the order in which packages were seen.
 */
export class DirectoryBudget {
  readonly #directory: TreePath;
  readonly #limits: DirectoryLimits;
  readonly #entries = new Map<TreePath, IndexEntry>();
  /** The number of packages for each variant. */
  readonly #variants = new Map<Architecture, number>();
  #stanzaBytes = 0;
  /** The entries before the changes since the last `settle`, by path. */
  #changed = new Map<TreePath, IndexEntry | undefined>();
  /** All packages in the order of their first links; only while they exceed the budget. */
  #order: IndexEntry[] | undefined;
  #rejections: ReadonlyMap<TreePath, Rejection> = new Map();

  constructor(directory: TreePath, limits: DirectoryLimits) {
    this.#directory = directory;
    this.#limits = limits;
  }

  /**
   * Adds, replaces or removes a package.
   * @param entry undefined if there is none at this path any more
   * @returns the previous one
   */
  set(path: TreePath, entry: IndexEntry | undefined): IndexEntry | undefined {
    const before = this.#entries.get(path);
    // Within the budget nothing was expelled, and the order is not known.
    if (this.#order !== undefined && !this.#changed.has(path)) this.#changed.set(path, before);
    this.#stanzaBytes += (entry?.stanzaBytes ?? 0) - (before?.stanzaBytes ?? 0);
    this.#countVariant(before, -1);
    this.#countVariant(entry, 1);
    if (entry === undefined) this.#entries.delete(path);
    else this.#entries.set(path, entry);
    return before;
  }

  /** What the packages use of each limit, also those that exceed it. */
  get used(): DirectoryLimits {
    return {
      maxDirectoryPackages: this.#entries.size,
      maxDirectoryIndexBytes: this.#stanzaBytes,
      maxDirectoryVariants: this.#variants.size,
    };
  }

  get(path: TreePath): IndexEntry | undefined {
    return this.#entries.get(path);
  }

  /** @returns why the budget rejects a package, as of the last `settle`; undefined if it does not */
  rejectionOf(path: TreePath): Rejection | undefined {
    return this.#rejections.get(path);
  }

  /** Applies the limits. @returns packages with a new result that did not change themselves */
  *settle(): Steps<BudgetChange> {
    const before = this.#rejections;
    const changed = this.#changed;
    this.#changed = new Map();
    if (this.#isWithin()) {
      this.#order = undefined;
      this.#rejections = new Map();
    } else {
      this.#order = yield* this.#sortedEntries(changed);
      this.#rejections = yield* this.#rejectBeyondLimits(this.#order);
    }
    const admitted: IndexEntry[] = [];
    const expelled: IndexEntry[] = [];
    for (const path of before.keys()) {
      const entry = this.#entries.get(path);
      if (entry !== undefined && !changed.has(path) && !this.#rejections.has(path)) admitted.push(entry);
    }
    for (const [path, { text }] of this.#rejections) {
      const entry = this.#entries.get(path);
      const isUnchanged = before.get(path)?.text === text;
      if (entry !== undefined && !changed.has(path) && !isUnchanged) expelled.push(entry);
    }
    return { admitted, expelled };
  }

  *#sortedEntries(changed: ReadonlyMap<TreePath, IndexEntry | undefined>): Steps<IndexEntry[]> {
    if (this.#order === undefined || changed.size > maxSingleChanges) {
      return yield* sorted([...this.#entries.values()], firstLinkedFirst);
    }
    const order = this.#order;
    for (const [path, before] of changed) {
      const now = this.#entries.get(path);
      if (before !== undefined) order.splice(positionIn(order, before), 1);
      if (now !== undefined) order.splice(positionIn(order, now), 0, now);
      yield;
    }
    return order;
  }

  #isWithin(): boolean {
    const { maxDirectoryPackages, maxDirectoryIndexBytes, maxDirectoryVariants } = this.#limits;
    return (
      this.#entries.size <= maxDirectoryPackages &&
      this.#stanzaBytes <= maxDirectoryIndexBytes &&
      this.#variants.size <= maxDirectoryVariants
    );
  }

  *#rejectBeyondLimits(order: readonly IndexEntry[]): Steps<Map<TreePath, Rejection>> {
    const rejections = new Map<TreePath, Rejection>();
    const variants = new Set<Architecture>();
    let packages = 0;
    let stanzaBytes = 0;
    let rejection: Rejection | undefined;
    for (const [at, entry] of order.entries()) {
      if (at % itemsPerStep === 0) yield;
      rejection ??= this.#rejectionAfter(packages + 1, stanzaBytes + entry.stanzaBytes);
      const own = rejection ?? this.#variantRejection(entry, variants);
      if (own !== undefined) {
        rejections.set(entry.path, own);
        continue;
      }
      packages += 1;
      stanzaBytes += entry.stanzaBytes;
      const variant = variantOf(entry);
      if (variant !== undefined) variants.add(variant);
    }
    return rejections;
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

  #variantRejection(entry: IndexEntry, variants: ReadonlySet<Architecture>): Rejection | undefined {
    const variant = variantOf(entry);
    if (variant === undefined || variants.has(variant) || variants.size < this.#limits.maxDirectoryVariants) {
      return undefined;
    }
    return this.#rejection("maxDirectoryVariants", `the number of architecture variants in ${this.#directory}`);
  }

  #rejection(limit: keyof DirectoryLimits, what: string): Rejection {
    return { kind: "rejected", code: "limit", text: limitMessage(limit, this.#limits[limit], what) };
  }

  #countVariant(entry: IndexEntry | undefined, by: 1 | -1): void {
    const variant = entry && variantOf(entry);
    if (variant !== undefined) addToCount(this.#variants, variant, by);
  }
}

const variantOf = (entry: IndexEntry): Architecture | undefined =>
  entry.kind === "binary" ? entry.variant : undefined;

/** The position of an entry in the sorted list, or the position to insert it. */
function positionIn(order: readonly IndexEntry[], entry: IndexEntry): number {
  let [from, to] = [0, order.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    const there = order[middle];
    if (there !== undefined && firstLinkedFirst(there, entry) < 0) from = middle + 1;
    else to = middle;
  }
  return from;
}
