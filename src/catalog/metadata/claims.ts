// What uploaders say of their files in place of the bytes: read out of entries, and kept in the ledger by its wording.
import type { DigestAlgorithm } from "../../debian/digests.ts";
import type { FileEntry } from "../../storage/tree.ts";
import type { InspectLimits } from "../inspection/inspect-limits.ts";
import type { PackageKind, SoundInspection } from "../inspection/inspection.ts";
import { claimRecordOf } from "../inspection/record-keys.ts";
import type { InspectionStore } from "../store/inspection-store.ts";
import type { EntryMetadata } from "./entry-metadata.ts";
import { inspectionOf, metadataKey, parseEntryMetadata } from "./entry-metadata.ts";

/** An uploader's word that passed for an inspection. */
export interface Claim {
  /** The ledger's name for it. */
  readonly record: string;
  readonly inspection: SoundInspection;
  /** Whether the ledger has it already. */
  readonly isKept: boolean;
}

export interface ClaimsOptions {
  readonly inspectionStore: InspectionStore;
  /** The digests that a claim must tell. */
  readonly algorithms: readonly DigestAlgorithm[];
  readonly limits: InspectLimits;
  /** Told of each entry whose metadata is passed over. */
  readonly malformed: () => void;
}

/** An entry's metadata as far as it has the form of any. */
interface Words {
  readonly metadata: EntryMetadata;
  /** Names what it says. */
  readonly key: string;
}

export class Claims {
  readonly #parts: ClaimsOptions;
  /** Every entry is asked for its words several times; undefined where it has none. */
  readonly #words = new WeakMap<FileEntry, Words | undefined>();
  /** Entries that `malformed` was told of. */
  readonly #refused = new WeakSet<FileEntry>();

  constructor(parts: ClaimsOptions) {
    this.#parts = parts;
  }

  /** What an entry's metadata says; of a mutable file nothing, since it may have been said of other bytes. */
  wordsOf(entry: FileEntry): Words | undefined {
    if (entry.content !== undefined && entry.metadata !== undefined && !this.#words.has(entry)) {
      const parsed = parseEntryMetadata(entry.metadata, this.#parts.limits);
      this.#words.set(entry, parsed && { metadata: parsed, key: metadataKey(parsed) });
    }
    return this.#words.get(entry);
  }

  /** @returns undefined where nothing was said, or nothing that can be believed */
  of(entry: FileEntry, kind: PackageKind): Claim | undefined {
    const { content, sizeBytes } = entry;
    if (content === undefined || entry.metadata === undefined || this.#refused.has(entry)) return undefined;
    const words = this.wordsOf(entry);
    if (words !== undefined) {
      const record = claimRecordOf(kind, content, words.key);
      const kept = this.kept(record);
      if (kept !== undefined) return kept;
      const inspection = inspectionOf(words.metadata, kind, { sizeBytes, ...this.#parts });
      if (inspection !== undefined) return { record, inspection, isKept: false };
    }
    this.#refused.add(entry);
    this.#parts.malformed();
    return undefined;
  }

  /** The claim behind a record, if the ledger has it. */
  kept(record: string): Claim | undefined {
    const inspection = this.#parts.inspectionStore.get(record);
    if (inspection === undefined || inspection.kind === "rejected") return undefined;
    return { record, inspection, isKept: true };
  }
}
