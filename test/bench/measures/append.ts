// One package added: from the ping to its indices being servable, against everybody else's way.

import type { BenchContext, Served } from "../bench-context.ts";
import { folderTree } from "../bench-context.ts";
import { binaryDirectory, placeDeb } from "../corpus.ts";
import { aptFtparchive } from "../peers/apt-ftparchive.ts";
import { aptly } from "../peers/aptly.ts";
import type { Peer } from "../peers/peer.ts";
import { reprepro } from "../peers/reprepro.ts";
import type { Goal, Row } from "../rows.ts";
import type { Measure } from "./measure.ts";

interface Rival {
  readonly peer: Peer;
  readonly goal: Goal;
}

const faster = (factor: number): Goal => ({ kind: "times-faster", factor });

const middleRivals: readonly Rival[] = [
  { peer: reprepro(".gz"), goal: faster(10) },
  { peer: reprepro(". .gz .xz"), goal: faster(50) },
  { peer: aptly, goal: faster(50) },
  { peer: aptFtparchive, goal: faster(50) },
];
const largeRivals: readonly Rival[] = [{ peer: reprepro(".gz"), goal: faster(40) }];

export const append: Measure = {
  name: "append",
  async measure(bench) {
    const { small, middle, large } = bench.scale;
    const middleRows = await against(bench, middle, middleRivals);
    const { byCount, rows } = await sizes(bench, [small, large]);
    const alone = byCount.get(large) ?? [];
    return [
      ...middleRows,
      ...rows,
      {
        measure: `append to ${large}, against to ${small}`,
        unit: "seconds",
        ours: alone,
        against: { name: `ours at ${small}`, samples: byCount.get(small) ?? [] },
        goal: { kind: "at-most-times", factor: 1.5 },
      },
      ...(await besideContents(bench, large, alone)),
    ];
  },
};

async function against(bench: BenchContext, count: number, rivals: readonly Rival[]): Promise<Row[]> {
  const served = await bench.served(count);
  const ours: number[] = [];
  const theirs = await open(bench, count, rivals);
  await repeat(bench, async (counts) => {
    await served.server.idle();
    const added = await addOne(bench, served, "file");
    if (counts) ours.push(added.seconds);
    for (const { repository, samples } of theirs) {
      const seconds = await repository.add(added.file);
      if (counts) samples.push(seconds);
      if (!repository.packages().includes(`\nPackage: ${added.package}\n`)) throw new Error("a peer lost a package");
    }
  });
  return rowsOf(`append to ${count}, ping names the file`, ours, theirs);
}

/** Small and large take turns, so that what else the machine does meets both. */
async function sizes(bench: BenchContext, counts: readonly [number, number]) {
  const large = counts[1];
  const byCount = new Map<number, number[]>(counts.map((count) => [count, []]));
  const byDirectory: number[] = [];
  const theirs = await open(bench, large, largeRivals);
  const served = await Promise.all(counts.map((count) => bench.served(count)));
  const idle = () => Promise.all(served.map(({ server }) => server.idle()));
  await repeat(bench, async (isCounted) => {
    for (const count of counts) {
      await idle();
      const { seconds } = await addOne(bench, await bench.served(count), "file");
      if (isCounted) byCount.get(count)?.push(seconds);
    }
    await idle();
    const added = await addOne(bench, await bench.served(large), "directory");
    if (isCounted) byDirectory.push(added.seconds);
    for (const { repository, samples } of theirs) {
      const seconds = await repository.add(added.file);
      if (isCounted) samples.push(seconds);
    }
  });
  const rows = [
    ...rowsOf(`append to ${large}, ping names the file`, byCount.get(large) ?? [], theirs),
    ...rowsOf(`append to ${large}, ping names the directory`, byDirectory, theirs),
  ];
  return { byCount, rows };
}

/** Beside the first Contents of a server, which take the longest. */
async function besideContents(bench: BenchContext, count: number, alone: readonly number[]): Promise<Row[]> {
  const packages = await bench.packages(count);
  const server = await bench.server("beside-contents", folderTree(packages));
  const served = { server, packages, firstIndexSeconds: await server.start() };
  const beside: number[] = [];
  for (let round = 0; round <= bench.scale.rounds; round++) {
    bench.options.progress(`round ${round}, while Contents are being made`);
    const { seconds } = await addOne(bench, served, "file");
    if ((await server.listed("main/Contents-amd64.xz")) !== undefined) break;
    if (round > 0) beside.push(seconds);
  }
  await server.stop();
  const measure = `append to ${count} while Contents are being made, ping names the file`;
  if (beside.length === 0) {
    bench.notes.add(`${measure}: they were made too soon.`);
    return [];
  }
  const against = { name: "ours, while nothing else is made", samples: alone };
  return [{ measure, unit: "seconds", ours: beside, against, goal: { kind: "at-most-times", factor: 2 } }];
}

async function open(bench: BenchContext, count: number, rivals: readonly Rival[]) {
  const opened = [];
  for (const { peer, goal } of rivals) {
    if (!bench.has(peer.tool)) continue;
    const samples: number[] = [];
    opened.push({ name: peer.name, goal, samples, repository: await bench.peer(peer, count) });
  }
  return opened;
}

type Opened = Awaited<ReturnType<typeof open>>;

const rowsOf = (measure: string, ours: readonly number[], theirs: Opened): Row[] =>
  theirs.length === 0
    ? [{ measure, unit: "seconds", ours }]
    : theirs.map(({ name, samples, goal }) => ({ measure, unit: "seconds", ours, against: { name, samples }, goal }));

/** Runs a round for nothing, then as many as count. */
export async function repeat(
  { scale, options }: BenchContext,
  round: (isCounted: boolean, number: number) => Promise<void>,
): Promise<void> {
  for (let number = 0; number <= scale.rounds; number++) {
    options.progress(`round ${number} of ${scale.rounds}`);
    await round(number > 0, number);
  }
}

/** Uploads a new package, pings, and makes sure that it can be installed. */
export async function addOne(bench: BenchContext, { server, packages }: Served, named: "file" | "directory") {
  const { name, bytes, file } = await bench.newDeb();
  placeDeb(packages, name, bytes);
  const seconds = await server.ping(named === "file" ? `${binaryDirectory}/${name}` : binaryDirectory);
  const added = name.replace(/_.*/, "");
  if (!(await server.packages()).includes(`\nPackage: ${added}\n`)) throw new Error(`${added} was not published`);
  return { seconds, file, package: added };
}
