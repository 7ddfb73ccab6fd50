// The main thread's side of one inspecting worker: sends content under back-pressure, brings the inspection back.
import { Worker } from "node:worker_threads";
import { onAbort } from "../../base/abort.ts";
import { RepoError } from "../../base/errors.ts";
import { withResolvers } from "../../base/with-resolvers.ts";
import { youngHeapMebibytes } from "../../base/worker-heap.ts";
import type { InspectOptions } from "./inspect.ts";
import type { Inspection, PackageKind } from "./inspection.ts";
import type { FromWorker, LocalInspectionRequest, LocalInspectionResult, ToWorker } from "./worker-messages.ts";

/** How many bytes of one file may be on their way to a worker. */
const maxBytesUnderWay = 2 ** 20;

/** A worker's heap if not configured, in MiB: beyond it the worker ends, not the server. */
export const defaultMaxHeapMebibytes = 256;

/** How long a worker has to end by itself, in ms: it may be reading a file, or be in the middle of one. */
const endingMs = 5_000;

/** The worker ended while it inspected several files, or for another reason than the file's. Trying again may help. */
export class InspectorFailed extends RepoError {
  readonly code = "catalog/inspector-failed";
}

/** What was read ahead of a content, and how to read on; `rest` is undefined where it was all. */
export interface StartedContent {
  readonly start: readonly Uint8Array[];
  readonly rest: AsyncIterator<Uint8Array> | undefined;
}

interface Job {
  /** Of one file, or of each of a batch. */
  readonly done: (files: readonly LocalInspectionResult[]) => void;
  readonly failed: (reason: unknown) => void;
  readonly taken: (sizeBytes: number) => void;
  readonly fileCount: number;
  readonly builder: string;
  /** On the clock of `performance.now`. */
  readonly begunMs: number;
}

// Node 20 runs no TypeScript: where this file itself runs from src/ (in tests), the worker comes from the build.
const workerUrl = new URL(
  import.meta.url.endsWith(".ts") ? "../../../dist/catalog/inspection/inspect-worker.js" : "inspect-worker.js",
  import.meta.url,
);

/** One worker. It starts with the first file and never again once it has ended. */
export class InspectThread {
  readonly #worker: Worker;
  readonly #jobs = new Map<number, Job>();
  readonly #maxHeapMebibytes: number;
  readonly #onEnd: () => void;
  #nextId = 0;
  #hasEnded = false;

