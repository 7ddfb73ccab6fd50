// The files of a publication as paths below its suite, and the packages that it lists.
import { setImmediate } from "node:timers/promises";
import type { NamedFile } from "../indices/named-files.ts";
import { namedFiles } from "../indices/named-files.ts";
import type { Listed, Manifest } from "../publishing/store/publication.ts";
import {
  directoryOf,
  everyForm,
  hashPath,
  indexPath,
  namesPackages,
  referencesTo,
  segmentIdsOf,
} from "../publishing/store/publication.ts";
import type { SegmentStore } from "../publishing/store/segment-store.ts";

/** A file of a publication, with all its paths below the suite. */
export interface SiteFile {
  readonly path: string;
  /** Lower-case hex; undefined for the signed files, which Release does not list. */
  readonly sha256: string | undefined;
  readonly byHash: readonly string[];
}

const signed = ["Release", "Release.gpg", "InRelease"];

/** All files of a publication; the signed ones come last. */
export function* siteFiles({ indices, blobs }: Manifest): Iterable<SiteFile> {
  for (const index of indices) {
    for (const form of everyForm) yield siteFile(indexPath(index, form), index.forms[form], true);
  }
  for (const blob of blobs) yield siteFile(blob.path, blob, blob.listed);
  for (const path of signed) yield { path, sha256: undefined, byHash: [] };
}

function siteFile(path: string, listed: Listed, hasHashes: boolean): SiteFile {
  const references = hasHashes ? [...referencesTo(directoryOf(path), listed)] : [];
  return { path, sha256: listed.sha256, byHash: references.map(hashPath) };
}

/** The ids of the segments that list packages. */
const stanzaSegments = (manifest: Manifest | undefined): ReadonlySet<string> =>
  new Set(segmentIdsOf((manifest?.indices ?? []).filter(namesPackages)));

/** The package files in segments that an earlier publication does not have: the cost is proportional to the change. */
export async function* newlyReferenced(
  manifest: Manifest,
  earlier: Manifest | undefined,
  segments: Pick<SegmentStore, "read">,
): AsyncIterable<NamedFile> {
  const known = stanzaSegments(earlier);
  for (const id of stanzaSegments(manifest)) {
    if (known.has(id)) continue;
    yield* namedFiles(Buffer.from(segments.read(id, "plain")).toString());
    // Yield to the event loop, because parsing many stanzas would block other requests.
    await setImmediate();
  }
}

/** @returns those of the paths that no publication lists */
export async function unreferenced(
  paths: ReadonlySet<string>,
  manifests: Iterable<Manifest>,
  segments: Pick<SegmentStore, "read">,
): Promise<ReadonlySet<string>> {
  const left = new Set(paths);
  for (const manifest of manifests) {
    if (left.size === 0) break;
    for await (const { path } of newlyReferenced(manifest, undefined, segments)) left.delete(path);
  }
  return left;
}
