// Long work as a run of short steps: done at once, or in turns with everybody else's.
import type { YieldFunction } from "./yield-to-event-loop.ts";

/** Yields between two steps of some ten microseconds, seldom of some hundred, and returns what the work came to. */
export type Steps<Result> = Generator<void, Result, void>;

/** How many small items, each worth some microseconds, make up a step. */
export const itemsPerStep = 32;

/** All steps at once. */
export function atOnce<Result>(steps: Steps<Result>): Result {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** So many steps are taken before the clock is looked at: that costs as much as a small one. */
const stepsBetweenLooks = 8;

/** The same, with a turn for others whenever one's own is over. @throws what giving way throws */
export async function inTurns<Result>(steps: Steps<Result>, yieldNow: YieldFunction): Promise<Result> {
  for (let taken = 1; ; taken++) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (taken % stepsBetweenLooks === 0) await yieldNow();
  }
}

/** Up to so many items are sorted in one step. */
const sortedAtOnce = 512;

/** A sorted copy. Equal items keep their order. */
export function* sorted<T>(items: readonly T[], compare: (a: T, b: T) => number): Steps<T[]> {
  let runs: T[][] = [];
  for (let at = 0; at < items.length; at += sortedAtOnce) {
    runs.push(items.slice(at, at + sortedAtOnce).sort(compare));
    yield;
  }
  while (runs.length > 1) {
    const longer: T[][] = [];
    for (let at = 0; at < runs.length; at += 2) longer.push(yield* merged(runs[at] ?? [], runs[at + 1] ?? [], compare));
    runs = longer;
  }
  return runs[0] ?? [];
}

function* merged<T>(left: readonly T[], right: readonly T[], compare: (a: T, b: T) => number): Steps<T[]> {
  const all: T[] = [];
  let [fromLeft, fromRight] = [0, 0];
  while (fromLeft < left.length || fromRight < right.length) {
    const takesLeft =
      fromRight >= right.length || (fromLeft < left.length && compare(left[fromLeft] as T, right[fromRight] as T) <= 0);
    all.push((takesLeft ? left[fromLeft++] : right[fromRight++]) as T);
    if (all.length % sortedAtOnce === 0) yield;
  }
  return all;
}
