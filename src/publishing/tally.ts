// How many packages a suite holds, kept up to date change by change.
import type { Architecture, Component } from "../base/names.ts";
import type { Item } from "../catalog/item.ts";
import type { SnapshotChange } from "../catalog/snapshot.ts";

export class Tally {
  readonly #count: Record<Item["kind"], number> = { binary: 0, source: 0 };
  readonly #variants = new Map<Architecture, number>();
  readonly #forInstaller = new Map<Component, number>();

  constructor(items: Iterable<Item>) {
    for (const item of items) this.#add(item, 1);
  }

  apply({ removed, added }: SnapshotChange): void {
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
    return new Set([...this.#forInstaller].flatMap(([component, count]) => (count > 0 ? [component] : [])));
  }

  /** The variants of architectures that it holds packages for. */
  variants(): ReadonlySet<Architecture> {
    return new Set([...this.#variants].flatMap(([variant, count]) => (count > 0 ? [variant] : [])));
  }

  #add(item: Item, by: 1 | -1): void {
    this.#count[item.kind] += by;
    if (item.kind === "binary" && item.variant !== undefined) {
      this.#variants.set(item.variant, (this.#variants.get(item.variant) ?? 0) + by);
    }
    if (item.kind !== "binary" || !item.forInstaller) return;
    this.#forInstaller.set(item.component, (this.#forInstaller.get(item.component) ?? 0) + by);
  }
}
