// Where things are in a tree: `dists/SUITE/COMPONENT/{source,binary-ARCH}/…`, where a component may be of several names.

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
/** Whether a path is or lies in the directory that holds the suites. */
export const isDists = (path: TreePath): boolean => pathNames(path)[0] === "dists";

/** A directory that feeds one index: what lies in it, at any depth, belongs to that index. */
export type PackageDirectory =
  | {
      readonly kind: "binary";
      readonly suite: Suite;
      readonly component: Component;
      readonly architecture: Architecture;
      /** Below debian-installer: for .udeb files alone. */
      readonly forInstaller: boolean;
    }
  | { readonly kind: "source"; readonly suite: Suite; readonly component: Component };

/** How many names below its place a file may be: a loop of directories must end. */
const maxDepthBelowPackageDirectory = 16;

const binaryPrefix = "binary-";
const anyArchitecture = "any";
/** Where a component keeps what debian-installer asks for, in a tree as in an index. */
const installer = "debian-installer";
/** How many names a component may have, as `updates/main` has two. */
const maxComponentNames = 4;

/** Reads paths. Nothing in a path tells a suite with a slash from a suite and a component, so these suites are given. */
export class Layout {
  /** The suites with a slash in their names, the longest first, each as its names below `dists`. */
  readonly #nested: readonly (readonly string[])[];
  readonly #acceptsFlat: boolean;

  /**
   * @param suites those with a slash in their names, e.g. `bookworm/updates`; names without a slash have no effect
   * @param acceptsFlat whether paths may be those of a FlatTree; in any other tree, no suite may have that name
   */
  constructor(suites: Iterable<Suite> = [], { acceptsFlat = false }: { readonly acceptsFlat?: boolean } = {}) {
    this.#acceptsFlat = acceptsFlat;
    this.#nested = [...suites]
      .map((suite) => suite.split("/"))
      .filter((names) => names.length > 1)
      .toSorted((a, b) => b.length - a.length);
  }

  /** The suites with a slash in their names. */
  get nestedSuites(): readonly SuiteName[] {
    return this.#nested.map((names) => parseSuite(names.join("/")));
  }

  /**
   * Tells which index a path at or below `dists/SUITE/COMPONENT/{source,binary-ARCH,debian-installer/binary-ARCH}` feeds.
   * @returns undefined for every other path, for malformed names and beyond `maxDepthBelowPlace`
   */
  packageDirectoryOf(path: TreePath): PackageDirectory | undefined {
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
    // Only the packages of a flat repository are in a directory for any architecture.
    if (isArchitectureWildcard(architecture) && suite !== flatSuite) return undefined;
    return { kind: "binary", suite, component, architecture, forInstaller };
  }

