// The first index of a folder with Contents: the whole server, from its start on an empty state, until they are live.
import { mkdirSync } from "node:fs";
import type { FirstContents } from "../peers/first-contents.ts";
import { firstContents } from "../peers/first-contents.ts";
import type { Row } from "../rows.ts";
import type { Workshop } from "../workshop.ts";
import { folderTree } from "../workshop.ts";
import type { Measure } from "./measure.ts";

const index = "main/Contents-amd64";

export const contents: Measure = {
  name: "contents",
  async measure(workshop) {
    const { middle, slowRounds } = workshop.scale;
    const packages = await workshop.packages(middle);
    const seconds: number[] = [];
    let ours = "";
    for (let round = 0; round < slowRounds; round++) {
      workshop.options.progress(`first Contents of ${middle}, round ${round + 1} of ${slowRounds}`);
      const server = await workshop.server("first-contents", folderTree(packages));
      const begunMs = performance.now();
      await server.start();
      await server.releaseLists(`${index}.xz`);
      seconds.push((performance.now() - begunMs) / 1000);
      ours = await server.packages(index);
      await server.stop();
    }
    const measure = `first index of ${middle} with Contents`;
    const rows: Row[] = [];
    for (const peer of firstContents) {
      const theirs = await made(workshop, peer, packages, ours);
      if (theirs === undefined) continue;
      const against = { name: peer.name, samples: [theirs] };
      rows.push({ measure, unit: "seconds", ours: seconds, against, goal: { kind: "times-faster", factor: 5 } });
    }
    return rows.length > 0 ? rows : [{ measure, unit: "seconds", ours: seconds }];
  },
};

/** @throws Error where it lists other files */
async function made(
  workshop: Workshop,
  peer: FirstContents,
  packages: string,
  ours: string,
): Promise<number | undefined> {
  if (!workshop.has(peer.tool)) return undefined;
  workshop.options.progress(peer.name);
  const directory = workshop.path("first-contents-peer");
  mkdirSync(directory);
  const theirs = await peer.make({ directory, packages, signal: workshop.signal });
  const [wanted, found] = [pathsOf(ours), pathsOf(theirs.contents)];
  if (wanted.size === 0 || wanted.size !== found.size || [...wanted].some((path) => !found.has(path))) {
    throw new Error(`${peer.name} lists ${found.size} files where ours lists ${wanted.size}`);
  }
  return theirs.seconds;
}

/** Without the line `FILE LOCATION`, which some begin with. */
const pathsOf = (text: string): Set<string> =>
  new Set([...text.matchAll(/^(\S.*?)\s+\S+$/gm)].flatMap(([, path = ""]) => (path === "FILE" ? [] : [path])));
