// Groups the changes between two publications by package, architecture and component.
import { compareVersions } from "../../debian/version.ts";
import type { ListedPackage, PublicationChanges } from "../../publishing/build/publication-changes.ts";
import type { Difference } from "./repository-data.ts";

/** Returns the packages whose versions differ, sorted by name. */
export function differencesOf({ added, removed }: PublicationChanges): readonly Difference[] {
  const found = new Map<string, { one: ListedPackage; before: string[]; after: string[] }>();
  const at = (one: ListedPackage) => {
    const key = [one.package, one.component, one.architecture].join(" ");
    const known = found.get(key) ?? { one, before: [], after: [] };
    found.set(key, known);
    return known;
  };
  for (const one of removed) at(one).before.push(one.version);
  for (const one of added) at(one).after.push(one.version);
  const newestFirst = (versions: readonly string[]) => versions.toSorted((a, b) => compareVersions(b, a));
  return [...found]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { one, before, after }]) => ({
      kind: before.length === 0 ? "added" : after.length === 0 ? "removed" : "changed",
      name: one.package,
      component: one.component,
      architecture: one.architecture,
      before: newestFirst(before),
      after: newestFirst(after),
    }));
}
