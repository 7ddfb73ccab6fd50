// A repository serves old files by hash for a week, and its last publication after restarts and without the tree.
import { expect, test } from "vitest";
import { defaultDateLagSeconds } from "../../../src/publishing/build/release-date.ts";
import type { Tree } from "../../../src/storage/tree.ts";
import { StorageUnavailable } from "../../../src/storage/tree.ts";
import { aDeb, aDsc } from "../../support/debs.ts";
import { packageNames, ServedFolder, sha256, unlistedWhile } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const source = "dists/sid/main/source";

test("an index is still served by hash after the next publication", async () => {
  const served = new ServedFolder();
  served.put(`${amd64}/a.deb`, await aDeb({ package: "a", architecture: "amd64" }));
  await served.ping();
  const before = await served.text(`${amd64}/Packages`);
  served.put(`${amd64}/b.deb`, await aDeb({ package: "b", architecture: "amd64" }), 1_700_000_001);
  await served.ping();
  expect(await served.text(`${amd64}/Packages`)).not.toBe(before);
  expect(await served.text(`${amd64}/by-hash/SHA256/${sha256(before)}`)).toBe(before);
  expect(await served.bytes(`${amd64}/by-hash/SHA256/${"0".repeat(64)}`)).toBeUndefined();
});

test("a refresh without changes makes no publication, also if the same file was written again", async () => {
  const served = new ServedFolder();
  const deb = await aDeb({ architecture: "amd64" });
  served.put(`${amd64}/a.deb`, deb);
  await served.ping();
  const before = await served.text("dists/sid/Release");
  await served.ping();
  served.put(`${amd64}/copy/a.deb`, deb, 1_700_000_900);
  await served.ping();
  expect(await served.text("dists/sid/Release")).toBe(before);
});

test("Date follows the uploads with its lag, increases with a removal, and ignores an uploader's wrong clock", async () => {
  const nowSeconds = 1_750_000_000;
  const served = new ServedFolder({ now: () => nowSeconds * 1000 });
  const date = async () => Date.parse(/^Date: (.*)$/m.exec(await served.text("dists/sid/Release"))?.[1] ?? "") / 1000;
  served.put(`${amd64}/a.deb`, await aDeb({ package: "a", architecture: "amd64" }), 1_700_000_000);
  await served.ping();
  expect(await date()).toBe(1_700_000_000 - defaultDateLagSeconds);
  served.put(`${amd64}/b.deb`, await aDeb({ package: "b", architecture: "amd64" }), 1_700_000_050);
  await served.ping();
  expect(await date()).toBe(1_700_000_050 - defaultDateLagSeconds);
  served.remove(`${amd64}/b.deb`);
  await served.ping();
  expect(await date()).toBe(1_700_000_051 - defaultDateLagSeconds);
  served.put(`${amd64}/c.deb`, await aDeb({ package: "c", architecture: "amd64" }), nowSeconds + 86_400);
  await served.ping();
  // A link time of tomorrow counts as the oldest possible: Date increases only by a second.
  expect(await date()).toBe(1_700_000_052 - defaultDateLagSeconds);
});

test("after a restart, the last publication and its packages are served before the tree is listed", async () => {
  const served = new ServedFolder();
  const deb = await aDeb({ architecture: "amd64" });
  served.put(`${amd64}/a.deb`, deb);
  await served.ping();
  const before = await served.text("dists/sid/InRelease");
  const index = await served.bytes(`${amd64}/Packages.xz`);
  await served.restart();
  expect(await served.text("dists/sid/InRelease")).toBe(before);
  expect(await served.bytes(`${amd64}/Packages.xz`)).toEqual(index);
  expect(await served.bytes(`pool/SHA256/${sha256(deb)}/a.deb`)).toEqual(deb);
  expect(served.repository.status().notReady).toBeUndefined();
});

test("no file is read twice, not even after a restart, and a refresh of one file reads only that file", async () => {
  const sources: string[] = [];
  const inspected = (from: string, count = 1) => void sources.push(...Array.from({ length: count }, () => from));
  const served = new ServedFolder({ observer: { inspected } });
  for (const name of ["a", "b"])
    served.put(`${amd64}/${name}.deb`, await aDeb({ package: name, architecture: "amd64" }));
  await served.ping();
  expect(sources).toEqual(["read", "read"]);
  await served.restart();
  const before = await served.text("dists/sid/Release");
  await served.ping(`${amd64}/a.deb`);
  expect(sources).toEqual(["read", "read", "store", "store"]);
  served.put(`${amd64}/c.deb`, await aDeb({ package: "c", architecture: "amd64" }));
  served.put(`${amd64}/d.deb`, await aDeb({ package: "d", architecture: "amd64" }));
  expect(await served.text("dists/sid/Release")).toBe(before);
  expect((await served.ping(`${amd64}/c.deb`)).added).toEqual([`${amd64}/c.deb`]);
  expect(await packageNames(served)).toEqual(["a 1.0-1", "b 1.0-1", "c 1.0-1"]);
});

test("requests are answered while a restart goes through all files of the inspection store", async () => {
  let knownThisTurn = 0;
  let most = 0;
  const inspected = (from: string) => {
    if (from === "store") most = Math.max(most, ++knownThisTurn);
  };
  const served = new ServedFolder({ observer: { inspected } });
  // Identical bytes at many paths are read once, but are stored as one file for each path.
  const deb = await aDeb({ architecture: "amd64" });
  const files = 3000;
  for (let file = 0; file < files; file++) served.put(`${amd64}/${file}.deb`, deb);
  await served.ping();
  await served.restart();
  const turns = setInterval(() => {
    knownThisTurn = 0;
  }, 0);
  most = 0;
  await served.ping();
  clearInterval(turns);
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThan(files / 2);
});

