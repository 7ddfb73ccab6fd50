// The port of what is made in the background and published with a later publication: Contents and pdiffs.
import type { Suite } from "../../base/names.ts";
import type { YieldFunction } from "../../base/yield-to-event-loop.ts";
import type { IndexEntry } from "../../catalog/suite/index-entry.ts";
import type { Manifest, PublishedBlob, PublishedIndex } from "../store/publication.ts";
import { indexPath } from "../store/publication.ts";
import type { PastPublication } from "../store/publication-store.ts";

/** What one maker has made for one suite; each part is marked as late, with the maker's name. */
export interface DeferredFiles {
  readonly indices: readonly PublishedIndex[];
  readonly blobs: readonly PublishedBlob[];
}

/** What is to be made. */
export interface DeferredRequest {
  readonly suite: Suite;
  /** The publication to work for: current when the order was given, perhaps no longer when the work is done. */
  readonly current: Manifest;
  /** What that publication holds, in no particular order. */
  readonly items: readonly IndexEntry[];
  /** Awaited between all pieces of the work: pings go first. */
  readonly yieldNow: YieldFunction;
  readonly signal: AbortSignal;
}

/** Never called twice at once for one repository, and while it works nothing is swept from the store. */
export interface DeferredGenerator {
  /** Names it in metrics, logs and manifests. */
  readonly name: string;
  /** @returns all that this maker has for the suite now, also what has not changed */
  make(order: DeferredRequest): Promise<DeferredFiles>;
}

/**
 * What stays of late files beside these indices: all that is not bound to the bytes of another one, or is to one here.
 * @param replaced the maker whose files are left out, because newer ones take their place
 */
export function stillValid(
  { indices, blobs }: DeferredFiles,
  beside: readonly PublishedIndex[],
  replaced?: string,
): DeferredFiles {
  const plain = new Map(beside.map((index) => [indexPath(index, "plain"), index.forms.plain.sha256]));
  const isOfUse = ({ late }: PublishedIndex | PublishedBlob): boolean =>
    late !== undefined &&
    late.maker !== replaced &&
    (late.of === undefined || plain.get(late.of.path) === late.of.sha256);
  const kept = indices.filter(isOfUse);
  // A small file may be about an index that is late itself.
  for (const index of kept) plain.set(indexPath(index, "plain"), index.forms.plain.sha256);
  return { indices: kept, blobs: blobs.filter(isOfUse) };
}

/** What of a publication is not late. */
export const withoutDeferred = ({ indices, blobs }: DeferredFiles): DeferredFiles => ({
  indices: indices.filter(({ late }) => late === undefined),
  blobs: blobs.filter(({ late }) => late === undefined),
});

/** A publication's files, but with what is late of another one, as far as that is of use here. */
export function withDeferredOf(publication: DeferredFiles, other: DeferredFiles): DeferredFiles {
  const { indices, blobs } = withoutDeferred(publication);
  const late = stillValid(other, indices);
  return { indices: [...indices, ...late.indices], blobs: [...blobs, ...late.blobs] };
}

/**
 * The last of the publications that came one after the other with the packages of a past one: what was late for it is
 * in that, unless other packages came before it was made.
 * @param history of the same suite, the newest first
 * @returns its id
 */
export function lastLike(past: Manifest, history: Iterable<PastPublication>): string {
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
