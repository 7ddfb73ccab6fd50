// Inspects files in worker threads, so that serving goes on while packages are read.
import { availableParallelism } from "node:os";
import { onAbort } from "../../base/abort.ts";
import { FairQueue } from "../../base/fair-queue.ts";
import { withResolvers } from "../../base/with-resolvers.ts";
import type { LocalFile } from "../../storage/local-file.ts";
import type { InspectOptions } from "./inspect.ts";
import type { StartedContent } from "./inspect-thread.ts";
import { defaultMaxHeapMebibytes, InspectorFailed, InspectThread } from "./inspect-thread.ts";
import type { Inspection, PackageKind } from "./inspection.ts";

/** A file up to this size, in bytes, is read first and goes to a worker as one message. */
const smallFileBytes = 2 ** 20;

/** How many files a worker inspects side by side, because most of that time it waits for storage. */
const filesPerThread = 4;

/** How many files that a worker is to read by itself go to it as one message: each message costs as much as a file. */
const filesPerBatch = 32;

/** So that the next is there when one is done. */
const batchesPerThread = 2;

/** How many workers beyond the usual number there may be, each for a builder whose files none of them inspects now. */
const spareThreads = 1;

/** A worker that has been inspecting one file for so long, in ms, is not given files of other builders if that can be avoided. */
const longInspectionMs = 250;

/** For how long after the end of a worker each has one file at a time, in ms. */
const carefulMs = 10 * 60_000;

/** Whose files are inspected where nobody says it. */
const nobody = "";

/** How long a worker without work is kept, in ms: most of the time a server inspects nothing. */
const defaultIdleThreadMs = 2_000;

interface AskedFile {
  readonly kind: PackageKind;
  readonly file: LocalFile;
  readonly done: (inspection: Inspection | undefined) => void;
  readonly failed: (reason: unknown) => void;
}

/**
 * A pool of workers: started when they are needed, ended but for one when they are not, replaced when they crash. The
 * builders whose files wait take turns by the time that their inspections last.
 */
export class InspectorPool {
  readonly #options: InspectOptions;
  readonly #threadCount: number;
  readonly #maxHeapMebibytes: number;
  readonly #idleThreadMs: number;
  readonly #threads = new Set<InspectThread>();
  readonly #queue: FairQueue;
  /** Files that wait for a batch, by builder. */
  readonly #asked = new Map<string, AskedFile[]>();
  /** How many batches of each builder wait or are under way. */
  readonly #batches = new Map<string, number>();
  readonly #closing = new AbortController();
  /** Set while a worker has one file at a time, so that the next crash shows which file it was. */
  #careful: NodeJS.Timeout | undefined;
  #closed = false;

  /**
   * @param threadCount how many workers; as many as the machine runs in parallel if not given
   * @param maxHeapMebibytes beyond it a worker ends, and with it the inspection that it makes
   * @param idleThreadMs a worker without work ends after so long
   */
  constructor(
    options: InspectOptions,
    threadCount = availableParallelism(),
    maxHeapMebibytes = defaultMaxHeapMebibytes,
    idleThreadMs = defaultIdleThreadMs,
  ) {
    this.#idleThreadMs = idleThreadMs;
    this.#maxHeapMebibytes = maxHeapMebibytes;
    this.#options = options;
    this.#threadCount = threadCount;
    this.#queue = new FairQueue(this.#slots(filesPerThread));
  }

