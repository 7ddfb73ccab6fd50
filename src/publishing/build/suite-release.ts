// The identity of a suite (Origin, Label and so on), and its Release file.
import type { Suite } from "../../base/names.ts";
import { flatSuite } from "../../base/names.ts";
import type { DigestAlgorithm } from "../../debian/digests.ts";
import type { Release, ReleaseFile } from "../../indices/release.ts";
import { renderDirectoryRelease, renderRelease } from "../../indices/release.ts";
import type { BlobStore } from "../store/blob-store.ts";
import { identityFieldsOf } from "../store/known-identity.ts";
import type { Listed, Manifest, PublishedBlob } from "../store/publication.ts";
import { everyForm, indexPath } from "../store/publication.ts";
import type { SuiteIdentity } from "../suite-settings.ts";
import type { PlannedIndex } from "./index-plan.ts";

/** The files and properties that a Release lists. */
export type Composition = Pick<Manifest, "components" | "architectures" | "indices" | "blobs">;

/** The Release of a suite, without its dates. */
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

/** The identity fields that the Release of a suite contains, by field name. */
export const identityFields = (suite: Suite, identity: SuiteIdentity): ReadonlyMap<string, string> =>
  identityFieldsOf(
    renderRelease(
      undatedRelease(suite, identity, { components: [], architectures: [], indices: [], blobs: [] }, ["sha256"]),
    ),
  );

/** Renders and stores the small Release file of each directory of indices. */
export async function directoryReleases(
  release: Release,
  plannedIndices: readonly PlannedIndex[],
  blobs: BlobStore,
): Promise<PublishedBlob[]> {
  return await Promise.all(
    plannedIndices.flatMap(({ directory, component, architecture }) => {
      if (architecture === undefined) return [];
      const text = renderDirectoryRelease(release, { component, architecture });
      const stored = blobs.put(Buffer.from(text), release.algorithms);
      return stored.then((file) => ({ path: `${directory}/Release`, listed: true, ...file }));
    }),
  );
}
