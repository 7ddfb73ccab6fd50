// Long work in short steps: the same result as at once, and others have their turn.
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { atOnce, inTurns, sorted } from "../../src/base/steps.ts";
import { yieldToEventLoop } from "../../src/base/yield-to-event-loop.ts";

test("sorting in steps is sorting, and keeps equal items in their order", () => {
  const items = fc.array(fc.tuple(fc.nat(20), fc.nat()), { maxLength: 50 });
  const byFirst = (a: readonly [number, number], b: readonly [number, number]) => a[0] - b[0];
  fc.assert(
    fc.property(items, fc.nat(300), (some, times) => {
      const many = Array.from({ length: times }, () => some).flat();
      expect(atOnce(sorted(many, byFirst))).toEqual(many.toSorted(byFirst));
    }),
    { numRuns: 50 },
  );
});

test("work in turns comes to the same, and others have theirs meanwhile", async () => {
  const steps = function* () {
    for (let step = 0; step < 100; step++) {
      const endMs = performance.now() + 1;
      while (performance.now() < endMs);
      yield;
    }
    return "done";
  };
  let [looks, isOver] = [0, false];
  const working = inTurns(steps(), yieldToEventLoop()).finally(() => {
    isOver = true;
  });
  while (!isOver) {
    await setImmediate();
    looks += 1;
  }
  expect(await working).toBe("done");
  // A hundred steps of a millisecond are twenty turns.
  expect(looks).toBeGreaterThan(10);
});

test("work in turns ends where giving way does", async () => {
  const abort = new AbortController();
  abort.abort(new Error("no more"));
  const endless = function* () {
    for (;;) yield;
  };
  await expect(inTurns(endless(), yieldToEventLoop(abort.signal))).rejects.toThrow("no more");
});
