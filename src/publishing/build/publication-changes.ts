// Which packages came and went between two publications of a suite, from the segments that only one of them has.
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

export interface PublicationChanges {
  /** Sorted by name. A package that was replaced by one with the same version stands in neither. */
  readonly added: readonly ListedPackage[];
  readonly removed: readonly ListedPackage[];
}

/** Stanzas of our own making: what they may hold was decided before. */
const limits: StanzaLimits = { maxStanzaBytes: 2 ** 30, maxFields: 10_000, maxFieldNameBytes: 2 ** 20 };

/** Reads only the segments in which the two differ. */
export async function changesBetween(
  older: Manifest,
  newer: Manifest,
  segments: Pick<SegmentStore, "read">,
): Promise<PublicationChanges> {
  const [before, after] = [segmentsOf(older), segmentsOf(newer)];
  const gone = await packagesIn(before, after, segments);
  const come = await packagesIn(after, before, segments);
  const missing = (from: ReadonlyMap<string, ListedPackage>, others: ReadonlyMap<string, ListedPackage>) =>
    [...from]
      .filter(([key]) => !others.has(key))
      .map(([, listed]) => listed)
      .toSorted((a, b) => (a.package < b.package ? -1 : a.package > b.package ? 1 : 0));
  return { added: missing(come, gone), removed: missing(gone, come) };
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

/** The packages in segments that the others lack, by all that tells them apart. */
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
    // A segment takes about a millisecond, and requests must not wait for all of them.
    await setImmediate();
  }
  return found;
}
