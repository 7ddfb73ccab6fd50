// What concatenation costs: the sizes of our compressed indices against those of the same text compressed as one.
import { writeFileSync } from "node:fs";
import { run } from "../commands.ts";
import { realIndex } from "../real-stanzas.ts";
import type { Row } from "../rows.ts";
import { tools } from "../tools.ts";
import type { Workshop } from "../workshop.ts";
import type { Measure } from "./measure.ts";

const forms = [
  { form: ".gz", tool: tools.gzip, args: ["-6", "-n", "-c"], factor: 1.05 },
  { form: ".xz", tool: tools.xz, args: ["-6", "-T1", "-c"], factor: 1.1 },
] as const;

type Form = (typeof forms)[number]["form"];

export const sizes: Measure = {
  name: "sizes",
  async measure(workshop) {
    const { large } = workshop.scale;
    const { server } = await workshop.served(large);
    const get = async (form: "" | Form) => (await server.get(`dists/sid/main/binary-amd64/Packages${form}`)).body;
    const synthetic = await compare(workshop, `${large} synthetic packages`, await get(""), async (form) => {
      return (await get(form)).length;
    });
    workshop.options.progress("the stanzas of a Debian archive");
    const real = await realIndex(workshop.signal);
    if (real === undefined) {
      workshop.notes.add("This machine's apt has no list of an archive: no sizes of real stanzas.");
      return synthetic;
    }
    const ofReal = (form: Form) => (form === ".gz" ? real.gzBytes : real.xzBytes);
    return [...synthetic, ...(await compare(workshop, `${real.count} real stanzas`, real.plain, ofReal))];
  },
};

async function compare(
  workshop: Workshop,
  of: string,
  plain: Uint8Array,
  ourBytes: (form: Form) => Promise<number> | number,
): Promise<Row[]> {
  const file = workshop.path("Packages");
  writeFileSync(file, plain);
  const rows: Row[] = [];
  for (const { form, tool, args, factor } of forms) {
    workshop.options.progress(`${tool.program} ${args.join(" ")}`);
    const { stdout } = await run(tool.program, [...args, file], { signal: workshop.signal });
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
