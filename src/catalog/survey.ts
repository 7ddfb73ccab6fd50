// Looks at a part of the tree and tells what is there now: every directory once, each file by its listing alone.
import { onAbort } from "../base/abort.ts";
import { LimitExceeded } from "../base/errors.ts";
import type { TreePath } from "../base/names.ts";
import { joinPath, parentPath } from "../base/names.ts";
import { itemsPerStep } from "../base/steps.ts";
import { yieldToEventLoop } from "../base/yield-to-event-loop.ts";
import type { InvalidNames } from "../storage/invalid-names.ts";
import { withPossibleTimes } from "../storage/link-times.ts";
import type { Entry, FileEntry, OtherEntry, Tree } from "../storage/tree.ts";
import { StorageUnavailable } from "../storage/tree.ts";
import { packageKindOf } from "./inspection/inspect.ts";
import type { RejectCode, Rejection } from "./inspection/inspection.ts";
import type { Layout } from "./layout/repository-layout.ts";
import { plainLayout } from "./layout/repository-layout.ts";

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
  /** What lies here and is in no place for packages, or can't be named, and why nothing is made of it. */
  readonly skipped: ReadonlyMap<TreePath, Rejection>;
  /** Directories that are looked at on their own, with their identity where there is one. Nothing else is told of them. */
  readonly separate: ReadonlyMap<TreePath, string | undefined>;
}

/** How a survey is made. */
export interface SurveyOptions {
  /** Works while other directories are on their way; the survey ends after it. */
  readonly onFilesSeen?: FilesSeenListener;
  /** Whether a directory below the path is looked at on its own. */
  readonly isSeparate?: (directory: TreePath) => boolean;
  /** Of the directory at the path itself, so that a link to it from below is not followed. */
  readonly identity?: string | undefined;
  readonly limits?: SurveyLimits;
  readonly layout?: Layout;
}

/** How much may lie at or below one directory of those that stand directly in a place. */
interface SurveyLimits {
  /** Directories that link one another make paths without number: two links in each of 16 make 65,536. */
  readonly maxDirectoriesBelow: number;
  readonly maxFilesBelow: number;
}

const defaultSurveyLimits: SurveyLimits = { maxDirectoriesBelow: 10_000, maxFilesBelow: 500_000 };

/** Told of the files of each directory that have metadata as soon as it is listed, one directory after the other. */
type FilesSeenListener = (files: readonly (readonly [TreePath, FileEntry])[]) => Promise<void>;

/** Whether an entry says anything of its file. */
export const hasMetadata = (entry: Entry): entry is FileEntry => entry.kind === "file" && entry.metadata !== undefined;

/**
 * Surveys a directory with all below it, or one file.
 * @param path what to look at; if nothing is there, the survey is empty
 * @param nowMs of this look, in ms since the epoch: link times that are later are made unknown
 * @throws StorageUnavailable, LimitExceeded: of the path itself and what is not in `unlisted`; what `seen` throws
 */
