// What a change of files does to each index, told before it is made.
import type { Architecture, TreePath } from "../../base/names.ts";
import { baseOfVariant } from "../../base/names.ts";
import { binaryIndex, installerIndex, sourceIndex } from "../../catalog/layout/repository-layout.ts";
import { shapeOf, withVariants } from "../../catalog/layout/suite-shape.ts";
import type { IndexEntry } from "../../catalog/suite/index-entry.ts";
import { VariantBuilds } from "../../catalog/suite/variant-builds.ts";
import type { InventoryFiles } from "./inventory.ts";
import { packageListsOf } from "./inventory.ts";

/** A stanza of an index, in short. */
export interface PreviewEntry {
  readonly package: string;
  readonly version: string;
  /** `source` in an index of sources. */
  readonly architecture: string;
  readonly component: string;
  readonly path: TreePath;
}

export interface IndexChange {
  readonly suite: string;
  /** Below the suite, e.g. `main/binary-amd64`. */
  readonly index: string;
  /** The same package and version in both lists: with other bytes. */
  readonly added: readonly PreviewEntry[];
  readonly removed: readonly PreviewEntry[];
}

/** Sorted by suite, index, package and version; an index that stays as it is has no place in it. */
export function previewIndices(before: InventoryFiles, after: InventoryFiles): readonly IndexChange[] {
  const [old, young] = [indicesOf(before), indicesOf(after)];
  return [...new Set([...old.keys(), ...young.keys()])].toSorted().flatMap((key): IndexChange[] => {
    const [left = none, right = none] = [old.get(key), young.get(key)];
    const removed = [...left].filter(([identity]) => !right.has(identity)).map(([, entry]) => entry);
    const added = [...right].filter(([identity]) => !left.has(identity)).map(([, entry]) => entry);
    if (removed.length + added.length === 0) return [];
    const [suite = "", index = ""] = key.split(" ");
    return [{ suite, index, added: added.toSorted(inOrder), removed: removed.toSorted(inOrder) }];
  });
}

type Entries = ReadonlyMap<string, PreviewEntry>;
const none: Entries = new Map();

/** By suite and index, the entries of each by what makes them the same to APT. */
function indicesOf({ files, directories, layout }: InventoryFiles): ReadonlyMap<string, Entries> {
  const indices = new Map<string, Map<string, PreviewEntry>>();
  for (const [suite, snapshot] of packageListsOf({ files, layout })) {
    const items = [...snapshot.entries()];
    const variants = items.flatMap((item) => (item.kind === "binary" ? (item.variant ?? []) : []));
    const { architectures } = withVariants(shapeOf(directories, suite, undefined, layout), new Set(variants));
    const builds = new VariantBuilds();
    builds.apply({ removed: [], added: items }, () => []);
    for (const item of items) {
      const entry = entryOf(item);
      const identity = [entry.package, entry.version, entry.architecture, item.sha256].join(" ");
      for (const index of indicesWith(item, architectures, builds)) {
        const entries = indices.get(`${suite} ${index}`) ?? new Map<string, PreviewEntry>();
        indices.set(`${suite} ${index}`, entries.set(identity, entry));
      }
    }
  }
  return indices;
}

/**
 * A package for any architecture stands in the index of each, and one for all machines of an architecture in those of its
 * variants too.
 */
function indicesWith(
  item: IndexEntry,
  architectures: readonly Architecture[],
  builds: VariantBuilds,
): readonly string[] {
  if (item.kind === "source") return [sourceIndex(item.component)];
  const index = item.forInstaller ? installerIndex : binaryIndex;
  const own = architectures.filter((architecture) =>
    item.variant === undefined
      ? ["all", architecture, baseOfVariant(architecture)].includes(item.architecture)
      : item.variant === architecture,
  );
  const shown = own.filter((architecture) => builds.mayBeListedFor(architecture, item));
  return shown.map((architecture) => index(item.component, architecture));
}

const entryOf = (item: IndexEntry): PreviewEntry => ({
  package: item.package,
  version: item.version,
  architecture: item.kind === "source" ? "source" : (item.variant ?? item.architecture),
  component: item.component,
  path: item.path,
});

const inOrder = (one: PreviewEntry, two: PreviewEntry): number =>
  one.package < two.package ? -1 : one.package > two.package ? 1 : one.path < two.path ? -1 : 1;
