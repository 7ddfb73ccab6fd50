// Assigns each file to a directory of the bundle, and checks whether the server would list it there.

import type { TreePath } from "../../base/names.ts";
import { joinPath, lastName, parentPath, rootPath, tryJoinPath } from "../../base/names.ts";
import type { CatalogFile } from "../../catalog/files/catalog-file.ts";
import { findingOf } from "../../catalog/files/finding.ts";
import type { InspectLimits } from "../../catalog/inspection/inspect-limits.ts";
import type { SoundInspection } from "../../catalog/inspection/inspection.ts";
import type { Layout, PackageDirectory } from "../../catalog/layout/repository-layout.ts";
import { plainLayout } from "../../catalog/layout/repository-layout.ts";
import { inspectionOf, parseEntryMetadata } from "../../catalog/metadata/entry-metadata.ts";
import { placementOf } from "../../catalog/suite/placement-rules.ts";
import { variantOf } from "../../debian/control.ts";
import { fieldOf } from "../../debian/stanza.ts";
import type { Entry } from "../../storage/tree.ts";
import type { Bundle, BundleDirectory } from "../bundle.ts";
import type { CollectedFiles, LocalFile, Problem } from "./local-files.ts";

/** A directory of the bundle, its present entries, and the files to link in it. */
export interface DirectoryUpload {
  readonly directory: BundleDirectory;
  readonly location: PackageDirectory;
  readonly entries: ReadonlyMap<string, Entry>;
  readonly files: readonly LocalFile[];
}

/** Restricts the directories to which packages may be assigned. */
export interface DestinationFilter {
  /** Overrides the Distribution field of a .changes file. */
  readonly suite?: string | undefined;
  readonly component?: string | undefined;
}

type PackageLocation = BundleDirectory & { readonly location: PackageDirectory };

export interface Assignment {
  /** In upload order: packages that others depend on come first. */
  readonly destinations: ReadonlyMap<PackageLocation, readonly LocalFile[]>;
  readonly problems: readonly Problem[];
}

/**
 * Assigns every file to a directory: by suite (from the filter, a .changes file, or the only one), by component (from
 * the filter, the Section field, or the only one), and by architecture. All files of a source package get the same
 * directory.
 * @param codenames the known suites of the server by codename
 * @param layout distinguishes suites with a slash from components
 */
export function assignDirectories(
  bundle: Bundle,
  { files, distributions }: CollectedFiles,
  filter: DestinationFilter,
  codenames: ReadonlyMap<string, string>,
  layout: Layout = plainLayout,
): Assignment {
  const problems: Problem[] = [];
  const locations = bundle.directories
    .flatMap((directory): PackageLocation[] => {
      const location = layout.packageDirectoryOf(directory.path);
      return location === undefined ? [] : [{ ...directory, location }];
    })
    .filter(({ location }) => (filter.suite ?? location.suite) === location.suite);
  const bundleSuites = new Set(locations.map(({ location }) => location.suite as string));
  const suites = new Set<string>();
  for (const [file, names] of filter.suite === undefined ? distributions : []) {
    const [suite, reason] = suiteFor(names, bundleSuites, codenames);
    if (suite === undefined) problems.push({ file, reason });
    else suites.add(suite);
  }
  if (problems.length > 0) return { destinations: new Map(), problems };
  const namedLocations = locations.filter(({ location }) => suites.has(location.suite));
  const suiteLocations = namedLocations.length > 0 ? namedLocations : locations;
  const destinations = new Map<PackageLocation, LocalFile[]>();
  for (const file of files.values()) {
    if (file.inspection.kind === "part") continue;
    const matching = inComponent(
      suiteLocations.filter(({ location }) => isAllowed(file, location)),
      file,
      filter,
    );
    const [best] = matching.toSorted((one, two) => rank(file, one.location) - rank(file, two.location));
    if (
      best === undefined ||
      new Set(matching.map(({ location }) => `${location.suite}/${location.component}`)).size > 1
    ) {
      problems.push({
        file: file.path,
        reason: best === undefined ? reasonNoLocation(bundle, file) : reasonAmbiguous(matching),
      });
      continue;
    }
    const parts = file.inspection.kind === "source" ? file.inspection.parts : [];
    const existingParts = parts.flatMap(({ name }) => files.get(name) ?? []);
    destinations.set(best, [...new Set([...(destinations.get(best) ?? []), ...existingParts, file])]);
  }
  const ordered = [...destinations].toSorted(([one], [two]) => orderOf(one.location) - orderOf(two.location));
  return { destinations: new Map(ordered), problems };
}

/**
 * The suite of a .changes file.
 * @param names the names in its Distribution field
 * @param bundleSuites the suites of the bundle
 * @returns the suite, or the reason why there is none
 * @see Debian Policy 5.6.14
 */
function suiteFor(
  names: readonly string[],
  bundleSuites: ReadonlySet<string>,
  codenames: ReadonlyMap<string, string>,
): readonly [suite: string, reason: ""] | readonly [suite: undefined, reason: string] {
  const found = names.map((name) => (bundleSuites.has(name) ? name : codenames.get(name)));
  const hint = `the bundle has ${[...bundleSuites].toSorted().join(", ") || "no suite"}; --suite chooses one`;
  const unknown = names.filter((_, at) => found[at] === undefined || !bundleSuites.has(found[at]));
  if (unknown.length > 0) return [undefined, `its Distribution ${unknown.join(", ")} is not a suite here: ${hint}`];
  const [suite, ...others] = new Set(found);
  if (suite === undefined) return [undefined, `it has no Distribution: ${hint}`];
  if (others.length > 0) return [undefined, `its Distribution names several suites, ${names.join(", ")}: ${hint}`];
  return [suite, ""];
}

