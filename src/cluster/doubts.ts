// Publications that may have become current without this replica knowing.
import type { Suite } from "../base/names.ts";
import type { AnnouncedState } from "./current.ts";
import { orderOf } from "./current.ts";

/**
 * How long after it was prepared a publication may still become current, in ms: much longer than acknowledgements count
 * (`Announcer`).
 */
const doubtMs = 60_000;

interface Doubt {
  readonly suite: Suite;
  readonly order: number;
  /** By `performance.now()`. */
  readonly untilMs: number;
}

export class Doubts {
  /** By suite and order. */
  readonly #doubts = new Map<string, Doubt>();

  get areNone(): boolean {
    return this.#doubts.size === 0;
  }

  /** To be called before this may become current, unless it is older than what this replica has. */
  note(current: AnnouncedState): void {
    const { suite } = current;
    const order = orderOf(current);
    this.#doubts.set(`${suite} ${order}`, { suite, order, untilMs: performance.now() + doubtMs });
  }

  /** Forgets the doubts about a suite up to a state of it. */
  forget(current: AnnouncedState): void {
    for (const [key, { suite, order }] of this.#doubts)
      if (suite === current.suite && order <= orderOf(current)) this.#doubts.delete(key);
  }

  /** Forgets those that ended before the fleet was asked what is current. @param askedMs by `performance.now()` */
  forgetEnded(askedMs: number): void {
    for (const [key, { untilMs }] of this.#doubts) if (untilMs < askedMs) this.#doubts.delete(key);
  }
}
