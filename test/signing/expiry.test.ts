// When and how the log reports keys that will expire.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Log } from "../../src/base/log.ts";
import { silentLog } from "../../src/base/log.ts";
import { parseRepositoryName } from "../../src/base/names.ts";
import { watchExpiry } from "../../src/signing/expiry.ts";

const dayMs = 24 * 3600 * 1000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Watches one key that expires after so many days. @returns the levels of log lines, as they are written */
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
])("for a key that expires in %s days, the start logs %j", (days, told) => {
  expect(watched(days)).toEqual(told);
});

test("from sixty days before its expiry a key is logged every day, and as an error once it has expired", async () => {
  const told = watched(62);
  await vi.advanceTimersByTimeAsync(1.5 * dayMs);
  expect(told).toEqual(["warn"]);
  await vi.advanceTimersByTimeAsync(60 * dayMs);
  expect(told).toHaveLength(61);
  await vi.advanceTimersByTimeAsync(2 * dayMs);
  expect(told.slice(-3)).toEqual(["warn", "error", "error"]);
});

test("a server that stops logs no more", async () => {
  const stop = new AbortController();
  const told = watched(30, stop.signal);
  stop.abort();
  await vi.advanceTimersByTimeAsync(10 * dayMs);
  expect(told).toEqual(["warn"]);
});
