// Plans which Contents indices a suite has, and which packages each of them lists.
import { createHash } from "node:crypto";
import { internString } from "../../../base/intern-string.ts";
import { baseOfVariant, parseArchitecture } from "../../../base/names.ts";
import type { BinaryIndexEntry } from "../../../catalog/suite/index-entry.ts";
import type { Manifest } from "../../store/publication.ts";

/** One index that a suite should have. */
export interface PlannedContents {
  /** Below the suite; empty for the suite's own directory. */
  readonly directory: string;
  readonly name: string;
  /** The groups of packages that it lists. */
  readonly groups: ReadonlySet<string>;
}

/** The name of a group: packages that are always in the same indices. */
export const groupOf = ({ forInstaller, component, architecture, variant }: BinaryIndexEntry): string =>
  internString(`${forInstaller ? "udeb" : "deb"}/${component}/${variant ?? architecture}`);

/** The key of a package's lines in Contents: equal keys, equal lines. Short, because there is one for each package. */
export function keyOf(entry: BinaryIndexEntry): string {
  const parts = [groupOf(entry), entry.stanzaKey, entry.inspectionKey];
  const key = createHash("sha256").update(parts.join("\n")).digest("base64url");
  // Joined from parts, because V8 would keep the whole string in memory for a slice of it.
  return [key.slice(0, 11), key.slice(11, 22)].join("");
}

/**
 * Plans one index for each component and architecture, which includes packages for "all"; a separate one for packages
 * for debian-installer, if there are any; and one for all components in the suite's own directory, for clients that do
 * not support components.
 * @param groups all groups that have a package
 */
export function contentsOf(
  { components, architectures }: Pick<Manifest, "components" | "architectures">,
  groups: ReadonlySet<string>,
): PlannedContents[] {
  const known: ReadonlySet<string> = new Set(architectures);
  return architectures.flatMap((architecture) => {
    // The index of a variant also lists packages for all machines of the architecture.
    const base = baseOfVariant(parseArchitecture(architecture));
    const built = base !== undefined && known.has(base) ? [architecture, base] : [architecture];
    const name = `Contents-${architecture}`;
    const ofComponents = components.flatMap((component): PlannedContents[] => {
      const [packages, forInstaller] = [groupsOf("deb", component, built), groupsOf("udeb", component, built)];
      return [
        { directory: component, name, groups: new Set(packages) },
        ...(forInstaller.some((group) => groups.has(group))
          ? [{ directory: component, name: `Contents-udeb-${architecture}`, groups: new Set(forInstaller) }]
          : []),
      ];
    });
    const all = components.flatMap((component) => groupsOf("deb", component, built));
    return [...ofComponents, { directory: "", name, groups: new Set(all) }];
  });
}

/** Includes groups that have lost their last package, because its files must be removed. */
const groupsOf = (kind: "deb" | "udeb", component: string, built: readonly string[]): readonly string[] =>
  [...built, "all"].map((architecture) => `${kind}/${component}/${architecture}`);
