// Builds the segments of Contents: from nothing by merging sorted runs, or from the previous index by editing segments.
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

/** The collaborators of `ContentsSegments`. */
export interface ContentsSegmentsOptions {
  readonly tasks: ContentsTasks;
  readonly compressor: Compressor;
  readonly segments: SegmentStore;
  readonly limits: FileListLimits;
  /** A directory for data that does not fit into memory. It is used by nothing else. */
  readonly directory: string;
  readonly cut?: ContentsCut | undefined;
}

type Compress = (plain: Uint8Array) => Promise<CompressedSegment>;

const nothing = new Uint8Array(0);

/** Builds and stores segments for one run. */
export class ContentsSegments {
  readonly #options: ContentsSegmentsOptions;
  readonly #yieldNow: YieldFunction;
  readonly #signal: AbortSignal;
  #files = 0;
  /** The positions of merged segments, by id. */
  readonly #merged = new Map<string, { readonly file: string; readonly placed: PlacedSegment }>();
  #plain = new Uint8Array(0);

  constructor(
    options: ContentsSegmentsOptions,
    { yieldNow, signal }: { readonly yieldNow: YieldFunction; readonly signal: AbortSignal },
  ) {
    this.#options = options;
    this.#yieldNow = yieldNow;
    this.#signal = signal;
  }

  /**
   * Sorts some of the packages into runs.
   * @returns the files of the runs, and the indices of the packages whose file list is invalid
   */
  async sort(packages: ListedPackages): ReturnType<ContentsTasks["sortLists"]> {
    const { tasks, limits } = this.#options;
    await this.#yieldNow();
    return await tasks.sortLists({ packages, limits, into: this.#newFile() }, this.#signal);
  }

  /** Builds an index by merging all of its runs. The first segments are compressed while the others are merged. */
  async fromRuns(files: readonly string[]): Promise<readonly KeptSegment[]> {
    const { tasks, cut } = this.#options;
    const into = this.#newFile();
    await this.#yieldNow();
    const merged = await open(into, "w+", 0o600);
    const { port1: receiver, port2: sender } = new MessageChannel();
    const segments: KeptSegment[] = [];
    try {
      const placed = placedSegments(receiver, this.#signal);
      const compressed = async (compress: Compress): Promise<void> => {
        for await (const [each] of placed) {
          if (each === undefined) break;
          this.#merged.set(each.id, { file: into, placed: each });
          segments[each.index] = await this.#store(each, () => readPlaced(merged, each), compress);
        }
      };
      const merging = tasks.mergeFiles({ files, into, cut, port: sender }, this.#signal);
      // After merging, that thread compresses as well. So only one of the other threads is busy, and pings can use the
      // rest.
      const compressing = [
        compressed(this.#compress),
        merging.then(() => compressed((plain) => tasks.compressPaths(plain, this.#signal))),
      ];
      // If one fails, the other must end.
      for (const each of compressing) each.catch(() => placed.return?.());
      const outcomes = await Promise.allSettled(compressing);
      for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
      return segments;
    } finally {
      receiver.close();
      await merged.close();
    }
  }

  /**
   * Reads the plain bytes of a merged segment, as long as its file exists. Decompressing all segments for the digests
   * of an index would produce much garbage for V8. The bytes are valid until the next call.
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
   * Builds an index by editing the previous one.
   * @param before at least one segment
   * @param removed packages whose lines are removed, unless an added package has the same line
   * @returns undefined if the changes do not fit into memory; the indices of added packages whose file list is invalid,
   *   if there are any
   */
  async update(
    before: readonly KeptSegment[],
    removed: ListedPackages,
    added: ListedPackages,
  ): Promise<{ readonly segments: readonly KeptSegment[] } | { readonly malformed: readonly number[] } | undefined> {
    const { tasks, limits, segments: store, cut } = this.#options;
    const firsts = before.map(({ first }) => first);
    const plan = await tasks.planEdits({ firsts, removed, added, limits }, this.#signal);
    if (plan === undefined) return undefined;
    const { edits, malformed } = plan;
    if (malformed.length > 0) return { malformed };
    const editsOf = new Map(edits.map((each) => [each.segment, each]));
    const segments: Promise<KeptSegment>[] = [];
    let storing: Promise<unknown> = Promise.resolve();
    /** One segment is compressed while the next one is cut. */
    const keep = async (segment: NamedSegment): Promise<void> => {
      await storing;
      const stored = this.#store(segment, async () => segment.plain, this.#compress);
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

  async #store(
    { id, first }: Pick<NamedSegment, "id" | "first">,
    plain: () => Promise<Uint8Array>,
    compress: Compress,
  ): Promise<KeptSegment> {
    const { segments } = this.#options;
    const known = segments.sizesOf(id);
    if (known !== undefined) return { ...known, first };
    await this.#yieldNow();
    const bytes = await plain();
    const sizes = await segments.put(id, bytes, await compress(bytes), "compressed");
    return { ...sizes, first };
  }

  /** To be called for one segment at a time, so that a ping always finds a free thread for its own compression. */
  readonly #compress: Compress = (plain) => this.#options.compressor.compress(plain, this.#signal, "paths");

  #newFile(): string {
    this.#signal.throwIfAborted();
    return join(this.#options.directory, `${this.#files++}`);
  }
}

/** An iterator that several consumers may share. Each segment goes to one of them, until one receives the end. */
const placedSegments = (port: MessagePort, signal: AbortSignal) =>
  // The cast gives the messages of `mergeFiles` their type.
  on(port, "message", { signal }) as AsyncIterableIterator<readonly [PlacedSegment | undefined]>;

async function readPlaced(file: FileHandle, { atBytes, sizeBytes }: PlacedSegment): Promise<Uint8Array> {
  const plain = new Uint8Array(sizeBytes);
  await file.read(plain, 0, sizeBytes, atBytes);
  return plain;
}
