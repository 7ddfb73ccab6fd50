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
  readonly lists: (entry: IndexEntry) => boolean;
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
    lists: (entry) => entry.kind === kind,
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
    lists: (entry) => isListed(entry) && !entry.forInstaller,
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
    lists: (entry) => isListed(entry) && entry.forInstaller,
  };
}

/** The index of a variant also lists packages for its whole architecture; `VariantBuilds` selects which. */
function isFor(component: Component, architecture: Architecture): (entry: IndexEntry) => entry is BinaryIndexEntry {
  const base = baseOfVariant(architecture);
  return (entry): entry is BinaryIndexEntry =>
    entry.kind === "binary" &&
    entry.component === component &&
    (entry.variant === undefined
      ? entry.architecture === architecture || entry.architecture === "all" || entry.architecture === base
      : entry.variant === architecture);
}

const sourcesOf = (component: Component): PlannedIndex => ({
  directory: sourceIndex(component),
  name: "Sources",
  stanzas: "full",
  component,
  architecture: "source",
  lists: (entry) => entry.kind === "source" && entry.component === component,
});

const translationsOf = (component: Component): PlannedIndex => ({
  directory: translationIndex(component),
  name: "Translation-en",
  stanzas: "description",
  component,
  architecture: undefined,
  lists: (entry) => entry.component === component,
});
