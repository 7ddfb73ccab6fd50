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

/** Metadata of the right form, whose stanzas have not been parsed. */
interface ParsedMetadata {
  readonly metadata: EntryMetadata;
  /** Identifies its content. */
  readonly key: string;
}

/** Reads the claims in directory entries. */
export class Claims {
  readonly #options: ClaimsOptions;
  /** A cache, because the metadata of an entry is needed several times; undefined for invalid metadata. */
  readonly #metadata = new WeakMap<FileEntry, ParsedMetadata | undefined>();
  /** Entries that were passed to `onMalformed`. */
  readonly #reported = new WeakSet<FileEntry>();

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** Parses an entry's metadata. @returns undefined for a mutable file, whose bytes may have changed since */
  metadataOf(entry: FileEntry): ParsedMetadata | undefined {
    if (entry.content !== undefined && entry.metadata !== undefined && !this.#metadata.has(entry)) {
      const parsed = parseEntryMetadata(entry.metadata, this.#options.limits);
      this.#metadata.set(entry, parsed && { metadata: parsed, key: metadataKey(parsed) });
    }
    return this.#metadata.get(entry);
  }

  /** @returns the claim in an entry's metadata; undefined if there is none, or none that is valid */
  of(entry: FileEntry, kind: PackageKind): Claim | undefined {
    const { content, sizeBytes } = entry;
    if (content === undefined || entry.metadata === undefined || this.#reported.has(entry)) return undefined;
    const metadata = this.metadataOf(entry);
    if (metadata !== undefined) {
      const key = claimKey(kind, content, metadata.key);
      const stored = this.stored(key);
      if (stored !== undefined) return stored;
      const inspection = inspectionOf(metadata.metadata, kind, { sizeBytes, ...this.#options });
      if (inspection !== undefined) return { key, inspection, isStored: false };
    }
    this.#reported.add(entry);
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
