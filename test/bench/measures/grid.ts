// One package uploaded into a real grid: from the ping to its indices, against the raw calls and against the old cycle.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseTreePath } from "../../../src/base/names.ts";
import { Secret } from "../../../src/base/secret.ts";
import { writeSecretFile } from "../../../src/base/secret-file.ts";
import { formatBundle } from "../../../src/client/bundle.ts";
import type { BenchContext } from "../bench-context.ts";
import type { BenchServer } from "../bench-server.ts";
import { run } from "../commands.ts";
import { binaryDirectory } from "../corpus.ts";
import type { BenchGrid, GridTree } from "../grid-bench.ts";
import type { Goal, Row } from "../rows.ts";
import { tools } from "../tools.ts";
import { repeat } from "./append.ts";
import type { Measure } from "./measure.ts";

const directory = `${binaryDirectory}/builder`;
const floorGoal: Goal = { kind: "at-most-times", factor: 1.5 };
const cycleGoal: Goal = { kind: "times-faster", factor: 100 };

export const grid: Measure = {
  name: "grid",
  async measure(bench) {
    const count = bench.scale.grid;
    const benchGrid = await bench.grid();
    const tree = await benchGrid.emptyTree();
    bench.options.progress(`uploading ${count} packages to the grid`);
    const numbers = Array.from({ length: count }, (_, number) => number);
    await benchGrid.fill(tree, parseTreePath(directory), numbers, false);
    const server = await bench.server("grid-server", tree.configuration);
    await server.start();
    const listed = await benchGrid.readCapAt(tree, directory);
    const [byFile, byDirectory, byPut]: [number[], number[], number[]] = [[], [], []];
    const [raw, byPath]: [number[], number[]] = [[], []];
    const put = await putCommand(bench, benchGrid, tree, server);
    await repeat(bench, async (isCounted) => {
      const file = await add(bench, benchGrid, tree, server, "file");
      const floor = await benchGrid.rawCalls(listed, (await bench.newDeb()).bytes);
      const walk = await benchGrid.rawCalls(tree.readCap, (await bench.newDeb()).bytes, parseTreePath(directory));
      const all = await add(bench, benchGrid, tree, server, "directory");
      const whole = await put();
      if (!isCounted) return;
      byFile.push(file);
      byDirectory.push(all);
      byPut.push(whole);
      raw.push(floor);
      byPath.push(walk);
    });
    const floor = { name: "raw webapi: list the directory, read the file", samples: raw };
    const walked = { name: "raw webapi: walk from the root, list the directory, read the file", samples: byPath };
    const named = (what: string) => `append to ${count} on a grid, ping names the ${what}`;
    return [
      { measure: named("file"), unit: "seconds", ours: byFile, against: floor, goal: floorGoal },
      { measure: named("file"), unit: "seconds", ours: byFile, against: walked },
      { measure: named("directory"), unit: "seconds", ours: byDirectory, against: floor, goal: floorGoal },
      ...(await oldCycle(bench, benchGrid, tree, [
        { measure: named("file"), unit: "seconds", ours: byFile, goal: cycleGoal },
        {
          measure: `tahoe-apt put beside ${count} on a grid: the whole command, to installable`,
          unit: "seconds",
          ours: byPut,
        },
      ])),
    ];
  },
};

async function add(
  bench: BenchContext,
  benchGrid: BenchGrid,
  { root }: GridTree,
  server: BenchServer,
  named: "file" | "directory",
): Promise<number> {
  const { name, bytes } = await bench.newDeb();
  const path = `${directory}/${name}`;
  await benchGrid.writer.put(root, parseTreePath(path), bytes, bench.signal);
  const seconds = await server.ping(named === "file" ? path : directory);
  if (!(await server.packages()).includes(`/${name}\n`)) throw new Error(`${name} was not published`);
  return seconds;
}

/** The command as a builder runs it, from its start to its end; it ends when APT sees the package. @returns seconds */
async function putCommand(
  bench: BenchContext,
  { grid: node, writer }: BenchGrid,
  { root }: GridTree,
  server: BenchServer,
): Promise<() => Promise<number>> {
  const { signal } = bench;
  const path = parseTreePath(directory);
  const { url, token } = server.pingAddress;
  const bundle = bench.path("builder.bundle");
  const text = formatBundle({
    name: "builder",
    gateways: [node.webapiUrl],
    directories: [{ path, cap: await writer.makeDirectory(root, path, signal) }],
    ping: { url, token: new Secret(token) },
  });
  await writeSecretFile(bundle, text);
  return async () => {
    const { name, bytes } = await bench.newDeb();
    const file = bench.path(name);
    writeFileSync(file, bytes);
    await server.settled();
    const { seconds } = await run(
      process.execPath,
      [join(bench.options.projectRoot, "dist/cli.js"), "put", "--bundle", bundle, file],
      {
        signal,
      },
    );
    // Under which name it lies is for the command to say.
    if (!(await server.packages()).includes(`Package: ${name.split("_")[0]}\n`))
      throw new Error(`${name} was not published`);
    return seconds;
  };
}

/** Everything down, the indices by apt-ftparchive, everything up. */
async function oldCycle(
  bench: BenchContext,
  { grid: node, tahoe, writer }: BenchGrid,
  tree: GridTree,
  rows: readonly Omit<Row, "against">[],
): Promise<Row[]> {
  if (!bench.has(tools.aptFtparchive)) return [];
  bench.options.progress("tahoe cp -r down, apt-ftparchive, tahoe cp -r up");
  const { signal } = bench;
  const local = bench.path("cycle");
  mkdirSync(local);
  await node.addAlias("bench-down", tree.root);
  await node.addAlias("bench-up", await writer.createDirectory(signal));
  const copy = (from: string, to: string) =>
    run(tahoe.executable, ["-d", node.nodeDirectory, "cp", "-r", from, to], { signal });
  const down = await copy("bench-down:dists", `${local}/`);
  const scanned = await run("apt-ftparchive", ["packages", "dists"], { cwd: local, signal });
  writeFileSync(join(local, binaryDirectory, "Packages"), scanned.stdout);
  const up = await copy(join(local, "dists"), "bench-up:");
  const samples = [down.seconds + scanned.seconds + up.seconds];
  const against = { name: "tahoe cp -r, apt-ftparchive, tahoe cp -r", samples };
  return rows.map((row) => ({ ...row, against }));
}