export async function survey(
  tree: Tree,
  path: TreePath,
  signal: AbortSignal,
  nowMs: number,
  {
    onFilesSeen: seen = () => Promise.resolve(),
    isSeparate: isApart = () => false,
    identity: ownIdentity,
    limits = defaultSurveyLimits,
    layout = plainLayout,
  }: SurveyOptions = {},
): Promise<Survey> {
  const unlisted = new Map<TreePath, Rejection>();
  const passedOver = new Map<TreePath, Rejection>();
  const apartFrom = new Map<TreePath, string | undefined>();
  const all = new SurveyedPart(layout.packageDirectoryOf(parentPath(path)) === undefined ? unlimited : limits);
  // Below one suite's directory there may be another one, whose name has a slash.
  const suite = layout.suiteOf(path);
  if (ownIdentity !== undefined) all.isNew(ownIdentity);

  async function apart(directory: TreePath, identity: string | undefined): Promise<void> {
    const own = new SurveyedPart(limits);
    if (identity !== undefined) own.isNew(identity);
    const ended = new AbortController();
    const forget = onAbort(signal, () => ended.abort(signal.reason));
    try {
      await walk(directory, own, ended.signal);
      all.take(own);
    } catch (thrown) {
      signal.throwIfAborted();
      const rejection = rejectionOf(thrown);
      if (rejection === undefined) throw thrown;
      unlisted.set(directory, rejection);
    } finally {
      forget();
      // After a failure nothing else of this directory counts.
      ended.abort();
    }
  }

  const yieldNow = yieldToEventLoop(signal);
  let telling = Promise.resolve();
  function tell(files: Parameters<FilesSeenListener>[0]): void {
    telling = telling.then(() => seen(files));
    // Who waits hears of a failure at the end, if the survey comes to it.
    telling.catch(() => undefined);
  }

  /** Level by level, so that of a directory linked at several places always the same one counts. */
  async function walk(from: TreePath, into: SurveyedPart, walkSignal: AbortSignal): Promise<void> {
    for (let level: readonly TreePath[] = [from]; level.length > 0; ) {
      const below: Below[] = [];
      await Promise.all(level.map(async (at) => void below.push(...(await look(at, into, walkSignal)))));
      below.sort((a, b) => (a.path < b.path ? -1 : 1));
      for (const child of below) if (isApart(child.path)) apartFrom.set(child.path, child.identity);
      const places = below.filter((child) => !apartFrom.has(child.path) && layout.isInPackageDirectory(child.path));
      await Promise.all(places.map((child) => apart(child.path, child.identity)));
      level = below
        .filter((child) => !places.includes(child) && !apartFrom.has(child.path))
        .filter(
          ({ path: at, identity }) => layout.packageDirectoryOf(parentPath(at)) === undefined || into.isNew(identity),
        )
        .map((child) => child.path);
    }
  }

  function passOver(at: TreePath, code: RejectCode, text: string): void {
    if (passedOver.size < maxSkipped) passedOver.set(at, { kind: "rejected", code, text });
  }

  /** @returns the directories in it */
  async function look(at: TreePath, into: SurveyedPart, lookSignal: AbortSignal): Promise<readonly Below[]> {
    const node = await tree.look(at, lookSignal);
    if (node === undefined) return [];
    if (node.kind === "other" && node.mayBeDirectory === true) {
      throw new StorageUnavailable(at, node.reason, { transient: false });
    }
    if (node.kind !== "directory") {
      const file = withPossibleTimes(node, nowMs);
      into.addFile(at, file);
      if (hasMetadata(file)) tell([[at, file]]);
    }
    if (node.kind !== "directory" || !layout.mayHoldPackages(at)) return [];
    into.addDirectory(at);
    if (node.invalidNames !== undefined) passOver(at, "bad-name", unnamedText(node.invalidNames));
    const isInPlace = layout.packageDirectoryOf(at) !== undefined;
    const below: Below[] = [];
    const files: [TreePath, FileEntry][] = [];
    let untilTurn = itemsPerStep;
    for (const [name, entry] of node.entries) {
      if (--untilTurn <= 0) {
        untilTurn = itemsPerStep;
        await yieldNow();
      }
      const child = joinPath(at, name);
      if (entry.kind !== "directory") {
        const file = withPossibleTimes(entry, nowMs);
        into.addFile(child, file);
        if (hasMetadata(file)) files.push([child, file]);
        if (entry.kind === "other" && entry.mayBeDirectory === true) {
          unlisted.set(child, { kind: "rejected", code: "unreadable", text: entry.reason });
        } else if (entry.kind === "other" && packageKindOf(name) === undefined) {
          passOver(child, "not-a-file", entry.reason);
        }
        if (!isInPlace && packageKindOf(name) !== undefined) passOver(child, "wrong-place", outsideText(at));
      } else if (suite !== undefined && layout.suiteOf(child) !== suite) continue;
      else if (layout.mayHoldPackages(child)) below.push({ path: child, identity: entry.directoryIdentity });
      else {
        const why = layout.whySkipped(child);
        if (why !== undefined) passOver(child, "wrong-place", `nothing in this directory is listed: ${why}`);
      }
    }
    tell(files);
    return below;
  }

  if (layout.mayHoldPackages(parentPath(path))) await walk(path, all, signal);
  await telling;
  return { path, directories: all.directories, files: all.files, unlisted, skipped: passedOver, separate: apartFrom };
}

/** More than these are not told of one look. */
const maxSkipped = 1000;

const outsideText = (directory: TreePath): string =>
  `a package belongs into dists/SUITE/COMPONENT/binary-ARCH or …/source, and not into ${directory || "the root"}`;

function unnamedText({ count, first }: InvalidNames): string {
  const named = first.map((name) => JSON.stringify(name)).join(", ");
  const more = count > first.length ? `, and ${count - first.length} more` : "";
  return `names that hold a slash or a control character, are too long or are not UTF-8 cannot be served: ${named}${more}`;
}

/** Above the builders' directories it is the operator who makes them; what is below counts for itself. */
const unlimited: SurveyLimits = {
  maxDirectoriesBelow: Number.POSITIVE_INFINITY,
  maxFilesBelow: Number.POSITIVE_INFINITY,
};

interface Below {
  readonly path: TreePath;
  readonly identity: string | undefined;
}

/** What one part of a survey has seen, within its limits. */
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

  /** Whether this directory was not yet asked about; one without identity always is. */
  isNew(identity: string | undefined): boolean {
    if (identity === undefined) return true;
    const before = this.#identities.size;
    return this.#identities.add(identity).size > before;
  }

  take(part: SurveyedPart): void {
    for (const directory of part.directories) this.addDirectory(directory);
    for (const [path, entry] of part.files) this.addFile(path, entry);
  }
}

/** Why a directory could not be listed; undefined for what says nothing about the directory itself, as a lack of descriptors. */
export function rejectionOf(thrown: unknown): Rejection | undefined {
  if (thrown instanceof StorageUnavailable && !thrown.shortage)
    return { kind: "rejected", code: "unreadable", text: thrown.message };
  if (thrown instanceof LimitExceeded) return { kind: "rejected", code: "limit", text: thrown.message };
  return undefined;
}
