// One package replaced in the middle of a large repository, against one added at its end.
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Served } from "../bench-context.ts";
import { binaryDirectory, linkedAtSeconds, placeDeb, syntheticDeb } from "../corpus.ts";
import type { Goal } from "../rows.ts";
import { addOne, repeat } from "./append.ts";
import type { Measure } from "./measure.ts";

const goal: Goal = { kind: "at-most-times", factor: 3 };

export const replace: Measure = {
  name: "replace",
  async measure(bench) {
    const { large } = bench.scale;
    const served = await bench.served(large);
    const [kept, renewed, appended]: [number[], number[], number[]] = [[], [], []];
    const { server } = served;
    await repeat(bench, async (isCounted, round) => {
      // Another segment each time: they differ in length.
      const number = (large >> 1) + round * (2 + Math.floor(large / 100));
      // Contents that are made of the change before would slow down any of these by as much.
      await server.idle();
      const inPlace = await replaceOne(served, number, linkedAtSeconds(number));
      await server.idle();
      const moved = await replaceOne(served, number + 1);
      await server.idle();
      const { seconds } = await addOne(bench, served, "file");
      if (!isCounted) return;
      kept.push(inPlace);
      renewed.push(moved);
      appended.push(seconds);
    });
    const against = { name: "ours, appending", samples: appended };
    return [
      { measure: `replace in the middle of ${large}, keeping its time`, unit: "seconds", ours: kept, against, goal },
      {
        measure: `replace in the middle of ${large}, moving to the end`,
        unit: "seconds",
        ours: renewed,
        against,
        goal,
      },
    ];
  },
};

/** Other bytes under the same name. @returns seconds from the ping to its answer */
async function replaceOne({ server, packages }: Served, number: number, atSeconds?: number): Promise<number> {
  const before = (await syntheticDeb(number)).name;
  const { bytes } = await syntheticDeb(number + 5_000_000);
  if (!readdirSync(packages).includes(before)) throw new Error(`${before} is not in the corpus`);
  placeDeb(packages, before, bytes, atSeconds);
  const seconds = await server.ping(`${binaryDirectory}/${before}`);
  if (!(await server.packages()).includes(`/${before}\nSize: ${statSync(join(packages, before)).size}\n`)) {
    throw new Error(`${before} was not replaced`);
  }
  return seconds;
}
