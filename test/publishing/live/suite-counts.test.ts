// What a repository tells the metrics of its suites: what they contain now, and how the polls went.
import { expect, test } from "vitest";
import { FlatRepositories } from "../../../src/publishing/live/flat-repositories.ts";
import { aDeb } from "../../support/debs.ts";
import { ServedFolder, treePath, unlistedWhile } from "../../support/served-folder.ts";

const hello = "dists/sid/main/binary-amd64/hello_1.0-1_amd64.deb";

test("a suite counts its packages and the files that are in no index", async () => {
  const served = new ServedFolder();
  served.put(hello, await aDeb({ package: "hello", architecture: "amd64" }));
  served.put("dists/sid/main/binary-amd64/broken_1_amd64.deb", "not a package");
  served.put("dists/sid/stray_1_all.deb", "in no index");
  await served.ping();
  const [sid, ...others] = served.repository.suiteCounts();
  expect(sid).toMatchObject({
    suite: "sid",
    published: { binaryPackages: 1, sourcePackages: 0, dateSeconds: expect.any(Number) },
    rejectedFiles: 2,
  });
  expect(others).toEqual([]);
  served.remove("dists/sid/stray_1_all.deb");
  await served.ping();
  expect([...served.repository.suiteCounts()].map(({ rejectedFiles }) => rejectedFiles)).toEqual([1]);
});

test("after a restart the packages are counted at once, and rejects only when the suite was surveyed", async () => {
  const served = new ServedFolder();
  served.put(hello, await aDeb({ package: "hello", architecture: "amd64" }));
  served.put("dists/sid/main/binary-amd64/broken_1_amd64.deb", "not a package");
  await served.ping();
  await served.restart();
  const counts = () =>
    [...served.repository.suiteCounts()].map((each) => [each.published?.binaryPackages, each.rejectedFiles]);
  expect(counts()).toEqual([[1, undefined]]);
  await served.ping();
  expect(counts()).toEqual([[1, 1]]);
});

test("a suite that is no longer in the tree is no longer counted", async () => {
  const served = new ServedFolder();
  served.put(hello, await aDeb({ package: "hello", architecture: "amd64" }));
  await served.ping();
  served.remove("dists/sid");
  served.makeDirectory("dists");
  await served.ping();
  expect([...served.repository.suiteCounts()]).toEqual([]);
});

test("a flat repository is counted under the name that APT sources have for it", async () => {
  const [served, flat] = [new ServedFolder(), new ServedFolder()];
  for (const each of [served, flat]) each.put(hello, await aDeb({ package: "hello", architecture: "amd64" }));
  await Promise.all([served.ping(), flat.ping()]);
  const both = new FlatRepositories(served.repository, [{ at: treePath("extras"), repository: flat.repository }]);
  expect([...both.suiteCounts()].map(({ suite }) => suite)).toEqual(["sid", "./extras/"]);
});

test("a repository with a flat one is ready once its tree was read, and any of both publishes or has nothing", async () => {
  const [served, flat] = [new ServedFolder(), new ServedFolder()];
  const both = new FlatRepositories(served.repository, [{ at: treePath("extras"), repository: flat.repository }]);
  for (const each of [served, flat]) each.makeDirectory("dists");
  const first = "the tree is being read for the first time";
  expect([both.notReady, both.status().notReady]).toEqual([first, first]);
  await served.ping();
  expect([both.notReady, both.status().notReady]).toEqual([first, first]);
  served.put(hello, await aDeb({ package: "hello", architecture: "amd64" }));
  await served.ping();
  expect([both.notReady, both.status().notReady]).toEqual([undefined, undefined]);
  served.remove("dists/sid");
  await served.ping();
  await flat.ping();
  expect([both.notReady, both.status().notReady]).toEqual([undefined, undefined]);
});

test("each poll says whether the tree could be listed, and a survey of all of it whether anything failed", async () => {
  const said: string[] = [];
  let isDown = true;
  const served = new ServedFolder({
    wrap: unlistedWhile(() => isDown),
    observer: { polled: (isUp) => said.push(isUp ? "up" : "down"), surveyed: () => said.push("surveyed") },
  });
  served.put(hello, await aDeb({ package: "hello", architecture: "amd64" }));
  await expect(served.ping()).rejects.toThrow("the grid is down");
  expect(said).toEqual(["down"]);
  isDown = false;
  await served.ping();
  expect(said).toEqual(["down", "up", "surveyed"]);
  await served.ping("dists/sid");
  expect(said, "a survey of a part says nothing of the whole").toEqual(["down", "up", "surveyed"]);
});

test("a tree of which a part cannot be read is up, and not surveyed", async () => {
  const said: string[] = [];
  let isDown = true;
  const served = new ServedFolder({
    wrap: (tree) => {
      const down = unlistedWhile(() => isDown)(tree);
      return { ...down, look: (path, signal) => (path === "dists" ? tree : down).look(path, signal) };
    },
    observer: { polled: (isUp) => said.push(isUp ? "up" : "down"), surveyed: () => said.push("surveyed") },
  });
  served.put(hello, await aDeb({ package: "hello", architecture: "amd64" }));
  await expect(served.ping()).rejects.toThrow("the grid is down");
  expect(said).toEqual(["up"]);
  isDown = false;
  await served.ping();
  expect(said).toEqual(["up", "up", "surveyed"]);
});
