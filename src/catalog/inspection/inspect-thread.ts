// The main thread's side of one worker: sends content with back-pressure, receives the inspection.
import { Worker } from "node:worker_threads";
import { onAbort } from "../../base/abort.ts";
import { RepoError } from "../../base/errors.ts";
import { withResolvers } from "../../base/with-resolvers.ts";
import { youngHeapMebibytes } from "../../base/worker-heap.ts";
import type { InspectOptions } from "./inspect.ts";
import type { Inspection, PackageKind } from "./inspection.ts";
import type { FromWorker, LocalInspectionRequest, LocalInspectionResult, ToWorker } from "./worker-messages.ts";

/** How many bytes of one file may be in transit to a worker. */
const maxBytesInTransit = 2 ** 20;

/** The default limit of a worker's heap in MiB. A worker that exceeds it ends; the server continues. */
export const defaultMaxHeapMebibytes = 256;

/** How long in ms `close` waits for a worker that is reading or inspecting a file. */
const closeTimeoutMs = 5_000;

/** The worker ended while it inspected several files, or for a reason other than the file. A retry may succeed. */
export class InspectorFailed extends RepoError {
  readonly code = "catalog/inspector-failed";
}

/** The first chunks of a content, and an iterator for the others; `rest` is undefined if there are none. */
export interface StartedContent {
  readonly start: readonly Uint8Array[];
  readonly rest: AsyncIterator<Uint8Array> | undefined;
}

interface Job {
  /** Receives the result of one file, or of each file of a batch. */
  readonly done: (files: readonly LocalInspectionResult[]) => void;
  readonly failed: (reason: unknown) => void;
  readonly consumed: (sizeBytes: number) => void;
  readonly fileCount: number;
  readonly builder: string;
  /** On the clock of `performance.now`. */
  readonly startedMs: number;
}

// Node.js 20 cannot run TypeScript: if this file runs from src/ (in tests), the worker comes from the build.
const workerUrl = new URL(
  import.meta.url.endsWith(".ts") ? "../../../dist/catalog/inspection/inspect-worker.js" : "inspect-worker.js",
  import.meta.url,
);

/** One worker thread. It is not restarted after it has ended. */
export class InspectThread {
  readonly #worker: Worker;
  readonly #jobs = new Map<number, Job>();
  readonly #maxHeapMebibytes: number;
  readonly #onEnd: () => void;
  #nextId = 0;
  #hasEnded = false;

