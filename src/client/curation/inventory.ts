// What a tree holds, as the server would judge it: each package with its files, and what no index takes.
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
import { withPossibleTimes } from "../../storage/link-times.ts";
import type { FileEntry, OtherEntry, Tree } from "../../storage/tree.ts";
import { ContentGone, StorageUnavailable } from "../../storage/tree.ts";

/** A file whose name announces a package. */
export interface InventoryPackage {
  readonly path: TreePath;
  readonly place: PackageDirectory;
  /** Whether an index takes it, or would if it were not for another one of the same name and version. */
  readonly isSound: boolean;
  /** "", as is what follows, where the file could not be understood. */
  readonly name: string;
  readonly version: string;
  /** `source` for a source package. */
  readonly architecture: string;
  /** The source package that it was built from, or is. */
  readonly source: { readonly name: string; readonly version: string };
  /** Itself, and of a source package the files that it names and that are there: these first. */
  readonly files: readonly TreePath[];
  readonly sizeBytes: number;
  readonly sha256: string;
  /** When the link was last set, in ms since the epoch, as its uploader says: it may be in the future. */
  readonly linkedAtMs: number;
}

/** Files and directories of a tree. */
export interface InventoryFiles {
  /** Tells suites with a slash from components. */
  readonly layout: Layout;
  readonly directories: ReadonlySet<TreePath>;
  readonly files: ReadonlyMap<TreePath, CatalogFile>;
}

export interface Inventory extends InventoryFiles {
  /** By path. */
  readonly packages: ReadonlyMap<TreePath, InventoryPackage>;
  /** Why a file is in no index though its name announces a package; sorted by path. */
  readonly rejections: readonly (readonly [TreePath, Rejection])[];
}

/** Whether the directories that stock was taken of have a suite. */
export const hasSuite = ({ directories, layout }: Inventory, suite: string): boolean =>
  [...directories].some((path) => layout.suiteOf(path) === suite);

/** Files without a claim beside their link are read, so many at once. */
const concurrentReads = 8;

/**
 * Takes stock of some directories. Files are judged by what their entries' metadata says, and read where it says
 * nothing that can be believed.
 * @param nowMs in ms since the epoch: the server takes link times that are later for unknown
 * @param paths none within another, but for suites; where nothing is, there is no stock
 * @param layout tells suites with a slash from components
 * @throws StorageUnavailable, LimitExceeded
 */
export async function readInventory(
  tree: Tree,
  paths: readonly TreePath[],
  nowMs: number,
  signal: AbortSignal,
  layout: Layout = plainLayout,
): Promise<Inventory> {
  const seen = new Map<TreePath, FileEntry | OtherEntry>();
  const directories = new Set<TreePath>();
  for (const path of paths) {
    const part = await survey(tree, path, signal, Number.POSITIVE_INFINITY, { layout });
    const [unlisted] = part.unlisted;
    if (unlisted !== undefined) throw new StorageUnavailable(unlisted[0], unlisted[1].text, { transient: true });
    for (const [at, entry] of part.files) seen.set(at, entry);
    for (const directory of part.directories) directories.add(directory);
  }
  const reader = new Reader(tree, signal);
  const files = new Map<TreePath, CatalogFile>();
  const sources = new Map<TreePath, InventoryPackage["source"]>();
  const wanted = new Set<TreePath>();
  await forEachConcurrent(seen, concurrentReads, async ([at, entry]) => {
    const kind = packageKindOf(lastName(at));
    const inspection = kind && (await reader.inspect(at, entry, kind));
    files.set(at, fileOf(at, withPossibleTimes(entry, nowMs), inspection));
    if (inspection?.kind === "source") {
      for (const { name } of inspection.parts) wanted.add(joinPath(parentPath(at), name));
    }
    const source = inspection && sourcePackageOf(inspection);
    if (source !== undefined) sources.set(at, source);
  });
  await forEachConcurrent(wanted, concurrentReads, async (at) => {
    const part = files.get(at);
    if (part === undefined || part.finding !== undefined) return;
    files.set(at, fileOf(at, part.entry, await reader.inspect(at, seen.get(at) ?? part.entry, "part")));
  });
  return judged(seen, { files, directories, layout }, sources);
}

