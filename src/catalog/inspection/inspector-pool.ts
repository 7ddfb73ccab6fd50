// Inspects files in worker threads, so that the server remains responsive while it reads packages.

import { availableParallelism } from "node:os";
import { onAbort } from "../../base/abort.ts";
import { addToCount } from "../../base/counts.ts";
import { FairQueue } from "../../base/fair-queue.ts";
import { withResolvers } from "../../base/with-resolvers.ts";
import type { LocalFile } from "../../storage/local-file.ts";
import type { InspectOptions } from "./inspect.ts";
import type { StartedContent } from "./inspect-thread.ts";
import { defaultMaxHeapMebibytes, InspectorFailed, InspectThread } from "./inspect-thread.ts";
import type { Inspection, PackageKind } from "./inspection.ts";

/** A file up to this size in bytes is read completely and sent to a worker as one message. */
const smallFileBytes = 2 ** 20;

/** How many files a worker inspects concurrently, because most of the time they wait for storage. */
const filesPerThread = 4;

/** How many local files one message requests from a worker: a message costs as much as inspecting a file. */
const filesPerBatch = 32;

/** Two, so that the next batch is ready when one ends. */
const batchesPerThread = 2;

/** How many additional workers may be started for builders that have no running inspection. */
const spareThreads = 1;

/** A worker that inspects one file for longer than this, in ms, gets no files of other builders if possible. */
const longInspectionMs = 250;

/** For how long, in ms, after a crash every worker gets one file at a time. */
const singleFileMs = 10 * 60_000;

/** The builder of files for which the caller gives none. */
const noBuilder = "";

/** How long in ms an idle worker is kept: most of the time a server inspects nothing. */
const defaultIdleThreadMs = 2_000;

interface WaitingFile {
  readonly kind: PackageKind;
  readonly file: LocalFile;
  readonly done: (inspection: Inspection | undefined) => void;
  readonly failed: (reason: unknown) => void;
}

/**
 * A pool of workers. They start on demand, end when they are idle (except for one), and are replaced after a crash.
 * The pool is shared fairly between builders, by the time that their inspections take.
 */
export class InspectorPool {
  readonly #options: InspectOptions;
  readonly #threadCount: number;
  readonly #maxHeapMebibytes: number;
  readonly #idleThreadMs: number;
  readonly #threads = new Set<InspectThread>();
  readonly #queue: FairQueue;
  /** Local files that wait for a batch, by builder. */
  readonly #waiting = new Map<string, WaitingFile[]>();
  /** How many batches of each builder are waiting or running. */
  readonly #batches = new Map<string, number>();
  readonly #closing = new AbortController();
  /** Set while workers get one file at a time, so that the next crash identifies the file. */
  #singleFileTimer: NodeJS.Timeout | undefined;
  #closed = false;

