// Bounded concurrency over many items.
import { expect, test } from "vitest";
import { forEachConcurrent } from "../../src/base/for-each-concurrent.ts";

const tick = () => new Promise<void>((resolve) => setImmediate(resolve));

test("every item is processed once, and never more than the limit at a time", async () => {
  let underWay = 0;
  let most = 0;
  const seen: number[] = [];
  await forEachConcurrent(Array.from({ length: 100 }).keys(), 7, async (item) => {
    most = Math.max(most, ++underWay);
    await tick();
    seen.push(item);
    underWay -= 1;
  });
  expect(most).toBe(7);
  expect(seen.toSorted((a, b) => a - b)).toEqual([...Array.from({ length: 100 }).keys()]);
});

test("after a failure no more calls start, started calls end, and the failure is thrown", async () => {
  const started: number[] = [];
  let ended = 0;
  const work = forEachConcurrent([0, 1, 2, 3, 4, 5], 2, async (item) => {
    started.push(item);
    await tick();
    ended += 1;
    if (item === 1) throw new Error("the second failed");
  });
  await expect(work).rejects.toThrow("the second failed");
  expect(started).toEqual([0, 1, 2]);
  expect(ended).toBe(3);
});

test("without items nothing is called", async () => {
  await forEachConcurrent([], 3, () => Promise.reject(new Error("never")));
});
