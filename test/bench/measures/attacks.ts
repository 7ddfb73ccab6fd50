// What one builder's attack costs all others: how long their uploads and requests take meanwhile, and the server's memory.
import { setTimeout as sleep } from "node:timers/promises";
import type { BenchContext } from "../bench-context.ts";
import type { Row } from "../rows.ts";
import { figure } from "../rows.ts";
import type { Attack } from "./attack.ts";
import { longestRequest, secondsToServable } from "./attack.ts";
import { folderAttacks } from "./folder-attacks.ts";
import { gatewayFaults } from "./gateway-faults.ts";
import { gridAttacks } from "./grid-attacks.ts";
import type { Measure } from "./measure.ts";

const mebibyte = 2 ** 20;
/** How long an attack is watched, in ms: it may be without an end. */
const longestAttackMs = 5 * 60_000;
/** Between two uploads of the honest builder, in ms. */
const betweenUploadsMs = 500;
const mostUploads = 100;

const goals = { uploadSeconds: 5, requestSeconds: 0.5, memoryBytes: 250 * mebibyte };

export const attacksOfOneBuilder: Measure = {
  name: "attacks",
  async measure(bench) {
    const rows: Row[] = [];
    for (const attack of [...folderAttacks, ...gridAttacks]) rows.push(...(await watch(bench, attack)));
    rows.push(...(await gatewayFaults(bench)));
    return rows;
  },
};

async function watch(bench: BenchContext, { name, prepare }: Attack): Promise<readonly Row[]> {
  const { options, signal } = bench;
  options.progress(`preparing ${name}`);
  const debs = [];
  for (let n = 0; n < mostUploads; n++) debs.push(await bench.newDeb());
  const { server, upload, attack } = await prepare(bench);
  await server.start();
  await server.idle();
  server.memory.forget();
  await sleep(500);
  const memoryBefore = server.memory.anonymousBytes;

  options.progress(name);
  const over = new AbortController();
  const attacking = attack(AbortSignal.any([signal, over.signal])).catch((thrown: unknown) => {
    if (!over.signal.aborted) throw thrown;
  });
  const ended = Promise.race([attacking, sleep(longestAttackMs)]).finally(() => over.abort());
  const requests = longestRequest(server, over.signal);
  const uploads: number[] = [];
  let last = "";
  for (const deb of debs) {
    last = deb.name;
    const path = await upload(deb.name, deb.bytes);
    uploads.push(await secondsToServable(server, path, signal));
    await Promise.race([sleep(betweenUploadsMs), ended]);
    if (over.signal.aborted) break;
  }
  over.abort();
  await ended;
  const requestSeconds = await requests;
  const memoryBytes = Math.max(1, server.memory.anonymousBytes - memoryBefore);
  if (!(await server.packages()).includes(`/${last}\n`)) throw new Error(`${last} is not in the index`);
  await server.stop();
  server.memory.stop();
  const rows = [
    row(`${name}: another's upload, from the ping to servable, the longest`, "seconds", uploads, goals.uploadSeconds),
    row(`${name}: the longest GET InRelease`, "seconds", [requestSeconds], goals.requestSeconds),
    row(`${name}: memory added`, "bytes", [memoryBytes], goals.memoryBytes),
  ];
  options.progress(`${uploads.length} uploads: ${rows.map(({ ours, unit }) => figure(ours[0] ?? 0, unit)).join(", ")}`);
  return rows;
}

const row = (measure: string, unit: Row["unit"], samples: readonly number[], value: number): Row => ({
  measure,
  unit,
  ours: [Math.max(...samples)],
  goal: { kind: "below", value },
});
