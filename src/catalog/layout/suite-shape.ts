// Derives the indices of a suite from its package directories.
import type { Architecture, Component, Suite, TreePath } from "../../base/names.ts";
import { baseOfVariant, flatSuite, isWithin } from "../../base/names.ts";
import type { Layout, PackageDirectory } from "./repository-layout.ts";
import { plainLayout, suitePath } from "./repository-layout.ts";

/** The components and architectures of a suite, which determine its indices. */
export interface SuiteShape {
  readonly components: readonly Component[];
  /** Without `all`, unless that is the only one. */
  readonly architectures: readonly Architecture[];
  /** Whether there is one index of all binary packages and one of sources, both in the suite's directory. */
  readonly flat: boolean;
}

/**
 * Adds the architecture variants that have packages, and removes those without. A client with a variant requests the
 * variant's index instead of the architecture's, so an empty one would hide all packages from it.
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
 * Derives the shape from the package directories of a suite.
 * @param withoutPackages directories with rejected files only. An architecture that has no others has no index, unless
 *   this is true of all architectures
 */
export function shapeOf(
  directories: Iterable<TreePath>,
  suite: Suite,
  withoutPackages: ReadonlySet<TreePath> = new Set(),
  layout: Layout = plainLayout,
): SuiteShape {
  const packageDirectories: PackageDirectory[] = [];
  const architectures = new Set<Architecture>();
  const architecturesWithoutPackages = new Set<Architecture>();
  for (const directory of directories) {
    if (!isWithin(directory, suitePath(suite)) || !layout.isPackageDirectory(directory)) continue;
    const packageDirectory = layout.packageDirectoryOf(directory);
    if (packageDirectory?.suite !== suite) continue;
    packageDirectories.push(packageDirectory);
    if (packageDirectory.kind === "binary")
      (withoutPackages.has(directory) ? architecturesWithoutPackages : architectures).add(
        packageDirectory.architecture,
      );
  }
  const real = [...architectures].filter((architecture) => architecture !== "all");
  if (real.length === 0)
    real.push(...[...architecturesWithoutPackages].filter((architecture) => architecture !== "all"));
  return {
    flat: suite === flatSuite,
    components: [...new Set(packageDirectories.map((packageDirectory) => packageDirectory.component))].toSorted(),
    architectures: (real.length > 0 ? real : [...architectures]).toSorted(),
  };
}
