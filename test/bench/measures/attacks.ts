// What one builder's attack costs all others: how long their uploads and requests take meanwhile, and the server's memory.
import { cpSync, linkSync, mkdirSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { aDeb, runTool } from "../../support/debs.ts";
import type { BenchServer } from "../bench-server.ts";
import { binaryDirectory, folderCorpus, placeDeb } from "../corpus.ts";
import { ask } from "../http.ts";
import type { Row } from "../rows.ts";
import type { Workshop } from "../workshop.ts";
import { folderTree } from "../workshop.ts";
import type { Measure } from "./measure.ts";

interface Attack {
  readonly name: string;
  /** Fills the attacker's directory before it is put into the tree. */
  readonly prepare: (directory: string, workshop: Workshop) => Promise<void>;
}

const mebibyte = 2 ** 20;
/** How long an attack is watched, in ms: it may be without an end. */
const longestAttackMs = 5 * 60_000;
const betweenRequestsMs = 20;
/** Between two uploads of the honest builder, in ms. */
const betweenUploadsMs = 500;

const attacker = `${binaryDirectory}/mallory`;
const honest = `${binaryDirectory}/alice`;

const attacks: readonly Attack[] = [
  { name: "16 packages of 156 kB and one of 1 kB that unpack to 1 GiB each", prepare: placeBombs },
  {
    name: "256 packages with a stanza of 2 MiB each",
    prepare: (at, workshop) => placeLong(at, workshop, 2 * mebibyte),
  },
  {
    name: "256 packages with a stanza of 255 KiB each",
    prepare: (at, workshop) => placeLong(at, workshop, 255 * 1024),
  },
  { name: "60,000 tiny packages at once", prepare: placeMany },
  { name: "60 directories of 2,000 files each", prepare: placeDirectories },
];

const goals = { uploadSeconds: 5, requestSeconds: 0.5, memoryBytes: 250 * mebibyte };

export const attacksOfOneBuilder: Measure = {
  name: "attacks",
  async measure(workshop) {
    const rows: Row[] = [];
    for (const attack of attacks) rows.push(...(await watch(workshop, attack)));
    return rows;
  },
};

async function watch(workshop: Workshop, { name, prepare }: Attack): Promise<readonly Row[]> {
  const { scale, options, signal } = workshop;
  options.progress(`preparing ${name}`);
  const tree = workshop.path("tree");
  cpSync(await folderCorpus(options.corpora, scale.small), tree, { recursive: true });
  const prepared = workshop.path("attacker");
  mkdirSync(prepared);
  await prepare(prepared, workshop);
  const debs = [];
  for (let n = 0; n < 100; n++) debs.push(await workshop.newDeb());
  mkdirSync(join(tree, honest), { recursive: true });
  const server = await workshop.server("attacked", folderTree(join(tree, binaryDirectory)));
  await server.start();
  await server.idle();
  server.memory.forget();
  await sleep(500);
  const memoryBefore = server.memory.anonymousBytes;

  options.progress(name);
  renameSync(prepared, join(tree, attacker));
  const over = new AbortController();
  const attack = ping(server, attacker, AbortSignal.any([signal, over.signal]));
  const ended = Promise.race([attack, sleep(longestAttackMs)]).then(() => over.abort());
  const requests = longestRequest(server, over.signal);
  const uploads: number[] = [];
  for (const { name: file, bytes } of debs) {
    placeDeb(join(tree, honest), file, bytes);
    uploads.push(await ping(server, `${honest}/${file}`, signal));
    await Promise.race([sleep(betweenUploadsMs), ended]);
    if (over.signal.aborted) break;
  }
  over.abort();
  await ended;
  const requestSeconds = await requests;
  const memoryBytes = Math.max(1, server.memory.anonymousBytes - memoryBefore);
  await server.stop();
  server.memory.stop();
  return [
    row(`${name}: another's upload, from the ping to servable, the longest`, "seconds", uploads, goals.uploadSeconds),
    row(`${name}: the longest GET InRelease`, "seconds", [requestSeconds], goals.requestSeconds),
    row(`${name}: memory added`, "bytes", [memoryBytes], goals.memoryBytes),
  ];
}

const row = (measure: string, unit: Row["unit"], samples: readonly number[], value: number): Row => ({
  measure,
  unit,
  ours: [Math.max(...samples)],
  goal: { kind: "below", value },
});

/** @returns seconds until the answer, whatever that is, or until it is given up */
async function ping(server: BenchServer, path: string, signal: AbortSignal): Promise<number> {
  const begunMs = performance.now();
  const { url, token } = server.pingAddress;
  const headers = { Authorization: `Bearer ${token}` };
  await ask("POST", `${url}/${path}?wait=300`, { headers, signal }).catch(() => undefined);
  return (performance.now() - begunMs) / 1000;
}

async function longestRequest(server: BenchServer, over: AbortSignal): Promise<number> {
  let longestSeconds = 0;
  while (!over.aborted) {
    const begunMs = performance.now();
    await server.get("dists/sid/InRelease");
    longestSeconds = Math.max(longestSeconds, (performance.now() - begunMs) / 1000);
    await sleep(betweenRequestsMs);
  }
  return longestSeconds;
}

const isQuick = ({ scale }: Workshop): boolean => scale.large < 60_000;

async function placeBombs(directory: string, workshop: Workshop): Promise<void> {
  const bytes = (isQuick(workshop) ? 64 : 1024) * mebibyte;
  const zeros = workshop.path("zeros");
  mkdirSync(zeros);
  writeFileSync(join(zeros, "zeros"), "");
  truncateSync(join(zeros, "zeros"), bytes);
  const dataOf = (compressor: string) =>
    runTool("sh", ["-c", `tar -C '${zeros}' --format=gnu -cf - ./zeros | ${compressor}`]);
  const place = async (name: string, suffix: string, content: Buffer) => {
    const deb = await aDeb({
      package: name,
      members: ([format, control]) =>
        [format, control, { name: `data.tar.${suffix}`, content }].filter((member) => member !== undefined),
    });
    placeDeb(directory, `${name}_1.0-1_all.deb`, deb);
  };
  const xz = dataOf("xz -0");
  for (let n = 0; n < 16; n++) await place(`bomb${n}`, "xz", xz);
  await place("smaller-bomb", "bz2", dataOf("bzip2"));
}

async function placeLong(directory: string, workshop: Workshop, bytes: number): Promise<void> {
  const line = ` ${"long and longer ".repeat(5)}\n`;
  for (let n = 0; n < (isQuick(workshop) ? 16 : 256); n++) {
    const name = `long${n}`;
    const lines = line.repeat(Math.floor((bytes - 1000) / line.length)).trimEnd();
    const deb = await aDeb({ package: name, compression: "xz", fields: { "X-Long": `${n}\n${lines}` } });
    placeDeb(directory, `${name}_1.0-1_all.deb`, deb);
  }
}

async function placeMany(directory: string, { scale, options }: Workshop): Promise<void> {
  const corpus = await folderCorpus(options.corpora, scale.large);
  runTool("cp", ["-al", `${corpus}/${binaryDirectory}/.`, directory]);
}

async function placeDirectories(directory: string, workshop: Workshop): Promise<void> {
  const [directories, files] = isQuick(workshop) ? [10, 200] : [60, 2000];
  writeFileSync(join(directory, "file"), "");
  for (let n = 0; n < directories; n++) {
    const at = join(directory, `d${n}`);
    mkdirSync(at);
    for (let each = 0; each < files; each++) linkSync(join(directory, "file"), join(at, `f${each}.txt`));
  }
}
