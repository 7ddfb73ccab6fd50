// What uploaders say of their files in place of the bytes: read out of entries, and kept in the ledger by its wording.
import type { DigestAlgorithm } from "../debian/digests.ts";
import type { FileEntry } from "../storage/tree.ts";
import type { EntryMetadata, SoundInspection } from "./entry-metadata.ts";
import { inspectionOf, metadataKey, parseEntryMetadata } from "./entry-metadata.ts";
import type { InspectLimits } from "./inspect-limits.ts";
import type { PackageKind } from "./inspection.ts";
import type { Ledger } from "./ledger.ts";

/** An uploader's word that passed for an inspection. */
export interface Claim {
  /** The ledger's name for it. */
  readonly record: string;
  readonly inspection: SoundInspection;
  /** Whether the ledger has it already. */
  readonly isKept: boolean;
}

export interface ClaimsParts {
  readonly ledger: Ledger;
  /** The digests that a claim must tell. */
  readonly algorithms: readonly DigestAlgorithm[];
  readonly limits: InspectLimits;
  /** Told of each entry whose metadata is passed over. */
  readonly malformed: () => void;
}

export class Claims {
  readonly #parts: ClaimsParts;

  constructor(parts: ClaimsParts) {
    this.#parts = parts;
  }

  /** What an entry's metadata says; of a mutable file nothing, since it may have been said of other bytes. */
  metadataOf({ content, metadata }: FileEntry): EntryMetadata | undefined {
    return content === undefined ? undefined : parseEntryMetadata(metadata, this.#parts.limits);
  }

  /** @returns undefined where nothing was said, or nothing that can be believed */
  of(entry: FileEntry, kind: PackageKind): Claim | undefined {
    const { content, sizeBytes } = entry;
    if (content === undefined || entry.metadata === undefined) return undefined;
    const metadata = this.metadataOf(entry);
    if (metadata !== undefined) {
      const record = ["claim", kind, content.key, metadataKey(metadata)].join("/");
      const kept = this.kept(record);
      if (kept !== undefined) return kept;
      const inspection = inspectionOf(metadata, kind, { sizeBytes, ...this.#parts });
      if (inspection !== undefined) return { record, inspection, isKept: false };
    }
    this.#parts.malformed();
    return undefined;
  }

  /** The claim behind a record, if the ledger has it. */
  kept(record: string): Claim | undefined {
    const inspection = this.#parts.ledger.get(record);
    if (inspection === undefined || inspection.kind === "rejected") return undefined;
    return { record, inspection, isKept: true };
  }
}
