// Threads that compress: one that is ended while lzma-native is loaded or at work in it would abort the whole process.
import type { MessagePort } from "node:worker_threads";
import type { Options } from "tinypool";
import { Tinypool } from "tinypool";

export class CompressionPool {
  readonly #pool: Tinypool;
  readonly #compressing = new Set<Promise<unknown>>();

  constructor(options: Options) {
    this.#pool = new Tinypool(options);
  }

  /** Runs the file's function of this name, in which lzma-native may be at work: `close` waits for it. */
  async compress(name: string, task: object): Promise<unknown> {
    const running: Promise<unknown> = this.#pool.run(task, { name });
    this.#compressing.add(running);
    return await running.finally(() => this.#compressing.delete(running));
  }

  /**
   * As `compress`, for what works without lzma-native: aborting ends the thread, and so does `close`.
   * @param moved of the task, what goes into the thread and is gone here
   */
  async run(name: string, task: object, signal: AbortSignal, moved: readonly MessagePort[] = []): Promise<unknown> {
    return await this.#pool.run(task, { name, signal, transferList: [...moved] });
  }

  /** Ends the threads, once nothing is being compressed. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#compressing);
    await this.#pool.destroy();
  }
}
