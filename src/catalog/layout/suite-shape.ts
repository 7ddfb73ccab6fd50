// Which indices a suite has, read off its directories.
import type { Architecture, Component, Suite, TreePath } from "../../base/names.ts";
import { baseOfVariant, flatSuite, isWithin } from "../../base/names.ts";
import type { Layout, PackageDirectory } from "./repository-layout.ts";
import { plainLayout, suitePath } from "./repository-layout.ts";

/** The indices that a suite's directories ask for. */
export interface SuiteShape {
  readonly components: readonly Component[];
  /** Without `all`, unless it is the only one. */
  readonly architectures: readonly Architecture[];
  /** One index of packages for any architecture and one of sources, in the suite's own directory. */
  readonly flat: boolean;
}

/**
 * A suite's architectures with the variants that it has packages for, and without the others: a client that runs a
 * variant asks for its index in place of the architecture's, and an empty one would hide all packages from it.
 */
export function withVariants(shape: SuiteShape, variants: ReadonlySet<Architecture>): SuiteShape {
  const known = new Set(shape.architectures);
  const isEmptyVariant = (architecture: Architecture) => {
    const base = baseOfVariant(architecture);
    return base !== undefined && known.has(base) && !variants.has(architecture);
  };
  const bases = [...variants].flatMap((variant) => baseOfVariant(variant) ?? []);
  const real = [...known, ...variants, ...bases].filter((each) => each !== "all" && !isEmptyVariant(each));
  return { ...shape, architectures: real.length > 0 ? [...new Set(real)].toSorted() : shape.architectures };
}

/**
 * Reads a suite's shape off the directories that feed indices.
 * @param hollow an architecture that has only such directories has no index, unless every one of the suite's is so
 */
export function shapeOf(
  directories: Iterable<TreePath>,
  suite: Suite,
  hollow: ReadonlySet<TreePath> = new Set(),
  layout: Layout = plainLayout,
): SuiteShape {
  const places: PackageDirectory[] = [];
  const architectures = new Set<Architecture>();
  const hollowArchitectures = new Set<Architecture>();
  for (const directory of directories) {
    if (!isWithin(directory, suitePath(suite)) || !layout.isPackageDirectory(directory)) continue;
    const place = layout.packageDirectoryOf(directory);
    if (place?.suite !== suite) continue;
    places.push(place);
    if (place.kind === "binary") (hollow.has(directory) ? hollowArchitectures : architectures).add(place.architecture);
  }
  const real = [...architectures].filter((architecture) => architecture !== "all");
  if (real.length === 0) real.push(...[...hollowArchitectures].filter((architecture) => architecture !== "all"));
  return {
    flat: suite === flatSuite,
    components: [...new Set(places.map((place) => place.component))].toSorted(),
    architectures: (real.length > 0 ? real : [...architectures]).toSorted(),
  };
}
