// Keys of inspections are short enough for the database, whatever an uploader names its files.
import { expect, test } from "vitest";
import type { Entry, Tree } from "../../../src/storage/tree.ts";
import { aDeb } from "../../support/debs.ts";
import { packageNames, ServedFolder, treePath } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";

/** A folder whose files have no content ids, like mutable files of a grid. */
const mutable = (tree: Tree): Tree => ({
  async look(path, signal) {
    const found = await tree.look(path, signal);
    if (found?.kind !== "directory") return found;
    const entries = [...found.entries].map(([name, entry]): [string, Entry] => [
      name,
      entry.kind === "file" ? { ...entry, content: undefined, sizeBytes: undefined } : entry,
    ]);
    return { ...found, entries: new Map(entries) };
  },
  open: ({ path }, range, signal) => tree.open({ path, content: undefined }, range, signal),
});

test("only a mutable file with a very long path is rejected, and its neighbours are served", async () => {
  const served = new ServedFolder({ wrap: mutable });
  // The longest directory that is listed: a path of 2048 bytes has room for any name in it.
  const directory = [amd64, ...Array.from({ length: 6 }, () => "d".repeat(255))].join("/");
  const longest = `${directory}/${"e".repeat(1792 - directory.length - 1)}`;
  // Files are written with the suffix ".new", and names on the disk have at most 255 bytes.
  const [bad, good] = [`${longest}/${"x".repeat(247)}.deb`, `${longest}/${"y".repeat(247)}.deb`];
  expect(treePath(bad)).toHaveLength(2044);
  served.put(bad, "no package");
  served.put(good, await aDeb({ package: "good" }));
  served.put(`${amd64}/plain.deb`, await aDeb({ package: "plain" }));
  const { rejected } = await served.ping();
  expect(rejected).toMatchObject([{ path: bad, code: "not-a-deb" }]);
  expect(await packageNames(served)).toEqual(["good 1.0-1", "plain 1.0-1"]);
});
