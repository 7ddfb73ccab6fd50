// Looks at a part of the tree and tells what is there now: every directory once, each file by its listing alone.
import { onAbort } from "../base/abort.ts";
import { LimitExceeded } from "../base/errors.ts";
import type { TreePath } from "../base/names.ts";
import { joinPath, parentPath } from "../base/names.ts";
import type { Entry, FileEntry, OtherEntry, Tree } from "../storage/tree.ts";
import { StorageUnavailable } from "../storage/tree.ts";
import type { Rejection } from "./inspection.ts";
import { isDirectlyInPlace, mayHoldPackages, placeOf } from "./layout.ts";

/** What lies at or below one path at the moment of looking. */
export interface Survey {
  readonly path: TreePath;
  /** Every directory that may hold packages, also empty ones. */
  readonly directories: ReadonlySet<TreePath>;
  /** Every file, and what is neither file nor directory, by its path. */
  readonly files: ReadonlyMap<TreePath, FileEntry | OtherEntry>;
  /**
   * Directories that stand directly in a place and could not be listed to the end. Nothing at or below them is told:
   * their builders are on their own, and nobody else's packages wait for them.
   */
  readonly unlisted: ReadonlyMap<TreePath, Rejection>;
}

/** How much may lie at or below one directory of those that stand directly in a place. */
export interface SurveyLimits {
  /** Directories that link one another make paths without number: two links in each of 16 make 65,536. */
  readonly maxDirectoriesBelow: number;
  readonly maxFilesBelow: number;
}

export const defaultSurveyLimits: SurveyLimits = { maxDirectoriesBelow: 10_000, maxFilesBelow: 500_000 };

/**
 * Surveys a directory with all below it, or one file.
 * @param path what to look at; if nothing is there, the survey is empty
 * @throws StorageUnavailable, LimitExceeded: of the path itself and what is not in `unlisted`
 */
export async function survey(
  tree: Tree,
  path: TreePath,
  signal: AbortSignal,
  limits: SurveyLimits = defaultSurveyLimits,
): Promise<Survey> {
  const unlisted = new Map<TreePath, Rejection>();
  const seen = new Seen(placeOf(parentPath(path)) === undefined ? unlimited : limits);

  async function apart(directory: TreePath): Promise<void> {
    const own = new Seen(limits);
    const ended = new AbortController();
    const forget = onAbort(signal, () => ended.abort(signal.reason));
    try {
      await look(directory, own, ended.signal);
      seen.take(own);
    } catch (thrown) {
      signal.throwIfAborted();
      unlisted.set(directory, rejectionOf(thrown));
    } finally {
      forget();
      // After a failure nothing else of this directory counts.
      ended.abort();
    }
  }

  async function look(at: TreePath, into: Seen, lookSignal: AbortSignal): Promise<void> {
    const node = await tree.look(at, lookSignal);
    if (node === undefined) return;
    if (node.kind !== "directory") into.addFile(at, node);
    else if (mayHoldPackages(at)) await visit(at, node.entries, into, lookSignal);
  }

  async function visit(
    directory: TreePath,
    entries: ReadonlyMap<string, Entry>,
    into: Seen,
    lookSignal: AbortSignal,
  ): Promise<void> {
    into.addDirectory(directory);
    const below: TreePath[] = [];
    for (const [name, entry] of entries) {
      const child = joinPath(directory, name);
      if (entry.kind !== "directory") into.addFile(child, entry);
      else if (mayHoldPackages(child)) below.push(child);
    }
    await Promise.all(below.map((child) => (isDirectlyInPlace(child) ? apart(child) : look(child, into, lookSignal))));
  }

  if (mayHoldPackages(parentPath(path))) await look(path, seen, signal);
  return { path, directories: seen.directories, files: seen.files, unlisted };
}

/** Above the builders' directories it is the operator who makes them; what is below counts for itself. */
const unlimited: SurveyLimits = {
  maxDirectoriesBelow: Number.POSITIVE_INFINITY,
  maxFilesBelow: Number.POSITIVE_INFINITY,
};

/** What one part of a survey has seen, within its limits. */
class Seen {
  readonly directories = new Set<TreePath>();
  readonly files = new Map<TreePath, FileEntry | OtherEntry>();
  readonly #limits: SurveyLimits;

  constructor(limits: SurveyLimits) {
    this.#limits = limits;
  }

  addDirectory(path: TreePath): void {
    const { maxDirectoriesBelow } = this.#limits;
    this.directories.add(path);
    if (this.directories.size <= maxDirectoriesBelow) return;
    throw new LimitExceeded("maxDirectoriesBelow", maxDirectoriesBelow, "the number of directories here");
  }

  addFile(path: TreePath, entry: FileEntry | OtherEntry): void {
    const { maxFilesBelow } = this.#limits;
    this.files.set(path, entry);
    if (this.files.size <= maxFilesBelow) return;
    throw new LimitExceeded("maxFilesBelow", maxFilesBelow, "the number of files here");
  }

  take(part: Seen): void {
    for (const directory of part.directories) this.addDirectory(directory);
    for (const [path, entry] of part.files) this.addFile(path, entry);
  }
}

/** @throws what is no word of the storage about this directory */
function rejectionOf(thrown: unknown): Rejection {
  if (thrown instanceof StorageUnavailable) return { kind: "rejected", code: "unreadable", text: thrown.message };
  if (thrown instanceof LimitExceeded) return { kind: "rejected", code: "limit", text: thrown.message };
  throw thrown;
}
