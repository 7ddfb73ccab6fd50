// Plans of changes to a tree: what is to be linked and unlinked in which directory, and what that does to each index.
import type { Component, Suite, TreePath } from "../../base/names.ts";
import { joinPath, lastName, parentPath, parseTreePath } from "../../base/names.ts";
import type { CatalogFile } from "../../catalog/files/catalog-file.ts";
import { isUdeb } from "../../catalog/files/catalog-file.ts";
import { placePath } from "../../catalog/layout/repository-layout.ts";
import { compareVersions } from "../../debian/version.ts";
import type { ChangeLogEntry } from "./change-log.ts";
import { changeLogEntry } from "./change-log.ts";
import type { IndexChange } from "./index-preview.ts";
import { previewIndices } from "./index-preview.ts";
import type { Inventory, InventoryPackage } from "./inventory.ts";
import { namesBelowPlace } from "./package-patterns.ts";

/** What is to be done in one directory. */
export interface DirectoryPlan {
  readonly directory: TreePath;
  /** By the name that each file is to have here. */
  readonly links: ReadonlyMap<string, LinkPlan>;
  /** The content of each name that goes, in the order in which they do: what names others after these. */
  readonly unlinks: ReadonlyMap<string, string | undefined>;
  /** A line for each package; only those of whose files there is something to do are written. */
  readonly events: readonly ChangeLogEntry[];
}

/** A content that is to be linked, by its key, and where it is linked now. */
interface LinkPlan {
  readonly from: TreePath;
  readonly contentKey: string;
}

export interface CurationPlan {
  readonly directories: readonly DirectoryPlan[];
  readonly changes: readonly IndexChange[];
  /** What speaks against it; then nothing is to be done. */
  readonly problems: readonly string[];
}

/** Where packages are promoted to; what is undefined stays as it is where each package comes from. */
export interface Destination {
  readonly suite: Suite;
  readonly component: Component | undefined;
  /** The names of the directories below the place. */
  readonly builder: readonly string[] | undefined;
}

export interface PromoteOptions {
  /** Whether a package may take the place of a file of the same name with other bytes. */
  readonly mayReplace: boolean;
  readonly nowMs: number;
}

/** Links packages at a second place, with all files of a source package and what stands beside each link. */
export function planPromotion(
  stock: Inventory,
  packages: readonly InventoryPackage[],
  to: Destination,
  { mayReplace, nowMs }: PromoteOptions,
): CurationPlan {
  const problems: string[] = [];
  const plans = new Map<TreePath, Promotion>();
  const files = new Map(stock.files);
  const directories = new Set(stock.directories);
  for (const one of packages) {
    const directory = destinationOf(one, to);
    const plan: Promotion = plans.get(directory) ?? { links: new Map(), events: [], architecture: one.architecture };
    plans.set(directory, plan);
    for (const from of one.files) {
      const path = joinPath(directory, lastName(from));
      const [source, there] = [stock.files.get(from), files.get(path)];
      if (path === from) continue;
      const contentKey = contentOf(source);
      if (source === undefined || contentKey === undefined) {
        problems.push(`${from} is a mutable file: its bytes may become others`);
        continue;
      }
      if (there !== undefined && contentOf(there) !== contentKey && !mayReplace) {
        problems.push(`${path} is there already with other bytes: --replace puts this one in its place`);
      }
      plan.links.set(lastName(from), { from, contentKey });
      files.set(path, linkedNow(source, path, there, nowMs));
    }
    if (directory !== parentPath(one.path)) {
      plan.events.push(changeLogEntry("promote", one, joinPath(directory, lastName(one.path)), one.path));
    }
    for (let at = directory; at !== "" && !directories.has(at); at = parentPath(at)) directories.add(at);
  }
  return {
    // Sources first, then what any architecture may depend on: nothing that dangles is seen.
    directories: [...plans]
      .toSorted(([, one], [, two]) => rank(one.architecture) - rank(two.architecture))
      .map(([directory, { links, events }]) => ({ directory, links, events, unlinks: new Map() })),
    changes: previewIndices(stock, { files, directories, layout: stock.layout }),
    problems,
  };
}

/** What comes into one directory, with the architecture of the first package. */
interface Promotion {
  readonly links: Map<string, LinkPlan>;
  readonly events: ChangeLogEntry[];
  readonly architecture: string;
}

const rank = (architecture: string): number => (architecture === "source" ? 0 : architecture === "all" ? 1 : 2);

