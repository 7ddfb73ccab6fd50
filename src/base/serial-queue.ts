// Runs tasks one at a time, in the order in which they were added.

export class SerialQueue {
  readonly #signal: AbortSignal | undefined;
  /** Resolves when every task that was added so far has ended. */
  #tail: Promise<unknown> = Promise.resolve();
  #unfinished = 0;

  /** @param signal once it is aborted, no further task begins */
  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  /**
   * Runs a task when all earlier ones have ended.
   * @returns what the task returns
   * @throws what the task throws; the reason of the signal, if the task has not begun when it is aborted
   */
  run<T>(task: () => Promise<T>): Promise<T> {
    this.#unfinished += 1;
    const begin = (): Promise<T> => {
      this.#signal?.throwIfAborted();
      return task();
    };
    const done = this.#tail.then(begin).finally(() => {
      this.#unfinished -= 1;
    });
    // A failure that no caller waits for must not end the process.
    this.#tail = done.catch(() => undefined);
    return done;
  }

  get isIdle(): boolean {
    return this.#unfinished === 0;
  }

  /** Resolves when no task runs or waits. */
  async idle(): Promise<void> {
    let seen: Promise<unknown> | undefined;
    while (seen !== this.#tail) {
      seen = this.#tail;
      await seen;
    }
  }
}
