// Attacks by directories of a real grid: one that cannot be read, and one with a listing that is as long as may be.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import pLimit from "p-limit";
import type { ContentId } from "../../../src/base/content-id.ts";
import { parseTreePath } from "../../../src/base/names.ts";
import { inspectContent } from "../../../src/catalog/inspection/inspect.ts";
import { defaultInspectLimits } from "../../../src/catalog/inspection/inspect-limits.ts";
import { entryMetadataOf } from "../../../src/catalog/metadata/entry-metadata.ts";
import { parseReadCap } from "../../../src/storage/tahoe/caps.ts";
import { aDeb, inChunks } from "../../support/debs.ts";
import type { BenchContext } from "../bench-context.ts";
import { binaryDirectory } from "../corpus.ts";
import type { BenchGrid, GridTree } from "../grid-bench.ts";
import type { Attack, Scene } from "./attack.ts";
import { statusOfPing } from "./attack.ts";

const attacker = parseTreePath(`${binaryDirectory}/mallory`);
const honest = `${binaryDirectory}/alice`;
/** About as many pings a minute as were seen to hold up everybody. */
const betweenPingsMs = 60_000 / 110;
const attackMs = 40_000;
const parallelUploads = 8;

export const gridAttacks: readonly Attack[] = [
  { name: "110 pings a minute of a directory that can't be read, on a grid", prepare: prepareUnreadable },
  { name: "36 MB of metadata in one directory of a grid, pinged again and again", prepare: prepareLongListing },
];

async function prepareUnreadable(bench: BenchContext): Promise<Scene> {
  const { benchGrid, tree, scene } = await openScene(bench);
  // Nobody has ever stored a directory under this cap.
  const base32 = (length: number) =>
    [...randomBytes(length)].map((byte) => "abcdefghijklmnopqrstuvwxyz234567"[byte % 32]).join("");
  const lost = parseReadCap(`URI:DIR2-RO:${base32(25)}a:${base32(51)}a`);
  return {
    ...scene,
    attack: async (signal) => {
      await benchGrid.linkDirectory(tree, attacker, lost);
      const pings: Promise<unknown>[] = [];
      const begunMs = performance.now();
      for (; performance.now() - begunMs < attackMs; await sleep(betweenPingsMs, undefined, { signal })) {
        pings.push(statusOfPing(scene.server, attacker, signal));
      }
      await Promise.all(pings);
    },
  };
}

/** Listings spell these characters with three times as many bytes. */
const longText = "\u00e9".repeat(41_000);

async function prepareLongListing(bench: BenchContext): Promise<Scene> {
  const { benchGrid, tree, scene } = await openScene(bench);
  const { signal, scale } = bench;
  const limit = pLimit(parallelUploads);
  const numbers = Array.from({ length: scale.large < 60_000 ? 40 : 440 }, (_, number) => number);
  const links = await Promise.all(numbers.map((number) => limit(() => longEntry(benchGrid, number, signal))));
  return {
    ...scene,
    attack: async (over) => {
      const directory = await benchGrid.writer.makeDirectory(tree.root, attacker, over);
      await benchGrid.writer.link(directory, new Map(links), over);
      const begunMs = performance.now();
      while (performance.now() - begunMs < attackMs) await statusOfPing(scene.server, attacker, over);
    },
  };
}

async function longEntry(
  benchGrid: BenchGrid,
  number: number,
  signal: AbortSignal,
): Promise<readonly [string, { readonly content: ContentId; readonly metadata: unknown }]> {
  const name = `long${number}`;
  const deb = await aDeb({ package: name, compression: "xz", fields: { "X-Long": longText } });
  const options = { limits: defaultInspectLimits, algorithms: ["md5", "sha256"] as const };
  const inspection = await inspectContent("binary", inChunks(deb), options);
  if (inspection.kind === "rejected") throw new Error(inspection.text);
  const content = await benchGrid.writer.upload(deb, signal);
  return [`${name}_1.0-1_all.deb`, { content, metadata: entryMetadataOf(inspection) }];
}

async function openScene(
  bench: BenchContext,
): Promise<{ readonly benchGrid: BenchGrid; readonly tree: GridTree; readonly scene: Omit<Scene, "attack"> }> {
  const benchGrid = await bench.grid();
  const tree = await benchGrid.emptyTree();
  const numbers = Array.from({ length: bench.scale.grid }, (_, number) => number);
  await benchGrid.fill(tree, parseTreePath(honest), numbers, false);
  const server = await bench.server("attacked-grid", tree.configuration);
  const upload = async (name: string, bytes: Uint8Array): Promise<string> => {
    await benchGrid.writer.put(tree.root, parseTreePath(`${honest}/${name}`), bytes, bench.signal);
    return `${honest}/${name}`;
  };
  return { benchGrid, tree, scene: { server, upload } };
}
