// One package added: from the ping to its indices being servable, against everybody else's way.
import { binaryDirectory, placeDeb } from "../corpus.ts";
import { aptFtparchive } from "../peers/apt-ftparchive.ts";
import { aptly } from "../peers/aptly.ts";
import type { Peer } from "../peers/peer.ts";
import { reprepro } from "../peers/reprepro.ts";
import type { Goal, Row } from "../rows.ts";
import type { Served, Workshop } from "../workshop.ts";
import { folderTree } from "../workshop.ts";
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
  async measure(workshop) {
    const { small, middle, large } = workshop.scale;
    const middleRows = await against(workshop, middle, middleRivals);
    const { byCount, rows } = await sizes(workshop, [small, large]);
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
      ...(await besideContents(workshop, large, alone)),
    ];
  },
};

async function against(workshop: Workshop, count: number, rivals: readonly Rival[]): Promise<Row[]> {
  const served = await workshop.served(count);
  const ours: number[] = [];
  const theirs = await open(workshop, count, rivals);
  await repeat(workshop, async (counts) => {
    await served.server.idle();
    const added = await addOne(workshop, served, "file");
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
async function sizes(workshop: Workshop, counts: readonly [number, number]) {
  const large = counts[1];
  const byCount = new Map<number, number[]>(counts.map((count) => [count, []]));
  const byDirectory: number[] = [];
  const theirs = await open(workshop, large, largeRivals);
  const served = await Promise.all(counts.map((count) => workshop.served(count)));
  const idle = () => Promise.all(served.map(({ server }) => server.idle()));
  await repeat(workshop, async (isCounted) => {
    for (const count of counts) {
      await idle();
      const { seconds } = await addOne(workshop, await workshop.served(count), "file");
      if (isCounted) byCount.get(count)?.push(seconds);
    }
    await idle();
    const added = await addOne(workshop, await workshop.served(large), "directory");
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
async function besideContents(workshop: Workshop, count: number, alone: readonly number[]): Promise<Row[]> {
  const packages = await workshop.packages(count);
  const server = await workshop.server("beside-contents", folderTree(packages));
  const served = { server, packages, firstIndexSeconds: await server.start() };
  const beside: number[] = [];
  for (let round = 0; round <= workshop.scale.rounds; round++) {
    workshop.options.progress(`round ${round}, while Contents are being made`);
    const { seconds } = await addOne(workshop, served, "file");
    if ((await server.listed("main/Contents-amd64.xz")) !== undefined) break;
    if (round > 0) beside.push(seconds);
  }
  await server.stop();
  const measure = `append to ${count} while Contents are being made, ping names the file`;
  if (beside.length === 0) {
    workshop.notes.add(`${measure}: they were made too soon.`);
    return [];
  }
  const against = { name: "ours, while nothing else is made", samples: alone };
  return [{ measure, unit: "seconds", ours: beside, against, goal: { kind: "at-most-times", factor: 2 } }];
}

async function open(workshop: Workshop, count: number, rivals: readonly Rival[]) {
  const opened = [];
  for (const { peer, goal } of rivals) {
    if (!workshop.has(peer.tool)) continue;
    const samples: number[] = [];
    opened.push({ name: peer.name, goal, samples, repository: await workshop.peer(peer, count) });
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
  { scale, options }: Workshop,
  round: (isCounted: boolean, number: number) => Promise<void>,
): Promise<void> {
  for (let number = 0; number <= scale.rounds; number++) {
    options.progress(`round ${number} of ${scale.rounds}`);
    await round(number > 0, number);
  }
}

/** Uploads a new package, pings, and makes sure that it can be installed. */
export async function addOne(workshop: Workshop, { server, packages }: Served, named: "file" | "directory") {
  const { name, bytes, file } = await workshop.newDeb();
  placeDeb(packages, name, bytes);
  const seconds = await server.ping(named === "file" ? `${binaryDirectory}/${name}` : binaryDirectory);
  const added = name.replace(/_.*/, "");
  if (!(await server.packages()).includes(`\nPackage: ${added}\n`)) throw new Error(`${added} was not published`);
  return { seconds, file, package: added };
}
