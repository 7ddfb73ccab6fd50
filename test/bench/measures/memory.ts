// The most memory that the server over the large corpus takes: in all of this run, and once it knows the packages.

import type { BenchContext, Served } from "../bench-context.ts";
import { tools } from "../tools.ts";
import { requestsPerSecond } from "../wrk.ts";
import { addOne } from "./append.ts";
import type { Measure } from "./measure.ts";

const goal = { kind: "below", value: 300_000_000 } as const;

export const memory: Measure = {
  name: "memory",
  async measure(bench) {
    const { large } = bench.scale;
    const served = await bench.served(large);
    await used(bench, served);
    const [whole, wholeResident] = peaks(served);
    await served.server.stop();
    served.server.memory.forget();
    await served.server.start();
    await used(bench, served);
    const [known, knownResident] = peaks(served);
    const measure = `peak memory, first index, updates and requests of ${large}`;
    const knownMeasure = `peak memory, updates and requests of ${large} after a restart`;
    return [
      { measure, unit: "bytes", ours: [whole], goal },
      { measure: `${measure}, with mapped files`, unit: "bytes", ours: [wholeResident] },
      { measure: knownMeasure, unit: "bytes", ours: [known], goal },
      { measure: `${knownMeasure}, with mapped files`, unit: "bytes", ours: [knownResident] },
    ];
  },
};

const peaks = ({ server }: Served): readonly [anonymous: number, resident: number] => [
  server.memory.anonymousBytes,
  server.memory.residentBytes,
];

/** One package more in either way, and the largest indices for many clients at once. */
async function used(bench: BenchContext, served: Served): Promise<void> {
  await addOne(bench, served, "file");
  await addOne(bench, served, "directory");
  for (const name of ["Packages", "Packages.gz"]) {
    const path = `dists/sid/main/binary-amd64/${name}`;
    await served.server.get(path);
    if (!bench.has(tools.wrk)) continue;
    const load = { url: `${served.server.url}/debian/${path}`, headers: {}, seconds: bench.scale.loadSeconds };
    await requestsPerSecond(load, bench.signal);
  }
}
