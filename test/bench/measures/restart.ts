// A restart over a large state: from the start to the first InRelease, and to the first change taken in.
import { addOne } from "./append.ts";
import type { Measure } from "./measure.ts";

const limitSeconds = 1.5;

export const restart: Measure = {
  name: "restart",
  async measure(bench) {
    const { large, slowRounds } = bench.scale;
    const served = await bench.served(large);
    const [restarted, caughtUp]: [number[], number[]] = [[], []];
    for (let round = 0; round < slowRounds; round++) {
      bench.options.progress(`restart ${round + 1} of ${slowRounds}`);
      await served.server.stop();
      const begunMs = performance.now();
      restarted.push(await served.server.start());
      await addOne(bench, served, "file");
      caughtUp.push((performance.now() - begunMs) / 1000);
    }
    return [
      {
        measure: `restart with ${large}, to the first InRelease`,
        unit: "seconds",
        ours: restarted,
        goal: { kind: "below", value: limitSeconds },
      },
      { measure: `restart with ${large}, to the first new package`, unit: "seconds", ours: caughtUp },
    ];
  },
};
