// The expensive tasks of generating Contents, for a separate thread: sorting, merging, cutting and compressing lines.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, writeFile } from "node:fs/promises";
import type { MessagePort } from "node:worker_threads";
import { gunzipSync } from "node:zlib";
import { asBuffer } from "../../../base/as-buffer.ts";
import { lowerThreadPriority } from "../../../base/background-thread.ts";
import type { FileListLimits } from "../../../debian/file-list.ts";
import { decodeFileList } from "../../../debian/file-list.ts";
import { Malformed } from "../../../debian/malformed.ts";
import type { CompressedSegment } from "../../../indices/compression/compress.ts";
import type { ContentsCut, ContentsEntry, ContentsSegment } from "../../../indices/contents/contents.ts";
import { ContentsCutter, chunksOf, entryOf, recut, textOf } from "../../../indices/contents/contents.ts";
import { mergeRuns } from "../../../indices/contents/merge-sorted-runs.ts";

lowerThreadPriority();

/** Packages with their file lists, packed for the transfer to a thread. */
export interface ListedPackages {
  /** The name of each package in Contents. */
  readonly locations: readonly string[];
  /** The length of each list in its compact form, in bytes. */
  readonly lengths: readonly number[];
  /** The concatenated lists. */
  readonly lists: Uint8Array;
}

/** A segment with an id: equal ids, equal bytes. */
export interface NamedSegment extends ContentsSegment {
  readonly id: string;
}

/** The position of a segment in a file. */
export interface PlacedSegment extends Omit<NamedSegment, "plain"> {
  /** The number of segments before it in its index. */
  readonly index: number;
  readonly atBytes: number;
  readonly sizeBytes: number;
}

/** Part of every segment's id, and stored with the indices. Change it when the text or the compression changes. */
export const renderingVersion = "contents 3";

/** How many bytes of lines are sorted in memory at once. */
const maxRunBytes = 8 * 1024 * 1024;
/** The memory for changed lines. Each line counts with an overhead of so many bytes. */
const maxPlanBytes = 32 * 1024 * 1024;
const entryOverheadBytes = 64;
/** The memory for runs while they are merged, in bytes: for all of them, and the limits for each. */
const maxChunkBytes = { ofAll: 32 * 1024 * 1024, ofEach: 256 * 1024 };
const minChunkBytes = 16 * 1024;

/** The input of `sortLists`. */
export interface SortTask {
  readonly packages: ListedPackages;
  readonly limits: FileListLimits;
  /** The path of the runs' files, to which a number is added. */
  readonly into: string;
}

