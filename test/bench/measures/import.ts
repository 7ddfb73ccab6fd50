// An import of a reprepro tree on the same machine: into a folder, against reprepro including the same files; and into
// a real grid, against `tahoe cp -r` of as many files.
import { mkdirSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { rootPath } from "../../../src/base/names.ts";
import { writeSecretFile } from "../../../src/base/secret-file.ts";
import { formatBundle } from "../../../src/client/bundle.ts";
import type { BenchContext } from "../bench-context.ts";
import { run } from "../commands.ts";
import { placeDeb, syntheticDeb } from "../corpus.ts";
import { inBatches } from "../peers/copy.ts";
import type { Goal, Row } from "../rows.ts";
import { tools } from "../tools.ts";
import type { Measure } from "./measure.ts";

const goal: Goal = { kind: "at-most-times", factor: 1 };
const distributions = "Codename: sid\nArchitectures: amd64\nComponents: main\nDebIndices: Packages Release . .gz\n";

export const importing: Measure = {
  name: "import",
  async measure(bench) {
    if (!bench.has(tools.reprepro)) return [];
    const count = bench.scale.listed;
    const packages = await makePackages(bench, count);
    const repository = await repreproBase(bench);
    await includeAll(bench, repository, packages);
    const [ours, theirs]: [number[], number[]] = [[], []];
    // Nothing is removed between the rounds: ext4 does not use the inodes of removed files for a minute, and searches
    // the others for each new file, which made both tools up to three times slower, by chance.
    for (let round = 0; round <= bench.scale.slowRounds; round++) {
      bench.options.progress(`import of ${count} into a folder, round ${round} of ${bench.scale.slowRounds}`);
      const base = await repreproBase(bench);
      const included = await includeAll(bench, base, packages);
      const folder = bench.path("imported");
      const imported = await importInto(bench, repository, ["--folder", folder], count);
      if (round === 0) continue;
      theirs.push(included);
      ours.push(imported);
    }
    const measure = `import of ${count} packages of a reprepro tree`;
    const against = { name: "reprepro includedeb of the same files", samples: theirs };
    return [
      { measure: `${measure} into a folder`, unit: "seconds", ours, against, goal },
      await intoGrid(bench, `${measure} into a grid`, count),
    ];
  },
};

/** Packages that no earlier run had: a grid does not store the same bytes twice. @returns their directory */
async function makePackages(bench: BenchContext, count: number): Promise<string> {
  const directory = bench.path("packages");
  mkdirSync(directory);
  const version = `1.0-${Date.now()}`;
  for (let number = 0; number < count; number++) {
    const { name, bytes } = await syntheticDeb(number, version);
    placeDeb(directory, name, bytes);
  }
  return directory;
}

async function repreproBase(bench: BenchContext): Promise<string> {
  const base = bench.path("reprepro");
  mkdirSync(join(base, "conf"), { recursive: true });
  writeFileSync(join(base, "conf/distributions"), distributions);
  return base;
}

/** @returns seconds, with the export of the indices */
async function includeAll({ signal }: BenchContext, base: string, packages: string): Promise<number> {
  const files = (await readdir(packages)).map((name) => join(packages, name));
  let seconds = 0;
  await inBatches(files, async (batch) => {
    seconds += (await run("reprepro", ["-b", base, "--silent", "includedeb", "sid", ...batch], { signal })).seconds;
  });
  return seconds;
}

/** @returns seconds of the whole command */
async function importInto(
  { options, signal }: BenchContext,
  repository: string,
  target: readonly string[],
  count: number,
): Promise<number> {
  const args = ["import", repository, "--allow-unsigned", "--json", ...target];
  const { seconds, stdout } = await run(process.execPath, [join(options.projectRoot, "dist/cli.js"), ...args], {
    signal,
  });
  const { packages } = JSON.parse(stdout.toString()) as { readonly packages: readonly { readonly state: string }[] };
  const imported = packages.filter(({ state }) => state === "linked").length;
  if (imported !== count) throw new Error(`${imported} of ${count} packages were imported`);
  return seconds;
}

async function intoGrid(bench: BenchContext, measure: string, count: number): Promise<Row> {
  const { grid: node, tahoe, writer } = await bench.grid();
  const { signal } = bench;
  const [ours, theirs]: [number[], number[]] = [[], []];
  for (let round = 1; round <= bench.scale.slowRounds; round++) {
    bench.options.progress(`import of ${count} into a grid, round ${round} of ${bench.scale.slowRounds}`);
    const repository = await repreproBase(bench);
    await includeAll(bench, repository, await makePackages(bench, count));
    const bundle = bench.path("master.bundle");
    const directories = [{ path: rootPath, cap: await writer.createDirectory(signal) }];
    await writeSecretFile(
      bundle,
      formatBundle({ name: "master", gateways: [node.webapiUrl], directories, ping: undefined }),
    );
    ours.push(await importInto(bench, repository, ["--bundle", bundle], count));
    const others = await makePackages(bench, count);
    const alias = `bench-import-${round}`;
    await node.addAlias(alias, await writer.createDirectory(signal));
    const copy = ["-d", node.nodeDirectory, "cp", "-r", others, `${alias}:`];
    theirs.push((await run(tahoe.executable, copy, { signal })).seconds);
  }
  const against = { name: "tahoe cp -r of as many files", samples: theirs };
  return { measure, unit: "seconds", ours, against, goal };
}
