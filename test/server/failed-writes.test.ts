// An unhandled promise rejection is logged without caps.
import { expect, onTestFinished, test } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import { outliveFailedWrites } from "../../src/server/failed-writes.ts";

test("an unhandled rejection is logged with its stack, without a cap that a library quotes", () => {
  const logged: unknown[] = [];
  outliveFailedWrites({ ...silentLog, error: (...line) => logged.push(line) });
  // The listener is called directly, because the test runner also listens and would report a failure.
  const listener = process.listeners("unhandledRejection").at(-1);
  onTestFinished(() => void (listener && process.off("unhandledRejection", listener)));
  const cap = `URI:DIR2:${"a".repeat(26)}:${"b".repeat(52)}`;
  listener?.(new Error(`request to http://127.0.0.1:3456/uri/${cap} failed`), Promise.resolve());
  expect(logged).toEqual([
    [{ err: expect.objectContaining({ stack: expect.stringContaining("failed-writes.test.ts") }) }, expect.any(String)],
  ]);
  expect(JSON.stringify(logged)).toContain("request to http");
  expect(JSON.stringify(logged)).not.toContain("a".repeat(26));
});
