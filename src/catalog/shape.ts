// Which indices a suite has, read off its directories.
import type { Architecture, Component, Suite, TreePath } from "../base/names.ts";
import { flatSuite, isWithin } from "../base/names.ts";
import type { Place } from "./layout.ts";
import { isPlace, placeOf, suitePath } from "./layout.ts";

/** The indices that a suite's directories ask for. */
export interface SuiteShape {
  readonly components: readonly Component[];
  /** Without `all`, unless it is the only one. */
  readonly architectures: readonly Architecture[];
  /** One index of packages for any architecture and one of sources, in the suite's own directory. */
  readonly flat: boolean;
}

/** Reads a suite's shape off the directories that feed indices. */
export function shapeOf(directories: Iterable<TreePath>, suite: Suite): SuiteShape {
  const places: Place[] = [];
  for (const directory of directories) {
    if (!isWithin(directory, suitePath(suite)) || !isPlace(directory)) continue;
    const place = placeOf(directory);
    if (place !== undefined) places.push(place);
  }
  const architectures = new Set(places.flatMap((place) => (place.kind === "binary" ? [place.architecture] : [])));
  const real = [...architectures].filter((architecture) => architecture !== "all");
  return {
    flat: suite === flatSuite,
    components: [...new Set(places.map((place) => place.component))].toSorted(),
    architectures: (real.length > 0 ? real : [...architectures]).toSorted(),
  };
}
