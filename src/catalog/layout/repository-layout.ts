// The layout of a tree: `dists/SUITE/COMPONENT/{source,binary-ARCH}/…`; a component may consist of several names.

import { internString } from "../../base/intern-string.ts";
import type { Architecture, Component, Suite, SuiteName, TreePath } from "../../base/names.ts";
import {
  flatSuite,
  hasRoomForNames,
  isArchitectureWildcard,
  isWithin,
  parentPath,
  parseSuite,
  parseTreePath,
  pathNames,
  rootPath,
  tryParseArchitecture,
  tryParseComponent,
  tryParseSuite,
  tryParseSuiteOrFlat,
} from "../../base/names.ts";

/** The directory that holds the suites. */
export const distsPath: TreePath = parseTreePath("dists");
/** Whether a path is `dists` or is below it. */
export const isDists = (path: TreePath): boolean => pathNames(path)[0] === "dists";

/** A directory whose packages, at any depth below it, belong to one index. */
export type PackageDirectory =
  | {
      readonly kind: "binary";
      readonly suite: Suite;
      readonly component: Component;
      readonly architecture: Architecture;
      /** Whether it is below `debian-installer`, and so for .udeb files only. */
      readonly forInstaller: boolean;
    }
  | { readonly kind: "source"; readonly suite: Suite; readonly component: Component };

/** How deep below a package directory files may be: directories may link to one another. */
const maxDepthBelowPackageDirectory = 16;

const binaryPrefix = "binary-";
const anyArchitecture = "any";
/** The directory of a component's .udeb packages, in trees and in indices. */
const installer = "debian-installer";
/** How many names a component may consist of; `updates/main` has two. */
const maxComponentNames = 4;

/**
 * Interprets paths of a tree. A path alone does not show whether a slash separates suite and component or is part of
 * the suite's name, so the suites whose names contain a slash are given.
 */
export class Layout {
  /** The suites whose names contain a slash, the longest first, split at the slashes. */
  readonly #nested: readonly (readonly string[])[];
  readonly #acceptsFlat: boolean;
  /** The last result of `packageDirectoryOf`: most calls are about files of one directory. */
  #last: { readonly path: TreePath; readonly directory: PackageDirectory | undefined } | undefined;

  /**
   * @param suites the suites whose names contain a slash, e.g. `bookworm/updates`; others are ignored
   * @param acceptsFlat whether paths may be those of a FlatTree, whose suite has a name that no real tree may have
   */
  constructor(suites: Iterable<Suite> = [], { acceptsFlat = false }: { readonly acceptsFlat?: boolean } = {}) {
    this.#acceptsFlat = acceptsFlat;
    this.#nested = [...suites]
      .map((suite) => suite.split("/"))
      .filter((names) => names.length > 1)
      .toSorted((a, b) => b.length - a.length);
  }

  /** The suites whose names contain a slash, the longest first. */
  get nestedSuites(): readonly SuiteName[] {
    return this.#nested.map((names) => parseSuite(names.join("/")));
  }

  /**
   * Finds the package directory `dists/SUITE/COMPONENT/{source,binary-ARCH,debian-installer/binary-ARCH}` at or above a
   * path.
   * @returns undefined for every other path, for malformed names and below `maxDepthBelowPackageDirectory`
   */
  packageDirectoryOf(path: TreePath): PackageDirectory | undefined {
    if (this.#last?.path !== path) this.#last = { path, directory: this.#findPackageDirectory(path) };
    return this.#last.directory;
  }

  #findPackageDirectory(path: TreePath): PackageDirectory | undefined {
    const names = pathNames(path);
    const suiteDepth = this.#suiteDepth(names);
    const leafAt = leafIndex(names, suiteDepth);
    if (names[0] !== "dists" || leafAt === undefined) return undefined;
    if (names.length - leafAt - 1 > maxDepthBelowPackageDirectory) return undefined;
    const leaf = names[leafAt] ?? "";
    const forInstaller = leafAt > suiteDepth + 1 && names[leafAt - 1] === installer;
    const rawComponent = names.slice(suiteDepth, forInstaller ? leafAt - 1 : leafAt).join("/");
    const suite = this.#tryParseSuite(internString(names.slice(1, suiteDepth).join("/")));
    const component = tryParseComponent(internString(rawComponent));
    if (suite === undefined || component === undefined) return undefined;
    if (leaf === "source") return forInstaller ? undefined : { kind: "source", suite, component };
    const architecture = tryParseArchitecture(leaf.slice(binaryPrefix.length));
    if (architecture === undefined) return undefined;
    // Only a flat repository has a directory for all architectures.
    if (isArchitectureWildcard(architecture) && suite !== flatSuite) return undefined;
    return { kind: "binary", suite, component, architecture, forInstaller };
  }

