// A folder with Contents: the whole server, from its start on an empty state until they are live, and one package more.
import { mkdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import type { BenchContext } from "../bench-context.ts";
import { folderTree } from "../bench-context.ts";
import type { BenchServer } from "../bench-server.ts";
import { binaryDirectory, placeDeb } from "../corpus.ts";
import { lifelike } from "../lifelike-deb.ts";
import type { RepositoryWithContents } from "../peers/first-contents.ts";
import { firstContents } from "../peers/first-contents.ts";
import type { Row } from "../rows.ts";
import type { Measure } from "./measure.ts";

const index = "main/Contents-amd64";

/** One, since over a million files it takes ten minutes. */
const rounds = 1;

/** The seconds of one repository, round by round. */
interface Samples {
  readonly first: number[];
  readonly more: number[];
}
const noSamples = (): Samples => ({ first: [], more: [] });

export const contents: Measure = {
  name: "contents",
  async measure(bench) {
    const { middle } = bench.scale;
    const packages = await bench.packages(middle, lifelike);
    const peers = firstContents.filter(({ tool }) => bench.has(tool));
    const theirs = new Map(peers.map((peer) => [peer, noSamples()]));
    const ours = noSamples();
    for (let round = 0; round < rounds; round++) {
      const tell = (who: string) =>
        bench.options.progress(`Contents of ${middle}, ${who}, round ${round + 1} of ${rounds}`);
      tell("ours");
      const { server, text } = await started(bench, packages, ours);
      const made = new Map<Samples, RepositoryWithContents>();
      for (const [peer, samples] of theirs) {
        tell(peer.name);
        const directory = bench.path("first-contents-peer");
        mkdirSync(directory);
        const repository = await peer.make({ directory, packages, signal: bench.signal });
        expectSameFiles(peer.name, repository.contents(), text);
        samples.first.push(repository.seconds);
        made.set(samples, repository);
      }
      const { name, bytes } = await bench.newDeb(lifelike);
      const deb = join(packages, name);
      placeDeb(packages, name, bytes);
      ours.more.push(await addedToOurs(server, basename(deb)));
      const more = await server.packages(index);
      await server.stop();
      for (const [samples, repository] of made) {
        samples.more.push(await repository.add(deb));
        expectSameFiles("one of the others", repository.contents(), more);
      }
      rmSync(deb);
    }
    const goal = { kind: "times-faster", factor: 5 } as const;
    const first = { measure: `first index of ${middle} with Contents`, unit: "seconds", ours: ours.first } as const;
    const more = { measure: `ping to Contents, one added to ${middle}`, unit: "seconds", ours: ours.more } as const;
    if (theirs.size === 0) return [first, more];
    const against = (kind: keyof Samples) =>
      [...theirs].map(([{ name }, samples]) => ({ against: { name, samples: samples[kind] } }));
    return [
      ...against("first").map((each): Row => ({ ...first, ...each, goal })),
      ...against("more").map((each): Row => ({ ...more, ...each })),
    ];
  },
};

async function started(bench: BenchContext, packages: string, samples: Samples) {
  const server = await bench.server("first-contents", folderTree(packages));
  const begunMs = performance.now();
  await server.start();
  await server.releaseLists(`${index}.xz`);
  samples.first.push((performance.now() - begunMs) / 1000);
  return { server, text: await server.packages(index) };
}

/** @returns the seconds from the ping to the Contents that tell of it */
async function addedToOurs(server: BenchServer, name: string): Promise<number> {
  const before = await server.releaseLists(`${index}.xz`);
  const pingSeconds = await server.ping(`${binaryDirectory}/${name}`);
  const answeredMs = performance.now();
  await server.releaseLists(`${index}.xz`, before);
  return pingSeconds + (performance.now() - answeredMs) / 1000;
}

/** @throws Error where they are not */
function expectSameFiles(name: string, theirs: string, ours: string): void {
  const [wanted, found] = [pathsOf(ours), pathsOf(theirs)];
  if (wanted.size === 0 || wanted.size !== found.size || [...wanted].some((path) => !found.has(path))) {
    throw new Error(`${name} lists ${found.size} files where ours lists ${wanted.size}`);
  }
}

/** Without the line `FILE LOCATION`, which some begin with. */
const pathsOf = (text: string): Set<string> =>
  new Set([...text.matchAll(/^(\S.*?)\s+\S+$/gm)].flatMap(([, path = ""]) => (path === "FILE" ? [] : [path])));