  /** @param onEnd called once, when the worker is no more, before its files fail */
  constructor(options: InspectOptions, maxHeapMebibytes: number, onEnd: () => void) {
    this.#maxHeapMebibytes = maxHeapMebibytes;
    this.#onEnd = onEnd;
    // An empty environment, because what reads hostile bytes needs no secret that stands there.
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

  /** How many files it was ever given. */
  get inspected(): number {
    return this.#nextId;
  }

  /** How many files it inspects now. */
  get busy(): number {
    return this.#jobs.size;
  }

  /** Whether it inspects a file of this builder now. */
  worksFor(builder: string): boolean {
    return [...this.#jobs.values()].some((job) => job.builder === builder);
  }

  /** For how long it has been at what it inspects for other builders, in ms; 0 if it inspects nothing for these. */
  longestMsForOthers(builder: string): number {
    const begun = [...this.#jobs.values()].filter((job) => job.builder !== builder).map(({ begunMs }) => begunMs);
    return begun.length === 0 ? 0 : performance.now() - Math.min(...begun);
  }

  /**
   * @param builder whose file it is
   * @throws what reading the content throws, `signal.reason`, or InspectorFailed
   */
  async inspect(kind: PackageKind, content: StartedContent, signal: AbortSignal, builder: string): Promise<Inspection> {
    const id = this.#nextId++;
    const { promise: answer, resolve, reject } = withResolvers<Inspection>();
    const credit = new Credit(maxBytesUnderWay);
    this.#jobs.set(id, {
      done: ([file]) => file?.inspection && resolve(file.inspection),
      failed: reject,
      taken: (sizeBytes) => credit.give(sizeBytes),
      fileCount: 1,
      builder,
      begunMs: performance.now(),
    });
    this.#worker.ref();
    const forget = onAbort(signal, () => reject(signal.reason));
    let answered = false;
    try {
      if (content.rest === undefined) this.#say({ type: "whole", id, kind, bytes: joined(content.start) });
      else this.#send(id, kind, content.start, content.rest, credit).catch(reject);
      const inspection = await answer;
      answered = true;
      return inspection;
    } finally {
      forget();
      // Also wakes the sending where it waits: without a job it stops.
      this.#jobs.delete(id);
      credit.give(maxBytesUnderWay);
      if (!answered) this.#say({ type: "abandon", id });
      if (this.#jobs.size === 0) this.#worker.unref();
    }
  }

  /**
   * Has files read and inspected there.
   * @param builder whose files they are
   * @returns what became of each, in the same order
   * @throws InspectorFailed
   */
  async inspectFiles(
    files: readonly LocalInspectionRequest[],
    builder: string,
  ): Promise<readonly LocalInspectionResult[]> {
    const id = this.#nextId++;
    const { promise: answer, resolve, reject } = withResolvers<readonly LocalInspectionResult[]>();
    this.#jobs.set(id, {
      done: resolve,
      failed: reject,
      taken: () => {},
      fileCount: files.length,
      builder,
      begunMs: performance.now(),
    });
    this.#worker.ref();
    try {
      this.#say({ type: "files", id, files });
      return await answer;
    } finally {
      this.#jobs.delete(id);
      if (this.#jobs.size === 0) this.#worker.unref();
    }
  }

  /**
   * Inspections under way fail at once. The worker ends by itself: were it terminated while lzma-native is loaded or at
   * work, the whole process would be aborted. One that does not end within `endingMs` is no longer waited for.
   */
  async close(): Promise<void> {
    if (this.#hasEnded) return;
    this.#end(new Error("the worker was stopped"));
    const { promise: ended, resolve } = withResolvers<void>();
    this.#worker.once("exit", () => resolve());
    const timer = setTimeout(resolve, endingMs);
    this.#worker.ref();
    this.#say({ type: "close" });
    await ended;
    clearTimeout(timer);
    this.#worker.unref();
  }

  async #send(
    id: number,
    kind: PackageKind,
    start: readonly Uint8Array[],
    rest: AsyncIterator<Uint8Array>,
    credit: Credit,
  ): Promise<void> {
    this.#say({ type: "open", id, kind });
    for (const chunk of start) await this.#sendChunk(id, chunk, credit);
    while (this.#jobs.has(id)) {
      const step = await rest.next();
      if (step.done === true) {
        this.#say({ type: "end", id });
        return;
      }
      await this.#sendChunk(id, step.value, credit);
    }
  }

  async #sendChunk(id: number, chunk: Uint8Array, credit: Credit): Promise<void> {
    await credit.take(chunk.byteLength);
    if (this.#jobs.has(id)) this.#say({ type: "chunk", id, bytes: joined([chunk]) });
  }

  #say(message: ToWorker): void {
    // The bytes move, since `joined` has made them our own.
    const moved = "bytes" in message ? [message.bytes.buffer as ArrayBuffer] : [];
    this.#worker.postMessage(message, moved);
  }

  #receive(message: FromWorker): void {
    const job = this.#jobs.get(message.id);
    switch (message.type) {
      case "taken":
        job?.taken(message.sizeBytes);
        return;
      case "done":
        job?.done([notTimed(message.inspection)]);
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
        job.done([notTimed({ kind: "rejected", code: "limit", text })]);
      } else {
        job.failed(new InspectorFailed(`an inspecting worker has ended: ${cause.message}`, { cause }));
      }
    }
  }
}

const notTimed = (inspection: Inspection): LocalInspectionResult => ({ inspection, seconds: 0, bytes: 0 });

/** Bytes that may still be sent. One chunk may always go, however large. */
class Credit {
  readonly #most: number;
  #underWay = 0;
  #wake = () => {};
  constructor(most: number) {
    this.#most = most;
  }
  async take(sizeBytes: number): Promise<void> {
    while (this.#underWay > 0 && this.#underWay + sizeBytes > this.#most) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#underWay += sizeBytes;
  }
  give(sizeBytes: number): void {
    this.#underWay = Math.max(0, this.#underWay - sizeBytes);
    this.#wake();
  }
}

/** A copy in a buffer of its own: chunks may be views of a buffer that others share, and such must not be moved. */
function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((total, chunk) => total + chunk.byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}
