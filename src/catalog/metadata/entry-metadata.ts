// What an uploader may say of a file beside its link, under the key `apt`: made from an inspection, believed as one.
import { createHash } from "node:crypto";
import { maxArTimeSeconds } from "../../debian/ar.ts";
import { checkBinaryControl } from "../../debian/control.ts";
import { Deb822Error, formatStanza, parseStanza } from "../../debian/deb822.ts";
import type { DigestAlgorithm } from "../../debian/digests.ts";
import { digestAlgorithms } from "../../debian/digests.ts";
import { parseDsc } from "../../debian/dsc.ts";
import { Malformed } from "../../debian/malformed.ts";
import type { InspectLimits } from "../inspection/inspect-limits.ts";
import type { PackageKind, SoundInspection } from "../inspection/inspection.ts";
import { checkStanzaBytes } from "../inspection/stanza-bytes.ts";

/** What stands under the key `apt` of a directory entry. docs/entry-metadata.md tells what each key means and how far it is believed. */
export type EntryMetadata = {
  readonly version: 1;
  readonly sizeBytes: number;
  readonly builtAtSeconds?: number;
  readonly control?: string;
  readonly dsc?: string;
  readonly contents?: string;
} & { readonly sha256: string } & { readonly [Algorithm in DigestAlgorithm]?: string };

/** What must hold of metadata before it is believed. */
export interface MetadataRequirements {
  /** As the listing says; undefined where it does not know. */
  readonly sizeBytes: number | undefined;
  /** The digests that must be there. */
  readonly algorithms: readonly DigestAlgorithm[];
  readonly limits: InspectLimits;
}

/** The length of each digest in hex digits. */
const digestDigits: Readonly<Record<DigestAlgorithm, number>> = { md5: 32, sha1: 40, sha256: 64, sha512: 128 };

/** The longest pointer to a list of files, in characters: a cap is below 200. */
const maxContentsLength = 512;

/** What an uploader writes beside the link of a file that was inspected so. */
export function entryMetadataOf(inspection: SoundInspection): EntryMetadata {
  const measured = { version: 1, sizeBytes: inspection.sizeBytes, ...inspection.digests } as const;
  switch (inspection.kind) {
    case "binary": {
      const { builtAtSeconds, control, contents } = inspection;
      const pointer = contents === undefined ? {} : { contents };
      return { ...measured, builtAtSeconds, control: formatStanza(control), ...pointer };
    }
    case "source":
      return { ...measured, dsc: formatStanza(inspection.dsc) };
    case "part":
      return measured;
    default:
      return inspection satisfies never;
  }
}

/**
 * Takes metadata that may hold anything for metadata of this schema; unknown keys are left out.
 * @returns undefined where a known key has a wrong type, form or length; no text in it has been read yet
 */
export function parseEntryMetadata(metadata: unknown, limits: InspectLimits): EntryMetadata | undefined {
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) return undefined;
  const { version, sizeBytes, builtAtSeconds, control, dsc, contents, sha256, ...rest } = metadata as Partial<
    Record<keyof EntryMetadata, unknown>
  >;
  if (version !== 1 || !isCount(sizeBytes, Number.MAX_SAFE_INTEGER) || !isDigest("sha256", sha256)) return undefined;
  const parsed: { -readonly [Key in keyof EntryMetadata]: EntryMetadata[Key] } = { version, sizeBytes, sha256 };
  for (const algorithm of digestAlgorithms) {
    if (algorithm === "sha256" || rest[algorithm] === undefined) continue;
    if (!isDigest(algorithm, rest[algorithm])) return undefined;
    parsed[algorithm] = rest[algorithm];
  }
  if (builtAtSeconds !== undefined) {
    if (!isCount(builtAtSeconds, maxArTimeSeconds)) return undefined;
    parsed.builtAtSeconds = builtAtSeconds;
  }
  if (control !== undefined) {
    if (!isText(control, limits.maxStanzaBytes)) return undefined;
    parsed.control = control;
  }
  if (dsc !== undefined) {
    if (!isText(dsc, limits.maxDscBytes)) return undefined;
    parsed.dsc = dsc;
  }
  if (contents !== undefined) {
    if (!isText(contents, maxContentsLength) || !/^[!-~]+$/.test(contents)) return undefined;
    parsed.contents = contents;
  }
  return parsed;
}

/** Names what metadata says: equal names, equal metadata. */
export function metadataKey(metadata: EntryMetadata): string {
  const { version, sizeBytes, builtAtSeconds, control, dsc, contents } = metadata;
  const digests = digestAlgorithms.map((algorithm) => metadata[algorithm]);
  return createHash("sha256")
    .update(JSON.stringify([version, sizeBytes, builtAtSeconds, control, dsc, contents, ...digests]))
    .digest("base64url");
}

/**
 * Reads metadata as strictly as the bytes would be read.
 * @returns undefined where it can't be believed: then the bytes tell
 */
export function inspectionOf(
  metadata: EntryMetadata,
  kind: PackageKind,
  { sizeBytes, algorithms, limits }: MetadataRequirements,
): SoundInspection | undefined {
  if (metadata.sizeBytes !== (sizeBytes ?? metadata.sizeBytes)) return undefined;
  if (!algorithms.every((algorithm) => metadata[algorithm] !== undefined)) return undefined;
  const digests = Object.fromEntries(
    digestAlgorithms.flatMap((algorithm) => {
      const digest = metadata[algorithm];
      return digest === undefined ? [] : [[algorithm, digest]];
    }),
  );
  const measured = { sizeBytes: metadata.sizeBytes, digests: { ...digests, sha256: metadata.sha256 } };
  try {
    const inspection = readMetadata(metadata, kind, measured, limits);
    if (inspection !== undefined) checkStanzaBytes(inspection, limits);
    return inspection;
  } catch (thrown) {
    if (thrown instanceof Malformed || thrown instanceof Deb822Error) return undefined;
    throw thrown;
  }
}

function readMetadata(
  { builtAtSeconds, control, dsc, contents }: EntryMetadata,
  kind: PackageKind,
  measured: Pick<SoundInspection, "sizeBytes" | "digests">,
  limits: InspectLimits,
): SoundInspection | undefined {
  switch (kind) {
    case "binary": {
      if (control === undefined || builtAtSeconds === undefined) return undefined;
      const stanza = parseStanza(Buffer.from(control), limits);
      checkBinaryControl(stanza);
      return { kind, ...measured, control: stanza, builtAtSeconds, ...(contents === undefined ? {} : { contents }) };
    }
    case "source": {
      if (dsc === undefined) return undefined;
      const { stanza, parts } = parseDsc(Buffer.from(dsc), limits);
      return { kind, ...measured, dsc: stanza, parts };
    }
    case "part":
      return { kind, ...measured };
    default:
      return kind satisfies never;
  }
}

const isCount = (value: unknown, most: number): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= most;

const isText = (value: unknown, mostCharacters: number): value is string =>
  typeof value === "string" && value.length <= mostCharacters;

const isDigest = (algorithm: DigestAlgorithm, value: unknown): value is string =>
  typeof value === "string" && value.length === digestDigits[algorithm] && /^[0-9a-f]+$/.test(value);