function destinationOf(one: InventoryPackage, { suite, component, builder }: Destination): TreePath {
  const place = placePath({ ...one.place, suite, component: component ?? one.place.component });
  return parseTreePath([place, ...(builder ?? namesBelowPlace(one))].join("/"));
}

const contentOf = (file: CatalogFile | undefined): string | undefined =>
  file?.entry.kind === "file" ? file.entry.content?.key : undefined;

/** A file as it is found after it was linked here: where it was already, nothing is written. */
function linkedNow(source: CatalogFile, path: TreePath, there: CatalogFile | undefined, nowMs: number): CatalogFile {
  if (there !== undefined && contentOf(there) === contentOf(source)) return { ...there, finding: source.finding };
  if (source.entry.kind === "other") return { ...source, path };
  const linkedAtMs = there?.entry.kind === "file" ? there.entry.linkedAtMs : nowMs;
  return { ...source, path, entry: { ...source.entry, linkedAtMs, relinkedAtMs: nowMs } };
}

/** Unlinks packages, with those files of a source package that no other one in its directory names. */
export function planRemoval(
  stock: Inventory,
  packages: readonly InventoryPackage[],
  action: "remove" | "prune",
): CurationPlan {
  const going = new Set(packages.map(({ path }) => path));
  const needed = new Set(
    [...stock.packages.values()].filter(({ path }) => !going.has(path)).flatMap((one) => one.files),
  );
  const files = new Map(stock.files);
  const plans = new Map<TreePath, { unlinks: Map<string, string | undefined>; events: ChangeLogEntry[] }>();
  for (const one of packages) {
    const directory = parentPath(one.path);
    const plan = plans.get(directory) ?? { unlinks: new Map<string, string | undefined>(), events: [] };
    plans.set(directory, plan);
    // The .dsc goes last: as long as it is there, the next attempt knows what belongs to it.
    for (const path of one.files) {
      if (path !== one.path && needed.has(path)) continue;
      plan.unlinks.set(lastName(path), contentOf(stock.files.get(path)));
      files.delete(path);
    }
    plan.events.push(changeLogEntry(action, one, one.path));
  }
  return {
    directories: [...plans].map(([directory, { unlinks, events }]) => ({
      directory,
      links: new Map(),
      unlinks,
      events,
    })),
    changes: previewIndices(stock, { ...stock, files }),
    problems: [],
  };
}

/** What a retention lets go. */
export interface Retention {
  /** How many versions of each package stay at least, the newest by Debian's order; 1 or more. */
  readonly keep: number;
  /** Only what was linked before this goes, in ms since the epoch. */
  readonly linkedBeforeMs: number;
  /** Whether an index takes a package: no other one counts as a version. By default whatever is sound in itself. */
  readonly isAccepted?: ((one: InventoryPackage) => boolean) | undefined;
}

/**
 * The packages beyond a retention, counted by suite, component, name and architecture. A source package stays as long
 * as anything that was built from it does.
 */
export function expired(
  packages: readonly InventoryPackage[],
  all: Iterable<InventoryPackage>,
  { keep, linkedBeforeMs, isAccepted = ({ isSound }) => isSound }: Retention,
): readonly InventoryPackage[] {
  const groups = new Map<string, InventoryPackage[]>();
  for (const one of packages) {
    const key = [one.place.suite, one.place.component, one.name, one.architecture, isForInstaller(one)].join(" ");
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  const going = new Set<InventoryPackage>();
  for (const group of groups.values()) {
    const accepted = new Set(group.filter(isAccepted).map(({ version }) => version));
    const newest = new Set([...accepted].toSorted((one, two) => compareVersions(two, one)).slice(0, keep));
    const oldest = [...newest].at(-1);
    if (oldest === undefined || newest.size < keep) continue;
    for (const one of group) {
      // What is in no index takes no version's place, and goes only where it is older than all that stay.
      const isOld = !newest.has(one.version) && (isAccepted(one) || compareVersions(one.version, oldest) < 0);
      if (isOld && one.linkedAtMs < linkedBeforeMs) going.add(one);
    }
  }
  const needed = new Set<string>();
  for (const one of all) if (one.architecture !== "source" && !going.has(one)) needed.add(sourceKeyOf(one));
  return [...going].filter((one) => one.architecture !== "source" || !needed.has(sourceKeyOf(one)));
}

const isForInstaller = ({ path }: InventoryPackage): boolean => isUdeb(path);

const sourceKeyOf = ({ place, source }: InventoryPackage): string =>
  [place.suite, place.component, source.name, source.version].join(" ");
