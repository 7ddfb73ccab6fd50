// Which Contents a suite has, and which packages stand in each.
import { createHash } from "node:crypto";
import { internString } from "../../../base/intern-string.ts";
import { baseOfVariant, parseArchitecture } from "../../../base/names.ts";
import type { BinaryIndexEntry } from "../../../catalog/suite/index-entry.ts";
import type { Manifest } from "../../store/publication.ts";

/** One index that a suite ought to have. */
export interface PlannedContents {
  /** Below the suite; empty for the suite's own directory. */
  readonly directory: string;
  readonly name: string;
  /** The groups of packages that stand in it. */
  readonly groups: ReadonlySet<string>;
}

/** Names the packages that always stand in the same indices. */
export const groupOf = ({ forInstaller, component, architecture, variant }: BinaryIndexEntry): string =>
  internString(`${forInstaller ? "udeb" : "deb"}/${component}/${variant ?? architecture}`);

/** Names what a package brings into Contents: equal keys, equal lines. Short, because there is one for each package. */
export function keyOf(item: BinaryIndexEntry): string {
  const told = [groupOf(item), item.stanzaKey, item.inspectionKey];
  const key = createHash("sha256").update(told.join("\n")).digest("base64url");
  // Joined: one slice would hold on to the whole.
  return [key.slice(0, 11), key.slice(11, 22)].join("");
}

/**
 * For each component and architecture one, `all` merged in; one apart for debian-installer where there are packages for
 * it; and for clients that know of no components one with those of all, in the suite's own directory.
 * @param groups all that have a package
 */
export function contentsOf(
  { components, architectures }: Pick<Manifest, "components" | "architectures">,
  groups: ReadonlySet<string>,
): PlannedContents[] {
  const known: ReadonlySet<string> = new Set(architectures);
  return architectures.flatMap((architecture) => {
    // A variant's index also tells of what is built for all machines of the architecture.
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

/** Also those that have lost their last package: its files must go. */
const groupsOf = (kind: "deb" | "udeb", component: string, built: readonly string[]): readonly string[] =>
  [...built, "all"].map((architecture) => `${kind}/${component}/${architecture}`);
