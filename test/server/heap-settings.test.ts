// What a program that goes through much holds of it, as V8 sees fit and when it is told to be lean.
import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";

/** Keeps some 30 MB, lets several hundred pass by long enough to grow old, and prints the largest heap in MiB. */
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

/** As `tahoe-apt` starts Node.js. What is new may be as large as V8 likes otherwise: three times as large in Node.js 24. */
const flags = ["--max-semi-space-size=4", "--input-type=module"];

const peakMebibytes = (program: string): number =>
  Number.parseFloat(execFileSync(process.execPath, [...flags, "-e", program]).toString());

test("a lean heap stays close to its live size", () => {
  const module = new URL("../../dist/server/heap-settings.js", import.meta.url).href;
  const lean = peakMebibytes(`import { keepHeapLean } from ${JSON.stringify(module)};\nkeepHeapLean();\n${churn}`);
  expect(lean).toBeLessThan(0.75 * peakMebibytes(churn));
});
