// A survey lists all directories below a path, each once. It reads no files.
import { onAbort } from "../base/abort.ts";
import { LimitExceeded } from "../base/errors.ts";
import type { TreePath } from "../base/names.ts";
import { joinPath, parentPath } from "../base/names.ts";
import { itemsPerStep } from "../base/steps.ts";
import { yieldToEventLoop } from "../base/yield-to-event-loop.ts";
import type { InvalidNames } from "../storage/invalid-names.ts";
import { withPlausibleTimes } from "../storage/link-times.ts";
import type { Entry, FileEntry, OtherEntry, Tree } from "../storage/tree.ts";
import { StorageUnavailable } from "../storage/tree.ts";
import { packageKindOf } from "./inspection/inspect.ts";
import type { RejectCode, Rejection } from "./inspection/inspection.ts";
import type { Layout } from "./layout/repository-layout.ts";
import { plainLayout } from "./layout/repository-layout.ts";

/** The directories and files at or below one path. */
export interface Survey {
  readonly path: TreePath;
  /** Every directory that may hold packages, including empty ones. */
  readonly directories: ReadonlySet<TreePath>;
  /** Every file, and every entry that is neither file nor directory, by path. */
  readonly files: ReadonlyMap<TreePath, FileEntry | OtherEntry>;
  /**
   * Children of package directories that could not be listed completely. The survey contains nothing at or below them:
   * such a failure affects their builder only, and other builders' packages do not wait for them.
   */
  readonly unlisted: ReadonlyMap<TreePath, Rejection>;
  /** Entries that are in no package directory or have invalid names, with the reason why no index lists them. */
  readonly skipped: ReadonlyMap<TreePath, Rejection>;
  /**
   * Directories that have surveys of their own, with their directory identities if known. Their content is not listed.
   */
  readonly separate: ReadonlyMap<TreePath, string | undefined>;
}

/** Options of a survey. */
export interface SurveyOptions {
  /** Runs while other directories are being listed; the survey waits for it at the end. */
  readonly onFilesSeen?: FilesSeenListener;
  /** Whether a directory below the path has a survey of its own. */
  readonly isSeparate?: (directory: TreePath) => boolean;
  /** The directory identity of the path itself, so that a link to it from below is not followed. */
  readonly identity?: string | undefined;
  readonly limits?: SurveyLimits;
  readonly layout?: Layout;
}

/** Limits for everything at or below one child of a package directory. */
interface SurveyLimits {
  /** Directories that link to one another make very many paths: two links in each of 16 directories make 65,536. */
  readonly maxDirectoriesBelow: number;
  readonly maxFilesBelow: number;
}

const defaultSurveyLimits: SurveyLimits = { maxDirectoriesBelow: 10_000, maxFilesBelow: 500_000 };

/** Receives the files with metadata of each directory as soon as it is listed, one directory after the other. */
type FilesSeenListener = (files: readonly (readonly [TreePath, FileEntry])[]) => Promise<void>;

/** Whether an entry is a file with metadata from its uploader. */
export const hasMetadata = (entry: Entry): entry is FileEntry => entry.kind === "file" && entry.metadata !== undefined;

/**
 * Surveys a directory with everything below it, or one file.
 * @param path the directory or file; if nothing is there, the survey is empty
 * @param nowMs the current time in ms since the epoch: later link times count as unknown
 * @throws StorageUnavailable, LimitExceeded: for the path itself and directories above the builders' (failures below
 *   these are in `unlisted`); errors of `onFilesSeen`
 */
