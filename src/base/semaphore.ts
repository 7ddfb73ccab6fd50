// A semaphore that divides its slots fairly.

import { calledOrAborted } from "./abort.ts";
import { addToCount } from "./counts.ts";

/**
 * A free slot goes to the waiting sharer that holds the fewest slots; sharers with equal numbers take turns. A named
 * sharer never holds more than half of the slots, so that other sharers can always get one.
 */
export class Semaphore {
  #free: number;
  readonly #maxOfOne: number;
  readonly #held = new Map<string, number>();
  /** The waiting requests by sharer; sharers without waiting requests have no entry. */
  readonly #waiting = new Map<string | undefined, Set<() => void>>();

  constructor(count: number) {
    this.#free = count;
    this.#maxOfOne = Math.ceil(count / 2);
  }

  /**
   * Waits for a slot.
   * @param sharer the party that uses the slot; undefined: no particular one, and no limit of half of the slots
   * @returns a function that releases the slot; only its first call has an effect
   * @throws signal.reason when aborted while waiting: the request then leaves the queue
   */
  async take(signal: AbortSignal, sharer?: string): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#free > 0 && this.#mayHold(sharer)) this.#hold(sharer);
    else await this.#waitForSlot(signal, sharer);
    let held = true;
    return () => {
      if (held) this.#release(sharer);
      held = false;
    };
  }

  #waitForSlot(signal: AbortSignal, sharer: string | undefined): Promise<void> {
    return calledOrAborted(signal, (go: () => void) => {
      this.#waiting.set(sharer, (this.#waiting.get(sharer) ?? new Set()).add(go));
      return () => this.#forget(sharer, go);
    });
  }

  #heldBy(sharer: string | undefined): number {
    return sharer === undefined ? 0 : (this.#held.get(sharer) ?? 0);
  }

  #mayHold(sharer: string | undefined): boolean {
    return sharer === undefined || this.#heldBy(sharer) < this.#maxOfOne;
  }

  #hold(sharer: string | undefined): void {
    this.#free -= 1;
    if (sharer !== undefined) addToCount(this.#held, sharer, 1);
  }

  #release(sharer: string | undefined): void {
    this.#free += 1;
    if (sharer !== undefined) addToCount(this.#held, sharer, -1);
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
    // Move the sharer behind all others, so that sharers with equal numbers take turns.
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
