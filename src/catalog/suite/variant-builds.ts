// Which packages a variant of an architecture has builds of: in its index these stand in place of the architecture's own.
import { addToCount } from "../../base/counts.ts";
import type { Architecture } from "../../base/names.ts";
import type { BinaryIndexEntry, IndexEntry } from "./index-entry.ts";
import type { PackageListChange } from "./package-list.ts";

/** Follows a suite's snapshot, at the cost of what changes in it, and of one look at all items if a build comes or goes. */
export class VariantBuilds {
  /** For each variant, how many builds it has of a package and version. */
  readonly #builds = new Map<Architecture, Map<string, number>>();

  /**
   * @param items all items after the change
   * @returns for a variant, the change of all that could stand in its index
   */
  apply(change: PackageListChange, items: () => Iterable<IndexEntry>): (variant: Architecture) => PackageListChange {
    const moved = new Set<string>();
    const count = (item: IndexEntry, by: 1 | -1) => {
      if (item.kind !== "binary" || item.variant === undefined) return;
      const builds = this.#builds.get(item.variant) ?? new Map<string, number>();
      this.#builds.set(item.variant, builds);
      addToCount(builds, keyOf(item), by);
      if (builds.size === 0) this.#builds.delete(item.variant);
      moved.add(keyOf(item));
    };
    for (const item of change.removed) count(item, -1);
    for (const item of change.added) count(item, 1);
    const neighbours = moved.size === 0 ? [] : [...items()].filter((item) => isPlain(item) && moved.has(keyOf(item)));
    return (variant) => ({
      removed: [...change.removed, ...neighbours.filter((item) => !this.mayStandIn(variant, item))],
      added: [...change.added, ...neighbours].filter((item) => this.mayStandIn(variant, item)),
    });
  }

  /** Whether a variant has no build of its own that stands in its index in place of this package. */
  mayStandIn(variant: Architecture, item: IndexEntry): boolean {
    return !isPlain(item) || this.#builds.get(variant)?.has(keyOf(item)) !== true;
  }
}

const isPlain = (item: IndexEntry): item is BinaryIndexEntry => item.kind === "binary" && item.variant === undefined;

const keyOf = ({ component, forInstaller, package: name, version }: BinaryIndexEntry): string =>
  [component, forInstaller, name, version].join(" ");
