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
    for (const [key, { gone, arrived }] of yield* byDescription(change)) {
      yield;
      const before = this.#sharing.get(key) ?? [];
      const now = [...before.filter(({ path }) => !gone.has(path)), ...arrived].toSorted(compareOrdered);
      if (now.length > 0) this.#sharing.set(key, now);
      else this.#sharing.delete(key);
      if (before[0] === now[0]) continue;
      if (before[0] !== undefined) removed.push(before[0]);
      if (now[0] !== undefined) added.push(now[0]);
    }
    return { removed, added };
  }

  /** All entries of Translation-en, in no particular order. */
  *entries(): Iterable<BinaryIndexEntry> {
    for (const [first] of this.#sharing.values()) if (first !== undefined) yield first;
  }
}

interface DescriptionChange {
  /** The paths of packages that were removed, moved or changed. */
  readonly gone: Set<TreePath>;
  readonly arrived: BinaryIndexEntry[];
}

function* byDescription({ removed, added }: PackageListChange): Steps<ReadonlyMap<string, DescriptionChange>> {
  const changes = new Map<string, DescriptionChange>();
  const noteRemoval = (entry: BinaryIndexEntry): DescriptionChange => {
    const key = `${entry.component} ${entry.descriptionKey}`;
    const change = changes.get(key) ?? { gone: new Set(), arrived: [] };
    changes.set(key, change);
    change.gone.add(entry.path);
    return change;
  };
  const isDescribed = (entry: PackageListChange["added"][number]): entry is BinaryIndexEntry =>
    entry.kind === "binary" && !entry.forInstaller && entry.descriptionKey !== undefined;
  for (const [index, entry] of removed.entries()) {
    if (isDescribed(entry)) noteRemoval(entry);
    if (index % itemsPerStep === 0) yield;
  }
  for (const [index, entry] of added.entries()) {
    if (isDescribed(entry)) noteRemoval(entry).arrived.push(entry);
    if (index % itemsPerStep === 0) yield;
  }
  return changes;
}