  #tryParseSuite(raw: string): Suite | undefined {
    return this.#acceptsFlat ? tryParseSuiteOrFlat(raw) : tryParseSuite(raw);
  }

  /** How many names lead to the suite that a path lies in. */
  #suiteDepth(names: readonly string[]): number {
    const nested = this.#nested.find((suite) => suite.every((name, at) => names[at + 1] === name));
    return (nested?.length ?? 1) + 1;
  }

  /** How many names lead to the place that a path lies in; undefined where it lies in none. */
  #packageDirectoryDepth(names: readonly string[]): number | undefined {
    const leafAt = leafIndex(names, this.#suiteDepth(names));
    return leafAt === undefined ? undefined : leafAt + 1;
  }

  /** The directory that feeds an index and that a directory lies in or is; undefined where there is none. */
  packageDirectoryPath(directory: TreePath): TreePath | undefined {
    if (this.packageDirectoryOf(directory) === undefined) return undefined;
    const names = pathNames(directory);
    return parseTreePath(names.slice(0, this.#packageDirectoryDepth(names)).join("/"));
  }

  /** Whether this directory is itself the one that feeds an index. */
  isPackageDirectory(directory: TreePath): boolean {
    const names = pathNames(directory);
    return names.length === this.#packageDirectoryDepth(names) && this.packageDirectoryOf(directory) !== undefined;
  }

  /** The suite that a path lies in or is; undefined above the suites and elsewhere. */
  suiteOf(path: TreePath): Suite | undefined {
    const names = pathNames(path);
    if (names[0] !== "dists" || names.length < 2) return undefined;
    return this.#tryParseSuite(names.slice(1, this.#suiteDepth(names)).join("/"));
  }

  /** The suites with a slash in their names that lie at or below a path. */
  nestedWithin(path: TreePath): readonly SuiteName[] {
    return this.nestedSuites.filter((suite) => isWithin(suitePath(suite), path));
  }

  /** Whether packages may lie in or below this directory, so that it is worth a listing. */
  mayHoldPackages(directory: TreePath): boolean {
    return this.#judgementOf(directory) === "worth a listing";
  }

  /**
   * Why no package is looked for in a directory below `dists`.
   * @returns undefined where packages are looked for, and where nobody would expect any
   */
  whySkipped(directory: TreePath): string | undefined {
    const judgement = this.#judgementOf(directory);
    return judgement === "worth a listing" || judgement === "of indices" ? undefined : judgement;
  }

  #judgementOf(directory: TreePath): "worth a listing" | "of indices" | (string & {}) {
    const names = pathNames(directory);
    const suiteDepth = this.#suiteDepth(names);
    if (
      names.some(isIndexDirectoryName) ||
      (names.length > suiteDepth + 1 && isOtherToolDirectoryName(names.at(-1) ?? ""))
    ) {
      return "of indices";
    }
    if (names.length === 0) return "worth a listing";
    if (names[0] !== "dists") return "of indices";
    if (!hasRoomForNames(directory)) return "its path is too long for any file in it";
    if (names.length > 1 && this.suiteOf(directory) === undefined) {
      return `${JSON.stringify(names[1])} cannot be a suite's name`;
    }
    const depth = this.#packageDirectoryDepth(names);
    if (depth === undefined) {
      const isTooDeep = names.length > suiteDepth + maxComponentNames + 1;
      return isTooDeep ? "it is deeper than any binary-ARCH or source directory may be" : "worth a listing";
    }
    if (this.packageDirectoryOf(directory) !== undefined) return "worth a listing";
    if (names.length - depth > maxDepthBelowPackageDirectory) {
      return `it lies more than ${maxDepthBelowPackageDirectory} directories below ${names.slice(0, depth).join("/")}`;
    }
    return `${JSON.stringify(names.slice(suiteDepth, depth).join("/"))} is not a component with an architecture or source`;
  }

  /** Whether this directory lies directly in a place: what is at or below it is one builder's, as a rule. */
  isInPackageDirectory(directory: TreePath): boolean {
    const names = pathNames(directory);
    const depth = this.#packageDirectoryDepth(names);
    return depth !== undefined && names.length === depth + 1 && this.packageDirectoryOf(directory) !== undefined;
  }

  /**
   * The directory whose builder answers for what lies in a directory: work, budgets and failures are kept apart by it.
   * @param directory a directory that holds files, not a file
   * @param configured the directories of the configured builders. The innermost one around `directory` counts; the root,
   * `dists` and whole suites do not, because their tokens belong to the operator
   * @returns a configured directory; else the directory directly below a place, or the place itself; undefined above
   * places
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

/** For who knows of no configuration: every suite has one name. */
export const plainLayout = new Layout();
/** Reads paths of FlatTrees and of all other trees. */
export const anyTreeLayout = new Layout([], { acceptsFlat: true });

/** Where the first name stands that makes a directory a place; undefined where there is none. */
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

/** The directory that feeds a place's index. */
export function placePath(place: PackageDirectory): TreePath {
  const below =
    place.kind === "source"
      ? sourceIndex(place.component)
      : (place.forInstaller ? installerIndex : binaryIndex)(place.component, place.architecture);
  return parseTreePath([suitePath(place.suite), below].join("/"));
}

/** Where a flat repository's one suite stands, and in it its packages, which may be for any architecture. */
export const flatPath = suitePath(flatSuite);
export const flatComponent = "main";
export const flatBinaries = parseTreePath(`${flatPath}/${flatComponent}/${binaryPrefix}${anyArchitecture}`);
export const flatSources = parseTreePath(`${flatPath}/${flatComponent}/source`);

/** Whether a directory of this name is made for indices: no package is looked for in it. */
const isIndexDirectoryName = (name: string): boolean => name === "by-hash" || name.endsWith(".diff");
/** What other tools put beside the places of a component. */
const isOtherToolDirectoryName = (name: string): boolean => /^(i18n|dep11|cnf|installer-.*)$/.test(name);

/** The directory of an index below its suite, e.g. `main/binary-amd64` or `main/source`; empty in a flat repository. */
export type IndexDirectory = "" | `${string}/source` | `${string}/binary-${string}` | `${string}/i18n`;

export const binaryIndex = (component: Component, architecture: Architecture): IndexDirectory =>
  `${component}/binary-${architecture}`;
export const sourceIndex = (component: Component): IndexDirectory => `${component}/source`;
export const translationIndex = (component: Component): IndexDirectory => `${component}/i18n`;
export const installerIndex = (component: Component, architecture: Architecture): IndexDirectory =>
  `${component}/${installer}/binary-${architecture}`;
