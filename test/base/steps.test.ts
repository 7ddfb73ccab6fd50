// Long work in short steps: the result is the same, and other work runs in between.
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { runSteps, runStepsAtOnce, sorted } from "../../src/base/steps.ts";
import { yieldToEventLoop } from "../../src/base/yield-to-event-loop.ts";

test("sorting in steps gives a sorted copy, and keeps equal items in their order", () => {
  const items = fc.array(fc.tuple(fc.nat(20), fc.nat()), { maxLength: 50 });
  const byFirst = (a: readonly [number, number], b: readonly [number, number]) => a[0] - b[0];
  fc.assert(
    fc.property(items, fc.nat(300), (some, times) => {
      const many = Array.from({ length: times }, () => some).flat();
      expect(runStepsAtOnce(sorted(many, byFirst))).toEqual(many.toSorted(byFirst));
    }),
    { numRuns: 50 },
  );
});

test("work in steps has the same result, and other work runs meanwhile", async () => {
  const steps = function* () {
    for (let step = 0; step < 100; step++) {
      const endMs = performance.now() + 1;
      while (performance.now() < endMs);
      yield;
    }
    return "done";
  };
  let [looks, isOver] = [0, false];
  const working = runSteps(steps(), yieldToEventLoop()).finally(() => {
    isOver = true;
  });
  while (!isOver) {
    await setImmediate();
    looks += 1;
  }
  expect(await working).toBe("done");
  // A hundred steps of a millisecond yield about twenty times.
  expect(looks).toBeGreaterThan(10);
});

test("work in steps ends when the yield function throws", async () => {
  const abort = new AbortController();
  abort.abort(new Error("no more"));
  const endless = function* () {
    for (;;) yield;
  };
  await expect(runSteps(endless(), yieldToEventLoop(abort.signal))).rejects.toThrow("no more");
});
