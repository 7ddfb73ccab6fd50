// Periodic work under fake timers.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { repeat } from "../../src/base/repeat.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Notes when each run starts, in ms since now. */
function repeated(firstDelayMs: number, task: (run: number) => number | Promise<number>) {
  const begunMs = Date.now();
  const startsMs: number[] = [];
  const stopping = new AbortController();
  const ended = repeat(() => task(startsMs.push(Date.now() - begunMs)), { firstDelayMs, signal: stopping.signal });
  return { startsMs, ended, stop: () => stopping.abort() };
}

test("the first run starts at once if there is no first delay", () => {
  expect(repeated(0, () => 10).startsMs).toEqual([0]);
});

test("each run decides when the next one starts, counted from its own end", async () => {
  const { startsMs } = repeated(5, (run) => new Promise((resolve) => setTimeout(resolve, 100, run * 10)));
  await vi.advanceTimersByTimeAsync(300);
  expect(startsMs).toEqual([5, 115, 235]);
});

test("an abort during a pause ends the repetition, and no further run starts", async () => {
  const { startsMs, ended, stop } = repeated(0, () => 10);
  await vi.advanceTimersByTimeAsync(25);
  stop();
  await ended;
  await vi.advanceTimersByTimeAsync(100);
  expect(startsMs).toEqual([0, 10, 20]);
});

test("an abort during a run lets the run end, and starts no other", async () => {
  let finish = (_nextMs: number): void => undefined;
  const { startsMs, ended, stop } = repeated(0, () => new Promise((resolve) => (finish = resolve)));
  const hasEnded = vi.fn();
  void ended.then(hasEnded);
  stop();
  await vi.advanceTimersByTimeAsync(100);
  expect(hasEnded).not.toHaveBeenCalled();
  finish(1);
  await ended;
  await vi.advanceTimersByTimeAsync(100);
  expect(startsMs).toEqual([0]);
});
