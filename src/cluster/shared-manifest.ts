// The forms in which publications are stored in Valkey. A manifest names runs of segments, most of which the publication
// before has too.
import { createHash, hash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import type { PoolRecord } from "../publishing/store/package-pool.ts";
import type { PublishedIndex, Signatures, UnsignedManifest } from "../publishing/store/publication.ts";
import type { StoredSegment } from "../publishing/store/segment-store.ts";
import { UnusableContent } from "./shared-values.ts";

/**
 * The form of all values. It is a part of their keys, because whoever finds a key does not store the value again; where
 * a key has the digest of a text, the digest depends on it.
 */
export const form = 2;

/** A value with its form; newer versions of the program may have others. */
type InForm<Value> = Value & { readonly form: number };

/** A manifest whose lists of segments are stored separately. */
export type ManifestOfRuns = Omit<UnsignedManifest, "indices"> & {
  readonly indices: readonly (Omit<PublishedIndex, "segments"> & {
    /** The digests of the runs. */
    readonly runs: readonly string[];
  })[];
};

/** Some segments of an index. */
export interface SharedRun {
  readonly segments: PublishedIndex["segments"];
  /** Of the bytes of each segment: two versions of the program may compress differently. */
  readonly digests: readonly string[];
}

/** What a stored segment has beside its bytes. */
export interface SharedSegment extends StoredSegment {
  /** The records of the packages in it. */
  readonly pool: readonly (readonly [string, PoolRecord])[];
}

/** The header of a stored segment; its bytes follow. */
type SegmentHeader = InForm<Pick<SharedSegment, "sizes" | "kept" | "pool"> & { readonly gzBytes: number }>;

/** The length of a digest, in characters of base64url. */
const digestLength = 22;

export const digestOfText = (text: string): string => hash("sha256", text, "base64url").slice(0, digestLength);

export const digestOfSegment = (gz: Uint8Array, xz: Uint8Array): string =>
  createHash("sha256").update(gz).update(xz).digest("base64url").slice(0, digestLength);

/** The digest of a run, by which manifests name it. */
export const digestOfRun = ({ segments, digests }: SharedRun): string =>
  digestOfText(segments.map(({ id }, index) => `${id} ${digests[index]}`).join());

/** The text of a manifest, without its signatures. It is the same for one that was stored and read again. */
export const manifestText = (manifest: ManifestOfRuns): string =>
  JSON.stringify({ form, ...manifest } satisfies InForm<ManifestOfRuns>, withSortedKeys);

const withSortedKeys = (_: string, value: unknown): unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    : value;

export const runText = (run: SharedRun): string => JSON.stringify({ form, ...run } satisfies InForm<SharedRun>);
export const signaturesText = ({ inRelease, releaseGpg }: Signatures): string =>
  JSON.stringify({ form, inRelease, releaseGpg } satisfies InForm<Signatures>);

/** A text as it is stored. */
export const packed = (text: string): Buffer => gzipSync(text, { level: 1 });
const unpacked = (value: Uint8Array): string => gunzipSync(value).toString();

/** @throws UnusableContent */
export function manifestIn(value: Uint8Array, key: string, digest: string): ManifestOfRuns {
  return inForm(key, () => {
    const text = unpacked(value);
    const { form: of, ...manifest } = JSON.parse(text) as InForm<ManifestOfRuns>;
    return { of, value: manifest, isExpected: digestOfText(text) === digest };
  });
}

/** @throws UnusableContent */
export function runIn(value: Uint8Array, key: string, digest: string): SharedRun {
  return inForm(key, () => {
    const { form: of, ...run } = JSON.parse(unpacked(value)) as InForm<SharedRun>;
    return { of, value: run, isExpected: digestOfRun(run) === digest };
  });
}

/** @param isExpected whether a text is the expected one @throws UnusableContent */
export function signaturesIn(value: Uint8Array, key: string, isExpected: (text: string) => boolean): Signatures {
  return inForm(key, () => {
    const text = unpacked(value);
    const { form: of, ...signatures } = JSON.parse(text) as InForm<Signatures>;
    return { of, value: signatures, isExpected: isExpected(text) };
  });
}

const lengthBytes = 4;

/** A stored segment: the length of the header, the header, and both compressed forms. */
export function segmentValue({ sizes, kept, gz, xz, pool }: SharedSegment): Buffer {
  const header: SegmentHeader = { form, sizes, kept, gzBytes: gz.length, pool };
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(lengthBytes);
  length.writeUInt32BE(text.length);
  return Buffer.concat([length, text, gz, xz]);
}

/** @throws UnusableContent */
export function segmentIn(value: Buffer, key: string, { id, digest }: Readonly<Record<"id" | "digest", string>>) {
  return inForm(key, (): Read<SharedSegment> => {
    const bodyAt = lengthBytes + value.readUInt32BE(0);
    const header = JSON.parse(value.toString("utf8", lengthBytes, bodyAt)) as SegmentHeader;
    const { form: of, gzBytes, sizes, kept, pool } = header;
    const [gz, xz] = [value.subarray(bodyAt, bodyAt + gzBytes), value.subarray(bodyAt + gzBytes)];
    const isExpected = sizes.id === id && digestOfSegment(gz, xz) === digest;
    return { of, value: { sizes, kept, gz, xz, pool }, isExpected };
  });
}

interface Read<Value> {
  /** The form of the value. */
  readonly of: number;
  readonly value: Value;
  readonly isExpected: boolean;
}

/**
 * Reads a value that a member of the fleet has sealed, perhaps one of a newer version of the program.
 * @throws UnusableContent
 */
function inForm<Value>(key: string, read: () => Read<Value>): Value {
  let found: Read<Value> | undefined;
  try {
    found = read();
  } catch {
    // In another form, anything may be missing.
  }
  if (found?.isExpected === true && found.of === form) return found.value;
  throw new UnusableContent(`another version of the program has written ${key}, a part of a publication`);
}
