// Inspects files in worker threads, so that serving goes on while packages are read.
import { availableParallelism } from "node:os";
import type { LimitFunction } from "p-limit";
import pLimit from "p-limit";
import { onAbort } from "../base/abort.ts";
import { withResolvers } from "../base/with-resolvers.ts";
import type { LocalFile } from "../storage/local-file.ts";
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

/** How long a worker without work is kept, in ms: most of the time a server inspects nothing. */
const defaultIdleThreadMs = 2_000;

interface AskedFile {
  readonly kind: PackageKind;
  readonly file: LocalFile;
  readonly done: (inspection: Inspection | undefined) => void;
  readonly failed: (reason: unknown) => void;
}

/** A pool of workers: started when they are needed, ended but for one when they are not, replaced when they crash. */
export class Inspector {
  readonly #options: InspectOptions;
  readonly #threadCount: number;
  readonly #maxHeapMebibytes: number;
  readonly #idleThreadMs: number;
  readonly #threads = new Set<InspectThread>();
  readonly #limit: LimitFunction;
  /** Files that wait for a batch. */
  readonly #asked: AskedFile[] = [];
  #batches = 0;
  #filesPerBatch = filesPerBatch;
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
    this.#limit = pLimit(threadCount * filesPerThread);
  }

  /**
   * Inspects one file. The content is read here, in the caller's thread, and not before it is this file's turn.
   * @returns a rejection for a bad package
   * @throws what reading the content throws, untouched; `signal.reason`; InspectorFailed
   */
  async inspect(kind: PackageKind, content: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<Inspection> {
    return await this.#limit(async () => {
      signal.throwIfAborted();
      const source = content[Symbol.asyncIterator]();
      try {
        const started = await begin(source);
        const thread = this.#idlest();
        return await thread.inspect(kind, started, signal).finally(() => this.#endIfIdle(thread));
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
  async inspectLocal(kind: PackageKind, file: LocalFile, signal: AbortSignal): Promise<Inspection | undefined> {
    const { promise, resolve, reject } = withResolvers<Inspection | undefined>();
    const forget = onAbort(signal, () => reject(signal.reason));
    this.#asked.push({ kind, file, done: resolve, failed: reject });
    if (this.#batches < this.#threadCount * batchesPerThread) this.#beginBatch();
    return await promise.finally(forget);
  }

  /** Ends the workers. Inspections under way fail. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#threads].map((thread) => thread.close()));
  }

  #beginBatch(): void {
    this.#batches += 1;
    void this.#limit(() => this.#inspectBatch()).finally(() => {
      this.#batches -= 1;
      if (this.#asked.length > 0) this.#beginBatch();
    });
  }

  async #inspectBatch(): Promise<void> {
    const batch = this.#asked.splice(0, this.#filesPerBatch);
    if (batch.length === 0) return;
    try {
      const thread = this.#idlest();
      const placed = batch.map(({ kind, file }) => ({ kind, place: file.place }));
      const read = await thread.inspectFiles(placed).finally(() => this.#endIfIdle(thread));
      for (const [index, { file, done }] of batch.entries()) {
        const { inspection, seconds, bytes } = read[index] ?? {};
        if (inspection !== undefined) file.onRead?.(seconds ?? 0, bytes ?? 0);
        done(inspection);
      }
    } catch (thrown) {
      // The worker has ended, and one of them may be why: from now on each goes alone.
      if (batch.length > this.#filesPerBatch && !this.#closed) this.#asked.unshift(...batch);
      else for (const { failed } of batch) failed(thrown);
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

  #idlest(): InspectThread {
    if (this.#closed) throw new InspectorFailed("the inspector was closed");
    const threads = [...this.#threads].sort((a, b) => a.busy - b.busy);
    const [idlest] = threads;
    if (idlest !== undefined && (idlest.busy === 0 || threads.length >= this.#threadCount)) return idlest;
    const thread: InspectThread = new InspectThread(this.#options, this.#maxHeapMebibytes, () => {
      if (!this.#threads.delete(thread)) return;
      // From now on a worker has one file at a time, so that the next crash shows which file it was.
      if (this.#closed) return;
      this.#limit.concurrency = this.#threadCount;
      this.#filesPerBatch = 1;
    });
    this.#threads.add(thread);
    return thread;
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