  #tryParseSuite(raw: string): Suite | undefined {
    return this.#acceptsFlat ? tryParseSuiteOrFlat(raw) : tryParseSuite(raw);
  }

  /** The number of names in the path of the suite that contains a path. */
  #suiteDepth(names: readonly string[]): number {
    const nested = this.#nested.find((suite) => suite.every((name, at) => names[at + 1] === name));
    return (nested?.length ?? 1) + 1;
  }

  /** The number of names in the path of the package directory that contains a path; undefined if there is none. */
  #packageDirectoryDepth(names: readonly string[]): number | undefined {
    const leafAt = leafIndex(names, this.#suiteDepth(names));
    return leafAt === undefined ? undefined : leafAt + 1;
  }

  /** The path of the package directory that is or contains a directory; undefined if there is none. */
  packageDirectoryPath(directory: TreePath): TreePath | undefined {
    if (this.packageDirectoryOf(directory) === undefined) return undefined;
    const names = pathNames(directory);
    return parseTreePath(names.slice(0, this.#packageDirectoryDepth(names)).join("/"));
  }

  /** Whether a directory is a package directory itself. */
  isPackageDirectory(directory: TreePath): boolean {
    const names = pathNames(directory);
    return names.length === this.#packageDirectoryDepth(names) && this.packageDirectoryOf(directory) !== undefined;
  }

  /** The suite that contains a path; undefined above the suites and outside of `dists`. */
  suiteOf(path: TreePath): Suite | undefined {
    const names = pathNames(path);
    if (names[0] !== "dists" || names.length < 2) return undefined;
    return this.#tryParseSuite(names.slice(1, this.#suiteDepth(names)).join("/"));
  }

  /** The suites at or below a path whose names contain a slash. */
  nestedWithin(path: TreePath): readonly SuiteName[] {
    return this.nestedSuites.filter((suite) => isWithin(suitePath(suite), path));
  }

  /** Whether packages may be in or below a directory, so that it must be listed. */
  mayHoldPackages(directory: TreePath): boolean {
    return this.#judgementOf(directory) === "listed";
  }

  /**
   * The reason why a directory below `dists` is not searched for packages.
   * @returns undefined for directories that are searched, and for directories of indices, where no packages are expected
   */
  whySkipped(directory: TreePath): string | undefined {
    const judgement = this.#judgementOf(directory);
    return judgement === "listed" || judgement === "for indices" ? undefined : judgement;
  }

  #judgementOf(directory: TreePath): "listed" | "for indices" | (string & {}) {
    const names = pathNames(directory);
    const suiteDepth = this.#suiteDepth(names);
    if (
      names.some(isIndexDirectoryName) ||
      (names.length > suiteDepth + 1 && isOtherToolDirectoryName(names.at(-1) ?? ""))
    ) {
      return "for indices";
    }
    if (names.length === 0) return "listed";
    if (names[0] !== "dists") return "for indices";
    if (!hasRoomForNames(directory)) return "its path is too long for any file in it";
    if (names.length > 1 && this.suiteOf(directory) === undefined) {
      return `${JSON.stringify(names[1])} cannot be a suite's name`;
    }
    const depth = this.#packageDirectoryDepth(names);
    if (depth === undefined) {
      const isTooDeep = names.length > suiteDepth + maxComponentNames + 1;
      return isTooDeep ? "it is deeper than any binary-ARCH or source directory may be" : "listed";
    }
    if (this.packageDirectoryOf(directory) !== undefined) return "listed";
    if (names.length - depth > maxDepthBelowPackageDirectory) {
      return `it lies more than ${maxDepthBelowPackageDirectory} directories below ${names.slice(0, depth).join("/")}`;
    }
    return `${JSON.stringify(names.slice(suiteDepth, depth).join("/"))} is not a component with an architecture or source`;
  }

  /** Whether a directory is a child of a package directory, and so belongs to one builder as a rule. */
  isInPackageDirectory(directory: TreePath): boolean {
    const names = pathNames(directory);
    const depth = this.#packageDirectoryDepth(names);
    return depth !== undefined && names.length === depth + 1 && this.packageDirectoryOf(directory) !== undefined;
  }

  /**
   * The builder's directory that contains a directory. Work, budgets and failures are separated by it.
   * @param directory a directory with files, not a file
   * @param configured the directories of the configured builders. The innermost one around `directory` is chosen. The
   *   root, `dists` and whole suites are ignored, because their tokens belong to the operator
   * @returns a configured directory; else the child of the package directory, or the package directory itself;
   *   undefined above package directories
   */
  builderDirectoryOf(
    directory: TreePath,
    configured: { has(path: TreePath): boolean } = noDirectories,
  ): TreePath | undefined {
    for (let at = directory; at !== rootPath; at = parentPath(at)) {
      if (!configured.has(at)) continue;
      const names = pathNames(at);
      if (names.length > this.#suiteDepth(names)) return at;
    }
    if (this.packageDirectoryOf(directory) === undefined) return undefined;
    const names = pathNames(directory);
    return parseTreePath(names.slice(0, (this.#packageDirectoryDepth(names) ?? 0) + 1).join("/"));
  }
}

const noDirectories: ReadonlySet<TreePath> = new Set();

/** The layout without configuration: no suite has a slash in its name. */
export const plainLayout = new Layout();
/** The layout for paths of FlatTrees and of all other trees. */
export const anyTreeLayout = new Layout([], { acceptsFlat: true });

/** The position of the first name `source` or `binary-ARCH`; undefined if there is none. */
function leafIndex(names: readonly string[], suiteDepth: number): number | undefined {
  const last = Math.min(names.length - 1, suiteDepth + maxComponentNames + 1);
  for (let at = suiteDepth + 1; at <= last; at++) {
    const name = names[at] ?? "";
    if (name === "source" || name.startsWith(binaryPrefix)) return at;
  }
  return undefined;
}

/** The directory of a suite. */
export const suitePath = (suite: Suite): TreePath => parseTreePath(`dists/${suite}`);

/** The path of a package directory. */
export function packageDirectoryPathOf(directory: PackageDirectory): TreePath {
  const below =
    directory.kind === "source"
      ? sourceIndex(directory.component)
      : (directory.forInstaller ? installerIndex : binaryIndex)(directory.component, directory.architecture);
  return parseTreePath([suitePath(directory.suite), below].join("/"));
}

/** The path of a flat repository's only suite, and the package directories in it. */
export const flatPath = suitePath(flatSuite);
export const flatComponent = "main";
export const flatBinaries = parseTreePath(`${flatPath}/${flatComponent}/${binaryPrefix}${anyArchitecture}`);
export const flatSources = parseTreePath(`${flatPath}/${flatComponent}/source`);

/** Whether a directory of this name is for index files: it is not searched for packages. */
const isIndexDirectoryName = (name: string): boolean => name === "by-hash" || name.endsWith(".diff");
/** Directories that other tools create in a component beside the package directories. */
const isOtherToolDirectoryName = (name: string): boolean => /^(i18n|dep11|cnf|installer-.*)$/.test(name);

/** The directory of an index, relative to its suite, e.g. `main/binary-amd64`; empty in a flat repository. */
export type IndexDirectory = "" | `${string}/source` | `${string}/binary-${string}` | `${string}/i18n`;

export const binaryIndex = (component: Component, architecture: Architecture): IndexDirectory =>
  `${component}/binary-${architecture}`;
export const sourceIndex = (component: Component): IndexDirectory => `${component}/source`;
export const translationIndex = (component: Component): IndexDirectory => `${component}/i18n`;
export const installerIndex = (component: Component, architecture: Architecture): IndexDirectory =>
  `${component}/${installer}/binary-${architecture}`;
