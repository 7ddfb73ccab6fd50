// Looks at a part of the tree and tells what is there now: every directory once, each file by its listing alone.
import type { TreePath } from "../base/names.ts";
import { joinPath, parentPath } from "../base/names.ts";
import type { Entry, FileEntry, OtherEntry, Tree } from "../storage/tree.ts";
import { mayHoldPackages } from "./layout.ts";

/** What lies at or below one path at the moment of looking. */
export interface Survey {
  readonly path: TreePath;
  /** Every directory that may hold packages, also empty ones. */
  readonly directories: ReadonlySet<TreePath>;
  /** Every file, and what is neither file nor directory, by its path. */
  readonly files: ReadonlyMap<TreePath, FileEntry | OtherEntry>;
}

/**
 * Surveys a directory with all below it, or one file.
 * @param path what to look at; if nothing is there, the survey is empty
 * @throws StorageUnavailable, LimitExceeded
 */
export async function survey(tree: Tree, path: TreePath, signal: AbortSignal): Promise<Survey> {
  const directories = new Set<TreePath>();
  const files = new Map<TreePath, FileEntry | OtherEntry>();

  async function visit(directory: TreePath, entries: ReadonlyMap<string, Entry>): Promise<void> {
    directories.add(directory);
    const below: TreePath[] = [];
    for (const [name, entry] of entries) {
      const child = joinPath(directory, name);
      if (entry.kind === "directory") {
        if (mayHoldPackages(child)) below.push(child);
      } else files.set(child, entry);
    }
    await Promise.all(below.map(look));
  }

  async function look(at: TreePath): Promise<void> {
    const node = await tree.look(at, signal);
    if (node === undefined) return;
    if (node.kind !== "directory") files.set(at, node);
    else if (mayHoldPackages(at)) await visit(at, node.entries);
  }

  if (mayHoldPackages(parentPath(path))) await look(path);
  return { path, directories, files };
}
