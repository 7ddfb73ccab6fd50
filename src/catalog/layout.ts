// Where things are in a tree: `dists/SUITE/COMPONENT/{source,binary-ARCH}/…`.
import type { Architecture, Component, Suite, TreePath } from "../base/names.ts";
import {
  flatSuite,
  hasRoomForNames,
  isNoMachines,
  isWithin,
  nameOrUndefined,
  parseArchitecture,
  parseComponent,
  parseSuite,
  parseTreePath,
  pathNames,
} from "../base/names.ts";
import { shared } from "../base/shared-text.ts";

/** The directory that holds the suites. */
export const distsPath: TreePath = parseTreePath("dists");
/** Whether a path is or lies in the directory that holds the suites. */
export const isDists = (path: TreePath): boolean => pathNames(path)[0] === "dists";

/** A directory that feeds one index: what lies in it, at any depth, belongs to that index. */
export type Place =
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
const maxDepthBelowPlace = 16;

const binaryPrefix = "binary-";
const anyArchitecture = "any";
/** Where a component keeps what debian-installer asks for, in a tree as in an index. */
const installer = "debian-installer";
const placeDepth = 4;
const suiteDepth = 2;

/**
 * Tells which index a path at or below `dists/SUITE/COMPONENT/{source,binary-ARCH,debian-installer/binary-ARCH}` feeds.
 * @returns undefined for every other path, for malformed names and beyond `maxDepthBelowPlace`
 */
export function placeOf(path: TreePath): Place | undefined {
  const [dists, rawSuite, rawComponent, ...inComponent] = pathNames(path);
  if (dists !== "dists" || rawSuite === undefined || rawComponent === undefined) return undefined;
  const forInstaller = inComponent[0] === installer;
  const [leaf, ...below] = inComponent.slice(forInstaller ? 1 : 0);
  if (leaf === undefined || below.length > maxDepthBelowPlace) return undefined;
  return nameOrUndefined(() => {
    const suite = parseSuite(rawSuite);
    const component = parseComponent(shared(rawComponent));
    if (leaf === "source") return forInstaller ? undefined : { kind: "source", suite, component };
    if (!leaf.startsWith(binaryPrefix)) return undefined;
    const architecture = parseArchitecture(leaf.slice(binaryPrefix.length));
    // The packages of a flat repository may be for any architecture; a tree has no such directory of its own.
    if (isNoMachines(architecture) && suite !== flatSuite) return undefined;
    return { kind: "binary", suite, component, architecture, forInstaller };
  });
}

/** How many names lead to the place that a path lies in. */
const depthOfPlace = (path: TreePath): number =>
  pathNames(path)[placeDepth - 1] === installer ? placeDepth + 1 : placeDepth;

/** Whether this directory is itself the one that feeds an index. */
export const isPlace = (directory: TreePath): boolean =>
  pathNames(directory).length === depthOfPlace(directory) && placeOf(directory) !== undefined;

/** The suite that a path lies in or is; undefined above the suites and elsewhere. */
export function suiteOf(path: TreePath): Suite | undefined {
  const [dists, rawSuite] = pathNames(path);
  if (dists !== "dists" || rawSuite === undefined) return undefined;
  return nameOrUndefined(() => parseSuite(rawSuite));
}

/** The directory of a suite. */
export const suitePath = (suite: Suite): TreePath => parseTreePath(`dists/${suite}`);

/** Where a flat repository's one suite stands, and in it its packages, which may be for any architecture. */
export const flatPath = suitePath(flatSuite);
export const flatComponent = "main";
export const flatBinaries = parseTreePath(`${flatPath}/${flatComponent}/${binaryPrefix}${anyArchitecture}`);
export const flatSources = parseTreePath(`${flatPath}/${flatComponent}/source`);

/** Whether a directory of this name is made for indices: no package is looked for in it. */
const isOfIndices = (name: string): boolean => name === "by-hash" || name.endsWith(".diff");

/** Whether packages may lie in or below this directory, so that it is worth a listing. */
export function mayHoldPackages(directory: TreePath): boolean {
  if (!hasRoomForNames(directory)) return false;
  const names = pathNames(directory);
  if (names.some(isOfIndices)) return false;
  if (names.length >= depthOfPlace(directory)) return placeOf(directory) !== undefined;
  return names.length === 0 || (names[0] === "dists" && (names.length === 1 || suiteOf(directory) !== undefined));
}

/** Whether this directory lies directly in a place: what is at or below it is one builder's, as a rule. */
export const isDirectlyInPlace = (directory: TreePath): boolean =>
  pathNames(directory).length === depthOfPlace(directory) + 1 && placeOf(directory) !== undefined;

/**
 * The directory whose builder answers for what lies in a directory: work, budgets and failures are kept apart by it.
 * @param directory a directory that holds files, not a file
 * @param configured the directories of the configured builders. The innermost one around `directory` counts; the root,
 * `dists` and whole suites do not, because their tokens belong to the operator
 * @returns a configured directory; else the directory directly below a place, or the place itself; undefined above places
 */
export function builderDirectoryOf(directory: TreePath, configured: Iterable<TreePath>): TreePath | undefined {
  let innermost: TreePath | undefined;
  for (const each of configured) {
    if (pathNames(each).length <= suiteDepth || !isWithin(directory, each)) continue;
    if (innermost === undefined || isWithin(each, innermost)) innermost = each;
  }
  if (innermost !== undefined) return innermost;
  if (placeOf(directory) === undefined) return undefined;
  return parseTreePath(
    pathNames(directory)
      .slice(0, depthOfPlace(directory) + 1)
      .join("/"),
  );
}

/** The directory of an index below its suite, e.g. `main/binary-amd64` or `main/source`; empty in a flat repository. */
export type IndexDirectory = "" | `${string}/source` | `${string}/binary-${string}` | `${string}/i18n`;

export const binaryIndex = (component: Component, architecture: Architecture): IndexDirectory =>
  `${component}/binary-${architecture}`;
export const sourceIndex = (component: Component): IndexDirectory => `${component}/source`;
export const translationIndex = (component: Component): IndexDirectory => `${component}/i18n`;
export const installerIndex = (component: Component, architecture: Architecture): IndexDirectory =>
  `${component}/${installer}/binary-${architecture}`;
