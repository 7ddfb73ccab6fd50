// A publication: a manifest of every file that a suite serves at one moment, as segments and small files. Immutable.
import type { DigestAlgorithm } from "../../debian/digests.ts";
import { digestAlgorithms } from "../../debian/digests.ts";
import type { AssembledIndex, IndexForm, SegmentSizes } from "../../indices/assemble.ts";
import { indexForms } from "../../indices/assemble.ts";
import { releaseDigestName } from "../../indices/release.ts";
import type { PublicationSummary, SuiteStatus } from "../served-repository.ts";

/** The size and hashes of a file that Release lists. */
export interface Listed {
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** The hashes by the other algorithms that Release lists. */
  readonly others?: { readonly [Algorithm in DigestAlgorithm]?: string };
}

/** Marks files that a deferred generator made after the publication of the packages; see deferred-files.ts. */
export interface DeferredOrigin {
  /** The generator's name. The generator's next files replace these. */
  readonly maker: string;
  /** The file is valid only beside an index with these bytes. Undefined: it may stay beside newer indices. */
  readonly of?: { readonly path: string; readonly sha256: string };
}

/** One index: its segments in order, and the sizes and hashes of its forms. */
export interface PublishedIndex {
  /** Below the suite, e.g. `main/binary-amd64`; empty for the suite's own directory. */
  readonly directory: string;
  /** The plain form's file name, e.g. `Packages` or `Contents-amd64`. */
  readonly name: string;
  readonly segments: readonly SegmentSizes[];
  readonly forms: Readonly<Record<IndexForm, Listed>>;
  readonly late?: DeferredOrigin;
}

/** A small file that is stored as a whole, by its SHA256. */
export interface PublishedBlob extends Listed {
  /** Below the suite. */
  readonly path: string;
  /** Whether Release lists it. */
  readonly listed: boolean;
  readonly late?: DeferredOrigin;
}

/** A publication as it is stored on disk. */
export interface Manifest extends PublicationSummary {
  /**
   * Hex SHA256 of Release without its dates and of the signing keys. With an equal state, no new publication is needed.
   */
  readonly state: string;
  /**
   * The Last-Modified of files under plain names, in seconds since the epoch; undefined in older manifests: their Date.
   */
  readonly lastModifiedSeconds?: number;
  readonly components: readonly string[];
  readonly architectures: readonly string[];
  readonly binaryPackages: number;
  readonly sourcePackages: number;
  readonly indices: readonly PublishedIndex[];
  readonly blobs: readonly PublishedBlob[];
  /** Seconds since the epoch; undefined if Release has no Valid-Until. */
  readonly validUntilSeconds?: number;
  readonly release: string;
  readonly inRelease: string;
  readonly releaseGpg: string;
}

/** The signatures of a Release. */
export type Signatures = Pick<Manifest, "inRelease" | "releaseGpg">;

/** A publication that is being signed. */
export type UnsignedManifest = Omit<Manifest, keyof Signatures>;

/** The file at a path of a publication. */
export type PublishedFile =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "index"; readonly index: PublishedIndex; readonly form: IndexForm }
  | { readonly kind: "blob"; readonly blob: PublishedBlob };

/** The forms of every index. */
export const everyForm: readonly IndexForm[] = ["plain", "gz", "xz"];

/**
 * Makes a publication's id from its Date, e.g. `20261122T134500Z`. Ids sort by time; Date increases, so they are
 * unique.
 */
