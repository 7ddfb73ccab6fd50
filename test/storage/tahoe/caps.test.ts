// Caps: which are accepted, and that none is ever shown.
import { inspect } from "node:util";
import { expect, test } from "vitest";
import { CapError, immutableFileBytes, parseReadCap, parseWriteCap } from "../../../src/storage/tahoe/caps.ts";

const key = "p4fvxkk5asbkci6a2igai2esq4";
const hash = "7t3m3t4hp73xpcmbmvxclatx4fdaipukn6tjpfhqm45as7yf3uuq";
const readCaps = [
  `URI:DIR2-RO:${key}:${hash}`,
  `URI:DIR2-MDMF-RO:${key}:${hash}`,
  `URI:DIR2-MDMF-RO:${key}:${hash}:3:131073`,
  `URI:DIR2-CHK:${key}:${hash}:1:1:1234`,
  "URI:DIR2-LIT:",
  "URI:DIR2-LIT:gqydyorumjxg6ys7",
];
const writeCaps = [`URI:DIR2:${key}:${hash}`, `URI:DIR2-MDMF:${key}:${hash}`];
const others = [
  "",
  "URI:",
  `URI:DIR2-RO:${key}`,
  `URI:DIR2-RO:${key}:${hash}x`,
  `URI:DIR2-RO:${key}:${hash}/../x`,
  `URI:DIR2-RO:${key.toUpperCase()}:${hash}`,
  `URI:DIR2-Verifier:${key}:${hash}`,
  `URI:CHK:${key}:${hash}:1:1:1234`,
  `URI:SSK:${key}:${hash}`,
  `http://127.0.0.1:3456/uri/URI:DIR2-RO:${key}:${hash}`,
];

const refusal = (parse: (raw: string) => unknown, raw: string): CapError => {
  try {
    parse(raw);
  } catch (thrown) {
    if (thrown instanceof CapError) return thrown;
  }
  throw new Error("was not refused");
};

test.each(readCaps)("%s is a directory's read cap, with a line end or without", (raw) => {
  expect(parseReadCap(raw).reveal()).toBe(raw);
  expect(parseReadCap(` ${raw}\r\n`).reveal()).toBe(raw);
  refusal(parseWriteCap, raw);
});

test.each(writeCaps)(
  "a write cap is rejected where a read cap is sufficient, with the command that prints the read cap",
  (raw) => {
    const error = refusal(parseReadCap, raw);
    expect(error.message).toContain("tahoe ls --json");
    expect(inspect(error)).not.toContain(key);
    expect(parseWriteCap(raw).reveal()).toBe(raw);
  },
);

test.each(others)("%s is rejected, and the error does not contain it", (raw) => {
  expect(inspect(refusal(parseReadCap, raw))).not.toContain(key);
  expect(inspect(refusal(parseWriteCap, raw))).not.toContain(key);
});

test("a cap prints as a fingerprint, however it is printed", () => {
  const cap = parseReadCap(readCaps[0] ?? "");
  for (const printed of [String(cap), JSON.stringify({ cap }), inspect({ cap }, { showHidden: true, depth: 5 })]) {
    expect(printed).not.toContain(key);
    expect(printed).toContain("secret:");
  }
});

test("the size of an immutable file is read from its cap, and from no other cap", () => {
  expect(immutableFileBytes(`URI:CHK:${key}:${hash}:3:10:1234`)).toBe(1234);
  expect(immutableFileBytes("URI:LIT:")).toBe(0);
  // From a real node: PUT /uri with "tiny".
  expect(immutableFileBytes("URI:LIT:oruw46i")).toBe(4);
  for (const raw of [...readCaps, ...writeCaps, `URI:SSK-RO:${key}:${hash}`, "file:1:2:3:4:5", "URI:LIT:../x"]) {
    expect(immutableFileBytes(raw)).toBeUndefined();
  }
});