export async function survey(
  tree: Tree,
  path: TreePath,
  signal: AbortSignal,
  nowMs: number,
  {
    onFilesSeen = () => Promise.resolve(),
    isSeparate = () => false,
    identity: rootIdentity,
    limits = defaultSurveyLimits,
    layout = plainLayout,
  }: SurveyOptions = {},
): Promise<Survey> {
  const unlisted = new Map<TreePath, Rejection>();
  const skipped = new Map<TreePath, Rejection>();
  const separate = new Map<TreePath, string | undefined>();
  const all = new SurveyedPart(layout.packageDirectoryOf(parentPath(path)) === undefined ? noLimits : limits);
  // The directory of one suite may contain that of another one, whose name contains a slash.
  const suite = layout.suiteOf(path);
  if (rootIdentity !== undefined) all.isNew(rootIdentity);

  async function surveySeparately(directory: TreePath, identity: string | undefined): Promise<void> {
    const own = new SurveyedPart(limits);
    if (identity !== undefined) own.isNew(identity);
    const ended = new AbortController();
    const forget = onAbort(signal, () => ended.abort(signal.reason));
    try {
      await walk(directory, own, ended.signal);
      all.addAll(own);
    } catch (thrown) {
      signal.throwIfAborted();
      const rejection = rejectionOf(thrown);
      if (rejection === undefined) throw thrown;
      unlisted.set(directory, rejection);
    } finally {
      forget();
      // After a failure the rest of this directory is ignored: stop its other listings.
      ended.abort();
    }
  }

  const yieldNow = yieldToEventLoop(signal);
  let reporting = Promise.resolve();
  function report(files: Parameters<FilesSeenListener>[0]): void {
    reporting = reporting.then(() => onFilesSeen(files));
    // The caller receives a failure at the end of the survey; this handler avoids an unhandled rejection before that.
    reporting.catch(() => undefined);
  }

  /** Walks level by level: if a directory is linked at several paths, the same one is chosen every time. */
  async function walk(from: TreePath, into: SurveyedPart, walkSignal: AbortSignal): Promise<void> {
    for (let level: readonly TreePath[] = [from]; level.length > 0; ) {
      const below: ChildDirectory[] = [];
      await Promise.all(level.map(async (at) => void below.push(...(await look(at, into, walkSignal)))));
      below.sort((a, b) => (a.path < b.path ? -1 : 1));
      for (const child of below) if (isSeparate(child.path)) separate.set(child.path, child.identity);
      const separatelyWalked = below.filter(
        (child) => !separate.has(child.path) && layout.isInPackageDirectory(child.path),
      );
      await Promise.all(separatelyWalked.map((child) => surveySeparately(child.path, child.identity)));
      level = below
        .filter((child) => !separatelyWalked.includes(child) && !separate.has(child.path))
        .filter(
          ({ path: at, identity }) => layout.packageDirectoryOf(parentPath(at)) === undefined || into.isNew(identity),
        )
        .map((child) => child.path);
    }
  }

  function skip(at: TreePath, code: RejectCode, text: string): void {
    if (skipped.size < maxSkipped) skipped.set(at, { kind: "rejected", code, text });
  }

  /** Lists one directory. @returns the child directories that may hold packages */
  async function look(at: TreePath, into: SurveyedPart, lookSignal: AbortSignal): Promise<readonly ChildDirectory[]> {
    const node = await tree.look(at, lookSignal);
    if (node === undefined) return [];
    if (node.kind === "other" && node.mayBeDirectory === true) {
      throw new StorageUnavailable(at, node.reason, { transient: false });
    }
    if (node.kind !== "directory") {
      const file = withPlausibleTimes(node, nowMs);
      into.addFile(at, file);
      if (hasMetadata(file)) report([[at, file]]);
    }
    if (node.kind !== "directory" || !layout.mayHoldPackages(at)) return [];
    into.addDirectory(at);
    if (node.invalidNames !== undefined) skip(at, "bad-name", invalidNamesText(node.invalidNames));
    const isInPackageDirectory = layout.packageDirectoryOf(at) !== undefined;
    const below: ChildDirectory[] = [];
    const files: [TreePath, FileEntry][] = [];
    let untilYield = itemsPerStep;
    for (const [name, entry] of node.entries) {
      if (--untilYield <= 0) {
        untilYield = itemsPerStep;
        await yieldNow();
      }
      const child = joinPath(at, name);
      if (entry.kind !== "directory") {
        const file = withPlausibleTimes(entry, nowMs);
        into.addFile(child, file);
        if (hasMetadata(file)) files.push([child, file]);
        if (entry.kind === "other" && entry.mayBeDirectory === true) {
          unlisted.set(child, { kind: "rejected", code: "unreadable", text: entry.reason });
        } else if (entry.kind === "other" && packageKindOf(name) === undefined) {
          skip(child, "not-a-file", entry.reason);
        }
        if (!isInPackageDirectory && packageKindOf(name) !== undefined) skip(child, "wrong-place", wrongPlaceText(at));
      } else if (suite !== undefined && layout.suiteOf(child) !== suite) continue;
      else if (layout.mayHoldPackages(child)) below.push({ path: child, identity: entry.directoryIdentity });
      else {
        const why = layout.whySkipped(child);
        if (why !== undefined) skip(child, "wrong-place", `nothing in this directory is listed: ${why}`);
      }
    }
    report(files);
    return below;
  }

  if (layout.mayHoldPackages(parentPath(path))) await walk(path, all, signal);
  await reporting;
  return { path, directories: all.directories, files: all.files, unlisted, skipped, separate };
}

