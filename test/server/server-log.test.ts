// The log: lines of JSON or text, without stack traces of errors that can happen in operation, and without caps.
import { expect, test } from "vitest";
import { rootPath } from "../../src/base/names.ts";
import { openLog } from "../../src/server/server-log.ts";
import { StorageUnavailable } from "../../src/storage/tree.ts";

const cap = `URI:DIR2:${"a".repeat(26)}:${"b".repeat(52)}`;

function written(format: "json" | "text", level: "error" | "warn" | "info" = "info") {
  const lines: string[] = [];
  return { log: openLog({ format, level }, (line) => lines.push(line)), lines };
}

test("a line of JSON has the name of its level, an ISO time and the fields", () => {
  const { log, lines } = written("json");
  log.warn({ repository: "debian" }, "a message");
  expect(lines).toHaveLength(1);
  const parsed = JSON.parse(lines[0] ?? "") as Record<string, unknown>;
  expect(parsed).toMatchObject({ level: "warn", msg: "a message", repository: "debian" });
  expect(parsed.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});

test("a line of text has the same, in one line that no value of a client can break or colour", () => {
  const { log, lines } = written("text");
  log.info({ path: "/a b\n\u001b[31m", bytes: 12, list: ["x"] }, "request");
  expect(lines.join("")).toMatch(/^\S+Z INFO {2}request path="\/a b\\n\\u001b\[31m" bytes=12 list=\["x"\]\n$/);
});

test.each(["json", "text"] as const)("no other character in %s commands a terminal either", (format) => {
  const { log, lines } = written(format);
  log.info({ userAgent: "a\u009b2J\u007f\u202eb\u2028" }, "request");
  // oxlint-disable-next-line no-control-regex
  expect(lines.join("")).not.toMatch(/[\u007f-\u009f\u2028-\u202e]/);
  expect(lines.join("")).toContain(String.raw`a\u009b2J\u007f\u202eb\u2028`);
  if (format === "json")
    expect(JSON.parse(lines.join(""))).toMatchObject({ userAgent: "a\u009b2J\u007f\u202eb\u2028" });
});

test.each(["json", "text"] as const)(
  "an unreachable gateway or a full disk has no stack trace in %s; a bug has one",
  (format) => {
    const { log, lines } = written(format);
    log.error({ err: new StorageUnavailable(rootPath, "no gateway answers", { transient: true }) }, "first");
    log.error({ err: Object.assign(new Error("write failed"), { code: "ENOSPC" }) }, "second");
    log.error({ err: Object.assign(new Error("Commit failed"), { code: 28 }) }, "third");
    expect(lines.join("")).not.toContain("server-log.test.ts");
    expect(lines[0]).toContain("storage/unavailable");
    expect(lines[1]).toContain("ENOSPC");
    expect(lines[2]).toContain("ENOSPC");
    log.error({ err: new TypeError("undefined is not a function") }, "fourth");
    log.error(
      { err: Object.assign(new TypeError("The argument is wrong"), { code: "ERR_INVALID_ARG_TYPE" }) },
      "fifth",
    );
    expect(lines[3]).toContain("server-log.test.ts");
    expect(lines[4]).toContain("server-log.test.ts");
  },
);

test("a cap in an error is not written", () => {
  const { log, lines } = written("json");
  log.error({ err: new Error(`GET /uri/${cap} failed`, { cause: new Error(cap) }) }, "failed");
  expect(lines.join("")).toContain("GET /uri/URI:…");
  expect(lines.join("")).not.toContain("a".repeat(26));
});

test("lines below the level are left out, and the settings can be changed", () => {
  const { log, lines } = written("json", "warn");
  log.info({}, "left out");
  log.configure({ format: "text", level: "info" });
  log.info({}, "written");
  expect(lines.join("")).toMatch(/^\S+ INFO {2}written\n$/);
});
