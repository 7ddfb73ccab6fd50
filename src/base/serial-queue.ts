// Runs tasks one at a time, in the order in which they were added.

export class SerialQueue {
  /** Resolves when every task that was added so far has ended. */
  #tail: Promise<unknown> = Promise.resolve();
  #unfinished = 0;

  /** Runs a task when all earlier ones have ended. @returns what the task returns @throws what the task throws */
  run<T>(task: () => Promise<T>): Promise<T> {
    this.#unfinished += 1;
    const done = this.#tail.then(task).finally(() => {
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