  /**
   * Inspects one file. The content is read here, in the caller's thread, and not before it is this file's turn.
   * @param builder whose turn it takes
   * @returns a rejection for a bad package
   * @throws what reading the content throws, untouched; `signal.reason`; InspectorFailed
   */
  async inspect(
    kind: PackageKind,
    content: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    builder = nobody,
  ): Promise<Inspection> {
    return await this.#queue.run(builder, signal, async () => {
      const source = content[Symbol.asyncIterator]();
      try {
        const started = await begin(source);
        const thread = this.#threadFor(builder);
        return await thread.inspect(kind, started, signal, builder).finally(() => this.#endIfIdle(thread));
      } finally {
        // Not awaited: where a read hangs, the content ends as soon as that read does.
        source.return?.().catch(() => undefined);
      }
    });
  }

  /**
   * Inspects a small file that the worker reads by itself, together with others that are asked for at the same time.
   * @returns undefined where it can't be read so: `inspect` what the tree opens
   * @throws `signal.reason`, InspectorFailed
   */
  async inspectLocal(
    kind: PackageKind,
    file: LocalFile,
    signal: AbortSignal,
    builder = nobody,
  ): Promise<Inspection | undefined> {
    const { promise, resolve, reject } = withResolvers<Inspection | undefined>();
    const forget = onAbort(signal, () => reject(signal.reason));
    const asked = this.#asked.get(builder) ?? [];
    this.#asked.set(builder, asked);
    asked.push({ kind, file, done: resolve, failed: reject });
    if ((this.#batches.get(builder) ?? 0) < this.#threadCount * batchesPerThread) this.#beginBatch(builder);
    return await promise.finally(forget);
  }

  /** Ends the workers. Inspections under way fail. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#careful);
    this.#closing.abort(new InspectorFailed("the inspector was closed"));
    await Promise.all([...this.#threads].map((thread) => thread.close()));
  }

  #slots(perThread: number): { readonly limit: number; readonly spare: number } {
    return { limit: this.#threadCount * perThread, spare: spareThreads * perThread };
  }

  get #filesPerBatch(): number {
    return this.#careful === undefined ? filesPerBatch : 1;
  }

  #beginBatch(builder: string): void {
    this.#batches.set(builder, (this.#batches.get(builder) ?? 0) + 1);
    void this.#queue
      .run(builder, this.#closing.signal, () => this.#inspectBatch(builder))
      .catch((closed: unknown) => {
        for (const { failed } of this.#asked.get(builder) ?? []) failed(closed);
        this.#asked.delete(builder);
      })
      .finally(() => {
        const left = (this.#batches.get(builder) ?? 1) - 1;
        if (left > 0) this.#batches.set(builder, left);
        else this.#batches.delete(builder);
        if (this.#asked.has(builder)) this.#beginBatch(builder);
      });
  }

  async #inspectBatch(builder: string): Promise<void> {
    const asked = this.#asked.get(builder) ?? [];
    const batch = asked.splice(0, this.#filesPerBatch);
    if (asked.length === 0) this.#asked.delete(builder);
    if (batch.length === 0) return;
    try {
      const thread = this.#threadFor(builder);
      const placed = batch.map(({ kind, file }) => ({ kind, location: file.location }));
      const read = await thread.inspectFiles(placed, builder).finally(() => this.#endIfIdle(thread));
      for (const [index, { file, done }] of batch.entries()) {
        const { inspection, seconds, bytes } = read[index] ?? {};
        if (inspection !== undefined) file.onRead?.(seconds ?? 0, bytes ?? 0);
        done(inspection);
      }
    } catch (thrown) {
      // The worker has ended, and one of them may be why: from now on each goes alone.
      if (batch.length > this.#filesPerBatch && !this.#closed) {
        this.#asked.set(builder, [...batch, ...(this.#asked.get(builder) ?? [])]);
      } else for (const { failed } of batch) failed(thrown);
    }
  }

  /** One stays: starting it takes longer than all the rest that a ping has to wait for. */
  #endIfIdle(thread: InspectThread): void {
    if (thread.busy > 0) return;
    const { inspected } = thread;
    setTimeout(() => {
      if (this.#threads.size <= 1 || thread.busy > 0 || thread.inspected !== inspected) return;
      this.#threads.delete(thread);
      void thread.close();
    }, this.#idleThreadMs).unref();
  }

  /**
   * The worker that has least to do. A builder has the usual number of them at most, so that for others there is one
   * that is not in the middle of a long inspection of that builder's.
   */
  #threadFor(builder: string): InspectThread {
    if (this.#closed) throw new InspectorFailed("the inspector was closed");
    const threads = [...this.#threads].sort((a, b) => a.busy - b.busy);
    if (this.#careful !== undefined) return threads.find(({ busy }) => busy === 0) ?? this.#startThread();
    const own = threads.filter((thread) => thread.worksFor(builder));
    const open = own.length < this.#threadCount ? threads : own;
    const prompt = open.filter((thread) => thread.longestMsForOthers(builder) < longInspectionMs);
    const [idlest] = prompt;
    if (idlest !== undefined && (idlest.busy === 0 || threads.length >= this.#threadCount)) return idlest;
    const most = idlest === undefined && own.length === 0 ? this.#threadCount + spareThreads : this.#threadCount;
    if (threads.length < most) return this.#startThread();
    const [least] = idlest === undefined ? open : prompt;
    return least ?? this.#startThread();
  }

  #startThread(): InspectThread {
    const thread: InspectThread = new InspectThread(this.#options, this.#maxHeapMebibytes, () => {
      if (this.#threads.delete(thread) && !this.#closed) this.#beCareful();
    });
    this.#threads.add(thread);
    return thread;
  }

  #beCareful(): void {
    clearTimeout(this.#careful);
    this.#careful = setTimeout(() => {
      this.#careful = undefined;
      this.#queue.resize(this.#slots(filesPerThread));
    }, carefulMs).unref();
    this.#queue.resize(this.#slots(1));
  }
}

async function begin(source: AsyncIterator<Uint8Array>): Promise<StartedContent> {
  const start: Uint8Array[] = [];
  let total = 0;
  while (total <= smallFileBytes) {
    const step = await source.next();
    if (step.done === true) return { start, rest: undefined };
    start.push(step.value);
    total += step.value.byteLength;
  }
  return { start, rest: source };
}
