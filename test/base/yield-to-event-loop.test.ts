// How long work in the main thread blocks the event loop.
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { yieldToEventLoop } from "../../src/base/yield-to-event-loop.ts";

/** Works in pieces of a millisecond until an abort. @returns the number of pieces */
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

test("concurrent work with one yield function shares the time between two yields", async () => {
  const yieldNow = yieldToEventLoop();
  let looks = 0;
  const isOver = () => looks >= 20;
  const atWork = [1, 2, 3, 4].map(() => work(yieldNow, isOver));
  for (; looks < 20; looks++) await setImmediate();
  const pieces = (await Promise.all(atWork)).reduce((sum, each) => sum + each);
  // With separate times, four workers would do 16 pieces between two timer events.
  expect(pieces / looks).toBeLessThan(10);
});

test("long work ends when it is aborted", async () => {
  const abort = new AbortController();
  const working = work(yieldToEventLoop(abort.signal), () => false);
  await setImmediate();
  abort.abort(new Error("no more"));
  await expect(working).rejects.toThrow("no more");
});
