// Finds which packages were added and removed between two publications, from the segments that only one of them has.
import type { Steps } from "../../base/steps.ts";
import { itemsPerStep, runSteps, sorted } from "../../base/steps.ts";
import type { YieldFunction } from "../../base/yield-to-event-loop.ts";
import { yieldToEventLoop } from "../../base/yield-to-event-loop.ts";
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

/**
 * Compares two publications. It reads only the segments that differ, and lets other work run in between.
 * @throws signal.reason when aborted
 */
export async function changesBetween(
  older: Manifest,
  newer: Manifest,
  segments: Pick<SegmentStore, "read">,
  signal?: AbortSignal,
): Promise<PublicationChanges> {
  const yieldNow = yieldToEventLoop(signal);
  const { onlyOlder, onlyNewer } = segmentsThatDiffer(older, newer);
  const removed = await packagesIn(onlyOlder, segments, yieldNow);
  const added = await packagesIn(onlyNewer, segments, yieldNow);
  return {
    added: await runSteps(without(added, removed), yieldNow),
    removed: await runSteps(without(removed, added), yieldNow),
  };
}

/** The packages that others do not contain, sorted by name. */
function* without(
  own: ReadonlyMap<string, ListedPackage>,
  others: ReadonlyMap<string, ListedPackage>,
): Steps<readonly ListedPackage[]> {
  const found: ListedPackage[] = [];
  let seen = 0;
  for (const [key, listed] of own) {
    if (!others.has(key)) found.push(listed);
    if (++seen % itemsPerStep === 0) yield;
  }
  return yield* sorted(found, (a, b) => (a.package < b.package ? -1 : a.package > b.package ? 1 : 0));
}

/** The segments of packages that only one of two publications has: their ids, each with the component of an index. */
export function segmentsThatDiffer(older: Manifest, newer: Manifest) {
  const [before, after] = [segmentsOf(older), segmentsOf(newer)];
  return {
    onlyOlder: [...before].filter(([id]) => !after.has(id)),
    onlyNewer: [...after].filter(([id]) => !before.has(id)),
  };
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

/** The packages in segments, by component, name, version and architecture. */
async function packagesIn(
  ids: readonly (readonly [id: string, component: string])[],
  segments: Pick<SegmentStore, "read">,
  yieldNow: YieldFunction,
): Promise<ReadonlyMap<string, ListedPackage>> {
  const found = new Map<string, ListedPackage>();
  for (const [id, component] of ids) {
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
    // Parsing a segment takes some milliseconds.
    await yieldNow();
  }
  return found;
}