/** The number of skipped entries that one survey reports. */
const maxSkipped = 1000;

const wrongPlaceText = (directory: TreePath): string =>
  `a package belongs into dists/SUITE/COMPONENT/binary-ARCH or …/source, and not into ${directory || "the root"}`;

function invalidNamesText({ count, examples }: InvalidNames): string {
  const named = examples.map((name) => JSON.stringify(name)).join(", ");
  const more = count > examples.length ? `, and ${count - examples.length} more` : "";
  return `names that hold a slash or a control character, are too long or are not UTF-8 cannot be served: ${named}${more}`;
}

/** The operator makes the directories above the builders' directories; only each of the latter has limits. */
const noLimits: SurveyLimits = {
  maxDirectoriesBelow: Number.POSITIVE_INFINITY,
  maxFilesBelow: Number.POSITIVE_INFINITY,
};

interface ChildDirectory {
  readonly path: TreePath;
  readonly identity: string | undefined;
}

/** The directories and files of one part of a survey, within its limits. */
class SurveyedPart {
  readonly directories = new Set<TreePath>();
  readonly files = new Map<TreePath, FileEntry | OtherEntry>();
  readonly #limits: SurveyLimits;
  readonly #identities = new Set<string>();

  constructor(limits: SurveyLimits) {
    this.#limits = limits;
  }

  addDirectory(path: TreePath): void {
    const { maxDirectoriesBelow } = this.#limits;
    this.directories.add(path);
    if (this.directories.size <= maxDirectoriesBelow) return;
    throw new LimitExceeded(undefined, maxDirectoriesBelow, "the number of directories below this one");
  }

  addFile(path: TreePath, entry: FileEntry | OtherEntry): void {
    const { maxFilesBelow } = this.#limits;
    this.files.set(path, entry);
    if (this.files.size <= maxFilesBelow) return;
    throw new LimitExceeded(undefined, maxFilesBelow, "the number of files below this directory");
  }

  /** Whether this identity is new; remembers it. A directory without identity always counts as new. */
  isNew(identity: string | undefined): boolean {
    if (identity === undefined) return true;
    const before = this.#identities.size;
    return this.#identities.add(identity).size > before;
  }

  addAll(part: SurveyedPart): void {
    for (const directory of part.directories) this.addDirectory(directory);
    for (const [path, entry] of part.files) this.addFile(path, entry);
  }
}

/**
 * @returns the reason why a directory could not be listed; undefined for errors with other causes than the directory,
 *   such as a lack of file descriptors
 */
export function rejectionOf(thrown: unknown): Rejection | undefined {
  if (thrown instanceof StorageUnavailable && !thrown.shortage)
    return { kind: "rejected", code: "unreadable", text: thrown.message };
  if (thrown instanceof LimitExceeded) return { kind: "rejected", code: "limit", text: thrown.message };
  return undefined;
}
