// A file of the catalog: its directory entry, its finding, and values derived from these.
import type { ContentId } from "../../base/content-id.ts";
import type { TreePath } from "../../base/names.ts";
import { joinPath, parentPath } from "../../base/names.ts";
import type { FileEntry, OtherEntry } from "../../storage/tree.ts";
import type { PackageKind } from "../inspection/inspection.ts";
import { bytesKey, claimKey, mutableFileKey } from "../inspection/inspection-keys.ts";
import type { Finding } from "./finding.ts";

/** A file of the tree and the result of its inspection. */
export interface CatalogFile {
  readonly path: TreePath;
  /** Without metadata once that has been parsed, because it is as long as a stanza. */
  readonly entry: FileEntry | OtherEntry;
  /** Whether the inspection comes from its uploader's metadata and has not been compared with the bytes. */
  readonly claimed: boolean;
  /** Identifies the content of its uploader's metadata; undefined if there is none that can be parsed. */
  readonly metadataKey: string | undefined;
  /** Undefined for a file that no index needs. */
  readonly finding: Finding | undefined;
}

/**
 * A file's directory entry without its metadata, in little memory, since there is one for each file. Do not spread it:
 * some properties are getters.
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

/** The kind of package file that was inspected; undefined for other files and rejections. */
export function kindOf({ finding }: CatalogFile): PackageKind | undefined {
  return finding === undefined || finding.kind === "rejected" ? undefined : finding.kind;
}

/** The key of the file's inspection in the inspection store; undefined if there is none. */
export function inspectionKeyOf(file: CatalogFile): string | undefined {
  const { entry, claimed, metadataKey } = file;
  const [kind, sha256] = [kindOf(file), sha256Of(file.finding)];
  if (entry.kind === "other" || kind === undefined || sha256 === undefined) return undefined;
  if (entry.content === undefined) return mutableFileKey(kind, sha256);
  return claimed ? claimKey(kind, entry.content, metadataKey ?? "") : bytesKey(kind, entry.content.key);
}

/** Whether a file needs no new examination: the same bytes, link times and metadata as before, and readable. */
export function isSettled(file: CatalogFile, entry: FileEntry | OtherEntry, metadataKey: string | undefined): boolean {
  if (file.finding?.kind === "rejected" && file.finding.code === "unreadable") return false;
  if (file.entry.kind === "other" || entry.kind === "other") {
    return file.entry.kind === entry.kind;
  }
  return (
    (file.entry.content?.equals(entry.content) ?? entry.content === undefined) &&
    file.entry.sizeBytes === entry.sizeBytes &&
    file.entry.linkedAtMs === entry.linkedAtMs &&
    file.entry.relinkedAtMs === entry.relinkedAtMs &&
    file.metadataKey === metadataKey
  );
}

/** Whether a package is for debian-installer. */
export const isUdeb = (path: TreePath): boolean => path.endsWith(".udeb");

/** The SHA256 of a file's bytes, in lower-case hex; undefined for rejections and files that no index needs. */
export function sha256Of(finding: Finding | undefined): string | undefined {
  if (finding === undefined || finding.kind === "rejected") return undefined;
  return finding.kind === "binary" ? finding.sha256 : finding.digests.sha256;
}

/** The SHA256 under which the package is served; undefined if the file is not a package. */
export const digestOf = ({ finding }: CatalogFile): string | undefined =>
  finding?.kind === "part" ? undefined : sha256Of(finding);

/** The paths of a source package's parts, which must be in the directory of its .dsc. */
export function partPaths(file: CatalogFile | undefined): readonly TreePath[] {
  if (file?.finding?.kind !== "source") return [];
  const directory = parentPath(file.path);
  return file.finding.parts.map((part) => joinPath(directory, part.name));
}
