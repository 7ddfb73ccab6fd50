// A claim is an inspection that an uploader has stored in the metadata of a directory entry. It replaces reading the
// file, and is kept in the inspection store under the key of its content.
import type { DigestAlgorithm } from "../../debian/digests.ts";
import type { FileEntry } from "../../storage/tree.ts";
import type { InspectLimits } from "../inspection/inspect-limits.ts";
import type { PackageKind, SoundInspection } from "../inspection/inspection.ts";
import { claimKey } from "../inspection/inspection-keys.ts";
import type { InspectionStore } from "../store/inspection-store.ts";
import type { EntryMetadata } from "./entry-metadata.ts";
import { inspectionOf, metadataKey, parseEntryMetadata } from "./entry-metadata.ts";

/** A valid inspection from an entry's metadata. */
export interface Claim {
  /** Its key in the inspection store. */
  readonly key: string;
  readonly inspection: SoundInspection;
  /** Whether it is in the inspection store already. */
  readonly isStored: boolean;
}

/** The collaborators and settings of `Claims`. */
export interface ClaimsOptions {
  readonly inspectionStore: InspectionStore;
  /** The digests that a claim must contain. */
  readonly algorithms: readonly DigestAlgorithm[];
  readonly limits: InspectLimits;
  /** Called once for each entry whose metadata is invalid. */
  readonly onMalformed: () => void;
}

/** The metadata of one entry, parsed once. Its stanzas are not parsed. */
export interface ParsedMetadata {
  /** Undefined for metadata of a wrong form. */
  readonly metadata: EntryMetadata | undefined;
  /** Identifies its content; undefined for metadata of a wrong form. */
  readonly key: string | undefined;
  /** Whether `onMalformed` was called for it. */
  isReported: boolean;
}

/** Reads the claims in directory entries. */
export class Claims {
  readonly #options: ClaimsOptions;

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** Parses an entry's metadata. @returns undefined for no metadata, and for a mutable file, whose bytes may have changed */
  parse({ content, metadata: raw }: FileEntry): ParsedMetadata | undefined {
    if (content === undefined || raw === undefined) return undefined;
    const metadata = parseEntryMetadata(raw, this.#options.limits);
    return { metadata, key: metadata && metadataKey(metadata), isReported: false };
  }

  /**
   * @param parsed the metadata of the entry
   * @returns the claim in the metadata; undefined if there is none, or none that is valid
   */
  of({ content, sizeBytes }: FileEntry, kind: PackageKind, parsed: ParsedMetadata | undefined): Claim | undefined {
    if (content === undefined || parsed === undefined || parsed.isReported) return undefined;
    const { metadata, key: contentKey } = parsed;
    if (metadata !== undefined && contentKey !== undefined) {
      const key = claimKey(kind, content, contentKey);
      const stored = this.stored(key);
      if (stored !== undefined) return stored;
      const inspection = inspectionOf(metadata, kind, { sizeBytes, ...this.#options });
      if (inspection !== undefined) return { key, inspection, isStored: false };
    }
    parsed.isReported = true;
    this.#options.onMalformed();
    return undefined;
  }

  /** @returns the claim of a key; undefined if it is not in the inspection store */
  stored(key: string): Claim | undefined {
    const inspection = this.#options.inspectionStore.get(key);
    if (inspection === undefined || inspection.kind === "rejected") return undefined;
    return { key, inspection, isStored: true };
  }
}
