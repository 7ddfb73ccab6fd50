// Counts the packages of a suite, and updates the counts with each change.
import { addToCount } from "../../base/counts.ts";
import type { Architecture, Component } from "../../base/names.ts";
import type { IndexEntry } from "../../catalog/suite/index-entry.ts";
import type { PackageListChange } from "../../catalog/suite/package-list.ts";

/** The numbers of binary and source packages in a suite, and which variants and installer components it has. */
export class PackageCounts {
  readonly #count: Record<IndexEntry["kind"], number> = { binary: 0, source: 0 };
  readonly #variants = new Map<Architecture, number>();
  readonly #forInstaller = new Map<Component, number>();

  constructor(entries: Iterable<IndexEntry>) {
    for (const entry of entries) this.#add(entry, 1);
  }

  apply({ removed, added }: PackageListChange): void {
    for (const entry of removed) this.#add(entry, -1);
    for (const entry of added) this.#add(entry, 1);
  }

  get binary(): number {
    return this.#count.binary;
  }

  get source(): number {
    return this.#count.source;
  }

  /** The components that have packages for debian-installer. */
  withInstaller(): ReadonlySet<Component> {
    return new Set(this.#forInstaller.keys());
  }

  /** The architecture variants that the suite has packages for. */
  variants(): ReadonlySet<Architecture> {
    return new Set(this.#variants.keys());
  }

  #add(entry: IndexEntry, by: 1 | -1): void {
    this.#count[entry.kind] += by;
    if (entry.kind !== "binary") return;
    if (entry.variant !== undefined) addToCount(this.#variants, entry.variant, by);
    if (entry.forInstaller) addToCount(this.#forInstaller, entry.component, by);
  }
}
