// Finds which packages were added and removed between two publications, from the segments that only one of them has.
import { setImmediate } from "node:timers/promises";
import type { StanzaLimits } from "../../debian/deb822.ts";
import { parseStanzas } from "../../debian/deb822.ts";
import { fieldOf } from "../../debian/stanza.ts";
import type { Manifest } from "../store/publication.ts";
import { namesPackages } from "../store/publication.ts";
import type { SegmentStore } from "../store/segment-store.ts";

/** A package as an index lists it; `architecture` is `source` for a source package. */
export interface ListedPackage {
  readonly component: string;
  readonly package: string;
  readonly version: string;
  readonly architecture: string;
}

/** The difference between two publications of a suite. */
export interface PublicationChanges {
  /** Both lists are sorted by name. A package that was replaced by one with the same version is in neither. */
  readonly added: readonly ListedPackage[];
  readonly removed: readonly ListedPackage[];
}

/** Wide limits, because these stanzas added from our own indices. */
const limits: StanzaLimits = { maxStanzaBytes: 2 ** 30, maxFields: 10_000, maxFieldNameBytes: 2 ** 20 };

/** Compares two publications. It reads only the segments that differ. */
export async function changesBetween(
  older: Manifest,
  newer: Manifest,
  segments: Pick<SegmentStore, "read">,
): Promise<PublicationChanges> {
  const [before, after] = [segmentsOf(older), segmentsOf(newer)];
  const removed = await packagesIn(before, after, segments);
  const added = await packagesIn(after, before, segments);
  const missing = (from: ReadonlyMap<string, ListedPackage>, others: ReadonlyMap<string, ListedPackage>) =>
    [...from]
      .filter(([key]) => !others.has(key))
      .map(([, listed]) => listed)
      .toSorted((a, b) => (a.package < b.package ? -1 : a.package > b.package ? 1 : 0));
  return { added: missing(added, removed), removed: missing(removed, added) };
}

/** The ids of a publication's segments, each with the component of an index that has it. */
function segmentsOf({ indices }: Manifest): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const index of indices.filter(namesPackages)) {
    const component = index.directory.replace(/\/(debian-installer\/)?[^/]+$/, "");
    for (const { id } of index.segments) found.set(id, component);
  }
  return found;
}

/** The packages in segments that only one publication has, by component, name, version and architecture. */
async function packagesIn(
  own: ReadonlyMap<string, string>,
  others: ReadonlyMap<string, string>,
  segments: Pick<SegmentStore, "read">,
): Promise<ReadonlyMap<string, ListedPackage>> {
  const found = new Map<string, ListedPackage>();
  for (const [id, component] of own) {
    if (others.has(id)) continue;
    for (const stanza of parseStanzas(segments.read(id, "plain"), limits)) {
      const isSource = fieldOf(stanza, "Directory") !== undefined && fieldOf(stanza, "Filename") === undefined;
      const listed = {
        component,
        package: fieldOf(stanza, "Package") ?? "",
        version: fieldOf(stanza, "Version") ?? "",
        architecture: isSource ? "source" : (fieldOf(stanza, "Architecture") ?? ""),
      };
      found.set(Object.values(listed).join(" "), listed);
    }
    // Parsing a segment takes about a millisecond; requests must not wait for all of them.
    await setImmediate();
  }
  return found;
}
