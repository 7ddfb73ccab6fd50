// Attacks by files in a folder: what costs most to inspect, to list and to publish.
import { cpSync, linkSync, mkdirSync, readdirSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { aDeb, runTool } from "../../support/debs.ts";
import type { BenchContext } from "../bench-context.ts";
import { folderTree } from "../bench-context.ts";
import { binaryDirectory, folderCorpus, placeDeb } from "../corpus.ts";
import type { Attack, Scene } from "./attack.ts";
import { statusOfPing } from "./attack.ts";

const mebibyte = 2 ** 20;
const attacker = `${binaryDirectory}/mallory`;
const honest = `${binaryDirectory}/alice`;
/** As many open files as systemd gives a service at first. */
const fewDescriptors = 1024;
const quietMs = 15_000;

export const folderAttacks: readonly Attack[] = [
  { name: "no attack, to compare with", prepare: prepareNone },
  attackWith("16 packages of 156 kB and one of 1 kB that unpack to 1 GiB each", placeBombs),
  attackWith("256 packages with a stanza of 2 MiB each", (at, bench) => placeLong(at, bench, 2 * mebibyte)),
  attackWith("256 packages with a stanza of 255 KiB each", (at, bench) => placeLong(at, bench, 255 * 1024)),
  attackWith("60 directories of 2,000 files each", placeFiles),
  attackWith("3,000 directories of one package, where 1,024 files may be open", placeDirectories, fewDescriptors),
  attackWith("60,000 tiny packages at once", placeMany),
];

function attackWith(
  name: string,
  fill: (directory: string, bench: BenchContext) => Promise<void>,
  maxDescriptors?: number,
): Attack {
  return { name, prepare: (bench) => prepare(bench, fill, maxDescriptors) };
}

async function prepare(
  bench: BenchContext,
  fill: (directory: string, bench: BenchContext) => Promise<void>,
  maxDescriptors: number | undefined,
): Promise<Scene> {
  const { scale, options } = bench;
  const tree = bench.path("tree");
  cpSync(await folderCorpus(options.corpora, scale.small), tree, { recursive: true });
  const prepared = bench.path("attacker");
  mkdirSync(prepared);
  await fill(prepared, bench);
  mkdirSync(join(tree, honest), { recursive: true });
  const server = await bench.server("attacked", folderTree(join(tree, binaryDirectory)), { maxDescriptors });
  return {
    server,
    upload: async (name, bytes) => {
      placeDeb(join(tree, honest), name, bytes);
      return `${honest}/${name}`;
    },
    attack: async (signal) => {
      renameSync(prepared, join(tree, attacker));
      await statusOfPing(server, attacker, signal);
    },
  };
}

/** What the same figures are on this machine, with all that goes on beside, while nobody attacks. */
async function prepareNone(bench: BenchContext): Promise<Scene> {
  const scene = await prepare(bench, async () => {}, undefined);
  return { ...scene, attack: (signal) => sleep(quietMs, undefined, { signal }) };
}

const isQuick = ({ scale }: BenchContext): boolean => scale.large < 60_000;

async function placeBombs(directory: string, bench: BenchContext): Promise<void> {
  const bytes = (isQuick(bench) ? 64 : 1024) * mebibyte;
  const zeros = bench.path("zeros");
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

async function placeLong(directory: string, bench: BenchContext, bytes: number): Promise<void> {
  const line = ` ${"long and longer ".repeat(5)}\n`;
  for (let n = 0; n < (isQuick(bench) ? 16 : 256); n++) {
    const name = `long${n}`;
    const lines = line.repeat(Math.floor((bytes - 1000) / line.length)).trimEnd();
    const deb = await aDeb({ package: name, compression: "xz", fields: { "X-Long": `${n}\n${lines}` } });
    placeDeb(directory, `${name}_1.0-1_all.deb`, deb);
  }
}

async function placeMany(directory: string, { scale, options }: BenchContext): Promise<void> {
  const corpus = await folderCorpus(options.corpora, scale.large);
  runTool("cp", ["-al", `${corpus}/${binaryDirectory}/.`, directory]);
}

/** Files that are no packages: what costs is to list them. */
async function placeFiles(directory: string, bench: BenchContext): Promise<void> {
  const [directories, files] = isQuick(bench) ? [10, 200] : [60, 2000];
  for (let n = 0; n < directories; n++) {
    const at = join(directory, `d${n}`);
    mkdirSync(at);
    // Links are made faster than files, but no file may have 120,000.
    writeFileSync(join(at, "f0.txt"), "");
    for (let each = 1; each < files; each++) linkSync(join(at, "f0.txt"), join(at, `f${each}.txt`));
  }
}

async function placeDirectories(directory: string, bench: BenchContext): Promise<void> {
  const { scale, options } = bench;
  const corpus = join(await folderCorpus(options.corpora, scale.large), binaryDirectory);
  for (const [n, name] of readdirSync(corpus).slice(0, 3000).entries()) {
    mkdirSync(join(directory, `d${n}`));
    linkSync(join(corpus, name), join(directory, `d${n}`, name));
  }
}
