// Long work in the main thread: how long everybody else waits for it.
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { yieldToEventLoop } from "../../src/base/yield-to-event-loop.ts";

/** Works in pieces of a millisecond until it is told to end. @returns how many pieces it was */
async function work(yieldNow: () => Promise<void>, isOver: () => boolean): Promise<number> {
  let pieces = 0;
  while (!isOver()) {
    const endMs = performance.now() + 1;
    while (performance.now() < endMs);
    pieces += 1;
    await yieldNow();
  }
  return pieces;
}

test("work that goes on side by side has one turn together, and not one each", async () => {
  const yieldNow = yieldToEventLoop();
  let looks = 0;
  const isOver = () => looks >= 20;
  const atWork = [1, 2, 3, 4].map(() => work(yieldNow, isOver));
  for (; looks < 20; looks++) await setImmediate();
  const pieces = (await Promise.all(atWork)).reduce((sum, each) => sum + each);
  // Four turns behind one another would be 16 pieces for each look.
  expect(pieces / looks).toBeLessThan(10);
});

test("long work ends when it is aborted", async () => {
  const abort = new AbortController();
  const working = work(yieldToEventLoop(abort.signal), () => false);
  await setImmediate();
  abort.abort(new Error("no more"));
  await expect(working).rejects.toThrow("no more");
});
