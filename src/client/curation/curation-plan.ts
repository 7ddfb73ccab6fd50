// Plans changes of a tree: the links to set and remove in each directory, and the resulting changes of indices.
import type { Component, Suite, TreePath } from "../../base/names.ts";
import { joinPath, lastName, parentPath, parseTreePath } from "../../base/names.ts";
import type { CatalogFile } from "../../catalog/files/catalog-file.ts";
import { isUdeb } from "../../catalog/files/catalog-file.ts";
import { packageDirectoryPathOf } from "../../catalog/layout/repository-layout.ts";
import { compareVersions } from "../../debian/version.ts";
import type { ChangeLogEntry } from "./change-log.ts";
import { changeLogEntry } from "./change-log.ts";
import type { IndexChange } from "./index-preview.ts";
import { previewIndices } from "./index-preview.ts";
import type { Inventory, InventoryPackage } from "./inventory.ts";
import { subdirectoriesOf } from "./package-patterns.ts";

/** The changes of one directory. */
export interface DirectoryPlan {
  readonly directory: TreePath;
  /** The links to set, by name in this directory. */
  readonly links: ReadonlyMap<string, LinkPlan>;
  /** The content key of each name to unlink, in this order: a .dsc follows the files that it lists. */
  readonly unlinks: ReadonlyMap<string, string | undefined>;
  /** One change log line for each package; lines of packages without changed files are not written. */
  readonly events: readonly ChangeLogEntry[];
}

/** The key of the content to link, and the path where it is linked now. */
interface LinkPlan {
  readonly from: TreePath;
  readonly contentKey: string;
}

export interface CurationPlan {
  readonly directories: readonly DirectoryPlan[];
  readonly changes: readonly IndexChange[];
  /** Reasons against the plan; if there are any, it must not be applied. */
  readonly problems: readonly string[];
}

/** The destination of promoted packages; an undefined property keeps the value of each package's own location. */
export interface Destination {
  readonly suite: Suite;
  readonly component: Component | undefined;
  /** The names of the directories below the package directory. */
  readonly builder: readonly string[] | undefined;
}

export interface PromoteOptions {
  /** Whether a package may replace a file of the same name with different bytes. */
  readonly mayReplace: boolean;
  readonly nowMs: number;
}

/** Plans to link packages at a second location, with all files of source packages and the metadata of each link. */
export function planPromotion(
  inventory: Inventory,
  packages: readonly InventoryPackage[],
  to: Destination,
  { mayReplace, nowMs }: PromoteOptions,
): CurationPlan {
  const problems: string[] = [];
  const plans = new Map<TreePath, DirectoryPromotion>();
  const files = new Map(inventory.files);
  const directories = new Set(inventory.directories);
  for (const each of packages) {
    const directory = destinationOf(each, to);
    const plan: DirectoryPromotion = plans.get(directory) ?? {
      links: new Map(),
      events: [],
      architecture: each.architecture,
    };
    plans.set(directory, plan);
    for (const from of each.files) {
      const path = joinPath(directory, lastName(from));
      const [source, existing] = [inventory.files.get(from), files.get(path)];
      if (path === from) continue;
      const contentKey = contentOf(source);
      if (source === undefined || contentKey === undefined) {
        problems.push(`${from} is a mutable file, whose bytes may change`);
        continue;
      }
      if (existing !== undefined && contentOf(existing) !== contentKey && !mayReplace) {
        problems.push(`${path} already exists with different bytes: --replace overwrites it`);
      }
      plan.links.set(lastName(from), { from, contentKey });
      files.set(path, linkedFile(source, path, existing, nowMs));
    }
    if (directory !== parentPath(each.path)) {
      plan.events.push(changeLogEntry("promote", each, joinPath(directory, lastName(each.path)), each.path));
    }
    for (let at = directory; at !== "" && !directories.has(at); at = parentPath(at)) directories.add(at);
  }
  return {
    // Sources first, then packages that others may depend on, so that no dependency is missing at any time.
    directories: [...plans]
      .toSorted(([, one], [, two]) => rank(one.architecture) - rank(two.architecture))
      .map(([directory, { links, events }]) => ({ directory, links, events, unlinks: new Map() })),
    changes: previewIndices(inventory, { files, directories, layout: inventory.layout }),
    problems,
  };
}

/** The changes of one directory, with the architecture of its first package. */
interface DirectoryPromotion {
  readonly links: Map<string, LinkPlan>;
  readonly events: ChangeLogEntry[];
  readonly architecture: string;
}

const rank = (architecture: string): number => (architecture === "source" ? 0 : architecture === "all" ? 1 : 2);

