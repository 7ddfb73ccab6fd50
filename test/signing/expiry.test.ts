// What the log says of keys that end, and when.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Log } from "../../src/base/log.ts";
import { silentLog } from "../../src/base/log.ts";
import { parseRepositoryName } from "../../src/base/names.ts";
import { watchExpiry } from "../../src/signing/expiry.ts";

const dayMs = 24 * 3600 * 1000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Watches one key that ends after so many days. @returns what is logged, as it comes */
function watched(endsInDays: number | undefined, signal = new AbortController().signal): string[] {
  const told: string[] = [];
  const tell = (level: string) => () => void told.push(level);
  const log: Log = { ...silentLog, warn: tell("warn"), error: tell("error") };
  const expiresAtSeconds = endsInDays === undefined ? undefined : (Date.now() + endsInDays * dayMs) / 1000;
  const key = { fingerprint: "AB", signingFingerprint: "AB", expiresAtSeconds, changedAtSeconds: 0 };
  watchExpiry([key], { repository: parseRepositoryName("debian"), log, now: Date.now, signal });
  return told;
}

test.each([
  [undefined, []],
  [400, []],
  [300, ["warn"]],
  [-1, ["error"]],
])("of a key that ends in %s days, the start says %j", (days, told) => {
  expect(watched(days)).toEqual(told);
});

test("from sixty days before its end a key is told of every day, and as an error once it has ended", async () => {
  const told = watched(62);
  await vi.advanceTimersByTimeAsync(1.5 * dayMs);
  expect(told).toEqual(["warn"]);
  await vi.advanceTimersByTimeAsync(60 * dayMs);
  expect(told).toHaveLength(61);
  await vi.advanceTimersByTimeAsync(2 * dayMs);
  expect(told.slice(-3)).toEqual(["warn", "error", "error"]);
});

test("a server that stops tells no more", async () => {
  const stop = new AbortController();
  const told = watched(30, stop.signal);
  stop.abort();
  await vi.advanceTimersByTimeAsync(10 * dayMs);
  expect(told).toEqual(["warn"]);
});