export function publicationId(dateSeconds: number): string {
  return `${new Date(dateSeconds * 1000).toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
}

/** The time that an id, or a time in the same form, stands for, in seconds since the epoch. */
export const secondsOfMoment = (id: string): number =>
  Date.parse(id.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z")) / 1000;

/** A publication's summary. */
export const summaryOf = ({ suite, id, dateSeconds, rolledBackTo }: Manifest): PublicationSummary => ({
  suite,
  id,
  dateSeconds,
  ...(rolledBackTo !== undefined && { rolledBackTo }),
});

/** A publication's summary and contents. */
export function statusOf(manifest: Manifest): SuiteStatus {
  const { components, architectures, binaryPackages, sourcePackages } = manifest;
  const codename = /^Codename: (.*)$/m.exec(manifest.release)?.[1];
  return {
    ...summaryOf(manifest),
    ...(codename !== undefined && { codename }),
    components,
    architectures,
    binaryPackages,
    sourcePackages,
  };
}

/** The path of an index below its suite, e.g. `main/binary-amd64/Packages.xz`. */
export const indexPath = (index: Pick<PublishedIndex, "directory" | "name">, form: IndexForm): string =>
  `${index.directory === "" ? "" : `${index.directory}/`}${index.name}${indexForms[form]}`;

/** The description of an assembled index, without its bytes. */
export function publishedIndex(
  index: Pick<PublishedIndex, "directory" | "name" | "late">,
  { forms, segments }: AssembledIndex,
): PublishedIndex {
  const inForm = (form: IndexForm): Listed => listed(forms[form].sizeBytes, forms[form].digests);
  return { ...index, segments, forms: { plain: inForm("plain"), gz: inForm("gz"), xz: inForm("xz") } };
}

/** The ids of all segments of some indices. */
export const segmentIdsOf = (indices: readonly Pick<PublishedIndex, "segments">[]): readonly string[] =>
  indices.flatMap(({ segments }) => segments.map(({ id }) => id));

/** How many segments a run has. With short runs, a change at the end of an index makes only one new run. */
const segmentsPerRun = 32;

/** Splits the segments of an index into runs, most of which the next publication has too. */
export function* runsOf(segments: readonly SegmentSizes[]): Iterable<readonly SegmentSizes[]> {
  for (let at = 0; at < segments.length; at += segmentsPerRun) yield segments.slice(at, at + segmentsPerRun);
}

/** @param digests by the algorithms that Release lists, including SHA256 */
export function listed(sizeBytes: number, digests: Listed["others"] & object): Listed {
  const { sha256 = "", ...others } = digests;
  return { sizeBytes, sha256, ...(Object.keys(others).length > 0 && { others }) };
}

/** Whether an index lists packages, which must then be kept as long as the index. */
export const namesPackages = ({ name }: Pick<PublishedIndex, "name">): boolean =>
  name === "Packages" || name === "Sources";

/**
 * Finds a file by its name.
 * @param path below the suite's directory, e.g. `InRelease`
 */
export function publishedFile(manifest: Manifest, path: string): PublishedFile | undefined {
  switch (path) {
    case "InRelease":
      return { kind: "text", text: manifest.inRelease };
    case "Release":
      return { kind: "text", text: manifest.release };
    case "Release.gpg":
      return { kind: "text", text: manifest.releaseGpg };
    default:
      for (const index of manifest.indices) {
        if (index.directory !== "" && !path.startsWith(`${index.directory}/`)) continue;
        const form = everyForm.find((each) => path === indexPath(index, each));
        if (form !== undefined) return { kind: "index", index, form };
      }
      return findBlob(manifest, (blob) => blob.path === path);
  }
}

function findBlob(
  manifest: Pick<Manifest, "blobs">,
  matches: (blob: PublishedBlob) => boolean,
): PublishedFile | undefined {
  const blob = manifest.blobs.find(matches);
  return blob && { kind: "blob", blob };
}

/** A reference by hash, e.g. `main/binary-amd64/by-hash/SHA256/…`. */
export interface HashReference {
  readonly directory: string;
  readonly algorithm: DigestAlgorithm;
  /** Lower-case hex. */
  readonly digest: string;
}

const byHash = /^(?:(.+)\/)?by-hash\/(MD5Sum|SHA1|SHA256|SHA512)\/([0-9a-f]+)$/;
const algorithmOf: ReadonlyMap<string, DigestAlgorithm> = new Map(
  digestAlgorithms.map((algorithm) => [releaseDigestName[algorithm], algorithm]),
);

/** The path of a reference below the suite. */
export const hashPath = ({ directory, algorithm, digest }: HashReference): string =>
  `${directory === "" ? "" : `${directory}/`}by-hash/${releaseDigestName[algorithm]}/${digest}`;

/** The name of a patch is its hash, because clients request patches only by name, and long after an update. */
const patch = /^(.+\.diff)\/([0-9a-f]{64})\.gz$/;

/** The path of a patch with this SHA256, e.g. `main/binary-amd64/Packages.diff/….gz`. */
export const patchPath = (indexPath: string, sha256: string): string => `${indexPath}.diff/${sha256}.gz`;

/** @returns undefined for any other path */
export function hashReference(path: string): HashReference | undefined {
  const [, diff, sha256] = patch.exec(path) ?? [];
  if (diff !== undefined && sha256 !== undefined) return { directory: diff, algorithm: "sha256", digest: sha256 };
  const [, directory = "", name = "", digest] = byHash.exec(path) ?? [];
  const algorithm = algorithmOf.get(name);
  return algorithm === undefined || digest === undefined ? undefined : { directory, algorithm, digest };
}

/** Finds the file that has this hash. */
export function fileByHash(
  manifest: Pick<Manifest, "indices" | "blobs">,
  reference: HashReference,
): PublishedFile | undefined {
  const { directory, algorithm, digest } = reference;
  const matches = (file: Listed) => digestOf(file, algorithm) === digest;
  for (const index of manifest.indices) {
    if (index.directory !== directory) continue;
    const form = everyForm.find((each) => matches(index.forms[each]));
    if (form !== undefined) return { kind: "index", index, form };
  }
  return findBlob(manifest, (blob) => directoryOf(blob.path) === directory && matches(blob));
}

/** All by-hash references to files of a publication. */
export function* hashReferences({ indices, blobs }: Pick<Manifest, "indices" | "blobs">): Iterable<HashReference> {
  for (const { directory, forms } of indices) {
    for (const file of Object.values(forms)) yield* referencesTo(directory, file);
  }
  for (const blob of blobs) yield* referencesTo(directoryOf(blob.path), blob);
}

/** The by-hash references to one file. */
export function* referencesTo(directory: string, file: Listed): Iterable<HashReference> {
  for (const algorithm of digestAlgorithms) {
    const digest = digestOf(file, algorithm);
    if (digest !== undefined) yield { directory, algorithm, digest };
  }
}

const digestOf = ({ sha256, others }: Listed, algorithm: DigestAlgorithm): string | undefined =>
  algorithm === "sha256" ? sha256 : others?.[algorithm];

/** The directory of a path below the suite; empty for the suite's own directory. */
export const directoryOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/")));