/** @returns the files of the sorted runs, and the indices of the packages whose file list is invalid */
export async function sortLists({
  packages,
  limits,
  into,
}: SortTask): Promise<{ readonly files: readonly string[]; readonly malformed: readonly number[] }> {
  const files: string[] = [];
  const malformed: number[] = [];
  let lists: Uint8Array[] = [];
  let sizeBytes = 0;
  const write = async (run: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> => {
    const file = `${into}-${files.length}`;
    files.push(file);
    await writeFile(file, run, { mode: 0o600 });
  };
  const writeLists = async (): Promise<void> => {
    await write(mergeRuns(lists.map((list) => [list].values())));
    lists = [];
    sizeBytes = 0;
  };
  for (const { index, location, paths } of unpacked(packages, limits)) {
    if (paths === undefined) malformed.push(index);
    if (paths === undefined || paths.length === 0) continue;
    const end = `${entryOf("", location)}\n`;
    const listBytes = paths.reduce((bytes, path) => bytes + path.length + end.length, 0);
    if (listBytes > maxRunBytes) {
      // It becomes a run of its own, because it is sorted already. It is streamed, because each line repeats the
      // location.
      await write(chunksOf(entriesIn(paths, location)));
      continue;
    }
    lists.push(Buffer.from(paths.join(end) + end, "latin1"));
    sizeBytes += listBytes;
    if (sizeBytes > maxRunBytes) await writeLists();
  }
  if (lists.length > 0) await writeLists();
  return { files, malformed };
}

/** The input of `mergeFiles`. */
export interface MergeTask {
  readonly files: readonly string[];
  /** An existing file for the bytes of the segments. */
  readonly into: string;
  readonly cut?: ContentsCut | undefined;
  /** Receives each segment as a `PlacedSegment` as soon as it is in the file, and `undefined` at the end. */
  readonly port: MessagePort;
}

/** Merges runs into segments. Only a small part of each run is in memory. */
export async function mergeFiles({ files, into, cut, port }: MergeTask): Promise<void> {
  let [index, atBytes] = [0, 0];
  const output = await open(into, "r+");
  const write = async (segments: readonly ContentsSegment[]): Promise<void> => {
    for (const segment of segments) {
      const { id, first, plain } = named(segment);
      await output.appendFile(plain);
      port.postMessage({ id, first, index, atBytes, sizeBytes: plain.length } satisfies PlacedSegment);
      index += 1;
      atBytes += plain.length;
    }
  };
  try {
    const cutter = new ContentsCutter(cut);
    const fairBytes = Math.floor(maxChunkBytes.ofAll / Math.max(1, files.length));
    const chunkBytes = Math.max(minChunkBytes, Math.min(maxChunkBytes.ofEach, fairBytes));
    for await (const batch of mergeRuns(files.map((file) => readRun(file, chunkBytes)))) {
      cutter.add(batch);
      await write(cutter.take());
    }
    const { ended, rest } = cutter.finish();
    await write(rest === undefined ? ended : [...ended, rest]);
    port.postMessage(undefined);
  } finally {
    port.close();
    await output.close();
  }
}

/** The input of `planEdits`. */
export interface PlanTask {
  /** The first path of each segment of an index; at least one. */
  readonly firsts: readonly string[];
  readonly removed: ListedPackages;
  readonly added: ListedPackages;
  readonly limits: FileListLimits;
}

/** The changes to one segment: entries that end with a line feed. */
export interface SegmentEdits {
  readonly segment: number;
  readonly removed: Uint8Array;
  readonly added: Uint8Array;
}

/**
 * Sorts changes by the segments that they affect.
 * @returns the edits in order, and the indices of added packages whose file list is invalid; undefined if the changes
 *   do not fit into memory
 */
export function planEdits({ firsts, removed, added, limits }: PlanTask):
  | {
      readonly edits: readonly SegmentEdits[];
      readonly malformed: readonly number[];
    }
  | undefined {
  const malformed: number[] = [];
  let sizeBytes = 0;
  const touched = new Map<number, { readonly removed: ContentsEntry[]; readonly added: ContentsEntry[] }>();
  const note = (kind: "removed" | "added", packages: ListedPackages): boolean => {
    for (const { index, location, paths } of unpacked(packages, limits)) {
      if (paths === undefined && kind === "added") malformed.push(index);
      for (const path of paths ?? []) {
        sizeBytes += path.length + location.length + entryOverheadBytes;
        const segment = segmentOf(path, firsts);
        const edits = touched.get(segment) ?? { removed: [], added: [] };
        edits[kind].push(entryOf(path, location));
        touched.set(segment, edits);
        if (sizeBytes > maxPlanBytes) return false;
      }
    }
    return true;
  };
  if (!(note("removed", removed) && note("added", added))) return undefined;
  const edits = [...touched]
    .sort(([a], [b]) => a - b)
    .map(([segment, entries]) => ({ segment, removed: textOf(entries.removed), added: textOf(entries.added) }));
  return { edits, malformed };
}

/** The input of `recutSegment`. */
export interface RecutTask {
  readonly open: Uint8Array;
  /** The segment as a gzip member. */
  readonly old: Uint8Array;
  /** Undefined if only the segments before it changed. */
  readonly edits: SegmentEdits | undefined;
  readonly cut?: ContentsCut | undefined;
}

/** Edits and cuts one segment; see indices/contents/contents.ts. */
export async function recutSegment({ open: before, old, edits, cut }: RecutTask): Promise<{
  readonly ended: readonly NamedSegment[];
  readonly rest: NamedSegment | undefined;
}> {
  const entries = { removed: linesOf(edits?.removed), added: linesOf(edits?.added) };
  const { ended, rest } = await recut(before, gunzipSync(old), entries, cut);
  return { ended: ended.map(named), rest: rest && named(rest) };
}

/**
 * Compresses a segment.
 * @param plain the bytes of the segment
 * @throws errors of loading the compression library
 */
export async function compressPaths(plain: Uint8Array): Promise<CompressedSegment> {
  // Loaded only here: most threads run only small updates that do not compress, and loading takes longer than those.
  const worker = await import("../../../indices/compression/compress-worker.ts");
  return await worker.compressPaths(plain);
}

function named({ first, plain }: ContentsSegment): NamedSegment {
  return { first, plain, id: createHash("sha256").update(`${renderingVersion}\n`).update(plain).digest("hex") };
}

/** @returns each package; `paths` is undefined if its file list is invalid */
function* unpacked({ locations, lengths, lists }: ListedPackages, limits: FileListLimits) {
  let at = 0;
  for (const [index, location] of locations.entries()) {
    const list = lists.subarray(at, at + (lengths[index] ?? 0));
    at += list.length;
    yield { index, location, paths: pathsOf(list, limits) };
  }
}

function* entriesIn(paths: readonly string[], location: string): Generator<ContentsEntry, void> {
  for (const path of paths) yield entryOf(path, location);
}

function pathsOf(list: Uint8Array, limits: FileListLimits): readonly string[] | undefined {
  try {
    return decodeFileList(list, limits);
  } catch (thrown) {
    if (thrown instanceof Malformed) return undefined;
    throw thrown;
  }
}

/** The last segment that begins at or before a path, or the first segment. */
function segmentOf(path: string, firsts: readonly string[]): number {
  let [from, to] = [0, firsts.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((firsts[middle] ?? "") <= path) from = middle + 1;
    else to = middle;
  }
  return Math.max(0, from - 1);
}

async function* readRun(file: string, chunkBytes: number): AsyncGenerator<Uint8Array> {
  let partial: Uint8Array = Buffer.of();
  const chunks: AsyncIterable<Uint8Array> = createReadStream(file, { highWaterMark: chunkBytes });
  for await (const read of chunks) {
    const chunk = Buffer.concat([partial, read]);
    const end = chunk.lastIndexOf("\n") + 1;
    partial = chunk.subarray(end);
    if (end > 0) yield chunk.subarray(0, end);
  }
}

const linesOf = (text: Uint8Array = Buffer.of()): readonly string[] =>
  asBuffer(text).toString("latin1").split("\n").slice(0, -1);