function isAllowed({ name, inspection }: LocalFile, location: PackageDirectory): boolean {
  if (inspection.kind !== "binary" || location.kind === "source") return inspection.kind === location.kind;
  const architecture = fieldOf(inspection.control, "Architecture");
  const isMatching =
    architecture === "all" || [architecture, variantOf(inspection.control)].includes(location.architecture);
  return isMatching && (!location.forInstaller || name.endsWith(".udeb"));
}

/** Restricts the locations to the component of the filter or, if there are any, of the package's Section field. */
function inComponent(
  matching: readonly PackageLocation[],
  { inspection }: LocalFile,
  { component }: DestinationFilter,
): readonly PackageLocation[] {
  if (component !== undefined) return matching.filter(({ location }) => location.component === component);
  const stanza = inspection.kind === "binary" ? inspection.control : inspection.kind === "source" ? inspection.dsc : [];
  const sectionComponent = /^([^/\s]+)\//.exec(fieldOf(stanza, "Section") ?? "")?.[1] ?? "main";
  const matchingOwn = matching.filter(({ location }) => location.component === sectionComponent);
  return matchingOwn.length > 0 ? matchingOwn : matching;
}

/** Ranks locations: the most specific for the package's architecture is first. */
function rank({ name, inspection }: LocalFile, location: PackageDirectory): number {
  if (inspection.kind !== "binary" || location.kind !== "binary") return 0;
  const built = variantOf(inspection.control) ?? fieldOf(inspection.control, "Architecture");
  const architectureRank = location.architecture === built ? 0 : 1;
  return architectureRank + (location.forInstaller === name.endsWith(".udeb") ? 0 : 2);
}

/** The order in which directories are changed: sources first, then packages for `all`, on which the others may depend. */
export const orderOf = (location: PackageDirectory): number =>
  location.kind === "source" ? 0 : location.architecture === "all" ? 1 : 2;

function reasonNoLocation({ directories }: Bundle, { inspection }: LocalFile): string {
  const description =
    inspection.kind === "binary" ? `a package for ${fieldOf(inspection.control, "Architecture")}` : "a source package";
  return `${description} does not fit into ${directories.map(({ path }) => path || "the tree's root").join(", ")}`;
}

const reasonAmbiguous = (matching: readonly PackageLocation[]): string =>
  `could go to ${matching.map(({ path }) => path).join(" or ")}: choose by --suite and --component`;

/**
 * Checks each package by the rules of the server.
 * @returns the reasons for rejections, and conflicts with existing files of the same name
 */
export function findProblems(
  {
    directory,
    entries,
    files,
  }: Pick<DirectoryUpload, "entries" | "files"> & { directory: Pick<BundleDirectory, "path"> },
  mayReplace: boolean,
  limits: InspectLimits,
  layout: Layout = plainLayout,
): readonly Problem[] {
  const uploads = new Map(files.map((file) => [file.name, file]));
  const fileAt = (path: TreePath): CatalogFile | undefined => {
    const name = lastName(path);
    const uploaded = uploads.get(name)?.inspection;
    return catalogFileOf(path, uploaded ?? claimOf(entries.get(name), limits));
  };
  return files.flatMap(({ path: localPath, name, inspection }): Problem[] => {
    const path = tryJoinPath(directory.path, name);
    const file = path === undefined ? undefined : fileAt(path);
    if (path === undefined || file === undefined)
      return [{ file: localPath, reason: "its name is not a valid file name" }];
    const placement = placementOf(file, fileAt, layout);
    if (placement?.kind === "rejected") return [{ file: localPath, reason: placement.text }];
    if (placement?.kind === "pending") {
      return [
        {
          file: localPath,
          reason: `${placement.missing.join(", ")} is neither in its directory nor in ${parentPath(path) || rootPath}`,
        },
      ];
    }
    const existing = entries.get(name);
    if (existing === undefined || mayReplace || !isDifferent(existing, inspection, limits)) return [];
    return [nameTakenProblem(directory, { path: localPath, name })];
  });
}

/** The problem that a name is already used for different bytes. */
export function nameTakenProblem(
  directory: Pick<BundleDirectory, "path">,
  file: Pick<LocalFile, "path" | "name">,
): Problem {
  const path = joinPath(directory.path, file.name);
  return {
    file: file.path,
    reason: `${path} already exists with different bytes: --replace overwrites it`,
  };
}

/** Whether an entry certainly differs from the inspected file. */
function isDifferent(entry: Entry, { sizeBytes, digests }: SoundInspection, limits: InspectLimits): boolean {
  if (entry.kind !== "file") return true;
  if (entry.sizeBytes !== undefined && entry.sizeBytes !== sizeBytes) return true;
  const metadata = parseEntryMetadata(entry.metadata, limits);
  return metadata !== undefined && metadata.sha256 !== digests.sha256;
}

/** The inspection that an earlier upload stored in the metadata of a part. */
function claimOf(entry: Entry | undefined, limits: InspectLimits): SoundInspection | undefined {
  if (entry?.kind !== "file" || entry.content === undefined) return undefined;
  const metadata = parseEntryMetadata(entry.metadata, limits);
  return metadata && inspectionOf(metadata, "part", { sizeBytes: entry.sizeBytes, algorithms: [], limits });
}

/** The file as the server's catalog will represent it. */
function catalogFileOf(path: TreePath, inspection: SoundInspection | undefined): CatalogFile | undefined {
  if (inspection === undefined) return undefined;
  return {
    path,
    entry: {
      kind: "file",
      sizeBytes: inspection.sizeBytes,
      content: undefined,
      linkedAtMs: 0,
      relinkedAtMs: 0,
      metadata: undefined,
    },
    claimed: true,
    metadataKey: undefined,
    finding: findingOf(inspection),
  };
}
