// Where things are in a tree: `dists/SUITE/COMPONENT/{source,binary-ARCH}/…`.
import type { Architecture, Component, Suite, TreePath } from "../base/names.ts";
import {
  hasRoomForNames,
  nameOrUndefined,
  parseArchitecture,
  parseComponent,
  parseSuite,
  parseTreePath,
  pathNames,
} from "../base/names.ts";

/** The directory that holds the suites. */
export const distsPath: TreePath = parseTreePath("dists");

/** A directory that feeds one index: what lies in it, at any depth, belongs to that index. */
export type Place =
  | {
      readonly kind: "binary";
      readonly suite: Suite;
      readonly component: Component;
      readonly architecture: Architecture;
    }
  | { readonly kind: "source"; readonly suite: Suite; readonly component: Component };

/** How many names below its place a file may be: a loop of directories must end. */
const maxDepthBelowPlace = 16;

const binaryPrefix = "binary-";
const placeDepth = 4;

/**
 * Tells which index a path at or below `dists/SUITE/COMPONENT/{source,binary-ARCH}` feeds.
 * @returns undefined for every other path, for malformed names and beyond `maxDepthBelowPlace`
 */
export function placeOf(path: TreePath): Place | undefined {
  const [dists, rawSuite, rawComponent, leaf, ...below] = pathNames(path);
  if (dists !== "dists" || rawSuite === undefined || rawComponent === undefined || leaf === undefined) return undefined;
  if (below.length > maxDepthBelowPlace) return undefined;
  return nameOrUndefined(() => {
    const suite = parseSuite(rawSuite);
    const component = parseComponent(rawComponent);
    if (leaf === "source") return { kind: "source", suite, component };
    if (!leaf.startsWith(binaryPrefix)) return undefined;
    return { kind: "binary", suite, component, architecture: parseArchitecture(leaf.slice(binaryPrefix.length)) };
  });
}

/** The suite that a path lies in or is; undefined above the suites and elsewhere. */
export function suiteOf(path: TreePath): Suite | undefined {
  const [dists, rawSuite] = pathNames(path);
  if (dists !== "dists" || rawSuite === undefined) return undefined;
  return nameOrUndefined(() => parseSuite(rawSuite));
}

/** The directory of a suite. */
export const suitePath = (suite: Suite): TreePath => parseTreePath(`dists/${suite}`);

/** Whether packages may lie in or below this directory, so that it is worth a listing. */
export function mayHoldPackages(directory: TreePath): boolean {
  if (!hasRoomForNames(directory)) return false;
  const names = pathNames(directory);
  if (names.length >= placeDepth) return placeOf(directory) !== undefined;
  return names.length === 0 || (names[0] === "dists" && (names.length === 1 || suiteOf(directory) !== undefined));
}

/** Whether this directory lies directly in a place: what is at or below it is one builder's, as a rule. */
export const isDirectlyInPlace = (directory: TreePath): boolean =>
  pathNames(directory).length === placeDepth + 1 && placeOf(directory) !== undefined;

/** The directory of an index below its suite, e.g. `main/binary-amd64` or `main/source`. */
export type IndexDirectory = `${string}/source` | `${string}/binary-${string}`;

export const binaryIndex = (component: Component, architecture: Architecture): IndexDirectory =>
  `${component}/binary-${architecture}`;
export const sourceIndex = (component: Component): IndexDirectory => `${component}/source`;
