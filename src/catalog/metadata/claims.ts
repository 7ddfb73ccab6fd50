// What uploaders say of their files in place of the bytes: read out of entries, and kept in the ledger by its wording.
import type { DigestAlgorithm } from "../../debian/digests.ts";
import type { FileEntry } from "../../storage/tree.ts";
import type { InspectLimits } from "../inspection/inspect-limits.ts";
import type { PackageKind, SoundInspection } from "../inspection/inspection.ts";
import { claimKey } from "../inspection/inspection-keys.ts";
import type { InspectionStore } from "../store/inspection-store.ts";
import type { EntryMetadata } from "./entry-metadata.ts";
import { inspectionOf, metadataKey, parseEntryMetadata } from "./entry-metadata.ts";

/** An uploader's word that passed for an inspection. */
export interface Claim {
  /** The ledger's name for it. */
  readonly key: string;
  readonly inspection: SoundInspection;
  /** Whether the ledger has it already. */
  readonly isStored: boolean;
}

export interface ClaimsOptions {
  readonly inspectionStore: InspectionStore;
  /** The digests that a claim must tell. */
  readonly algorithms: readonly DigestAlgorithm[];
  readonly limits: InspectLimits;
  /** Told of each entry whose metadata is passed over. */
  readonly onMalformed: () => void;
}

/** An entry's metadata as far as it has the form of any. */
interface ParsedMetadata {
  readonly metadata: EntryMetadata;
  /** Names what it says. */
  readonly key: string;
}

export class Claims {
  readonly #options: ClaimsOptions;
  /** Every entry is asked for its words several times; undefined where it has none. */
  readonly #metadata = new WeakMap<FileEntry, ParsedMetadata | undefined>();
  /** Entries that `malformed` was told of. */
  readonly #reported = new WeakSet<FileEntry>();

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** What an entry's metadata says; of a mutable file nothing, since it may have been said of other bytes. */
  metadataOf(entry: FileEntry): ParsedMetadata | undefined {
    if (entry.content !== undefined && entry.metadata !== undefined && !this.#metadata.has(entry)) {
      const parsed = parseEntryMetadata(entry.metadata, this.#options.limits);
      this.#metadata.set(entry, parsed && { metadata: parsed, key: metadataKey(parsed) });
    }
    return this.#metadata.get(entry);
  }

  /** @returns undefined where nothing was said, or nothing that can be believed */
  of(entry: FileEntry, kind: PackageKind): Claim | undefined {
    const { content, sizeBytes } = entry;
    if (content === undefined || entry.metadata === undefined || this.#reported.has(entry)) return undefined;
    const words = this.metadataOf(entry);
    if (words !== undefined) {
      const record = claimKey(kind, content, words.key);
      const kept = this.stored(record);
      if (kept !== undefined) return kept;
      const inspection = inspectionOf(words.metadata, kind, { sizeBytes, ...this.#options });
      if (inspection !== undefined) return { key: record, inspection, isStored: false };
    }
    this.#reported.add(entry);
    this.#options.onMalformed();
    return undefined;
  }

  /** The claim behind a record, if the ledger has it. */
  stored(record: string): Claim | undefined {
    const inspection = this.#options.inspectionStore.get(record);
    if (inspection === undefined || inspection.kind === "rejected") return undefined;
    return { key: record, inspection, isStored: true };
  }
}
