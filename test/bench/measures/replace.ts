// One package replaced in the middle of a large repository, against one added at its end.
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { binaryDirectory, linkedAtSeconds, placeDeb, syntheticDeb } from "../corpus.ts";
import type { Goal } from "../rows.ts";
import type { Served } from "../workshop.ts";
import { addOne, repeat } from "./append.ts";
import type { Measure } from "./measure.ts";

const goal: Goal = { kind: "at-most-times", factor: 3 };

export const replace: Measure = {
  name: "replace",
  async measure(workshop) {
    const { large } = workshop.scale;
    const served = await workshop.served(large);
    const [kept, renewed, appended]: [number[], number[], number[]] = [[], [], []];
    const middle = large >> 1;
    await repeat(workshop, async (isCounted, round) => {
      const inPlace = await replaceOne(served, middle + 2 * round, linkedAtSeconds(middle + 2 * round));
      const moved = await replaceOne(served, middle + 2 * round + 1);
      const { seconds } = await addOne(workshop, served, "file");
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
