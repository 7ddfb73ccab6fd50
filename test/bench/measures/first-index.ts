// The first index of a folder: the whole server, from its start on an empty state, against the scanners.
import { join } from "node:path";
import type { BenchContext } from "../bench-context.ts";
import { folderTree } from "../bench-context.ts";
import { run } from "../commands.ts";
import { digestOptions, generated } from "../peers/apt-ftparchive.ts";
import type { Row } from "../rows.ts";
import { tools } from "../tools.ts";
import type { Measure } from "./measure.ts";

export const firstIndex: Measure = {
  name: "first-index",
  async measure(bench) {
    const { small, middle, large } = bench.scale;
    const { seconds, scanned, made } = await indexed(bench, middle);
    const ours = { measure: `first index of ${middle}`, unit: "seconds", ours: seconds } as const;
    const against = (name: string, samples: readonly number[]): Row => ({
      ...ours,
      against: { name, samples },
      goal: { kind: "at-most-times", factor: 1 },
    });
    const rows = [
      against("apt-ftparchive packages (plain), empty cache", scanned),
      against("apt-ftparchive generate (plain .gz .xz), empty cache", made),
    ];
    const { firstIndexSeconds } = await bench.served(large);
    return [
      ...(scanned.length > 0 ? rows : [ours]),
      ...(await dpkgScanpackages(bench, small)),
      { measure: `first index of ${large}`, unit: "seconds", ours: [firstIndexSeconds] },
    ];
  },
};

async function indexed(bench: BenchContext, count: number) {
  const { signal, scale, options } = bench;
  const packages = await bench.packages(count);
  const seconds: number[] = [];
  const scanned: number[] = [];
  const made: number[] = [];
  for (let round = 0; round < scale.slowRounds; round++) {
    options.progress(`first index of ${count}, round ${round + 1} of ${scale.slowRounds}`);
    const server = await bench.server("first-index", `${folderTree(packages)}\ncontents = false`);
    seconds.push(await server.start());
    if (round === 0) await server.packages();
    await server.stop();
    if (!bench.has(tools.aptFtparchive)) continue;
    const args = ["-q", ...digestOptions, "--db", bench.path("empty.db"), "packages", packages];
    scanned.push((await run("apt-ftparchive", args, { signal })).seconds);
    const directory = bench.path("generated");
    made.push(await generated({ directory, packages, signal }).generate());
  }
  return { seconds, scanned, made };
}

/** It starts a process for each package, so it is only tried with few. */
async function dpkgScanpackages(bench: BenchContext, count: number): Promise<Row[]> {
  if (!bench.has(tools.dpkgScanpackages)) return [];
  const packages = await bench.packages(count);
  const server = await bench.server("first-index-small", folderTree(packages));
  const ours = [await server.start()];
  await server.stop();
  bench.options.progress(`dpkg-scanpackages over ${count}`);
  const theirs = await run("dpkg-scanpackages", ["-m", "."], { cwd: join(packages), signal: bench.signal });
  const against = { name: "dpkg-scanpackages -m", samples: [theirs.seconds] };
  return [{ measure: `first index of ${count}`, unit: "seconds", ours, against }];
}
