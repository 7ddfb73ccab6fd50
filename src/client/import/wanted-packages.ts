// Reads the chosen suites of a repository, and finds the place of each of their packages in the tree.
import type { Architecture, Component, SuiteName } from "../../base/names.ts";
import { parentPath, parseComponent, tryParseArchitecture, tryParseTreePath } from "../../base/names.ts";
import type { PackageDirectory } from "../../catalog/layout/repository-layout.ts";
import { flatComponent, plainLayout } from "../../catalog/layout/repository-layout.ts";
import type { NamedPackage } from "../../catalog/suite/package-pattern.ts";
import type { UpstreamPackage } from "../../upstream/package-index.ts";
import { indexPathsOf, readPackageIndex } from "../../upstream/package-index.ts";
import type { ReleaseTrust, UpstreamRelease } from "../../upstream/release-file.ts";
import { readRelease } from "../../upstream/release-file.ts";
import type { RepositoryFiles } from "../../upstream/repository-files.ts";
import { UnusableRepository } from "../../upstream/unusable-repository.ts";

/** A suite of the repository, and the suite of the tree that gets its packages. */
export interface SuiteChoice {
  /** The directory of its Release, relative to the repository's root: `dists/NAME`, or that of a flat repository. */
  readonly directory: string;
  readonly isFlat: boolean;
  readonly target: SuiteName;
}

/** Selects packages; undefined selects all. */
export interface PackageSelection {
  readonly components: ReadonlySet<string> | undefined;
  /** `source` selects source packages. Packages for `all` belong to every architecture. */
  readonly architectures: ReadonlySet<string> | undefined;
  readonly isChosen: (one: NamedPackage) => boolean;
}

export interface WantedPackage extends UpstreamPackage {
  readonly location: PackageDirectory;
  /** Whether the patterns select it. The others are needed to find out what went away. */
  readonly isChosen: boolean;
}

export interface Offer {
  readonly components: ReadonlySet<string>;
  /** Undefined for a flat repository, whose packages alone tell. */
  readonly architectures: ReadonlySet<string> | undefined;
}

export interface WantedSuite {
  readonly choice: SuiteChoice;
  readonly release: UpstreamRelease;
  readonly packages: readonly WantedPackage[];
  /** What all its indices have, chosen or not. */
  readonly offered: Offer;
  /** The places of all chosen indices, including empty ones, so that clients find an index for their architecture. */
  readonly locations: readonly PackageDirectory[];
}

/** The number of attempts, because the repository may be published while it is read. */
const maxAttempts = 3;

/** @throws UnusableRepository; errors of reading the repository */
export async function readWantedSuite(
  files: RepositoryFiles,
  choice: SuiteChoice,
  trust: ReleaseTrust,
  selection: PackageSelection,
  nowMs: number,
): Promise<WantedSuite> {
  for (let attempt = 1; ; attempt++) {
    const release = await readRelease(files, choice.directory, trust, nowMs);
    try {
      return await readIndices(files, choice, release, selection);
    } catch (thrown) {
      if (!(thrown instanceof UnusableRepository) || attempt >= maxAttempts) throw thrown;
      const again = await readRelease(files, choice.directory, trust, nowMs);
      if (again.text === release.text) throw thrown;
    }
  }
}

async function readIndices(
  files: RepositoryFiles,
  choice: SuiteChoice,
  release: UpstreamRelease,
  selection: PackageSelection,
): Promise<WantedSuite> {
  const packages: WantedPackage[] = [];
  const locations: PackageDirectory[] = [];
  const indices = indexPathsOf(release).flatMap((path) => {
    const index = indexOf(path, choice);
    return index === undefined ? [] : [{ path, index }];
  });
  for (const { path, index } of indices) {
    if (!isIndexChosen(index, selection)) continue;
    if (index.architecture !== "all" && index.location !== undefined) locations.push(index.location);
    for (const each of await readPackageIndex(files, release, path)) {
      const location = locationOf(each, index, choice);
      if (location === undefined || !isArchitectureChosen(each, index, selection)) continue;
      packages.push({ ...each, location, isChosen: selection.isChosen(each) });
    }
  }
  const components = new Set(indices.map(({ index }) => index.component));
  const architectures = new Set(indices.flatMap(({ index }) => index.architecture ?? []));
  const offered = { components, architectures: choice.isFlat ? undefined : architectures };
  return { choice, release, packages, locations, offered };
}

interface Index {
  readonly component: Component;
  /** Undefined for the index of a flat repository, which has all architectures. */
  readonly location: PackageDirectory | undefined;
  /** `source` for source packages. */
  readonly architecture: string | undefined;
}

/** @returns undefined for an index whose directory has no place in a tree */
function indexOf(path: string, { isFlat, target }: SuiteChoice): Index | undefined {
  if (isFlat) {
    if (path.includes("/")) return undefined;
    const architecture = path === "Sources" ? "source" : undefined;
    return { component: parseComponent(flatComponent), location: undefined, architecture };
  }
  // The name of the suite does not matter here, and one with a slash would need a layout of its own.
  const at = tryParseTreePath(`dists/suite/${path}`);
  // A directory below a package directory would be that of a builder.
  const location =
    at && plainLayout.isPackageDirectory(parentPath(at)) ? plainLayout.packageDirectoryOf(parentPath(at)) : undefined;
  if (location === undefined) return undefined;
  const architecture = location.kind === "source" ? "source" : location.architecture;
  return { component: location.component, location: { ...location, suite: target }, architecture };
}

function isIndexChosen({ component, architecture }: Index, { components, architectures }: PackageSelection): boolean {
  if (components?.has(component) === false) return false;
  if (architectures === undefined || architecture === undefined) return true;
  if (architecture === "source") return architectures.has("source");
  const hasBinaries = [...architectures].some((each) => each !== "source");
  return hasBinaries && (architectures.has(architecture) || architectures.has("all") || architecture === "all");
}

function isArchitectureChosen(
  { architecture }: UpstreamPackage,
  index: Index,
  { architectures }: PackageSelection,
): boolean {
  if (architectures === undefined || architectures.has(architecture)) return true;
  if (architecture === "source") return false;
  return architecture === "all" || (index.architecture !== undefined && architectures.has(index.architecture));
}

function locationOf(
  { kind, architecture: raw, files }: UpstreamPackage,
  { location, component }: Index,
  { target }: SuiteChoice,
): PackageDirectory | undefined {
  if (location?.kind === "source" || kind === "source")
    return kind === "source" ? { kind, suite: target, component } : undefined;
  const architecture: Architecture | undefined =
    raw === "all" || location === undefined ? tryParseArchitecture(raw) : location.architecture;
  if (architecture === undefined) return location;
  const forInstaller = location?.forInstaller ?? files.some(({ path }) => path.endsWith(".udeb"));
  return { kind, suite: target, component, architecture, forInstaller };
}
