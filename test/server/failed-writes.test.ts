// An unhandled promise rejection is logged without caps.
import { expect, onTestFinished, test } from "vitest";
import { outliveFailedWrites } from "../../src/server/failed-writes.ts";
import { openLog } from "../../src/server/server-log.ts";

test("an unhandled rejection is logged with its stack, without a cap that a library quotes", () => {
  const lines: string[] = [];
  outliveFailedWrites(openLog({ format: "json", level: "info" }, (line) => lines.push(line)));
  // The listener is called directly, because the test runner also listens and would report a failure.
  const listener = process.listeners("unhandledRejection").at(-1);
  onTestFinished(() => void (listener && process.off("unhandledRejection", listener)));
  const cap = `URI:DIR2:${"a".repeat(26)}:${"b".repeat(52)}`;
  listener?.(new Error(`request to http://127.0.0.1:3456/uri/${cap} failed`), Promise.resolve());
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({
    msg: "unhandled promise rejection",
    err: {
      message: expect.stringContaining("request to http"),
      stack: expect.stringContaining("failed-writes.test.ts"),
    },
  });
  expect(lines[0]).not.toContain("a".repeat(26));
});
