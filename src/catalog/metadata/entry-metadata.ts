// The metadata that an uploader may store with a link under the key `apt`: made from an inspection, and read as one.

import { createHash } from "node:crypto";
import { maxArTimeSeconds } from "../../debian/ar.ts";
import { checkBinaryControl } from "../../debian/control.ts";
import { Deb822Error, formatStanza, parseStanza } from "../../debian/deb822.ts";
import type { DigestAlgorithm } from "../../debian/digests.ts";
import { digestAlgorithms, digestDigits } from "../../debian/digests.ts";
import { parseDsc } from "../../debian/dsc.ts";
import { Malformed } from "../../debian/malformed.ts";
import type { InspectLimits } from "../inspection/inspect-limits.ts";
import type { PackageKind, SoundInspection } from "../inspection/inspection.ts";
import { checkStanzaBytes } from "../inspection/stanza-bytes.ts";

/**
 * The value of the key `apt` in a directory entry's metadata.
 * @see docs/entry-metadata.md for the meaning of each key, and how far it is trusted
 */
export type EntryMetadata = {
  readonly version: 1;
  readonly sizeBytes: number;
  readonly builtAtSeconds?: number;
  readonly control?: string;
  readonly dsc?: string;
  readonly contents?: string;
} & { readonly sha256: string } & { readonly [Algorithm in DigestAlgorithm]?: string };

/** Conditions that valid metadata must meet. */
export interface MetadataRequirements {
  /** The size in the listing; undefined if the listing does not contain it. */
  readonly sizeBytes: number | undefined;
  /** The digests that must be present. */
  readonly algorithms: readonly DigestAlgorithm[];
  readonly limits: InspectLimits;
}

/** The maximum length in characters of a cap that points to a file list; real ones have fewer than 200. */
const maxContentsLength = 512;

/** Makes the metadata for the link of an inspected file. */
export function entryMetadataOf(inspection: SoundInspection): EntryMetadata {
  const common = { version: 1, sizeBytes: inspection.sizeBytes, ...inspection.digests } as const;
  switch (inspection.kind) {
    case "binary": {
      const { builtAtSeconds, control, contents } = inspection;
      const pointer = contents === undefined ? {} : { contents };
      return { ...common, builtAtSeconds, control: formatStanza(control), ...pointer };
    }
    case "source":
      return { ...common, dsc: formatStanza(inspection.dsc) };
    case "part":
      return common;
    default:
      return inspection satisfies never;
  }
}

/**
 * Checks the types, forms and lengths of metadata from a stranger. Unknown keys are dropped; stanzas are not parsed.
 * @returns undefined if a required key is missing, or the value of a known key is invalid
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

/** @returns a hash that identifies the content of metadata */
export function metadataKey(metadata: EntryMetadata): string {
  const { version, sizeBytes, builtAtSeconds, control, dsc, contents } = metadata;
  const digests = digestAlgorithms.map((algorithm) => metadata[algorithm]);
  return createHash("sha256")
    .update(JSON.stringify([version, sizeBytes, builtAtSeconds, control, dsc, contents, ...digests]))
    .digest("base64url");
}

/**
 * Turns metadata into an inspection, with the same checks as an inspection of the bytes.
 * @returns undefined if it is invalid: then the file must be read
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
  const common = { sizeBytes: metadata.sizeBytes, digests: { ...digests, sha256: metadata.sha256 } };
  try {
    const inspection = readMetadata(metadata, kind, common, limits);
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
  common: Pick<SoundInspection, "sizeBytes" | "digests">,
  limits: InspectLimits,
): SoundInspection | undefined {
  switch (kind) {
    case "binary": {
      if (control === undefined || builtAtSeconds === undefined) return undefined;
      const stanza = parseStanza(Buffer.from(control), limits);
      checkBinaryControl(stanza);
      return { kind, ...common, control: stanza, builtAtSeconds, ...(contents === undefined ? {} : { contents }) };
    }
    case "source": {
      if (dsc === undefined) return undefined;
      const { stanza, parts } = parseDsc(Buffer.from(dsc), limits);
      return { kind, ...common, dsc: stanza, parts };
    }
    case "part":
      return { kind, ...common };
    default:
      return kind satisfies never;
  }
}

const isCount = (value: unknown, max: number): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= max;

const isText = (value: unknown, maxCharacters: number): value is string =>
  typeof value === "string" && value.length <= maxCharacters;

const isDigest = (algorithm: DigestAlgorithm, value: unknown): value is string =>
  typeof value === "string" && value.length === digestDigits[algorithm] && /^[0-9a-f]+$/.test(value);
