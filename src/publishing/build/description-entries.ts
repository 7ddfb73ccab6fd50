// Which packages stand for their descriptions in Translation-en: of those that share one, the first of the index.
import type { TreePath } from "../../base/names.ts";
import type { Steps } from "../../base/steps.ts";
import { itemsPerStep } from "../../base/steps.ts";
import type { BinaryItem } from "../../catalog/suite/index-entry.ts";
import type { SnapshotChange } from "../../catalog/suite/package-list.ts";
import { compareOrdered } from "../../indices/order.ts";

/** Follows a suite's snapshot, at the cost of what changes in it. */
export class Descriptions {
  /** The packages of one component that share a description, in the order of the index. */
  readonly #sharing = new Map<string, readonly BinaryItem[]>();

  /** @returns the packages that ceased and that began to stand for a description */
  *applying(change: SnapshotChange): Steps<SnapshotChange> {
    const removed: BinaryItem[] = [];
    const added: BinaryItem[] = [];
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

  /** Every package that stands for a description, in no particular order. */
  *items(): Iterable<BinaryItem> {
    for (const [first] of this.#sharing.values()) if (first !== undefined) yield first;
  }
}

interface DescriptionChange {
  /** What is not where it was, or not as it was. */
  readonly left: Set<TreePath>;
  readonly come: BinaryItem[];
}

function* byDescription({ removed, added }: SnapshotChange): Steps<ReadonlyMap<string, DescriptionChange>> {
  const changes = new Map<string, DescriptionChange>();
  const note = (item: BinaryItem): DescriptionChange => {
    const key = `${item.component} ${item.descriptionKey}`;
    const change = changes.get(key) ?? { left: new Set(), come: [] };
    changes.set(key, change);
    change.left.add(item.path);
    return change;
  };
  const isDescribed = (item: SnapshotChange["added"][number]): item is BinaryItem =>
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
