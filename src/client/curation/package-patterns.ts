// Selects packages of an inventory by patterns (name, version, source or path, with wildcards) and by location.
import { globMatcher } from "../../base/glob.ts";
import { parentPath, pathNames } from "../../base/names.ts";
import { packageDirectoryPathOf } from "../../catalog/layout/repository-layout.ts";
import { packageMatcher } from "../../catalog/suite/package-pattern.ts";
import type { InventoryPackage } from "./inventory.ts";

/** Selects packages by location; an undefined property matches all. */
export interface LocationFilter {
  readonly suite?: string | undefined;
  readonly component?: string | undefined;
  /** `source` for source packages. */
  readonly architecture?: string | undefined;
  /** The path from the package directory to the file's directory; "" for files directly in the package directory. */
  readonly builder?: string | undefined;
}

/** A parsed command line argument. */
export interface Pattern {
  readonly raw: string;
  readonly matches: (one: InventoryPackage) => boolean;
}

/**
 * Parses `NAME`, `NAME=VERSION`, `src:NAME`, `src:NAME=VERSION` (a source package and everything built from it), or a
 * path of the tree, which contains a slash. `*` matches any characters and `?` matches one.
 * @throws PatternError
 */
export function parsePattern(raw: string): Pattern {
  if (raw.includes("/")) {
    const path = globMatcher(raw);
    return { raw, matches: (one) => path(one.path) };
  }
  return { raw, matches: packageMatcher(raw) };
}

/** The names of the directories between the package directory and the file. */
export const subdirectoriesOf = ({ path, location }: Pick<InventoryPackage, "path" | "location">): readonly string[] =>
  pathNames(parentPath(path)).slice(pathNames(packageDirectoryPathOf(location)).length);

export interface Selected {
  /** Sorted by path. */
  readonly packages: readonly InventoryPackage[];
  /** Patterns that match no package. */
  readonly unmatched: readonly string[];
}

/** @param patterns if empty, all packages that the filter matches are selected */
export function select(
  packages: Iterable<InventoryPackage>,
  patterns: readonly Pattern[],
  filter: LocationFilter,
): Selected {
  const inLocation = [...packages].filter((one) => matchesFilter(one, filter));
  const selected = inLocation.filter((one) => patterns.length === 0 || patterns.some(({ matches }) => matches(one)));
  return {
    packages: selected.toSorted((one, two) => (one.path < two.path ? -1 : 1)),
    unmatched: patterns.filter(({ matches }) => !selected.some(matches)).map(({ raw }) => raw),
  };
}

const matchesFilter = (one: InventoryPackage, filter: LocationFilter): boolean =>
  (filter.suite ?? one.location.suite) === one.location.suite &&
  (filter.component ?? one.location.component) === one.location.component &&
  (filter.architecture ?? one.architecture) === one.architecture &&
  (filter.builder === undefined || filter.builder === subdirectoriesOf(one).join("/"));