function judged(
  seen: ReadonlyMap<TreePath, FileEntry | OtherEntry>,
  found: InventoryFiles,
  sources: ReadonlyMap<TreePath, InventoryPackage["source"]>,
): Inventory {
  const { files, layout } = found;
  const packages = new Map<TreePath, InventoryPackage>();
  for (const file of files.values()) {
    const known = packageOf(file, sources.get(file.path), seen.get(file.path), found);
    if (known !== undefined) packages.set(file.path, known);
  }
  const rejections = [...packageListsOf({ files, layout }).values()].flatMap((snapshot) => [
    ...snapshot.rejections(),
    ...[...snapshot.pending()].map(([path, { missing }]): [TreePath, Rejection] => [
      path,
      { kind: "rejected", code: "incomplete", text: `${missing.join(", ")} is missing beside it` },
    ]),
  ]);
  return { ...found, packages, rejections: rejections.toSorted(([one], [two]) => (one < two ? -1 : 1)) };
}

/**
 * Each suite's packages, as the server would find them among these files.
 * @param ownershipOf who may publish which names; by default everybody may publish all
 */
export function packageListsOf(
  { files, layout }: Pick<InventoryFiles, "files" | "layout">,
  ownershipOf: (suite: Suite) => Ownership | undefined = () => undefined,
): ReadonlyMap<Suite, PackageList> {
  const changes = new Map<Suite, FileChange[]>();
  for (const [path, after] of files) {
    const suite = layout.suiteOf(path);
    if (suite === undefined) continue;
    const ofSuite = changes.get(suite) ?? [];
    changes.set(suite, ofSuite);
    ofSuite.push({ path, before: undefined, after });
  }
  const snapshots = new Map<Suite, PackageList>();
  for (const [suite, ofSuite] of changes) {
    const snapshot = new PackageList(ownershipOf(suite), undefined, layout);
    snapshot.apply(ofSuite, (path) => files.get(path));
    snapshots.set(suite, snapshot);
  }
  return snapshots;
}

const unknown = { name: "", version: "" };

function packageOf(
  file: CatalogFile,
  source: InventoryPackage["source"] | undefined,
  listed: FileEntry | OtherEntry | undefined,
  { files, layout }: InventoryFiles,
): InventoryPackage | undefined {
  const { path, finding } = file;
  const place = layout.packageDirectoryOf(parentPath(path));
  if (place === undefined || finding === undefined || finding.kind === "part") return undefined;
  const judgement = placementOf(file, (at) => files.get(at), layout);
  const common = {
    path,
    place,
    isSound: judgement?.kind === "binary" || judgement?.kind === "source",
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
      const named = parts.map((part) => joinPath(parentPath(path), part.name)).filter((at) => files.has(at));
      const { sha256 } = digests;
      return { ...common, name, version, architecture: "source", files: [...named, path], sizeBytes, sha256 };
    }
    default:
      return finding satisfies never;
  }
}

/** A file as a catalog has it. Its metadata is dropped: it is as long as a stanza. */
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

/** Brings inspections as the server does: what an entry says of its file is believed where it can be. */
class Reader {
  readonly #tree: Tree;
  readonly #signal: AbortSignal;

  constructor(tree: Tree, signal: AbortSignal) {
    this.#tree = tree;
    this.#signal = signal;
  }

  async inspect(path: TreePath, entry: FileEntry | OtherEntry, kind: PackageKind): Promise<Inspection> {
    if (entry.kind === "other") return { kind: "rejected", code: "not-a-file", text: entry.reason };
    const { content, sizeBytes } = entry;
    const said = content === undefined ? undefined : parseEntryMetadata(entry.metadata, limits);
    const claim = said && inspectionOf(said, kind, { sizeBytes, algorithms: [], limits });
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
