// Reads an inventory of a tree by the server's rules: the packages with their files, and the rejected files.
import { forEachConcurrent } from "../../base/for-each-concurrent.ts";
import type { Suite, TreePath } from "../../base/names.ts";
import { joinPath, lastName, parentPath } from "../../base/names.ts";
import type { FileChange } from "../../catalog/catalog.ts";
import type { CatalogFile } from "../../catalog/files/catalog-file.ts";
import { findingOf } from "../../catalog/files/finding.ts";
import { inspectContent, packageKindOf } from "../../catalog/inspection/inspect.ts";
import { defaultInspectLimits as limits } from "../../catalog/inspection/inspect-limits.ts";
import type { Inspection, PackageKind, Rejection } from "../../catalog/inspection/inspection.ts";
import type { Layout, PackageDirectory } from "../../catalog/layout/repository-layout.ts";
import { plainLayout } from "../../catalog/layout/repository-layout.ts";
import { inspectionOf, parseEntryMetadata } from "../../catalog/metadata/entry-metadata.ts";
import type { Ownership } from "../../catalog/suite/package-list.ts";
import { PackageList } from "../../catalog/suite/package-list.ts";
import { placementOf } from "../../catalog/suite/placement-rules.ts";
import { survey } from "../../catalog/survey.ts";
import { sourceOf } from "../../debian/source-field.ts";
import { fieldOf } from "../../debian/stanza.ts";
import { withPlausibleTimes } from "../../storage/link-times.ts";
import type { FileEntry, OtherEntry, Tree } from "../../storage/tree.ts";
import { ContentGone, StorageUnavailable } from "../../storage/tree.ts";

/** A file with the name of a .deb, .udeb, .ddeb or .dsc. */
export interface InventoryPackage {
  readonly path: TreePath;
  readonly location: PackageDirectory;
  /** Whether the package is valid: an index lists it, or another package with the same name and version instead. */
  readonly isSound: boolean;
  /** For a rejected file this and the following strings are "". */
  readonly name: string;
  readonly version: string;
  /** `source` for a source package. */
  readonly architecture: string;
  /** The source package that it is, or that it was built from. */
  readonly source: { readonly name: string; readonly version: string };
  /** The package file, preceded by the existing files that a source package lists. */
  readonly files: readonly TreePath[];
  readonly sizeBytes: number;
  readonly sha256: string;
  /** When the link was last set, in ms since the epoch, according to the uploader: it may be in the future. */
  readonly linkedAtMs: number;
}

/** The files and directories of a tree. */
export interface InventoryFiles {
  /** Distinguishes suites with a slash from components. */
  readonly layout: Layout;
  readonly directories: ReadonlySet<TreePath>;
  readonly files: ReadonlyMap<TreePath, CatalogFile>;
}

export interface Inventory extends InventoryFiles {
  /** By path. */
  readonly packages: ReadonlyMap<TreePath, InventoryPackage>;
  /** Why a package file is in no index; sorted by path. */
  readonly rejections: readonly (readonly [TreePath, Rejection])[];
}

/** Whether the inventory contains a directory of the suite. */
export const hasSuite = ({ directories, layout }: Inventory, suite: string): boolean =>
  [...directories].some((path) => layout.suiteOf(path) === suite);

/** How many files without a valid claim are read at once. */
const concurrentReads = 8;

/**
 * Reads the inventory of some directories. A file is read only if its entry has no valid claim.
 * @param paths must not contain each other, except suites; paths that do not exist add nothing
 * @param nowMs in ms since the epoch: link times later than this count as unknown, as for the server
 * @param layout distinguishes suites with a slash from components
 * @throws StorageUnavailable, LimitExceeded
 */
export async function readInventory(
  tree: Tree,
  paths: readonly TreePath[],
  nowMs: number,
  signal: AbortSignal,
  layout: Layout = plainLayout,
): Promise<Inventory> {
  const entries = new Map<TreePath, FileEntry | OtherEntry>();
  const directories = new Set<TreePath>();
  for (const path of paths) {
    const surveyed = await survey(tree, path, signal, Number.POSITIVE_INFINITY, { layout });
    const [unlisted] = surveyed.unlisted;
    if (unlisted !== undefined) throw new StorageUnavailable(unlisted[0], unlisted[1].text, { transient: true });
    for (const [at, entry] of surveyed.files) entries.set(at, entry);
    for (const directory of surveyed.directories) directories.add(directory);
  }
  const reader = new InspectionReader(tree, signal);
  const files = new Map<TreePath, CatalogFile>();
  const sources = new Map<TreePath, InventoryPackage["source"]>();
  const partPaths = new Set<TreePath>();
  await forEachConcurrent(entries, concurrentReads, async ([at, entry]) => {
    const kind = packageKindOf(lastName(at));
    const inspection = kind && (await reader.inspect(at, entry, kind));
    files.set(at, fileOf(at, withPlausibleTimes(entry, nowMs), inspection));
    if (inspection?.kind === "source") {
      for (const { name } of inspection.parts) partPaths.add(joinPath(parentPath(at), name));
    }
    const source = inspection && sourcePackageOf(inspection);
    if (source !== undefined) sources.set(at, source);
  });
  await forEachConcurrent(partPaths, concurrentReads, async (at) => {
    const part = files.get(at);
    if (part === undefined || part.finding !== undefined) return;
    files.set(at, fileOf(at, part.entry, await reader.inspect(at, entries.get(at) ?? part.entry, "part")));
  });
  return inventoryOf(entries, { files, directories, layout }, sources);
}

