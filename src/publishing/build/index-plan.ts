// Which indices a suite has, and which items stand in each.
import type { Architecture, Component } from "../../base/names.ts";
import { baseOfVariant } from "../../base/names.ts";
import type { IndexDirectory } from "../../catalog/layout/repository-layout.ts";
import { binaryIndex, installerIndex, sourceIndex, translationIndex } from "../../catalog/layout/repository-layout.ts";
import type { SuiteShape } from "../../catalog/layout/suite-shape.ts";
import type { BinaryIndexEntry, IndexEntry } from "../../catalog/suite/index-entry.ts";
import type { StanzaStyle } from "./stanza-renderer.ts";

/** One index that a suite ought to have. */
export interface PlannedIndex {
  readonly directory: IndexDirectory;
  readonly name: "Packages" | "Sources" | "Translation-en";
  readonly stanzas: StanzaStyle;
  readonly component: Component;
  /** As the directory's own Release says it; undefined: there is none. */
  readonly architecture: Architecture | "source" | undefined;
  readonly holds: (item: IndexEntry) => boolean;
  /** Set for a variant's index, where its builds stand in place of those for its whole architecture. */
  readonly variant?: Architecture | undefined;
}

/**
 * The indices of a suite: each component's for each architecture, and its sources, also where there are none yet: who
 * asks for them today need not change anything when the first ones come.
 * @param withInstaller the components that hold packages for debian-installer; no client asks for these of the others
 * @param translated whether descriptions stand in an index of their own; debian-installer knows no such
 */
export function indicesOf(
  { components, architectures, flat }: SuiteShape,
  withInstaller: ReadonlySet<Component>,
  translated: boolean,
): PlannedIndex[] {
  if (flat) return components.flatMap(flatIndices);
  const variantOf = (architecture: Architecture) => {
    const base = baseOfVariant(architecture);
    return base !== undefined && architectures.includes(base) ? architecture : undefined;
  };
  return components.flatMap((component) => [
    ...architectures.map((architecture) => ({
      ...packagesOf(component, architecture, translated ? "short" : "full"),
      variant: variantOf(architecture),
    })),
    ...(withInstaller.has(component)
      ? architectures.map((architecture) => ({
          ...installerPackagesOf(component, architecture),
          variant: variantOf(architecture),
        }))
      : []),
    sourcesOf(component),
    ...(translated ? [translationsOf(component)] : []),
  ]);
}

/** Of a flat repository, each in the suite's own directory, where apt alone looks. */
const flatIndices = (component: Component): PlannedIndex[] =>
  (["binary", "source"] as const).map((kind) => ({
    directory: "",
    name: kind === "binary" ? "Packages" : "Sources",
    stanzas: "full",
    component,
    architecture: undefined,
    holds: (item) => item.kind === kind,
  }));

/** Packages for any architecture stand in every index: some clients never ask for binary-all. */
function packagesOf(component: Component, architecture: Architecture, stanzas: StanzaStyle): PlannedIndex {
  const isListed = isFor(component, architecture);
  return {
    directory: binaryIndex(component, architecture),
    name: "Packages",
    stanzas,
    component,
    architecture,
    holds: (item) => isListed(item) && !item.forInstaller,
  };
}

function installerPackagesOf(component: Component, architecture: Architecture): PlannedIndex {
  const isListed = isFor(component, architecture);
  return {
    directory: installerIndex(component, architecture),
    name: "Packages",
    stanzas: "full",
    component,
    architecture,
    holds: (item) => isListed(item) && item.forInstaller,
  };
}

/** In a variant's index also what is built for its whole architecture; which of that, `VariantBuilds` tells. */
function isFor(component: Component, architecture: Architecture): (item: IndexEntry) => item is BinaryIndexEntry {
  const base = baseOfVariant(architecture);
  return (item): item is BinaryIndexEntry =>
    item.kind === "binary" &&
    item.component === component &&
    (item.variant === undefined
      ? item.architecture === architecture || item.architecture === "all" || item.architecture === base
      : item.variant === architecture);
}

const sourcesOf = (component: Component): PlannedIndex => ({
  directory: sourceIndex(component),
  name: "Sources",
  stanzas: "full",
  component,
  architecture: "source",
  holds: (item) => item.kind === "source" && item.component === component,
});

const translationsOf = (component: Component): PlannedIndex => ({
  directory: translationIndex(component),
  name: "Translation-en",
  stanzas: "description",
  component,
  architecture: undefined,
  holds: (item) => item.component === component,
});
