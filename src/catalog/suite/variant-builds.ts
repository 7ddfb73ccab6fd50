// Tracks which packages have builds for an architecture variant (e.g. amd64v3). In the variant's index, these replace
// the builds for the plain architecture.
import { addToCount } from "../../base/counts.ts";
import type { Architecture } from "../../base/names.ts";
import type { BinaryIndexEntry, IndexEntry } from "./index-entry.ts";
import type { PackageListChange } from "./package-list.ts";

/**
 * The variant builds of a package list. An update costs what changes, and one pass over all entries if builds change.
 */
export class VariantBuilds {
  /** The number of builds of each package and version, by variant. */
  readonly #builds = new Map<Architecture, Map<string, number>>();

  /**
   * Applies a change of the package list.
   * @param entries returns all entries after the change
   * @returns a function that gives, for a variant, the change of the entries that its index may list
   */
  apply(change: PackageListChange, entries: () => Iterable<IndexEntry>): (variant: Architecture) => PackageListChange {
    const changedKeys = new Set<string>();
    const count = (entry: IndexEntry, by: 1 | -1) => {
      if (entry.kind !== "binary" || entry.variant === undefined) return;
      const builds = this.#builds.get(entry.variant) ?? new Map<string, number>();
      this.#builds.set(entry.variant, builds);
      addToCount(builds, keyOf(entry), by);
      if (builds.size === 0) this.#builds.delete(entry.variant);
      changedKeys.add(keyOf(entry));
    };
    for (const entry of change.removed) count(entry, -1);
    for (const entry of change.added) count(entry, 1);
    const plainEntries =
      changedKeys.size === 0 ? [] : [...entries()].filter((entry) => isPlain(entry) && changedKeys.has(keyOf(entry)));
    return (variant) => ({
      removed: [...change.removed, ...plainEntries.filter((entry) => !this.mayBeListedFor(variant, entry))],
      added: [...change.added, ...plainEntries].filter((entry) => this.mayBeListedFor(variant, entry)),
    });
  }

  /** Whether a variant's index may list an entry, because the variant has no build that replaces it. */
  mayBeListedFor(variant: Architecture, entry: IndexEntry): boolean {
    return !isPlain(entry) || this.#builds.get(variant)?.has(keyOf(entry)) !== true;
  }
}

const isPlain = (entry: IndexEntry): entry is BinaryIndexEntry =>
  entry.kind === "binary" && entry.variant === undefined;

const keyOf = ({ component, forInstaller, package: name, version }: BinaryIndexEntry): string =>
  [component, forInstaller, name, version].join(" ");