function inventoryOf(
  entries: ReadonlyMap<TreePath, FileEntry | OtherEntry>,
  inventoryFiles: InventoryFiles,
  sources: ReadonlyMap<TreePath, InventoryPackage["source"]>,
): Inventory {
  const { files, layout } = inventoryFiles;
  const packages = new Map<TreePath, InventoryPackage>();
  for (const file of files.values()) {
    const inventoryPackage = packageOf(file, sources.get(file.path), entries.get(file.path), inventoryFiles);
    if (inventoryPackage !== undefined) packages.set(file.path, inventoryPackage);
  }
  const rejections = [...packageListsOf({ files, layout }).values()].flatMap((packageList) => [
    ...packageList.rejections(),
    ...[...packageList.pending()].map(([path, { missing }]): [TreePath, Rejection] => [
      path,
      { kind: "rejected", code: "incomplete", text: `${missing.join(", ")} is missing in its directory` },
    ]),
  ]);
  return { ...inventoryFiles, packages, rejections: rejections.toSorted(([one], [two]) => (one < two ? -1 : 1)) };
}

/**
 * Computes the package list of each suite from these files, as the server does.
 * @param ownershipOf returns the rules for who may publish which names; by default all names are allowed to all
 */
export function packageListsOf(
  { files, layout }: Pick<InventoryFiles, "files" | "layout">,
  ownershipOf: (suite: Suite) => Ownership | undefined = () => undefined,
): ReadonlyMap<Suite, PackageList> {
  const changes = new Map<Suite, FileChange[]>();
  for (const [path, after] of files) {
    const suite = layout.suiteOf(path);
    if (suite === undefined) continue;
    const suiteChanges = changes.get(suite) ?? [];
    changes.set(suite, suiteChanges);
    suiteChanges.push({ path, before: undefined, after });
  }
  const packageLists = new Map<Suite, PackageList>();
  for (const [suite, suiteChanges] of changes) {
    const packageList = new PackageList(ownershipOf(suite), undefined, layout);
    packageList.apply(suiteChanges, (path) => files.get(path));
    packageLists.set(suite, packageList);
  }
  return packageLists;
}

const unknown = { name: "", version: "" };

function packageOf(
  file: CatalogFile,
  source: InventoryPackage["source"] | undefined,
  listed: FileEntry | OtherEntry | undefined,
  { files, layout }: InventoryFiles,
): InventoryPackage | undefined {
  const { path, finding } = file;
  const location = layout.packageDirectoryOf(parentPath(path));
  if (location === undefined || finding === undefined || finding.kind === "part") return undefined;
  const placement = placementOf(file, (at) => files.get(at), layout);
  const common = {
    path,
    location,
    isSound: placement?.kind === "binary" || placement?.kind === "source",
    source: source ?? unknown,
    linkedAtMs: listed?.kind === "file" ? listed.relinkedAtMs : 0,
  };
  switch (finding.kind) {
    case "rejected":
      return { ...common, ...unknown, architecture: "", files: [path], sizeBytes: 0, sha256: "" };
    case "binary": {
      const { package: name, version, variant, sizeBytes, sha256 } = finding;
      const architecture = variant ?? finding.architecture;
      return { ...common, name, version, architecture, files: [path], sizeBytes, sha256 };
    }
    case "source": {
      const { package: name, version, sizeBytes, digests, parts } = finding;
      const existing = parts.map((part) => joinPath(parentPath(path), part.name)).filter((at) => files.has(at));
      const { sha256 } = digests;
      return { ...common, name, version, architecture: "source", files: [...existing, path], sizeBytes, sha256 };
    }
    default:
      return finding satisfies never;
  }
}

/** Creates a catalog file, without the metadata: to save memory, because it is as long as a stanza. */
function fileOf(path: TreePath, entry: FileEntry | OtherEntry, inspection: Inspection | undefined): CatalogFile {
  return {
    path,
    entry: entry.kind === "file" ? { ...entry, metadata: undefined } : entry,
    claimed: false,
    metadataKey: undefined,
    finding: inspection && findingOf(inspection),
  };
}

function sourcePackageOf(inspection: Inspection): InventoryPackage["source"] | undefined {
  if (inspection.kind === "source") {
    return { name: fieldOf(inspection.dsc, "Source") ?? "", version: fieldOf(inspection.dsc, "Version") ?? "" };
  }
  return inspection.kind === "binary" ? sourceOf(inspection.control) : undefined;
}

/** Gets inspections as the server does: from a valid claim in the entry's metadata, else from the file. */
class InspectionReader {
  readonly #tree: Tree;
  readonly #signal: AbortSignal;

  constructor(tree: Tree, signal: AbortSignal) {
    this.#tree = tree;
    this.#signal = signal;
  }

  async inspect(path: TreePath, entry: FileEntry | OtherEntry, kind: PackageKind): Promise<Inspection> {
    if (entry.kind === "other") return { kind: "rejected", code: "not-a-file", text: entry.reason };
    const { content, sizeBytes } = entry;
    const metadata = content === undefined ? undefined : parseEntryMetadata(entry.metadata, limits);
    const claim = metadata && inspectionOf(metadata, kind, { sizeBytes, algorithms: [], limits });
    if (claim !== undefined) return claim;
    try {
      const bytes = this.#tree.open({ path, content }, undefined, this.#signal);
      return await inspectContent(kind, bytes, { limits, algorithms: [], fileLists: false });
    } catch (thrown) {
      this.#signal.throwIfAborted();
      if (!(thrown instanceof StorageUnavailable) && !(thrown instanceof ContentGone)) throw thrown;
      return { kind: "rejected", code: "unreadable", text: thrown.message };
    }
  }
}