test("while the tree cannot be listed, the last publication stays, and the ping reports the reason", async () => {
  let broken = false;
  const served = new ServedFolder({ wrap: unlistedWhile(() => broken) });
  served.put(`${amd64}/a.deb`, await aDeb({ package: "a", architecture: "amd64" }));
  await served.ping();
  const before = await served.text("dists/sid/InRelease");
  broken = true;
  await expect(served.ping()).rejects.toThrow(StorageUnavailable);
  expect(await served.text("dists/sid/InRelease")).toBe(before);
  expect(served.repository.status().lastError).toContain("the grid is down");
  broken = false;
  await served.ping();
  expect(served.repository.status().lastError).toBeUndefined();
});

test("a file that cannot be read is omitted and retried; a known package that was replaced by such a file stays", async () => {
  let broken = false;
  const failing = (tree: Tree): Tree => ({
    look: (path, signal) => tree.look(path, signal),
    open: (file, range, signal) => {
      if (broken) throw new StorageUnavailable(file.path, "not enough shares", { transient: false });
      return tree.open(file, range, signal);
    },
  });
  const served = new ServedFolder({ wrap: failing });
  served.put(`${amd64}/a.deb`, await aDeb({ package: "a", version: "1", architecture: "amd64" }));
  await served.ping();
  broken = true;
  served.put(`${amd64}/a.deb`, await aDeb({ package: "a", version: "2", architecture: "amd64" }), 1_700_000_100);
  served.put(`${amd64}/b.deb`, await aDeb({ package: "b", architecture: "amd64" }));
  expect((await served.ping()).rejected.map(({ path, code }) => [path, code])).toContainEqual([
    `${amd64}/b.deb`,
    "unreadable",
  ]);
  expect(await packageNames(served)).toEqual(["a 1"]);
  broken = false;
  expect((await served.ping()).rejected).toEqual([]);
  expect(await packageNames(served)).toEqual(["b 1.0-1", "a 2"]);
});

test("files of a replaced publication are readable for one week, and files of the current one remain readable", async () => {
  let nowMs = 1_750_000_000_000;
  const served = new ServedFolder({ now: () => nowMs });
  const [stays, goes] = [
    await aDeb({ package: "stays", architecture: "amd64" }),
    await aDeb({ package: "goes", architecture: "amd64" }),
  ];
  const { dsc, files } = aDsc({ source: "stays" });
  served.put(`${amd64}/stays.deb`, stays);
  served.put(`${amd64}/goes.deb`, goes);
  for (const [name, bytes] of files) served.put(`${source}/${name}`, bytes);
  await served.ping();
  const before = await served.text(`${amd64}/Packages`);
  served.remove(`${amd64}/goes.deb`);
  await served.ping();

  const oldIndex = `${amd64}/by-hash/SHA256/${sha256(before)}`;
  const oldPackage = async () => served.repository.find(`pool/SHA256/${sha256(goes)}/goes.deb`, new AbortController());
  nowMs += 6 * 24 * 3600 * 1000;
  await served.ping();
  expect(await served.text(oldIndex)).toBe(before);
  expect(await served.bytes(`pool/SHA256/${sha256(goes)}/goes.deb`)).toEqual(goes);

  nowMs += 2 * 24 * 3600 * 1000;
  await served.ping();
  expect(await served.bytes(oldIndex)).toBeUndefined();
  expect(await oldPackage()).toBeUndefined();
  await served.restart();
  expect(await packageNames(served)).toEqual(["stays 1.0-1"]);
  expect(await served.bytes(`pool/SHA256/${sha256(stays)}/stays.deb`)).toEqual(stays);
  for (const [name, bytes] of files) {
    expect(await served.bytes(`pool/SHA256/${sha256(files.get(dsc) as Buffer)}/${name}`)).toEqual(bytes);
  }
});

test("a ping lists only its path and everything below it", async () => {
  const looked: string[] = [];
  const watched = (tree: Tree): Tree => ({
    look: (path, signal) => {
      looked.push(path);
      return tree.look(path, signal);
    },
    open: (file, range, signal) => tree.open(file, range, signal),
  });
  const served = new ServedFolder({ wrap: watched });
  for (const builder of ["alice", "bob", "bob/deeper"]) {
    served.put(`${amd64}/${builder}/a.deb`, await aDeb({ package: builder.replace("/", "-"), architecture: "amd64" }));
  }
  served.put("dists/other/main/binary-amd64/a.deb", await aDeb({ package: "other", architecture: "amd64" }));
  await served.ping();
  const lookedBy = async (path: string) => {
    looked.length = 0;
    await served.ping(path);
    return looked.toSorted();
  };
  expect(await lookedBy(`${amd64}/alice`)).toEqual([`${amd64}/alice`]);
  expect(await lookedBy(`${amd64}/bob`)).toEqual([`${amd64}/bob`, `${amd64}/bob/deeper`]);
  expect(await lookedBy(`${amd64}/bob/a.deb`)).toEqual([`${amd64}/bob/a.deb`]);
});
