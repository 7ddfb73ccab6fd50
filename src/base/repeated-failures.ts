// Remembers the last failure of each task, so that a failure that repeats is logged once.
import { messageOf } from "./errors.ts";

export class RepeatedFailures {
  readonly #last = new Map<string, string>();

  /** Must be called when a task has failed. @returns whether it has not failed since its last success, or otherwise */
  isNew(task: string, thrown: unknown): boolean {
    const text = messageOf(thrown);
    if (this.#last.get(task) === text) return false;
    this.#last.set(task, text);
    return true;
  }

  /** Must be called when a task has succeeded. @returns whether its last attempt had failed */
  succeeded(task: string): boolean {
    return this.#last.delete(task);
  }
}
