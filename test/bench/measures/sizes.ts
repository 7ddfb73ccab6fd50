// What concatenation costs: the sizes of our compressed indices against those of the same text compressed as one.
import { writeFileSync } from "node:fs";
import { run } from "../commands.ts";
import type { Row } from "../rows.ts";
import { tools } from "../tools.ts";
import type { Measure } from "./measure.ts";

const forms = [
  { form: ".gz", tool: tools.gzip, args: ["-6", "-n", "-c"], factor: 1.05 },
  { form: ".xz", tool: tools.xz, args: ["-6", "-T1", "-c"], factor: 1.1 },
] as const;

export const sizes: Measure = {
  name: "sizes",
  async measure(workshop) {
    const { large } = workshop.scale;
    const { server } = await workshop.served(large);
    const packages = "dists/sid/main/binary-amd64/Packages";
    const plain = workshop.path("Packages");
    writeFileSync(plain, (await server.get(packages)).body);
    const rows: Row[] = [];
    for (const { form, tool, args, factor } of forms) {
      workshop.options.progress(`${tool.program} ${args.join(" ")}`);
      const ours = [(await server.get(packages + form)).body.length];
      const { stdout } = await run(tool.program, [...args, plain], { signal: workshop.signal });
      const against = { name: `${tool.program} -6`, samples: [stdout.length] };
      const goal = { kind: "at-most-times", factor } as const;
      rows.push({ measure: `size of Packages${form} of ${large}`, unit: "bytes", ours, against, goal });
    }
    return rows;
  },
};
