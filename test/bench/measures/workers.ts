// Requests a second, and the CPU time of one request: without workers, with one and with two, in turns.

import type { BenchContext, Served } from "../bench-context.ts";
import { folderTree } from "../bench-context.ts";
import type { BenchServer } from "../bench-server.ts";
import { run } from "../commands.ts";
import { ask } from "../http.ts";
import type { Kind } from "../request-kinds.ts";
import { loadRounds } from "../request-kinds.ts";
import type { Row } from "../rows.ts";
import { requestsPerSecond } from "../wrk.ts";

const counts = [0, 1, 2] as const;
type Count = (typeof counts)[number];
type Samples = Record<Count, number[]>;

/** The servers have copies of one state, so each serves the same publication. */
export async function withWorkers(bench: BenchContext, served: Served, kinds: readonly Kind[]): Promise<Row[]> {
  await served.server.stop();
  const open = async (workers: Count): Promise<BenchServer> => {
    bench.options.progress(`starting a server with ${workers} workers`);
    const server = await bench.server(`workers-${workers}`, folderTree(served.packages), { workers });
    await run("cp", ["-a", served.server.stateDirectory, server.stateDirectory], { signal: bench.signal });
    await server.start();
    await server.ready();
    await server.idle();
    return server;
  };
  const servers = { 0: await open(0), 1: await open(1), 2: await open(2) };
  await served.server.start();
  const rows: Row[] = [];
  for (const kind of kinds) rows.push(...(await inTurns(bench, kind, servers)));
  return rows;
}

async function inTurns(
  { signal, scale, options }: BenchContext,
  { what, path, isConditional }: Kind,
  servers: Readonly<Record<Count, BenchServer>>,
): Promise<Row[]> {
  const rates: Samples = { 0: [], 1: [], 2: [] };
  const cpuSeconds: Samples = { 0: [], 1: [], 2: [] };
  for (let round = 0; round < loadRounds; round++) {
    for (const count of counts) {
      options.progress(`${what}: ${count} workers, round ${round + 1} of ${loadRounds}`);
      const server = servers[count];
      const url = `${server.url}/${path}`;
      const { headers } = await ask("GET", url, { signal });
      const conditional = { "If-Modified-Since": headers["last-modified"] ?? "" };
      const before = server.cpuSeconds();
      const load = { url, headers: isConditional ? conditional : {}, seconds: scale.loadSeconds };
      const rate = await requestsPerSecond(load, signal);
      rates[count].push(rate);
      cpuSeconds[count].push((server.cpuSeconds() - before) / (rate * scale.loadSeconds));
    }
  }
  const name = "without workers";
  return [1, 2].flatMap((count): Row[] => {
    const workers = `${count} ${count === 1 ? "worker" : "workers"}`;
    const [ours, cpu] = [rates[count as Count], cpuSeconds[count as Count]];
    return [
      { measure: `requests/s, ${what}, ${workers}`, unit: "requests/s", ours, against: { name, samples: rates[0] } },
      {
        measure: `CPU time of one request, ${what}, ${workers}`,
        unit: "seconds",
        ours: cpu,
        against: { name, samples: cpuSeconds[0] },
      },
    ];
  });
}
