// Directories that cannot be listed completely affect only their own builder.
import { expect, test } from "vitest";
import type { TreePath } from "../../../src/base/names.ts";
import type { Directory, Node, Tree } from "../../../src/storage/tree.ts";
import { StorageUnavailable } from "../../../src/storage/tree.ts";
import { aDeb } from "../../support/debs.ts";
import { packageNames, ServedFolder } from "../../support/served-folder.ts";

const place = "dists/sid/main/binary-amd64";
const alice = `${place}/alice`;
const mallory = `${place}/mallory`;
const minuteMs = 60_000;

/** A folder in which some lookups fail: `answer` returns a node, throws, or returns undefined to use the folder. */
const wrapped =
  (answer: (path: TreePath) => Node | undefined) =>
  (tree: Tree): Tree => ({
    look: async (path, signal) => answer(path) ?? (await tree.look(path, signal)),
    open: (file, range, signal) => tree.open(file, range, signal),
  });

const unavailable = (path: TreePath) => new StorageUnavailable(path, "it has no shares", { transient: true });

test("a builder's directory that cannot be listed is shown as rejected, and the packages of other builders are published", async () => {
  const wrap = wrapped((path) => {
    if (path === mallory) throw unavailable(path);
    return undefined;
  });
  const served = new ServedFolder({ wrap });
  served.put(`${alice}/hello.deb`, await aDeb({ package: "hello" }));
  served.makeDirectory(mallory);
  const { rejected } = await served.ping();
  expect(rejected).toEqual([{ path: mallory, code: "unreadable", reason: expect.stringContaining("no shares") }]);
  expect(await packageNames(served)).toEqual(["hello 1.0-1"]);
  await expect(served.ping(mallory)).rejects.toThrow(StorageUnavailable);
});

test("published packages of a directory stay while it cannot be listed, and other directories are updated", async () => {
  let broken = false;
  const confirmed: string[] = [];
  const served = new ServedFolder({
    observer: { confirmed: (suite) => void confirmed.push(suite) },
    wrap: wrapped((path) => {
      if (broken && path.startsWith(mallory)) throw unavailable(path);
      return undefined;
    }),
  });
  served.put(`${alice}/hello.deb`, await aDeb({ package: "hello" }));
  served.put(`${mallory}/deep/old.deb`, await aDeb({ package: "old" }), 1_700_000_001);
  await served.ping();
  broken = true;
  await served.ping();
  expect(confirmed).toEqual([]);
  served.put(`${alice}/more.deb`, await aDeb({ package: "more" }), 1_700_000_002);
  await served.ping();
  expect(await packageNames(served)).toEqual(["hello 1.0-1", "old 1.0-1", "more 1.0-1"]);
  broken = false;
  served.remove(`${mallory}/deep`);
  expect((await served.ping()).rejected).toEqual([]);
  expect(await packageNames(served)).toEqual(["hello 1.0-1", "more 1.0-1"]);
});

test("after a restart, published packages of a directory stay while it cannot be listed, and other directories are updated", async () => {
  let broken = false;
  let nowMs = Date.now();
  const served = new ServedFolder({
    now: () => nowMs,
    wrap: wrapped((path) => {
      if (broken && path.startsWith(mallory)) throw unavailable(path);
      return undefined;
    }),
  });
  served.put(`${alice}/hello.deb`, await aDeb({ package: "hello" }));
  served.put(`${mallory}/old.deb`, await aDeb({ package: "old" }), 1_700_000_001);
  served.put(`${mallory}/deep/older.deb`, await aDeb({ package: "older" }), 1_600_000_001);
  served.put(`${mallory}/gone.deb`, await aDeb({ package: "gone" }), 1_600_000_001);
  await served.ping();
  served.remove(`${mallory}/gone.deb`);
  await served.ping();
  broken = true;
  await served.restart();
  served.put(`${alice}/more.deb`, await aDeb({ package: "more" }), 1_700_000_002);
  expect((await served.ping(`${alice}/more.deb`)).added).toEqual([`${alice}/more.deb`]);
  await expect(served.ping(mallory)).rejects.toThrow(StorageUnavailable);
  const all = ["older 1.0-1", "hello 1.0-1", "old 1.0-1", "more 1.0-1"];
  expect(await packageNames(served)).toEqual(all);
  expect(served.repository.status().rejected).toMatchObject([{ path: mallory, code: "unreadable" }]);
  nowMs += 20 * minuteMs;
  await served.ping();
  expect(await packageNames(served)).toEqual(all);

  broken = false;
  served.remove(`${mallory}/deep`);
  expect((await served.ping()).rejected).toEqual([]);
  expect(await packageNames(served)).toEqual(["hello 1.0-1", "old 1.0-1", "more 1.0-1"]);
});

test("directories that link each other endlessly are rejected, and the packages of other builders are published", async () => {
  const loop: Directory = {
    kind: "directory",
    entries: new Map(["a", "b", "c", "d"].map((name) => [name, { kind: "directory" }])),
  };
  let looks = 0;
  const wrap = wrapped((path) => {
    if (!path.startsWith(mallory)) return undefined;
    looks += 1;
    return loop;
  });
  const served = new ServedFolder({ wrap });
  served.put(`${alice}/hello.deb`, await aDeb({ package: "hello" }));
  served.makeDirectory(mallory);
  const { rejected } = await served.ping();
  expect(rejected).toMatchObject([{ path: mallory, code: "limit" }]);
  expect(looks).toBeLessThan(50_000);
  expect(await packageNames(served)).toEqual(["hello 1.0-1"]);
});

test("a directory that is linked at several places, also in itself, is listed once", async () => {
  const looks: string[] = [];
  const links = (...names: string[]): Directory => ({
    kind: "directory",
    entries: new Map(
      names.map((name) => [name, { kind: "directory", directoryIdentity: name === "twin" ? "a" : name }]),
    ),
  });
  const wrap = wrapped((path) => {
    if (path === place) return links("alice", "mallory");
    if (!path.startsWith(mallory)) return undefined;
    looks.push(path);
    return links("mallory", "a", "b", "twin");
  });
  const served = new ServedFolder({ wrap });
  served.put(`${alice}/hello.deb`, await aDeb({ package: "hello" }));
  expect((await served.ping()).rejected).toEqual([]);
  expect(looks).toEqual([mallory, `${mallory}/a`, `${mallory}/b`]);
  expect(await packageNames(served)).toEqual(["hello 1.0-1"]);
});

test("directories with a too long path are rejected, and no packages of other builders", async () => {
  const served = new ServedFolder();
  served.put(`${alice}/hello.deb`, await aDeb({ package: "hello" }));
  const long = "d".repeat(240);
  served.put(`${mallory}/${Array(9).fill(long).join("/")}/deep.deb`, await aDeb({ package: "deep" }));
  served.put(`${mallory}/${long}/there.deb`, await aDeb({ package: "there" }));
  expect((await served.ping()).rejected).toMatchObject([
    { code: "wrong-place", reason: expect.stringContaining("its path is too long for any file in it") },
  ]);
  expect(await packageNames(served)).toEqual(["hello 1.0-1", "there 1.0-1"]);
});
