// A grid whose objects have three shares each on one server, so that an object survives the loss of one.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Grid } from "../../src/local/grid/grid.ts";
import { startGrid } from "../../src/local/grid/grid.ts";

/** @param tahoe the `tahoe` command @param directory for all files of the grid */
export async function threeShareGrid(tahoe: string, directory: string): Promise<Grid> {
  const { signal } = new AbortController();
  const options = { directory, tahoe: { executable: tahoe }, progress: () => {}, signal };
  const first = await startGrid(options);
  await first.stop();
  const file = join(first.nodeDirectory, "tahoe.cfg");
  writeFileSync(file, readFileSync(file, "utf8").replace(/^shares.total = .*/m, "shares.total = 3"));
  return await startGrid(options);
}

/** The directory with the shares of an object. */
export const sharesOf = ({ nodeDirectory }: Grid, storageIndex: string): string =>
  join(nodeDirectory, "storage/shares", storageIndex.slice(0, 2), storageIndex);
