// The benchmark's own arithmetic and table.
import { expect, test } from "vitest";
import { renderResults, renderTable } from "./results.ts";
import type { Row } from "./rows.ts";
import { digits, figure, isReached, median, ratioOf } from "./rows.ts";
import { rateOf } from "./wrk.ts";

const aRow = (changes: Partial<Row> = {}): Row => ({
  measure: "append",
  unit: "seconds",
  ours: [0.05, 0.04, 0.3],
  against: { name: "other", samples: [0.5, 0.6] },
  goal: { kind: "times-faster", factor: 10 },
  ...changes,
});

test("the median is the middle sample, or the mean of the two in the middle, and nothing has none", () => {
  expect(median([9, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 100])).toBe(3.5);
  expect(() => median([])).toThrow(RangeError);
});

test("times faster is the others' time in ours, all other ratios are ours in the others'", () => {
  expect(ratioOf(aRow())).toBeCloseTo(11);
  expect(ratioOf(aRow({ goal: { kind: "at-most-times", factor: 2 } }))).toBeCloseTo(1 / 11);
  expect(ratioOf({ measure: "m", unit: "bytes", ours: [1] })).toBeUndefined();
});

test.each([
  ["times-faster", 11.5, false],
  ["times-faster", 10.5, true],
  ["at-most-times", 0.08, false],
  ["at-most-times", 0.1, true],
  ["at-least-times", 0.1, false],
  ["at-least-times", 0.08, true],
] as const)("%s %f is judged by the ratio of the medians", (kind, factor, reached) => {
  expect(isReached(aRow({ goal: { kind, factor } }))).toBe(reached);
});

test("a limit is judged without anything beside it; without a goal or a rival there is no verdict", () => {
  expect(isReached({ measure: "m", unit: "bytes", ours: [299], goal: { kind: "below", value: 300 } })).toBe(true);
  expect(isReached({ measure: "m", unit: "bytes", ours: [300], goal: { kind: "below", value: 300 } })).toBe(false);
  expect(isReached({ measure: "m", unit: "bytes", ours: [1] })).toBeUndefined();
  expect(isReached({ ...aRow(), against: undefined } as unknown as Row)).toBeUndefined();
});

test("figures have three significant digits and a unit", () => {
  expect([0, 0.012345, 1.5, 123.4, 60_000].map(digits)).toEqual(["0", "0.0123", "1.50", "123", "60000"]);
  expect(figure(0.0214, "seconds")).toBe("21.4 ms");
  expect(figure(28.7, "seconds")).toBe("28.7 s");
  expect(figure(3_141_592, "bytes")).toBe("3.14 MB");
  expect(figure(51_234, "requests/s")).toBe("51234/s");
});

test("the table has as many cells in every line, and shows a missed goal", () => {
  const missed = aRow({ goal: { kind: "at-most-times", factor: 0.01 } });
  const lines = renderTable([aRow(), missed, { measure: "m", unit: "bytes", ours: [1] }]);
  expect(new Set(lines.map((line) => line.split(" | ").length))).toEqual(new Set([7]));
  expect(lines[2]).toContain("| 50.0 ms (40.0 ms – 300 ms) | other | 550 ms (500 ms – 600 ms) |");
  expect(lines[2]).toContain("| 11.0× faster | ≥ 10× faster |");
  expect(lines[2]).toContain("| yes |");
  expect(lines[3]).toContain("| **no** |");
});

test("the results name the machine, the commit and how many goals were reached", () => {
  const text = renderResults({
    surroundings: {
      cpu: "A CPU",
      cores: 2,
      memoryBytes: 25e9,
      kernel: "6.1",
      loadBefore: [0.1, 0.2, 0.3],
      commit: "abc1234",
      command: "npm run bench",
      at: "2026-11-22 14:00",
      versions: Array.from({ length: 30 }, (_, number) => `tool ${number}`),
    },
    rows: [aRow(), aRow({ goal: { kind: "times-faster", factor: 50 } })],
    notes: ["a note"],
    tookSeconds: 61.4,
  });
  expect(text).toContain("at commit abc1234, 2026-11-22 14:00, in 61 s: 1 of 2 goals reached.");
  expect(text).toContain("A CPU, 2 cores, 25.0 GB of memory, Linux 6.1");
  expect(text).toContain("- a note\n");
  expect(text.split("\n").filter((line) => line.length > 120 && !line.startsWith("|"))).toEqual([]);
  expect(text).toMatch(/- Versions: tool 0, [^\n]*\n {2}tool /);
});

test("a rate is read from what wrk prints, and a run with a single failure has none", () => {
  const report = "  10 requests in 1.00s, 1.00MB read\nRequests/sec:  12345.67\nTransfer/sec:  1.00MB\n";
  expect(rateOf(report)).toBe(12_345.67);
  expect(() => rateOf(`  Non-2xx or 3xx responses: 1\n${report}`)).toThrow("Non-2xx");
  expect(() => rateOf(`  Socket errors: connect 0, read 1, write 0, timeout 0\n${report}`)).toThrow("read 1");
  expect(() => rateOf("unable to connect")).toThrow();
});
