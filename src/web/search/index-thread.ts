// Starts the thread of the index of packages on demand, for all repositories of a server, and passes requests to it.
import { Worker } from "node:worker_threads";
import { abortable } from "../../base/abort.ts";
import { RepoError } from "../../base/errors.ts";
import type { IndexAnswer, IndexRequest } from "./index-messages.ts";

/** The index of packages cannot be asked now. */
export class IndexUnavailable extends RepoError {
  readonly code = "server/not-ready";
  /** Whether the index was corrupt and is empty now. */
  readonly isReset: boolean;
  constructor(why: string, isReset = false) {
    super(`the index of packages cannot be read: ${why}`);
    this.isReset = isReset;
  }
}

/** How many requests may wait. Each takes some milliseconds. */
const maxWaiting = 256;
/** The heap of the thread, in MiB. SQLite's memory is outside of it. */
const heapLimits = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 };

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (failure: Error) => void;
}

export class IndexThread {
  #worker: Worker | undefined;
  readonly #waiting = new Map<number, Waiting>();
  readonly #files = new Set<string>();
  #last = 0;
  #isClosed = false;

  /**
   * Sends a request, after those that were sent before.
   * @param moved buffers of the request that move to the thread
   * @throws IndexUnavailable
   */
  async ask<Result>(request: IndexRequest, signal: AbortSignal, moved: readonly ArrayBuffer[] = []): Promise<Result> {
    signal.throwIfAborted();
    if (this.#isClosed) throw new IndexUnavailable("the server stops");
    if (this.#waiting.size >= maxWaiting) throw new IndexUnavailable("too many requests wait for it");
    this.#worker ??= this.#start();
    this.#files.add(request.file);
    const worker = this.#worker;
    const number = ++this.#last;
    const answered = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      worker.postMessage({ number, request }, [...moved]);
    });
    return (await abortable(answered, signal)) as Result;
  }

  /** Closes the databases and ends the thread. */
  async close(): Promise<void> {
    if (this.#worker !== undefined) {
      const { signal } = new AbortController();
      for (const file of this.#files) await this.ask({ kind: "close", file }, signal).catch(() => undefined);
    }
    this.#isClosed = true;
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(workerUrl(), { resourceLimits: heapLimits });
    worker.unref();
    worker.on("message", (answer: IndexAnswer) => {
      const waiting = this.#waiting.get(answer.number);
      this.#waiting.delete(answer.number);
      if ("result" in answer) waiting?.resolve(answer.result);
      else waiting?.reject(new IndexUnavailable(answer.failure, answer.isReset));
    });
    const ended = (why: string): void => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      for (const { reject } of this.#waiting.values()) reject(new IndexUnavailable(why));
      this.#waiting.clear();
    };
    worker.on("error", ({ message }) => ended(message));
    worker.on("exit", () => ended("its thread has ended"));
    return worker;
  }
}

/** Node 20 cannot run TypeScript. If this file runs from src/ (in tests), the thread runs the build in dist/. */
function workerUrl(): URL {
  return import.meta.url.endsWith(".ts")
    ? new URL("../../../dist/web/search/index-worker.js", import.meta.url)
    : new URL("./index-worker.js", import.meta.url);
}
