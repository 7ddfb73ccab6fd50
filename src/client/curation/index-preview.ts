// Computes how a change of files would change each index.
import type { Architecture, TreePath } from "../../base/names.ts";
import { baseOfVariant } from "../../base/names.ts";
import { binaryIndex, installerIndex, sourceIndex } from "../../catalog/layout/repository-layout.ts";
import { shapeOf, withVariants } from "../../catalog/layout/suite-shape.ts";
import type { IndexEntry } from "../../catalog/suite/index-entry.ts";
import { VariantBuilds } from "../../catalog/suite/variant-builds.ts";
import type { InventoryFiles } from "./inventory.ts";
import { packageListsOf } from "./inventory.ts";

/** Identifies a stanza of an index. */
export interface PreviewEntry {
  readonly package: string;
  readonly version: string;
  /** `source` in a Sources index. */
  readonly architecture: string;
  readonly component: string;
  readonly path: TreePath;
}

export interface IndexChange {
  readonly suite: string;
  /** Path below the suite, e.g. `main/binary-amd64`. */
  readonly index: string;
  /** If a package and version is in both lists, its bytes differ. */
  readonly added: readonly PreviewEntry[];
  readonly removed: readonly PreviewEntry[];
}

/** @returns only the indices that change, sorted by suite and index; their entries sorted by package */
export function previewIndices(before: InventoryFiles, after: InventoryFiles): readonly IndexChange[] {
  const [oldIndices, newIndices] = [indicesOf(before), indicesOf(after)];
  return [...new Set([...oldIndices.keys(), ...newIndices.keys()])].toSorted().flatMap((key): IndexChange[] => {
    const [oldEntries = none, newEntries = none] = [oldIndices.get(key), newIndices.get(key)];
    const removed = [...oldEntries].filter(([entryKey]) => !newEntries.has(entryKey)).map(([, entry]) => entry);
    const added = [...newEntries].filter(([entryKey]) => !oldEntries.has(entryKey)).map(([, entry]) => entry);
    if (removed.length + added.length === 0) return [];
    const [suite = "", index = ""] = key.split(" ");
    return [{ suite, index, added: added.toSorted(compareEntries), removed: removed.toSorted(compareEntries) }];
  });
}

type Entries = ReadonlyMap<string, PreviewEntry>;
const none: Entries = new Map();

/** The entries of each suite and index; the entries are keyed by everything that APT compares to detect a change. */
function indicesOf({ files, directories, layout }: InventoryFiles): ReadonlyMap<string, Entries> {
  const indices = new Map<string, Map<string, PreviewEntry>>();
  for (const [suite, packageList] of packageListsOf({ files, layout })) {
    const indexEntries = [...packageList.entries()];
    const variants = indexEntries.flatMap((entry) => (entry.kind === "binary" ? (entry.variant ?? []) : []));
    const { architectures } = withVariants(shapeOf(directories, suite, undefined, layout), new Set(variants));
    const builds = new VariantBuilds();
    builds.apply({ removed: [], added: indexEntries }, () => []);
    for (const indexEntry of indexEntries) {
      const entry = previewEntryOf(indexEntry);
      const entryKey = [entry.package, entry.version, entry.architecture, indexEntry.sha256].join(" ");
      for (const index of indicesContaining(indexEntry, architectures, builds)) {
        const entries = indices.get(`${suite} ${index}`) ?? new Map<string, PreviewEntry>();
        indices.set(`${suite} ${index}`, entries.set(entryKey, entry));
      }
    }
  }
  return indices;
}

/**
 * Lists the indices that contain an entry. A package for `all` is in the index of each architecture, and a package for
 * an architecture also in the indices of its variants.
 */
function indicesContaining(
  entry: IndexEntry,
  architectures: readonly Architecture[],
  builds: VariantBuilds,
): readonly string[] {
  if (entry.kind === "source") return [sourceIndex(entry.component)];
  const index = entry.forInstaller ? installerIndex : binaryIndex;
  const matching = architectures.filter((architecture) =>
    entry.variant === undefined
      ? ["all", architecture, baseOfVariant(architecture)].includes(entry.architecture)
      : entry.variant === architecture,
  );
  const listed = matching.filter((architecture) => builds.mayBeListedFor(architecture, entry));
  return listed.map((architecture) => index(entry.component, architecture));
}

const previewEntryOf = (entry: IndexEntry): PreviewEntry => ({
  package: entry.package,
  version: entry.version,
  architecture: entry.kind === "source" ? "source" : (entry.variant ?? entry.architecture),
  component: entry.component,
  path: entry.path,
});

const compareEntries = (one: PreviewEntry, two: PreviewEntry): number =>
  one.package < two.package ? -1 : one.package > two.package ? 1 : one.path < two.path ? -1 : 1;
