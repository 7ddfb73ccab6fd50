// The peak heap size of a program with much garbage, with V8's defaults and with a lean heap.
import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";

/** Keeps 30 MB, allocates several hundred MB that live long enough to be promoted, and prints the peak heap in MiB. */
const churn = `
const kept = Array.from({ length: 300_000 }, (_, n) => ({ n, text: "kept " + n }));
const passing = [];
let peak = 0;
for (let n = 0; n < 5_000_000; n++) {
  passing[n % 200_000] = { n, text: "passing " + n };
  if (n % 20_000 === 0) peak = Math.max(peak, process.memoryUsage().heapTotal);
}
console.log(peak / 2 ** 20, kept.length);
`;

/** The flags of `tahoe-apt`. Without them V8 chooses the size of the young generation, which Node.js 24 triples. */
const flags = ["--max-semi-space-size=4", "--input-type=module"];

const peakMebibytes = (program: string): number =>
  Number.parseFloat(execFileSync(process.execPath, [...flags, "-e", program]).toString());

test("a lean heap stays close to its live size", () => {
  const module = new URL("../../dist/server/heap-settings.js", import.meta.url).href;
  const lean = peakMebibytes(`import { keepHeapLean } from ${JSON.stringify(module)};\nkeepHeapLean();\n${churn}`);
  expect(lean).toBeLessThan(0.75 * peakMebibytes(churn));
});
