// A fair bound on how much happens at once.
import { onAbort } from "../base/abort.ts";

/** So many slots; who asks first gets the next free one. */
export class Slots {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(count: number) {
    this.#free = count;
  }

  /**
   * Resolves with the call that gives the slot back (at most once).
   * @throws signal.reason when aborted while waiting: the place in the queue is then given up
   */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free -= 1;
    else await this.#turn(signal);
    let held = true;
    return () => {
      if (held) this.#give();
      held = false;
    };
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = (): void => {
        forget();
        resolve();
      };
      this.#waiting.add(go);
      const forget = onAbort(signal, () => {
        this.#waiting.delete(go);
        // What the signal gives is passed on as it is, like everywhere else.
        // oxlint-disable-next-line typescript/prefer-promise-reject-errors
        reject(signal.reason);
      });
    });
  }

  #give(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free += 1;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
