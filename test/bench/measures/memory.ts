// The most memory that the server over the large corpus ever took: indexing it first, updating and serving it since.
import { addOne } from "./append.ts";
import type { Measure } from "./measure.ts";

const limitBytes = 300_000_000;

export const memory: Measure = {
  name: "memory",
  async measure(workshop) {
    const { large } = workshop.scale;
    const served = await workshop.served(large);
    await addOne(workshop, served, "file");
    await addOne(workshop, served, "directory");
    await served.server.get("dists/sid/main/binary-amd64/Packages");
    const { anonymousBytes, residentBytes } = served.server.memory;
    const measure = `peak memory, first index, updates and requests of ${large}`;
    return [
      { measure, unit: "bytes", ours: [anonymousBytes], goal: { kind: "below", value: limitBytes } },
      { measure: `${measure}, with mapped files`, unit: "bytes", ours: [residentBytes] },
    ];
  },
};
