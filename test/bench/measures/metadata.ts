// The first index of a tree whose entries tell all: the listings are what it can't do without, and all that it needs.
import { parseTreePath } from "../../../src/base/names.ts";
import type { BenchContext } from "../bench-context.ts";
import { binaryDirectory } from "../corpus.ts";
import type { Goal } from "../rows.ts";
import type { Measure } from "./measure.ts";

const perDirectory = 200;
const goal: Goal = { kind: "at-most-times", factor: 2 };
const place = parseTreePath(`${binaryDirectory}/all-builders`);

export const metadata: Measure = {
  name: "metadata",
  async measure(bench) {
    const { listed, slowRounds } = bench.scale;
    const { progress } = bench.options;
    const benchGrid = await bench.grid();
    progress(`uploading ${listed} packages to the grid; this is done once`);
    const builders = await benchGrid.emptyTree();
    for (let first = 0; first < listed; first += perDirectory) {
      const numbers = Array.from({ length: Math.min(perDirectory, listed - first) }, (_, index) => first + index);
      await benchGrid.fill(builders, parseTreePath(`builder-${first}`), numbers, true);
    }
    const tree = await benchGrid.emptyTree();
    // These entries tell of no file lists, so that Contents would read every package.
    const configuration = `${tree.configuration}\ncontents = false`;
    await benchGrid.fill(tree, parseTreePath(`${binaryDirectory}/other`), [listed], true);
    const [started, listings, pinged, listingsBelow]: [number[], number[], number[], number[]] = [[], [], [], []];
    for (let round = 0; round < slowRounds; round++) {
      progress(`first index from listings, round ${round + 1} of ${slowRounds}`);
      await benchGrid.writer.unlink(tree.root, place, bench.signal);
      const server = await bench.server("metadata", configuration);
      await server.start();
      await benchGrid.linkDirectory(tree, place, builders.readCap);
      listingsBelow.push(await benchGrid.walk(builders.readCap.reveal()));
      pinged.push(await server.ping(place));
      await server.stop();
      listings.push(await benchGrid.walk(tree.readCap.reveal()));
      started.push(await startOver(bench, configuration, listed + 1));
    }
    const raw = "raw webapi: the same listings, side by side";
    const measure = `first index of ${listed} with entry metadata on a grid`;
    return [
      { measure, unit: "seconds", ours: pinged, against: { name: raw, samples: listingsBelow }, goal },
      {
        measure: `${measure}, the server's start included`,
        unit: "seconds",
        ours: started,
        against: { name: raw, samples: listings },
        goal,
      },
    ];
  },
};

/** A server on an empty state. @returns seconds from its start to its first InRelease */
async function startOver(bench: BenchContext, configuration: string, count: number): Promise<number> {
  const server = await bench.server("metadata", configuration);
  const seconds = await server.start();
  const found = (await server.packages()).match(/^Package: /gm)?.length;
  if (found !== count) throw new Error(`${found} packages were indexed`);
  const inspections = await server.metric("tahoe_apt_inspections_total");
  if (/source="read"[^}]*\} [1-9]/.test(inspections)) bench.notes.add("With entry metadata, files were read.");
  await server.stop();
  return seconds;
}
