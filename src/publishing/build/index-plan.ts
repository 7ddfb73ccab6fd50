// Plans which indices a suite has, and which packages each of them lists.
import type { Architecture, Component } from "../../base/names.ts";
import { baseOfVariant } from "../../base/names.ts";
import type { IndexDirectory } from "../../catalog/layout/repository-layout.ts";
import { binaryIndex, installerIndex, sourceIndex, translationIndex } from "../../catalog/layout/repository-layout.ts";
import type { SuiteShape } from "../../catalog/layout/suite-shape.ts";
import type { BinaryIndexEntry, IndexEntry } from "../../catalog/suite/index-entry.ts";
import type { StanzaStyle } from "./stanza-renderer.ts";

/** One index that a suite should have. */
export interface PlannedIndex {
  readonly directory: IndexDirectory;
  readonly name: "Packages" | "Sources" | "Translation-en";
  readonly stanzas: StanzaStyle;
  readonly component: Component;
  /** The value in the directory's own Release file; undefined if it has no such file. */
  readonly architecture: Architecture | "source" | undefined;
  readonly holds: (item: IndexEntry) => boolean;
  /** Set for the index of a variant: the variant's builds replace those for the whole architecture. */
  readonly variant?: Architecture | undefined;
}

/**
 * Plans the indices of a suite: one for each component and architecture, and one for each component's sources. Indices
 * are also planned while they are empty, so that clients need no change when the first package is published.
 * @param withInstaller the components that have packages for debian-installer; the others get no installer index
 * @param translations whether descriptions are in Translation-en, which debian-installer does not support
 */
export function indicesOf(
  { components, architectures, flat }: SuiteShape,
  withInstaller: ReadonlySet<Component>,
  translations: boolean,
): PlannedIndex[] {
  if (flat) return components.flatMap(flatIndices);
  const variantOf = (architecture: Architecture) => {
    const base = baseOfVariant(architecture);
    return base !== undefined && architectures.includes(base) ? architecture : undefined;
  };
  return components.flatMap((component) => [
    ...architectures.map((architecture) => ({
      ...packagesOf(component, architecture, translations ? "short" : "full"),
      variant: variantOf(architecture),
    })),
    ...(withInstaller.has(component)
      ? architectures.map((architecture) => ({
          ...installerPackagesOf(component, architecture),
          variant: variantOf(architecture),
        }))
      : []),
    sourcesOf(component),
    ...(translations ? [translationsOf(component)] : []),
  ]);
}

/** The indices of a flat repository. They are in the suite's own directory because apt looks only there. */
const flatIndices = (component: Component): PlannedIndex[] =>
  (["binary", "source"] as const).map((kind) => ({
    directory: "",
    name: kind === "binary" ? "Packages" : "Sources",
    stanzas: "full",
    component,
    architecture: undefined,
    holds: (item) => item.kind === kind,
  }));

/** Packages for "all" are in the index of every architecture, because some clients never download binary-all. */
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

/** The index of a variant also lists packages for its whole architecture; `VariantBuilds` selects which. */
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
