// `npm run bench`: runs the measures that are named, or all, and writes the table to RESULTS.md.
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Scale } from "./bench-context.ts";
import { BenchContext } from "./bench-context.ts";
import { surroundingsOf } from "./machine.ts";
import { append } from "./measures/append.ts";
import { attacksOfOneBuilder } from "./measures/attacks.ts";
import { cluster } from "./measures/cluster.ts";
import { contents } from "./measures/contents.ts";
import { firstIndex } from "./measures/first-index.ts";
import { grid } from "./measures/grid.ts";
import { importing } from "./measures/import.ts";
import type { Measure } from "./measures/measure.ts";
import { memory } from "./measures/memory.ts";
import { metadata } from "./measures/metadata.ts";
import { replace } from "./measures/replace.ts";
import { requests } from "./measures/requests.ts";
import { restart } from "./measures/restart.ts";
import { search } from "./measures/search.ts";
import { sizes } from "./measures/sizes.ts";
import { renderResults, renderTable } from "./results.ts";
import type { Row } from "./rows.ts";
import { tools } from "./tools.ts";

const measures: readonly Measure[] = [
  firstIndex,
  contents,
  append,
  replace,
  sizes,
  requests,
  restart,
  memory,
  grid,
  metadata,
  search,
  importing,
  attacksOfOneBuilder,
  cluster,
];

const fullScale: Scale = {
  small: 1000,
  middle: 10_000,
  large: 60_000,
  grid: 200,
  listed: 2000,
  rounds: 7,
  slowRounds: 3,
  loadSeconds: 2,
};
/** For a look at a change: a minute, and no figure to compare with. */
const quickScale: Scale = { ...fullScale, middle: 2000, large: 5000, grid: 50, listed: 200, rounds: 3, loadSeconds: 1 };
const runTimeoutMs = 3 * 60 * 60_000;

const usage = `usage: npm run bench -- [--corpora DIR] [--out FILE] [--quick] [MEASURE…]
measures: ${measures.map(({ name }) => name).join(", ")}`;

async function main(projectRoot: string): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { corpora: { type: "string" }, out: { type: "string" }, quick: { type: "boolean" } },
  });
  const unknown = positionals.filter((name) => !measures.some((measure) => measure.name === name));
  if (unknown.length > 0) throw new Error(`no measure: ${unknown.join(", ")}\n${usage}`);
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => stop.abort(new Error(signal)));
  const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(runTimeoutMs)]);
  const begunMs = performance.now();
  const command = ["npm run bench", ...(values.quick ? ["-- --quick"] : []), ...positionals].join(" ");
  const surroundings = await surroundingsOf(Object.values(tools), command, projectRoot, signal);
  const bench = new BenchContext({
    scale: values.quick ? quickScale : fullScale,
    corpora: resolve(values.corpora ?? join(projectRoot, ".tahoe-apt/bench-corpora")),
    projectRoot,
    tahoeDirectory: join(projectRoot, ".tahoe-apt/venv"),
    withPeers: true,
    progress: (text) => process.stderr.write(`  ${text}\n`),
    signal,
  });
  const rows: Row[] = [];
  try {
    for (const measure of measures) {
      if (positionals.length > 0 && !positionals.includes(measure.name)) continue;
      process.stderr.write(`${measure.name}\n`);
      try {
        const found = await measure.measure(bench);
        process.stdout.write(`${renderTable(found).slice(2).join("\n")}\n`);
        rows.push(...found);
      } catch (thrown) {
        if (signal.aborted) throw thrown;
        // What was measured before is worth its table all the same.
        process.exitCode = 1;
        bench.notes.add(`**${measure.name} failed**: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
      }
    }
  } finally {
    await bench.close();
  }
  const tookSeconds = (performance.now() - begunMs) / 1000;
  const results = renderResults({ surroundings, rows, notes: [...bench.notes, ...standingNotes], tookSeconds });
  const out = resolve(values.out ?? join(projectRoot, "test/bench/RESULTS.md"));
  if (values.out !== undefined || positionals.length === 0) writeFileSync(out, results);
  else process.stdout.write(results);
}

const standingNotes = [
  "Ours signs and writes plain, gz and xz each time; the others are unsigned, and write what stands in brackets.",
];

try {
  await main(resolve(import.meta.dirname, "../../../.."));
} catch (thrown) {
  process.stderr.write(`${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
  process.exitCode = 1;
}
