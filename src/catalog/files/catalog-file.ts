// A file of the catalog, and what it tells of itself: whether it is still the same, which bytes, and what it asks for.
import type { ContentId } from "../../base/content-id.ts";
import type { TreePath } from "../../base/names.ts";
import { joinPath, parentPath } from "../../base/names.ts";
import type { FileEntry, OtherEntry } from "../../storage/tree.ts";
import type { PackageKind } from "../inspection/inspection.ts";
import { bytesKey, claimKey, mutableFileKey } from "../inspection/inspection-keys.ts";
import type { Finding } from "./finding.ts";

/** A file and what is known of it. */
export interface CatalogFile {
  readonly path: TreePath;
  /** Without its metadata once that was read, because it is as long as a stanza. */
  readonly entry: FileEntry | OtherEntry;
  /** Whether the inspection is its uploader's word alone. */
  readonly claimed: boolean;
  /** Names what its uploader said of it; undefined if nothing sensible. */
  readonly metadataKey: string | undefined;
  /** Undefined for a file that no index asks for. */
  readonly finding: Finding | undefined;
}

/**
 * A file's entry without its metadata. There are as many of these as files, and most were linked once. Never to be
 * spread: some fields are getters.
 */
export class LeanEntry implements FileEntry {
  readonly sizeBytes: number | undefined;
  readonly content: ContentId | undefined;
  readonly linkedAtMs: number;
  readonly #relinkedAtMs: number | undefined;

  constructor({ sizeBytes, content, linkedAtMs, relinkedAtMs }: FileEntry) {
    this.sizeBytes = sizeBytes;
    this.content = content;
    this.linkedAtMs = linkedAtMs;
    this.#relinkedAtMs = relinkedAtMs === linkedAtMs ? undefined : relinkedAtMs;
  }

  get kind(): "file" {
    return "file";
  }
  get relinkedAtMs(): number {
    return this.#relinkedAtMs ?? this.linkedAtMs;
  }
  get metadata(): undefined {
    return undefined;
  }
}

/** What an index took the file for; undefined where none did. */
export function kindOf({ finding }: CatalogFile): PackageKind | undefined {
  return finding === undefined || finding.kind === "rejected" ? undefined : finding.kind;
}

/** The ledger's name of the inspection that an index rests on; undefined where none does. */
export function inspectionKeyOf(file: CatalogFile): string | undefined {
  const { entry, claimed, metadataKey: said } = file;
  const [kind, sha256] = [kindOf(file), sha256Of(file.finding)];
  if (entry.kind === "other" || kind === undefined || sha256 === undefined) return undefined;
  if (entry.content === undefined) return mutableFileKey(kind, sha256);
  return claimed ? claimKey(kind, entry.content, said ?? "") : bytesKey(kind, entry.content.key);
}

/** Whether nothing has to be looked at again: the same bytes under the same link, read before, and the same words. */
export function isSettled(known: CatalogFile, entry: FileEntry | OtherEntry, said: string | undefined): boolean {
  if (known.finding?.kind === "rejected" && known.finding.code === "unreadable") return false;
  if (known.entry.kind === "other" || entry.kind === "other") {
    return known.entry.kind === entry.kind;
  }
  return (
    (known.entry.content?.equals(entry.content) ?? entry.content === undefined) &&
    known.entry.sizeBytes === entry.sizeBytes &&
    known.entry.linkedAtMs === entry.linkedAtMs &&
    known.entry.relinkedAtMs === entry.relinkedAtMs &&
    known.metadataKey === said
  );
}

/** Whether a package is for debian-installer. */
export const isUdeb = (path: TreePath): boolean => path.endsWith(".udeb");

/** The SHA256 of a file's bytes; undefined for what no index took. */
export function sha256Of(finding: Finding | undefined): string | undefined {
  if (finding === undefined || finding.kind === "rejected") return undefined;
  return finding.kind === "binary" ? finding.sha256 : finding.digests.sha256;
}

/** The SHA256 under which its package is served; undefined for what is none. */
export const digestOf = ({ finding }: CatalogFile): string | undefined =>
  finding?.kind === "part" ? undefined : sha256Of(finding);

/** Where the parts of a source package must lie: beside its .dsc. */
export function partPaths(file: CatalogFile | undefined): readonly TreePath[] {
  if (file?.finding?.kind !== "source") return [];
  const directory = parentPath(file.path);
  return file.finding.parts.map((part) => joinPath(directory, part.name));
}
