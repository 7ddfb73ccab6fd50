// A fair bound on how much happens at once.
import { calledOrAborted } from "./abort.ts";

/**
 * So many slots. A free one goes to the sharer that holds the fewest, and among equals to each in turn; a named
 * sharer never holds more than half of them, so that there is always one for somebody else.
 */
export class Semaphore {
  #free: number;
  readonly #mostOfOne: number;
  readonly #held = new Map<string, number>();
  /** What to call when it is their turn, by sharer; of those that have none waiting, nothing. */
  readonly #waiting = new Map<string | undefined, Set<() => void>>();

  constructor(count: number) {
    this.#free = count;
    this.#mostOfOne = Math.ceil(count / 2);
  }

  /**
   * Resolves with the call that gives the slot back (at most once).
   * @param sharer on whose behalf; undefined: on nobody's, which is not bounded
   * @throws signal.reason when aborted while waiting: the place in the queue is then given up
   */
  async take(signal: AbortSignal, sharer?: string): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#free > 0 && this.#mayHold(sharer)) this.#hold(sharer);
    else await this.#turn(signal, sharer);
    let held = true;
    return () => {
      if (held) this.#give(sharer);
      held = false;
    };
  }

  #turn(signal: AbortSignal, sharer: string | undefined): Promise<void> {
    return calledOrAborted(signal, (go: () => void) => {
      this.#waiting.set(sharer, (this.#waiting.get(sharer) ?? new Set()).add(go));
      return () => this.#forget(sharer, go);
    });
  }

  #heldBy(sharer: string | undefined): number {
    return sharer === undefined ? 0 : (this.#held.get(sharer) ?? 0);
  }

  #mayHold(sharer: string | undefined): boolean {
    return sharer === undefined || this.#heldBy(sharer) < this.#mostOfOne;
  }

  #hold(sharer: string | undefined): void {
    this.#free -= 1;
    if (sharer !== undefined) this.#held.set(sharer, this.#heldBy(sharer) + 1);
  }

  #give(sharer: string | undefined): void {
    this.#free += 1;
    if (sharer !== undefined) {
      const held = this.#heldBy(sharer) - 1;
      if (held > 0) this.#held.set(sharer, held);
      else this.#held.delete(sharer);
    }
    this.#callNext();
  }

  #callNext(): void {
    let next: string | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    for (const sharer of this.#waiting.keys()) {
      const held = this.#heldBy(sharer);
      if (held >= fewest || !this.#mayHold(sharer)) continue;
      next = sharer;
      fewest = held;
      if (held === 0) break;
    }
    const [go] = this.#waiting.get(next) ?? [];
    if (go === undefined || fewest === Number.POSITIVE_INFINITY) return;
    this.#forget(next, go);
    this.#hold(next);
    // Behind all others that wait: of equals, each has its turn.
    const rest = this.#waiting.get(next);
    if (rest !== undefined) {
      this.#waiting.delete(next);
      this.#waiting.set(next, rest);
    }
    go();
  }

  #forget(sharer: string | undefined, go: () => void): void {
    const waiting = this.#waiting.get(sharer);
    waiting?.delete(go);
    if (waiting?.size === 0) this.#waiting.delete(sharer);
  }
}