  /**
   * @param threadCount the usual number of workers; by default the number of parallel threads of the machine
   * @param maxHeapMebibytes a worker that exceeds it ends, and its inspections fail
   * @param idleThreadMs the time in ms after which an idle worker ends
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
   * Inspects one file. The content is read in the caller's thread, after the file has reached the head of the queue.
   * @param builder the builder of the file, for the fair queue
   * @returns a rejection for a bad package
   * @throws errors of reading the content, unchanged; `signal.reason`; InspectorFailed
   */
  async inspect(
    kind: PackageKind,
    content: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    builder = noBuilder,
  ): Promise<Inspection> {
    return await this.#queue.run(builder, signal, async () => {
      const source = content[Symbol.asyncIterator]();
      try {
        const started = await readStart(source);
        const thread = this.#threadFor(builder);
        return await thread.inspect(kind, started, signal, builder).finally(() => this.#endIfIdle(thread));
      } finally {
        // Not awaited: if a read hangs, the content is closed when that read ends.
        source.return?.().catch(() => undefined);
      }
    });
  }

  /**
   * Inspects a small local file that the worker reads itself, in one batch with others that are waiting.
   * @returns undefined if the worker cannot read it: then call `inspect` with a stream from the tree
   * @throws `signal.reason`, InspectorFailed
   */
  async inspectLocal(
    kind: PackageKind,
    file: LocalFile,
    signal: AbortSignal,
    builder = noBuilder,
  ): Promise<Inspection | undefined> {
    const { promise, resolve, reject } = withResolvers<Inspection | undefined>();
    const forget = onAbort(signal, () => reject(signal.reason));
    const waiting = this.#waiting.get(builder) ?? [];
    this.#waiting.set(builder, waiting);
    waiting.push({ kind, file, done: resolve, failed: reject });
    if ((this.#batches.get(builder) ?? 0) < this.#threadCount * batchesPerThread) this.#startBatch(builder);
    return await promise.finally(forget);
  }

  /** Ends the workers. Running inspections fail. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#singleFileTimer);
    this.#closing.abort(new InspectorFailed("the inspector pool was closed"));
    await Promise.all([...this.#threads].map((thread) => thread.close()));
  }

  #slots(perThread: number): { readonly limit: number; readonly spare: number } {
    return { limit: this.#threadCount * perThread, spare: spareThreads * perThread };
  }

  get #filesPerBatch(): number {
    return this.#singleFileTimer === undefined ? filesPerBatch : 1;
  }

  #startBatch(builder: string): void {
    addToCount(this.#batches, builder, 1);
    void this.#queue
      .run(builder, this.#closing.signal, () => this.#inspectBatch(builder))
      .catch((closed: unknown) => {
        for (const { failed } of this.#waiting.get(builder) ?? []) failed(closed);
        this.#waiting.delete(builder);
      })
      .finally(() => {
        addToCount(this.#batches, builder, -1);
        if (this.#waiting.has(builder)) this.#startBatch(builder);
      });
  }

  async #inspectBatch(builder: string): Promise<void> {
    const waiting = this.#waiting.get(builder) ?? [];
    const batch = waiting.splice(0, this.#filesPerBatch);
    if (waiting.length === 0) this.#waiting.delete(builder);
    if (batch.length === 0) return;
    try {
      const thread = this.#threadFor(builder);
      const requests = batch.map(({ kind, file }) => ({
        kind,
        location: file.location,
        returnsContent: file.onContent !== undefined,
      }));
      const results = await thread.inspectFiles(requests, builder).finally(() => this.#endIfIdle(thread));
      for (const [index, { file, done }] of batch.entries()) {
        const { inspection, seconds, bytes, content } = results[index] ?? {};
        if (inspection !== undefined) file.onRead?.(seconds ?? 0, bytes ?? 0);
        if (inspection !== undefined && content !== undefined) file.onContent?.(content);
        done(inspection);
      }
    } catch (thrown) {
      // The worker has crashed, possibly because of one of these files: try each of them alone.
      if (batch.length > this.#filesPerBatch && !this.#closed) {
        this.#waiting.set(builder, [...batch, ...(this.#waiting.get(builder) ?? [])]);
      } else for (const { failed } of batch) failed(thrown);
    }
  }

  /** Ends an idle worker after a while. One stays, because starting it would dominate the duration of a ping. */
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
   * Chooses the least busy worker. One builder may occupy the usual number of workers only, so that the spare worker is
   * free from its long inspections.
   */
  #threadFor(builder: string): InspectThread {
    if (this.#closed) throw new InspectorFailed("the inspector pool was closed");
    const threads = [...this.#threads].sort((a, b) => a.busy - b.busy);
    if (this.#singleFileTimer !== undefined) return threads.find(({ busy }) => busy === 0) ?? this.#startThread();
    const own = threads.filter((thread) => thread.isInspectingFor(builder));
    const open = own.length < this.#threadCount ? threads : own;
    const responsive = open.filter((thread) => thread.longestInspectionForOthersMs(builder) < longInspectionMs);
    const [idlest] = responsive;
    if (idlest !== undefined && (idlest.busy === 0 || threads.length >= this.#threadCount)) return idlest;
    const maxThreads = idlest === undefined && own.length === 0 ? this.#threadCount + spareThreads : this.#threadCount;
    if (threads.length < maxThreads) return this.#startThread();
    const [least] = idlest === undefined ? open : responsive;
    return least ?? this.#startThread();
  }

  #startThread(): InspectThread {
    const thread: InspectThread = new InspectThread(this.#options, this.#maxHeapMebibytes, () => {
      if (this.#threads.delete(thread) && !this.#closed) this.#inspectSingly();
    });
    this.#threads.add(thread);
    return thread;
  }

  #inspectSingly(): void {
    clearTimeout(this.#singleFileTimer);
    this.#singleFileTimer = setTimeout(() => {
      this.#singleFileTimer = undefined;
      this.#queue.resize(this.#slots(filesPerThread));
    }, singleFileMs).unref();
    this.#queue.resize(this.#slots(1));
  }
}

async function readStart(source: AsyncIterator<Uint8Array>): Promise<StartedContent> {
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