function destinationOf(each: InventoryPackage, { suite, component, builder }: Destination): TreePath {
  const path = packageDirectoryPathOf({ ...each.location, suite, component: component ?? each.location.component });
  return parseTreePath([path, ...(builder ?? subdirectoriesOf(each))].join("/"));
}

const contentOf = (file: CatalogFile | undefined): string | undefined =>
  file?.entry.kind === "file" ? file.entry.content?.key : undefined;

/** The file after linking it at `path`. If it is linked there already, its entry does not change. */
function linkedFile(
  source: CatalogFile,
  path: TreePath,
  existing: CatalogFile | undefined,
  nowMs: number,
): CatalogFile {
  if (existing !== undefined && contentOf(existing) === contentOf(source))
    return { ...existing, finding: source.finding };
  if (source.entry.kind === "other") return { ...source, path };
  const linkedAtMs = existing?.entry.kind === "file" ? existing.entry.linkedAtMs : nowMs;
  return { ...source, path, entry: { ...source.entry, linkedAtMs, relinkedAtMs: nowMs } };
}

/** Plans to unlink packages, with the files of source packages that no remaining source package lists. */
export function planRemoval(
  inventory: Inventory,
  packages: readonly InventoryPackage[],
  action: "remove" | "prune",
): CurationPlan {
  const removed = new Set(packages.map(({ path }) => path));
  const needed = new Set(
    [...inventory.packages.values()].filter(({ path }) => !removed.has(path)).flatMap((each) => each.files),
  );
  const files = new Map(inventory.files);
  const plans = new Map<TreePath, { unlinks: Map<string, string | undefined>; events: ChangeLogEntry[] }>();
  for (const each of packages) {
    const directory = parentPath(each.path);
    const plan = plans.get(directory) ?? { unlinks: new Map<string, string | undefined>(), events: [] };
    plans.set(directory, plan);
    // The .dsc is unlinked last: after an interruption, the next attempt finds the remaining files through it.
    for (const path of each.files) {
      if (path !== each.path && needed.has(path)) continue;
      plan.unlinks.set(lastName(path), contentOf(inventory.files.get(path)));
      files.delete(path);
    }
    plan.events.push(changeLogEntry(action, each, each.path));
  }
  return {
    directories: [...plans].map(([directory, { unlinks, events }]) => ({
      directory,
      links: new Map(),
      unlinks,
      events,
    })),
    changes: previewIndices(inventory, { ...inventory, files }),
    problems: [],
  };
}

/** Rules for which old versions `prune` removes. */
export interface Retention {
  /** How many versions of each package are kept: the newest in Debian's order; at least 1. */
  readonly keep: number;
  /** Only packages linked before this time are removed, in ms since the epoch. */
  readonly linkedBeforeMs: number;
  /** Whether an index lists a package; only listed packages count as versions. Default: all sound packages. */
  readonly isAccepted?: ((each: InventoryPackage) => boolean) | undefined;
}

/**
 * The packages that the retention rules remove. Versions are counted for each suite, component, name and architecture.
 * A source package is kept while a package built from it is kept.
 */
export function expiredPackages(
  packages: readonly InventoryPackage[],
  all: Iterable<InventoryPackage>,
  { keep, linkedBeforeMs, isAccepted = ({ isSound }) => isSound }: Retention,
): readonly InventoryPackage[] {
  const groups = new Map<string, InventoryPackage[]>();
  for (const each of packages) {
    const key = [each.location.suite, each.location.component, each.name, each.architecture, isForInstaller(each)].join(
      " ",
    );
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  const removed = new Set<InventoryPackage>();
  for (const group of groups.values()) {
    const accepted = new Set(group.filter(isAccepted).map(({ version }) => version));
    const newest = new Set([...accepted].toSorted((one, two) => compareVersions(two, one)).slice(0, keep));
    const oldest = [...newest].at(-1);
    if (oldest === undefined || newest.size < keep) continue;
    for (const each of group) {
      // A package that is in no index does not count as a version; it is removed only if older than all kept ones.
      const isOld = !newest.has(each.version) && (isAccepted(each) || compareVersions(each.version, oldest) < 0);
      if (isOld && each.linkedAtMs < linkedBeforeMs) removed.add(each);
    }
  }
  const needed = new Set<string>();
  for (const each of all) if (each.architecture !== "source" && !removed.has(each)) needed.add(sourceKeyOf(each));
  return [...removed].filter((each) => each.architecture !== "source" || !needed.has(sourceKeyOf(each)));
}

const isForInstaller = ({ path }: InventoryPackage): boolean => isUdeb(path);

const sourceKeyOf = ({ location, source }: InventoryPackage): string =>
  [location.suite, location.component, source.name, source.version].join(" ");
