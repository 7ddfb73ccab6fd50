// Which packages of a stock are meant: by name, version, source or path, with wildcards, and by where they are.
import { globMatcher } from "../../base/glob.ts";
import { parentPath, pathNames } from "../../base/names.ts";
import { placePath } from "../../catalog/layout/repository-layout.ts";
import { packageMatcher } from "../../catalog/suite/package-pattern.ts";
import type { InventoryPackage } from "./inventory.ts";

/** Narrows packages down; what is undefined allows all. */
export interface Where {
  readonly suite?: string | undefined;
  readonly component?: string | undefined;
  /** `source` for source packages. */
  readonly architecture?: string | undefined;
  /** The directories between a place and its files, joined by `/`; "" for what lies directly in the place. */
  readonly builder?: string | undefined;
}

/** What a person meant by one word. */
export interface Pattern {
  readonly raw: string;
  readonly matches: (one: InventoryPackage) => boolean;
}

/**
 * `NAME`, `NAME=VERSION`, `src:NAME`, `src:NAME=VERSION` (a source package and all that was built from it), or a path
 * of the tree, told by its slash. `*` stands for any characters and `?` for one.
 * @throws PatternError
 */
export function parsePattern(raw: string): Pattern {
  if (raw.includes("/")) {
    const path = globMatcher(raw);
    return { raw, matches: (one) => path(one.path) };
  }
  return { raw, matches: packageMatcher(raw) };
}

/** The names of the directories between a package's place and the file. */
export const namesBelowPlace = ({ path, place }: Pick<InventoryPackage, "path" | "place">): readonly string[] =>
  pathNames(parentPath(path)).slice(pathNames(placePath(place)).length);

export interface Selected {
  /** Sorted by path. */
  readonly packages: readonly InventoryPackage[];
  /** Patterns that nothing matched. */
  readonly unmatched: readonly string[];
}

/** @param patterns none: everything that is where it should be */
export function select(packages: Iterable<InventoryPackage>, patterns: readonly Pattern[], where: Where): Selected {
  const there = [...packages].filter((one) => isThere(one, where));
  const meant = there.filter((one) => patterns.length === 0 || patterns.some(({ matches }) => matches(one)));
  return {
    packages: meant.toSorted((one, two) => (one.path < two.path ? -1 : 1)),
    unmatched: patterns.filter(({ matches }) => !meant.some(matches)).map(({ raw }) => raw),
  };
}

const isThere = (one: InventoryPackage, where: Where): boolean =>
  (where.suite ?? one.place.suite) === one.place.suite &&
  (where.component ?? one.place.component) === one.place.component &&
  (where.architecture ?? one.architecture) === one.architecture &&
  (where.builder === undefined || where.builder === namesBelowPlace(one).join("/"));
