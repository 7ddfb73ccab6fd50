// What a suite says of itself: its identity, and the Release over what it publishes.
import type { Suite } from "../../base/names.ts";
import { flatSuite } from "../../base/names.ts";
import type { DigestAlgorithm } from "../../debian/digests.ts";
import type { Release, ReleaseFile } from "../../indices/release.ts";
import { renderDirectoryRelease, renderRelease } from "../../indices/release.ts";
import type { BlobStore } from "../store/blob-store.ts";
import { identityOfRelease } from "../store/known-identity.ts";
import type { Listed, Manifest, PublishedBlob } from "../store/publication.ts";
import { everyForm, indexPath } from "../store/publication.ts";
import type { PlannedIndex } from "./index-plan.ts";

/** Who a suite says it is. Changed values are a hard error for every client that knew the old ones. */
export interface SuiteIdentity
  extends Pick<
    Release,
    | "origin"
    | "label"
    | "codename"
    | "version"
    | "description"
    | "notAutomatic"
    | "butAutomaticUpgrades"
    | "changelogs"
    | "snapshots"
  > {
  /** Whether clients shall accept no keys but those that sign now; they heed it only beside a Valid-Until. */
  readonly namesKeys?: boolean;
  /** How long clients may believe a Release; it is renewed in time. Undefined: for ever. */
  readonly validForSeconds?: number;
}

/** What a Release is about. */
export type Composition = Pick<Manifest, "components" | "architectures" | "indices" | "blobs">;

/** A suite's Release, but for its dates. */
export function undatedRelease(
  suite: Suite,
  identity: SuiteIdentity,
  { components, architectures, indices, blobs }: Composition,
  algorithms: readonly DigestAlgorithm[],
): Release {
  const file = (path: string, { sizeBytes, sha256, others }: Listed): ReleaseFile => ({
    path,
    sizeBytes,
    digests: { ...others, sha256 },
  });
  return {
    ...identity,
    ...(suite === flatSuite ? { suite: undefined, codename: undefined } : { suite }),
    dateSeconds: 0,
    components,
    architectures,
    algorithms,
    files: [
      ...indices.flatMap((index) => everyForm.map((form) => file(indexPath(index, form), index.forms[form]))),
      ...blobs.flatMap((blob) => (blob.listed ? [file(blob.path, blob)] : [])),
    ],
  };
}

/** A suite's identity as a Release would tell it. */
export const identityIn = (suite: Suite, identity: SuiteIdentity): ReadonlyMap<string, string> =>
  identityOfRelease(
    renderRelease(
      undatedRelease(suite, identity, { components: [], architectures: [], indices: [], blobs: [] }, ["sha256"]),
    ),
  );

/** Each directory of indices has a small Release of its own. */
export async function directoryReleases(
  release: Release,
  wanted: readonly PlannedIndex[],
  blobs: BlobStore,
): Promise<PublishedBlob[]> {
  return await Promise.all(
    wanted.flatMap(({ directory, component, architecture }) => {
      if (architecture === undefined) return [];
      const text = renderDirectoryRelease(release, { component, architecture });
      const stored = blobs.put(Buffer.from(text), release.algorithms);
      return stored.then((file) => ({ path: `${directory}/Release`, listed: true, ...file }));
    }),
  );
}
