// The delays between attempts.
import { expect, test } from "vitest";
import { backoffMs, withJitter } from "../../src/base/backoff.ts";

test("the delay doubles with each failure, up to its maximum", () => {
  const limits = { firstDelayMs: 250, maxDelayMs: 5_000 };
  expect([1, 2, 3, 4, 5, 6, 7, 2000].map((failures) => backoffMs(failures, limits))).toEqual([
    250, 500, 1000, 2000, 4000, 5000, 5000, 5000,
  ]);
});

test("jitter takes away at most half of a delay", () => {
  expect(withJitter(1000, 0)).toBe(500);
  expect(withJitter(1000, 0.999_999)).toBeLessThanOrEqual(1000);
});