  /** @param onEnd called once when the worker has ended, before its inspections fail */
  constructor(options: InspectOptions, maxHeapMebibytes: number, onEnd: () => void) {
    this.#maxHeapMebibytes = maxHeapMebibytes;
    this.#onEnd = onEnd;
    // An empty environment: code that parses hostile bytes must not have access to secrets in variables.
    this.#worker = new Worker(workerUrl, {
      workerData: options,
      env: {},
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: maxHeapMebibytes, maxYoungGenerationSizeMb: youngHeapMebibytes },
    });
    this.#worker.on("message", (message: FromWorker) => this.#receive(message));
    this.#worker.on("error", (cause: Error) => this.#end(cause));
    this.#worker.on("exit", () => this.#end(new Error("the worker was stopped")));
    this.#worker.unref();
  }

  /** How many jobs it has received since its start. */
  get inspected(): number {
    return this.#nextId;
  }

  /** How many jobs are running. */
  get busy(): number {
    return this.#jobs.size;
  }

  /** Whether a job of this builder is running. */
  isInspectingFor(builder: string): boolean {
    return [...this.#jobs.values()].some((job) => job.builder === builder);
  }

  /** The age in ms of the oldest running job of other builders; 0 if there is none. */
  longestInspectionForOthersMs(builder: string): number {
    const startTimes = [...this.#jobs.values()]
      .filter((job) => job.builder !== builder)
      .map(({ startedMs: begunMs }) => begunMs);
    return startTimes.length === 0 ? 0 : performance.now() - Math.min(...startTimes);
  }

  /**
   * Inspects one content.
   * @param builder the builder of the file
   * @throws errors of reading the content, `signal.reason`, or InspectorFailed
   */
  async inspect(kind: PackageKind, content: StartedContent, signal: AbortSignal, builder: string): Promise<Inspection> {
    const id = this.#nextId++;
    const { promise: result, resolve, reject } = withResolvers<Inspection>();
    const credit = new SendCredit(maxBytesInTransit);
    this.#jobs.set(id, {
      done: ([file]) => file?.inspection && resolve(file.inspection),
      failed: reject,
      consumed: (sizeBytes) => credit.give(sizeBytes),
      fileCount: 1,
      builder,
      startedMs: performance.now(),
    });
    this.#worker.ref();
    const forget = onAbort(signal, () => reject(signal.reason));
    let hasResult = false;
    try {
      if (content.rest === undefined) this.#post({ type: "whole", id, kind, bytes: copyOf(content.start) });
      else this.#send(id, kind, content.start, content.rest, credit).catch(reject);
      const inspection = await result;
      hasResult = true;
      return inspection;
    } finally {
      forget();
      // This also wakes a sender that waits for credit; it stops because the job is gone.
      this.#jobs.delete(id);
      credit.give(maxBytesInTransit);
      if (!hasResult) this.#post({ type: "abandon", id });
      if (this.#jobs.size === 0) this.#worker.unref();
    }
  }

  /**
   * Lets the worker read and inspect local files.
   * @param builder the builder of the files
   * @returns the results in the order of the requests
   * @throws InspectorFailed
   */
  async inspectFiles(
    files: readonly LocalInspectionRequest[],
    builder: string,
  ): Promise<readonly LocalInspectionResult[]> {
    const id = this.#nextId++;
    const { promise: result, resolve, reject } = withResolvers<readonly LocalInspectionResult[]>();
    this.#jobs.set(id, {
      done: resolve,
      failed: reject,
      consumed: () => {},
      fileCount: files.length,
      builder,
      startedMs: performance.now(),
    });
    this.#worker.ref();
    try {
      this.#post({ type: "files", id, files });
      return await result;
    } finally {
      this.#jobs.delete(id);
      if (this.#jobs.size === 0) this.#worker.unref();
    }
  }

  /**
   * Fails running inspections immediately, and asks the worker to end. It is not terminated: doing so while lzma-native
   * is loading or running would abort the whole process. After `closeTimeoutMs` the wait ends in any case.
   */
  async close(): Promise<void> {
    if (this.#hasEnded) return;
    this.#end(new Error("the worker was stopped"));
    const { promise: ended, resolve } = withResolvers<void>();
    this.#worker.once("exit", () => resolve());
    const timer = setTimeout(resolve, closeTimeoutMs);
    this.#worker.ref();
    this.#post({ type: "close" });
    await ended;
    clearTimeout(timer);
    this.#worker.unref();
  }

  async #send(
    id: number,
    kind: PackageKind,
    start: readonly Uint8Array[],
    rest: AsyncIterator<Uint8Array>,
    credit: SendCredit,
  ): Promise<void> {
    this.#post({ type: "open", id, kind });
    for (const chunk of start) await this.#sendChunk(id, chunk, credit);
    while (this.#jobs.has(id)) {
      const step = await rest.next();
      if (step.done === true) {
        this.#post({ type: "end", id });
        return;
      }
      await this.#sendChunk(id, step.value, credit);
    }
  }

  async #sendChunk(id: number, chunk: Uint8Array, credit: SendCredit): Promise<void> {
    await credit.take(chunk.byteLength);
    if (this.#jobs.has(id)) this.#post({ type: "chunk", id, bytes: copyOf([chunk]) });
  }

  #post(message: ToWorker): void {
    // Transfer the bytes instead of copying them: `copyOf` has made a buffer that nothing else uses.
    const moved = "bytes" in message ? [message.bytes.buffer] : [];
    this.#worker.postMessage(message, moved);
  }

  #receive(message: FromWorker): void {
    const job = this.#jobs.get(message.id);
    switch (message.type) {
      case "consumed":
        job?.consumed(message.sizeBytes);
        return;
      case "done":
        job?.done([withoutTiming(message.inspection)]);
        return;
      case "read":
        job?.done(message.files);
        return;
      case "failed":
        job?.failed(new InspectorFailed(`an inspection failed: ${message.message}`));
        return;
      default:
        message satisfies never;
    }
  }

  #end(cause: Error): void {
    this.#hasEnded = true;
    this.#onEnd();
    const jobs = [...this.#jobs.values()];
    this.#jobs.clear();
    const outOfMemory = "code" in cause && cause.code === "ERR_WORKER_OUT_OF_MEMORY";
    const alone = jobs.length === 1 && jobs[0]?.fileCount === 1;
    for (const job of jobs) {
      if (outOfMemory && alone) {
        const text = `inspecting it takes more than ${this.#maxHeapMebibytes} MiB of memory`;
        job.done([withoutTiming({ kind: "rejected", code: "limit", text })]);
      } else {
        job.failed(new InspectorFailed(`an inspecting worker has ended: ${cause.message}`, { cause }));
      }
    }
  }
}

const withoutTiming = (inspection: Inspection): LocalInspectionResult => ({ inspection, seconds: 0, bytes: 0 });

/** Limits the bytes in transit. A single chunk may exceed the limit. */
class SendCredit {
  readonly #maxBytes: number;
  #usedBytes = 0;
  #wake = () => {};
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }
  async take(sizeBytes: number): Promise<void> {
    while (this.#usedBytes > 0 && this.#usedBytes + sizeBytes > this.#maxBytes) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#usedBytes += sizeBytes;
  }
  give(sizeBytes: number): void {
    this.#usedBytes = Math.max(0, this.#usedBytes - sizeBytes);
    this.#wake();
  }
}

/** Copies chunks into one new buffer: they may be views of a shared buffer, which must not be transferred. */
function copyOf(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(chunks.reduce((total, chunk) => total + chunk.byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}
