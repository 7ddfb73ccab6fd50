// Counts the packages of a suite, and updates the counts with each change.
import { addToCount } from "../../base/counts.ts";
import type { Architecture, Component } from "../../base/names.ts";
import type { IndexEntry } from "../../catalog/suite/index-entry.ts";
import type { PackageListChange } from "../../catalog/suite/package-list.ts";

export class PackageCounts {
  readonly #count: Record<IndexEntry["kind"], number> = { binary: 0, source: 0 };
  readonly #variants = new Map<Architecture, number>();
  readonly #forInstaller = new Map<Component, number>();

  constructor(items: Iterable<IndexEntry>) {
    for (const item of items) this.#add(item, 1);
  }

  apply({ removed, added }: PackageListChange): void {
    for (const item of removed) this.#add(item, -1);
    for (const item of added) this.#add(item, 1);
  }

  get binary(): number {
    return this.#count.binary;
  }

  get source(): number {
    return this.#count.source;
  }

  /** The components that hold packages for debian-installer. */
  withInstaller(): ReadonlySet<Component> {
    return new Set(this.#forInstaller.keys());
  }

  /** The architecture variants that the suite has packages for. */
  variants(): ReadonlySet<Architecture> {
    return new Set(this.#variants.keys());
  }

  #add(item: IndexEntry, by: 1 | -1): void {
    this.#count[item.kind] += by;
    if (item.kind !== "binary") return;
    if (item.variant !== undefined) addToCount(this.#variants, item.variant, by);
    if (item.forInstaller) addToCount(this.#forInstaller, item.component, by);
  }
}
