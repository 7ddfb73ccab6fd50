// Builds one suite's Contents: an index from nothing by merging sorted runs, or out of the last one, segment by segment.
import { on } from "node:events";
import { closeSync, openSync, readSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { MessagePort } from "node:worker_threads";
import { MessageChannel } from "node:worker_threads";
import type { YieldFunction } from "../../../base/yield-to-event-loop.ts";
import type { FileListLimits } from "../../../debian/file-list.ts";
import type { CompressedSegment, Compressor } from "../../../indices/compression/compress.ts";
import type { ContentsCut } from "../../../indices/contents/contents.ts";
import type { SegmentStore } from "../../store/segment-store.ts";
import type { KeptSegment } from "./contents-store.ts";
import type { ListedPackages, NamedSegment, PlacedSegment } from "./contents-tasks.ts";
import type { ContentsTasks } from "./contents-thread.ts";

export interface ContentsSegmentsOptions {
  readonly tasks: ContentsTasks;
  readonly compressor: Compressor;
  readonly segments: SegmentStore;
  readonly limits: FileListLimits;
  /** For what is too much for memory; a directory of its own. */
  readonly directory: string;
  readonly cut?: ContentsCut | undefined;
}

type Compress = (plain: Uint8Array) => Promise<CompressedSegment>;

const nothing = new Uint8Array(0);

export class ContentsSegments {
  readonly #parts: ContentsSegmentsOptions;
  readonly #yieldNow: YieldFunction;
  readonly #signal: AbortSignal;
  #files = 0;
  /** By id, where the segments are that were made here of runs. */
  readonly #merged = new Map<string, { readonly file: string; readonly placed: PlacedSegment }>();
  #plain = new Uint8Array(0);

  constructor(
    parts: ContentsSegmentsOptions,
    { yieldNow, signal }: { readonly yieldNow: YieldFunction; readonly signal: AbortSignal },
  ) {
    this.#parts = parts;
    this.#yieldNow = yieldNow;
    this.#signal = signal;
  }

  /** Sorts a part of the packages into runs. @returns the runs' files, and which packages have a list that is none */
  async sort(packages: ListedPackages): ReturnType<ContentsTasks["sortLists"]> {
    const { tasks, limits } = this.#parts;
    await this.#yieldNow();
    return await tasks.sortLists({ packages, limits, into: this.#newFile() }, this.#signal);
  }

  /** An index out of all of its runs: its first segments are compressed while the others are merged. */
  async fromRuns(files: readonly string[]): Promise<readonly KeptSegment[]> {
    const { tasks, cut } = this.#parts;
    const into = this.#newFile();
    await this.#yieldNow();
    const merged = await open(into, "w+", 0o600);
    const { port1: heard, port2: told } = new MessageChannel();
    const segments: KeptSegment[] = [];
    try {
      const placed = placedSegments(heard, this.#signal);
      const compressed = async (compress: Compress): Promise<void> => {
        for await (const [each] of placed) {
          if (each === undefined) break;
          this.#merged.set(each.id, { file: into, placed: each });
          segments[each.index] = await this.#stored(each, () => readPlaced(merged, each), compress);
        }
      };
      const merging = tasks.mergeFiles({ files, into, cut, told }, this.#signal);
      // The thread that has merged compresses as well, and so leaves all but one of the others to pings.
      const compressing = [
        compressed(this.#compress),
        merging.then(() => compressed((plain) => tasks.compressPaths(plain, this.#signal))),
      ];
      // Where one fails, the other is to end.
      for (const each of compressing) each.catch(() => placed.return?.());
      const outcomes = await Promise.allSettled(compressing);
      for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
      return segments;
    } finally {
      heard.close();
      await merged.close();
    }
  }

  /**
   * The plain bytes of a segment that was made here of runs, as long as its file is there: decompressing all segments for
   * the digests of an index would leave as much for V8 to collect. They hold until the next reading.
   */
  plainOf(id: string): Uint8Array | undefined {
    const merged = this.#merged.get(id);
    if (merged === undefined) return undefined;
    const { atBytes, sizeBytes } = merged.placed;
    if (this.#plain.length < sizeBytes) this.#plain = new Uint8Array(sizeBytes);
    const file = openSync(merged.file, "r");
    try {
      return this.#plain.subarray(0, readSync(file, this.#plain, 0, sizeBytes, atBytes));
    } finally {
      closeSync(file);
    }
  }

  /**
   * An index out of the last one.
   * @param before at least one segment
   * @param removed what is taken out, unless an added package brings it too
   * @returns undefined where the changes are too much for memory; which added packages have a list that is none, if there
   * are such
   */
  async fromLast(
    before: readonly KeptSegment[],
    removed: ListedPackages,
    added: ListedPackages,
  ): Promise<{ readonly segments: readonly KeptSegment[] } | { readonly malformed: readonly number[] } | undefined> {
    const { tasks, limits, segments: store, cut } = this.#parts;
    const firsts = before.map(({ first }) => first);
    const plan = await tasks.planEdits({ firsts, removed, added, limits }, this.#signal);
    if (plan === undefined) return undefined;
    const { edits, malformed } = plan;
    if (malformed.length > 0) return { malformed };
    const editsOf = new Map(edits.map((each) => [each.segment, each]));
    const segments: Promise<KeptSegment>[] = [];
    let storing: Promise<unknown> = Promise.resolve();
    /** One is compressed while the next is cut. */
    const keep = async (segment: NamedSegment): Promise<void> => {
      await storing;
      const stored = this.#stored(segment, async () => segment.plain, this.#compress);
      stored.catch(() => undefined);
      storing = stored;
      segments.push(stored);
    };
    let rest: NamedSegment | undefined;
    for (const [index, old] of before.entries()) {
      const here = editsOf.get(index);
      if (here === undefined && rest === undefined) {
        segments.push(Promise.resolve(old));
        continue;
      }
      await this.#yieldNow();
      const task = { open: rest?.plain ?? nothing, old: store.read(old.id, "gz"), edits: here, cut };
      const cutAgain = await tasks.recutSegment(task, this.#signal);
      for (const each of cutAgain.ended) await keep(each);
      rest = cutAgain.rest;
    }
    if (rest !== undefined) await keep(rest);
    return { segments: await Promise.all(segments) };
  }

  async #stored(
    { id, first }: Pick<NamedSegment, "id" | "first">,
    plain: () => Promise<Uint8Array>,
    compress: Compress,
  ): Promise<KeptSegment> {
    const { segments } = this.#parts;
    const known = segments.sizesOf(id);
    if (known !== undefined) return { ...known, first };
    await this.#yieldNow();
    const bytes = await plain();
    const sizes = await segments.put(id, bytes, await compress(bytes), "compressed");
    return { ...sizes, first };
  }

  /** To be called for one segment after the other, so that a ping always finds a thread to compress its own. */
  readonly #compress: Compress = (plain) => this.#parts.compressor.compress(plain, this.#signal, "paths");

  #newFile(): string {
    this.#signal.throwIfAborted();
    return join(this.#parts.directory, `${this.#files++}`);
  }
}

/** Each goes to one of those who ask, until one of them has found the end. */
const placedSegments = (heard: MessagePort, signal: AbortSignal) =>
  // What `mergeFiles` tells: a thread's messages have no type of their own.
  on(heard, "message", { signal }) as AsyncIterableIterator<readonly [PlacedSegment | undefined]>;

async function readPlaced(file: FileHandle, { atBytes, sizeBytes }: PlacedSegment): Promise<Uint8Array> {
  const plain = new Uint8Array(sizeBytes);
  await file.read(plain, 0, sizeBytes, atBytes);
  return plain;
}
