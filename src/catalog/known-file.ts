// What a file of the catalog tells of itself: whether it is still the same, which bytes, and what it asks for.
import type { TreePath } from "../base/names.ts";
import { joinPath, parentPath } from "../base/names.ts";
import type { FileEntry, OtherEntry } from "../storage/tree.ts";
import type { Finding } from "./finding.ts";

/** As the catalog has it. */
interface KnownFile {
  readonly path: TreePath;
  readonly entry: FileEntry | OtherEntry;
  readonly said: string | undefined;
  readonly finding: Finding | undefined;
}

/** Whether nothing has to be looked at again: the same bytes under the same link, read before, and the same words. */
export function isSettled(known: KnownFile, entry: FileEntry | OtherEntry, said: string | undefined): boolean {
  if (known.finding?.kind === "rejected" && known.finding.code === "unreadable") return false;
  if (known.entry.kind === "other" || entry.kind === "other") {
    return known.entry.kind === entry.kind;
  }
  return (
    (known.entry.content?.equals(entry.content) ?? entry.content === undefined) &&
    known.entry.sizeBytes === entry.sizeBytes &&
    known.entry.linkedAtMs === entry.linkedAtMs &&
    known.entry.relinkedAtMs === entry.relinkedAtMs &&
    known.said === said
  );
}

/** The SHA256 under which its package is served; undefined for what is none. */
export function digestOf({ finding }: KnownFile): string | undefined {
  if (finding?.kind === "binary") return finding.sha256;
  return finding?.kind === "source" ? finding.digests.sha256 : undefined;
}

/** Where the parts of a source package must lie: beside its .dsc. */
export function partPaths(file: KnownFile | undefined): readonly TreePath[] {
  if (file?.finding?.kind !== "source") return [];
  const directory = parentPath(file.path);
  return file.finding.parts.map((part) => joinPath(directory, part.name));
}
