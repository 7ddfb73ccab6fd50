// A restart over a large state: from the start to the first InRelease, and to the first change taken in.
import { addOne } from "./append.ts";
import type { Measure } from "./measure.ts";

const limitSeconds = 1.5;

export const restart: Measure = {
  name: "restart",
  async measure(workshop) {
    const { large, slowRounds } = workshop.scale;
    const served = await workshop.served(large);
    const [restarted, caughtUp]: [number[], number[]] = [[], []];
    for (let round = 0; round < slowRounds; round++) {
      workshop.options.progress(`restart ${round + 1} of ${slowRounds}`);
      await served.server.stop();
      const begunMs = performance.now();
      restarted.push(await served.server.start());
      await addOne(workshop, served, "file");
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
