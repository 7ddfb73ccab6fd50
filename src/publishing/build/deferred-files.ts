// Deferred files: index files that are generated in the background after a publication (Contents and pdiffs).
import type { Suite } from "../../base/names.ts";
import type { YieldFunction } from "../../base/yield-to-event-loop.ts";
import type { IndexEntry } from "../../catalog/suite/index-entry.ts";
import type { Manifest, PublishedBlob, PublishedIndex } from "../store/publication.ts";
import { indexPath } from "../store/publication.ts";
import type { PastPublication } from "../store/publication-store.ts";

/** Everything that one generator made for one suite. Each part has a `late` mark with the generator's name. */
export interface DeferredFiles {
  readonly indices: readonly PublishedIndex[];
  readonly blobs: readonly PublishedBlob[];
}

/** The input of a deferred generator. */
export interface DeferredRequest {
  readonly suite: Suite;
  /** The publication to generate files for. It may no longer be current when the files are complete. */
  readonly current: Manifest;
  /** The packages of that publication, in no particular order. */
  readonly entries: readonly IndexEntry[];
  /** To be awaited between all steps of the work, so that pings have priority. */
  readonly yieldNow: YieldFunction;
  readonly signal: AbortSignal;
}

/** Generates deferred files. One call per repository runs at a time, and the store deletes nothing meanwhile. */
export interface DeferredGenerator {
  /** The generator's name in metrics, logs and manifests. */
  readonly name: string;
  /** @returns all files that this generator has for the suite, including unchanged ones */
  generate(request: DeferredRequest): Promise<DeferredFiles>;
}

/**
 * Selects the deferred files that may be published beside some indices: those that belong to no particular index, and
 * those whose index is here with the same bytes.
 * @param replaced the generator whose files are left out because newer ones replace them
 */
export function stillValid(
  { indices, blobs }: DeferredFiles,
  beside: readonly PublishedIndex[],
  replaced?: string,
): DeferredFiles {
  const plain = new Map(beside.map((index) => [indexPath(index, "plain"), index.forms.plain.sha256]));
  const isValid = ({ late }: PublishedIndex | PublishedBlob): boolean =>
    late !== undefined &&
    late.maker !== replaced &&
    (late.of === undefined || plain.get(late.of.path) === late.of.sha256);
  const kept = indices.filter(isValid);
  // A file may belong to an index that is deferred too.
  for (const index of kept) plain.set(indexPath(index, "plain"), index.forms.plain.sha256);
  return { indices: kept, blobs: blobs.filter(isValid) };
}

/** The files of a publication without the deferred ones. */
export const withoutDeferred = ({ indices, blobs }: DeferredFiles): DeferredFiles => ({
  indices: indices.filter(({ late }) => late === undefined),
  blobs: blobs.filter(({ late }) => late === undefined),
});

/** The files of one publication, with the deferred files of another one as far as they are still valid. */
export function withDeferredOf(publication: DeferredFiles, other: DeferredFiles): DeferredFiles {
  const { indices, blobs } = withoutDeferred(publication);
  const deferred = stillValid(other, indices);
  return { indices: [...indices, ...deferred.indices], blobs: [...blobs, ...deferred.blobs] };
}

/**
 * Finds the last publication with the packages of a past one, of those that followed it without other packages in
 * between. It contains the deferred files that were generated for these packages.
 * @param history the publications of the same suite, newest first
 * @returns the publication's id
 */
export function lastWithSamePackages(past: Manifest, history: Iterable<PastPublication>): string {
  const packagesOf = ({ indices }: Pick<PastPublication, "indices">) =>
    JSON.stringify(
      indices.flatMap(({ late, directory, name, forms }) => (late ? [] : [[directory, name, forms.plain.sha256]])),
    );
  const packages = packagesOf(past);
  let last: string | undefined;
  for (const publication of history) {
    last = packagesOf(publication) === packages ? (last ?? publication.id) : undefined;
    if (publication.id === past.id) break;
  }
  return last ?? past.id;
}
