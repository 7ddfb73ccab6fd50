// Which indices a suite has, and which items stand in each.
import type { Architecture, Component } from "../base/names.ts";
import type { Item } from "../catalog/item.ts";
import type { IndexDirectory } from "../catalog/layout.ts";
import { binaryIndex, installerIndex, sourceIndex } from "../catalog/layout.ts";
import type { SuiteShape } from "../catalog/shape.ts";

/** One index that a suite ought to have. */
export interface WantedIndex {
  readonly directory: IndexDirectory;
  readonly name: "Packages" | "Sources";
  readonly component: Component;
  /** As the directory's own Release says it. */
  readonly architecture: Architecture | "source";
  readonly holds: (item: Item) => boolean;
}

/**
 * The indices of a suite: each component's for each architecture, and its sources, also where there are none yet: who
 * asks for them today need not change anything when the first ones come.
 * @param withInstaller the components that hold packages for debian-installer; no client asks for these of the others
 */
export function indicesOf(
  { components, architectures }: SuiteShape,
  withInstaller: ReadonlySet<Component>,
): WantedIndex[] {
  return components.flatMap((component) => [
    ...architectures.map((architecture) => packagesOf(component, architecture, false)),
    ...(withInstaller.has(component)
      ? architectures.map((architecture) => packagesOf(component, architecture, true))
      : []),
    sourcesOf(component),
  ]);
}

/** Packages for any architecture stand in every index: some clients never ask for binary-all. */
const packagesOf = (component: Component, architecture: Architecture, forInstaller: boolean): WantedIndex => ({
  directory: (forInstaller ? installerIndex : binaryIndex)(component, architecture),
  name: "Packages",
  component,
  architecture,
  holds: (item) =>
    item.kind === "binary" &&
    item.component === component &&
    item.forInstaller === forInstaller &&
    (item.architecture === architecture || item.architecture === "all"),
});

const sourcesOf = (component: Component): WantedIndex => ({
  directory: sourceIndex(component),
  name: "Sources",
  component,
  architecture: "source",
  holds: (item) => item.kind === "source" && item.component === component,
});
