// Selects the entries of Translation-en. If packages share a description, the first one in index order is listed.
import type { TreePath } from "../../base/names.ts";
import type { Steps } from "../../base/steps.ts";
import { itemsPerStep } from "../../base/steps.ts";
import type { BinaryIndexEntry } from "../../catalog/suite/index-entry.ts";
import type { PackageListChange } from "../../catalog/suite/package-list.ts";
import { compareOrdered } from "../../indices/order.ts";

/** Keeps the entries of Translation-en up to date; the work is proportional to the change of the package list. */
export class Descriptions {
  /** The packages of one component that share a description, in the order of the index. */
  readonly #sharing = new Map<string, readonly BinaryIndexEntry[]>();

  /** @returns the change to the entries of Translation-en */
  *applying(change: PackageListChange): Steps<PackageListChange> {
    const removed: BinaryIndexEntry[] = [];
    const added: BinaryIndexEntry[] = [];
    for (const [key, { left, come }] of yield* byDescription(change)) {
      yield;
      const before = this.#sharing.get(key) ?? [];
      const now = [...before.filter(({ path }) => !left.has(path)), ...come].toSorted(compareOrdered);
      if (now.length > 0) this.#sharing.set(key, now);
      else this.#sharing.delete(key);
      if (before[0] === now[0]) continue;
      if (before[0] !== undefined) removed.push(before[0]);
      if (now[0] !== undefined) added.push(now[0]);
    }
    return { removed, added };
  }

  /** All entries of Translation-en, in no particular order. */
  *items(): Iterable<BinaryIndexEntry> {
    for (const [first] of this.#sharing.values()) if (first !== undefined) yield first;
  }
}

interface DescriptionChange {
  /** The paths of packages that were removed, moved or changed. */
  readonly left: Set<TreePath>;
  readonly come: BinaryIndexEntry[];
}

function* byDescription({ removed, added }: PackageListChange): Steps<ReadonlyMap<string, DescriptionChange>> {
  const changes = new Map<string, DescriptionChange>();
  const note = (item: BinaryIndexEntry): DescriptionChange => {
    const key = `${item.component} ${item.descriptionKey}`;
    const change = changes.get(key) ?? { left: new Set(), come: [] };
    changes.set(key, change);
    change.left.add(item.path);
    return change;
  };
  const isDescribed = (item: PackageListChange["added"][number]): item is BinaryIndexEntry =>
    item.kind === "binary" && !item.forInstaller && item.descriptionKey !== undefined;
  for (const [index, item] of removed.entries()) {
    if (isDescribed(item)) note(item);
    if (index % itemsPerStep === 0) yield;
  }
  for (const [index, item] of added.entries()) {
    if (isDescribed(item)) note(item).come.push(item);
    if (index % itemsPerStep === 0) yield;
  }
  return changes;
}
