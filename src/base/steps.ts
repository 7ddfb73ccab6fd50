// Long work as a sequence of short steps, which run at once or with pauses for other work.
import type { YieldFunction } from "./yield-to-event-loop.ts";

/** Yields between steps, which take tens of microseconds, rarely hundreds. Returns the result of the work. */
export type Steps<Result> = Generator<void, Result, void>;

/** How many small items of some microseconds each make up a step. */
export const itemsPerStep = 32;

/** Runs all steps at once. */
export function runStepsAtOnce<Result>(steps: Steps<Result>): Result {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** How many steps run between two looks at the clock, each of which costs as much as a small step. */
const stepsBetweenClockReads = 8;

/** Runs the steps, and lets other work run in between. @throws what `yieldNow` throws */
export async function runSteps<Result>(steps: Steps<Result>, yieldNow: YieldFunction): Promise<Result> {
  for (let taken = 1; ; taken++) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (taken % stepsBetweenClockReads === 0) await yieldNow();
  }
}

/** How many items one step sorts. */
const sortedAtOnce = 512;

/** @returns a sorted copy; equal items keep their order */
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
