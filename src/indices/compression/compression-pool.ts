// A pool of threads for compression. A thread that is ended while lzma-native is loaded or works in it would abort the
// whole process.
import type { MessagePort } from "node:worker_threads";
import type { Options } from "tinypool";
import { Tinypool } from "tinypool";

export class CompressionPool {
  readonly #pool: Tinypool;
  readonly #compressing = new Set<Promise<unknown>>();

  constructor(options: Options) {
    this.#pool = new Tinypool(options);
  }

  /**
   * Runs an exported function of the worker file that may use lzma-native: `close` waits for it.
   * @returns what the function returns; messages of a thread are not typed, so `Result` is the caller's claim
   */
  async compress<Result>(name: string, task: object): Promise<Result> {
    const running = this.#pool.run(task, { name }) as Promise<Result>;
    this.#compressing.add(running);
    return await running.finally(() => this.#compressing.delete(running));
  }

  /**
   * Runs an exported function that does not use lzma-native: an abort ends the thread, and so does `close`.
   * @param moved ports of the task that move to the thread
   */
  async run<Result>(
    name: string,
    task: object,
    signal: AbortSignal,
    moved: readonly MessagePort[] = [],
  ): Promise<Result> {
    return await (this.#pool.run(task, { name, signal, transferList: [...moved] }) as Promise<Result>);
  }

  /** Ends the threads, once nothing is being compressed. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#compressing);
    await this.#pool.destroy();
  }
}
