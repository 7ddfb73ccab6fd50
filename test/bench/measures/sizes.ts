// What concatenation costs: the sizes of our compressed indices against those of the same text compressed as one.
import { writeFileSync } from "node:fs";
import type { BenchContext } from "../bench-context.ts";
import { run } from "../commands.ts";
import { realIndex } from "../real-stanzas.ts";
import type { Row } from "../rows.ts";
import { tools } from "../tools.ts";
import type { Measure } from "./measure.ts";

const forms = [
  { form: ".gz", tool: tools.gzip, args: ["-6", "-n", "-c"], factor: 1.05 },
  { form: ".xz", tool: tools.xz, args: ["-6", "-T1", "-c"], factor: 1.1 },
] as const;

type Form = (typeof forms)[number]["form"];

export const sizes: Measure = {
  name: "sizes",
  async measure(bench) {
    const { large } = bench.scale;
    const { server } = await bench.served(large);
    const get = async (form: "" | Form) => (await server.get(`dists/sid/main/binary-amd64/Packages${form}`)).body;
    const synthetic = await compare(bench, `${large} synthetic packages`, await get(""), async (form) => {
      return (await get(form)).length;
    });
    bench.options.progress("the stanzas of a Debian archive");
    const real = await realIndex(bench.signal);
    if (real === undefined) {
      bench.notes.add("This machine's apt has no list of an archive: no sizes of real stanzas.");
      return synthetic;
    }
    const ofReal = (form: Form) => (form === ".gz" ? real.gzBytes : real.xzBytes);
    return [...synthetic, ...(await compare(bench, `${real.count} real stanzas`, real.plain, ofReal))];
  },
};

async function compare(
  bench: BenchContext,
  of: string,
  plain: Uint8Array,
  ourBytes: (form: Form) => Promise<number> | number,
): Promise<Row[]> {
  const file = bench.path("Packages");
  writeFileSync(file, plain);
  const rows: Row[] = [];
  for (const { form, tool, args, factor } of forms) {
    bench.options.progress(`${tool.program} ${args.join(" ")}`);
    const { stdout } = await run(tool.program, [...args, file], { signal: bench.signal });
    rows.push({
      measure: `size of Packages${form} of ${of}`,
      unit: "bytes",
      ours: [await ourBytes(form)],
      against: { name: `${tool.program} -6`, samples: [stdout.length] },
      goal: { kind: "at-most-times", factor },
    });
  }
  return rows;
}
