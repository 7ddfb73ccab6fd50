// Searching packages: how long a search takes, what the index adds to memory, and what search pages take from apt.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { IndexThread } from "../../../src/web/search/index-thread.ts";
import type { BenchContext, Served } from "../bench-context.ts";
import { words } from "../corpus.ts";
import { ask } from "../http.ts";
import type { Row } from "../rows.ts";
import { tools } from "../tools.ts";
import { loadBeside, requestsPerSecond } from "../wrk.ts";
import type { Measure } from "./measure.ts";

const maxSearchSeconds = 0.05;
const maxAddedBytes = 60_000_000;
const searchClients = 16;
const shareBeside = 0.7;
/** How much longer a restart may take if the index has to be built. */
const maxTimesAfterRestart = 1.2;
const loadRounds = 5;
const searches = 60;
const pollMs = 100;

const repositoryForm = z.object({ isIndexing: z.boolean() });
const foundForm = z.object({ total: z.number() });

export const search: Measure = {
  name: "search",
  async measure(bench) {
    const { large } = bench.scale;
    const served = await bench.served(large);
    const indexSeconds = await indexed(bench, served);
    await served.server.idle();
    const rows: Row[] = [
      { measure: `index of ${large} packages, from its start`, unit: "seconds", ours: [indexSeconds] },
      {
        measure: `a search in ${large} packages`,
        unit: "seconds",
        ours: await timed(bench, served),
        goal: { kind: "below", value: maxSearchSeconds },
      },
    ];
    if (bench.has(tools.wrk)) rows.push(await beside(bench, served));
    rows.push(await firstRelease(bench, served));
    await served.server.stop();
    const added = await addedBytes(indexFile(served));
    await served.server.start();
    return [
      ...rows,
      {
        measure: `memory of the index of ${large} packages`,
        unit: "bytes",
        ours: [added],
        goal: { kind: "below", value: maxAddedBytes },
      },
    ];
  },
};

const indexFile = ({ server }: Served): string => join(server.stateDirectory, "repositories/debian/search.sqlite");

/** Restarts with the index deleted and with the index there, in turns, until the first InRelease. */
async function firstRelease(bench: BenchContext, served: Served): Promise<Row> {
  const { server } = served;
  const [building, built]: [number[], number[]] = [[], []];
  for (let round = 0; round <= bench.scale.slowRounds; round++) {
    bench.options.progress(`restart without and with an index, round ${round} of ${bench.scale.slowRounds}`);
    await server.stop();
    rmSync(indexFile(served), { force: true });
    const withoutSeconds = await server.start();
    await indexed(bench, served);
    await server.stop();
    const withSeconds = await server.start();
    // The first round does not count.
    if (round === 0) continue;
    building.push(withoutSeconds);
    built.push(withSeconds);
  }
  return {
    measure: "first InRelease after a restart, with an index of packages to build",
    unit: "seconds",
    ours: building,
    against: { name: "ours with the index there", samples: built },
    goal: { kind: "at-most-times", factor: maxTimesAfterRestart },
  };
}

/** Resolves when the index is complete. @returns for how long the server was asked */
async function indexed({ signal }: BenchContext, { server }: Served): Promise<number> {
  const begunMs = performance.now();
  // The first query begins it.
  const { body } = await ask("GET", `${server.url}/-/api/v1/repositories/debian/packages?limit=1`, { signal });
  foundForm.parse(JSON.parse(body.toString()));
  for (;;) {
    const state = await ask("GET", `${server.url}/-/api/v1/repositories/debian`, { signal });
    if (!repositoryForm.parse(JSON.parse(state.body.toString())).isIndexing) break;
    await sleep(pollMs, undefined, { signal });
  }
  return (performance.now() - begunMs) / 1000;
}

/** A text to search for, another one for each number up to the square of the number of words. */
function textOf(number: number): string {
  const [one, other] = [words[number % words.length], words[Math.floor(number / words.length) % words.length]];
  return one === other ? `${one}` : `${one} ${other?.slice(0, 4)}`;
}

/** Each search is another one, so that no result is remembered. The first ones only load code and pages. */
async function timed({ signal }: BenchContext, { server }: Served): Promise<readonly number[]> {
  const seconds: number[] = [];
  for (let number = 0; number < searches; number++) {
    const begunMs = performance.now();
    const text = encodeURIComponent(textOf(number));
    const { status } = await ask("GET", `${server.url}/-/api/v1/repositories/debian/packages?text=${text}`, { signal });
    if (status !== 200) throw new Error(`a search is answered with ${status}`);
    if (number >= searches / 3) seconds.push((performance.now() - begunMs) / 1000);
  }
  return seconds;
}

/** Requests for InRelease with and without clients on search pages, in turns. */
async function beside(bench: BenchContext, { server }: Served): Promise<Row> {
  const { signal, scale, options } = bench;
  const script = bench.path("searches.lua");
  const texts = Array.from({ length: words.length ** 2 }, (_, number) => encodeURIComponent(textOf(number)));
  writeFileSync(
    script,
    `local texts = {${texts.map((text) => `"${text}"`).join(",")}}
request = function() return wrk.format("GET", "/debian/-/packages?q=" .. texts[math.random(#texts)]) end
`,
  );
  const release = { url: `${server.url}/debian/dists/sid/InRelease`, headers: {}, seconds: scale.loadSeconds };
  const [alone, together]: [number[], number[]] = [[], []];
  for (let round = 0; round < loadRounds; round++) {
    options.progress(`InRelease beside search pages, round ${round + 1} of ${loadRounds}`);
    alone.push(await requestsPerSecond(release, signal));
    const searching = { url: server.url, connections: searchClients, script, seconds: scale.loadSeconds + 1 };
    together.push(await loadBeside(searching, () => requestsPerSecond(release, signal), signal));
  }
  return {
    measure: `requests/s, InRelease beside ${searchClients} clients on search pages`,
    unit: "requests/s",
    ours: together,
    against: { name: "ours without them", samples: alone },
    goal: { kind: "at-least-times", factor: shareBeside },
  };
}

/** What the thread adds to this process when it answers searches. */
async function addedBytes(file: string): Promise<number> {
  const before = residentBytes();
  const thread = new IndexThread();
  const { signal } = new AbortController();
  for (let number = 0; number < searches; number++) {
    const query = { text: textOf(number), sort: "relevance", skip: 0, limit: 50 };
    await thread.ask({ kind: "query", file, query: "search", parameters: [query] }, signal);
  }
  const added = residentBytes() - before;
  await thread.close();
  return added;
}

function residentBytes(): number {
  const status = readFileSync("/proc/self/status", "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}
