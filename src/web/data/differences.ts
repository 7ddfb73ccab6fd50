// Groups the changes between two publications by package, architecture and component.
import type { Steps } from "../../base/steps.ts";
import { itemsPerStep, sorted } from "../../base/steps.ts";
import { compareVersions } from "../../debian/version.ts";
import type { ListedPackage, PublicationChanges } from "../../publishing/build/publication-changes.ts";
import type { Difference } from "./repository-data.ts";
import { shortened } from "./shortened.ts";

/** Returns the packages whose versions differ, sorted by name. */
export function* differencesOf({ added, removed }: PublicationChanges): Steps<readonly Difference[]> {
  const found = new Map<string, { one: ListedPackage; before: string[]; after: string[] }>();
  const at = (one: ListedPackage) => {
    const key = [one.package, one.component, one.architecture].join(" ");
    const known = found.get(key) ?? { one, before: [], after: [] };
    found.set(key, known);
    return known;
  };
  for (const [number, one] of removed.entries()) {
    at(one).before.push(shortened(one.version));
    if (number % itemsPerStep === 0) yield;
  }
  for (const [number, one] of added.entries()) {
    at(one).after.push(shortened(one.version));
    if (number % itemsPerStep === 0) yield;
  }
  const newestFirst = (versions: readonly string[]) => versions.toSorted((a, b) => compareVersions(b, a));
  const differences: Difference[] = [];
  for (const [, { one, before, after }] of yield* sorted([...found], ([a], [b]) => (a < b ? -1 : 1))) {
    differences.push({
      kind: before.length === 0 ? "added" : after.length === 0 ? "removed" : "changed",
      name: one.package,
      component: one.component,
      architecture: one.architecture,
      before: newestFirst(before),
      after: newestFirst(after),
    });
    if (differences.length % itemsPerStep === 0) yield;
  }
  return differences;
}
