// Builders get equal shares of the work: slow or failing files of one builder do not delay uploads of another.
import { expect, onTestFinished, test, vi } from "vitest";
import type { TreePath } from "../../../src/base/names.ts";
import { withResolvers } from "../../../src/base/with-resolvers.ts";
import type { Tree } from "../../../src/storage/tree.ts";
import { StorageUnavailable } from "../../../src/storage/tree.ts";
import { aDeb, aDsc } from "../../support/debs.ts";
import type { ServedFolderOptions } from "../../support/served-folder.ts";
import { packageNames, ServedFolder, treePath } from "../../support/served-folder.ts";
import { isPending, onceUnchanged } from "../../support/unchanged.ts";

const place = "dists/sid/main/binary-amd64";
const alice = `${place}/alice`;
const mallory = `${place}/mallory`;

/** A folder in which reads of some files, or listings of some directories, block until the test releases them. */
function slowed(options: ServedFolderOptions = {}) {
  const { promise: gone, resolve: letGo } = withResolvers<void>();
  const slow = { files: (_path: TreePath): boolean => false, listings: (_path: TreePath): boolean => false };
  const wrap = (tree: Tree): Tree => ({
    async look(path, signal) {
      if (slow.listings(path)) await gone;
      return await tree.look(path, signal);
    },
    async *open(file, range, signal) {
      if (slow.files(file.path)) await gone;
      yield* tree.open(file, range, signal);
    },
  });
  const served = new ServedFolder({ wrap, ...options });
  onTestFinished(() => letGo());
  return { served, slow, letGo };
}

async function put(served: ServedFolder, directory: string, name: string): Promise<string> {
  const path = `${directory}/${name}.deb`;
  served.put(path, await aDeb({ package: name, architecture: "amd64" }), 1_700_000_000 + name.length);
  return path;
}

test("a ping is answered while packages of another builder are inspected, which are published later", async () => {
  const { served, slow, letGo } = slowed();
  await put(served, alice, "first");
  await served.ping();
  slow.files = (path) => path.startsWith(mallory);
  const bombs = await Promise.all(Array.from({ length: 200 }, (_none, n) => put(served, mallory, `bomb${n}`)));
  const attack = served.ping(mallory);
  for (const name of ["a", "bb", "ccc"]) {
    const path = await put(served, alice, name);
    expect(await served.ping(path)).toMatchObject({ added: [path], rejected: [], pending: [] });
  }
  expect(await packageNames(served)).toEqual(["a 1.0-1", "bb 1.0-1", "ccc 1.0-1", "first 1.0-1"]);
  expect(await isPending(attack)).toBe(true);
  letGo();
  expect((await attack).added.toSorted()).toEqual(bombs.toSorted());
  expect(await packageNames(served)).toHaveLength(204);
});

test("inspected packages of a directory are published before the others, which are shown as being inspected", async () => {
  const uninspected: number[] = [];
  const { served, slow, letGo } = slowed({ observer: { inspecting: (_suite, files) => void uninspected.push(files) } });
  await put(served, alice, "first");
  await served.ping();
  slow.files = (path) => path.endsWith("/slow.deb");
  const [quick, late] = [await put(served, mallory, "quick"), await put(served, mallory, "slow")];
  const source = "dists/sid/main/source/mallory";
  const { dsc, files } = aDsc({ source: "hello" });
  const ping = served.ping("dists/sid");
  await expect.poll(() => packageNames(served), { timeout: 20_000 }).toContain("quick 1.0-1");
  expect(served.repository.status().pending).toEqual([{ path: late, missing: [], inspecting: true }]);
  for (const [name, bytes] of files) served.put(`${source}/${name}`, bytes);
  expect((await served.ping(source)).added).toContain(`${source}/${dsc}`);
  expect(await packageNames(served)).not.toContain("slow 1.0-1");
  expect(await isPending(ping)).toBe(true);
  letGo();
  expect(await ping).toMatchObject({ added: [quick, late], rejected: [], pending: [] });
  expect(await packageNames(served)).toEqual(["slow 1.0-1", "first 1.0-1", "quick 1.0-1"]);
  expect(uninspected).toEqual([1, 0]);
});

test("a source package that is published before slower packages is complete", async () => {
  const { served, slow, letGo } = slowed();
  const directory = "dists/sid/main/source/mallory";
  served.makeDirectory(directory);
  await served.ping();
  slow.files = (path) => path.includes("slow_");
  for (const name of ["slow", "quick"]) {
    for (const [file, bytes] of aDsc({ source: name }).files) served.put(`${directory}/${file}`, bytes);
  }
  const ping = served.ping(directory);
  const sources = () => served.text("dists/sid/main/source/Sources");
  await expect.poll(sources, { timeout: 20_000 }).toContain("Package: quick\n");
  expect(served.repository.status()).toMatchObject({ rejected: [], pending: [{ inspecting: true }] });
  letGo();
  expect(await ping).toMatchObject({ rejected: [], pending: [] });
  expect(await sources()).toContain("Package: slow\n");
});

test("a directory that cannot be listed fails only the pings of this directory", async () => {
  let broken = false;
  const wrap = (tree: Tree): Tree => ({
    look: async (path, signal) => {
      if (broken && path.startsWith(mallory))
        throw new StorageUnavailable(path, "it has no shares", { transient: true });
      return await tree.look(path, signal);
    },
    open: (file, range, signal) => tree.open(file, range, signal),
  });
  const served = new ServedFolder({ wrap });
  await put(served, alice, "first");
  await put(served, mallory, "old");
  await served.ping();
  broken = true;
  for (let n = 0; n < 20; n++) {
    const attack = Promise.allSettled([served.ping(mallory), served.ping(`${mallory}/x.deb`)]);
    const path = await put(served, alice, `p${n}`);
    expect(await served.ping(path)).toMatchObject({ added: [path], rejected: [] });
    for (const { status } of await attack) expect(status).toBe("rejected");
  }
  expect(await packageNames(served)).toHaveLength(22);
  expect(served.repository.status()).toMatchObject({
    rejected: [{ path: mallory, code: "unreadable" }],
    lastError: undefined,
    notReady: undefined,
  });
});

test("a listing that never ends delays only its own builder", async () => {
  const { served, slow, letGo } = slowed();
  await put(served, alice, "first");
  await put(served, mallory, "old");
  await served.ping();
  slow.listings = (path) => path === mallory;
  const attack = served.ping(mallory);
  const whole = served.ping();
  const path = await put(served, alice, "a");
  expect((await served.ping(path)).added).toEqual([path]);
  expect(await isPending(Promise.race([attack, whole]))).toBe(true);
  letGo();
  await Promise.all([attack, whole]);
});

test("each configured directory of a builder has its own queue, at any depth, also if it is added while the server runs", async () => {
  const team = `${place}/team`;
  const member = treePath(`${team}/deep/member`);
  let configured = [member];
  const { served, slow, letGo } = slowed({ builderDirectories: () => configured });
  for (const directory of [team, member, `${team}/deep`]) await put(served, directory, `first-in-${directory.length}`);
  await served.ping();
  slow.files = (path) => path.startsWith(member);
  await put(served, member, "slow");
  const attack = served.ping(member);
  for (const directory of [team, `${team}/deep`]) {
    const path = await put(served, directory, "quick");
    expect((await served.ping(path)).added).toEqual([path]);
  }
  configured = [];
  letGo();
  await attack;
  // The configuration is read again after a second.
  const realNow = performance.now.bind(performance);
  vi.spyOn(performance, "now").mockImplementation(() => realNow() + 1100);
  expect((await served.ping(team)).removed).toEqual([]);
  expect(await packageNames(served)).toHaveLength(5);
});

test("the first publication of a suite waits for slow packages, but not forever", async () => {
  const inspected = withResolvers<void>();
  const { served, slow } = slowed({ observer: { inspected: () => inspected.resolve() } });
  slow.files = (path) => path.startsWith(mallory);
  await put(served, alice, "hello");
  const bomb = await put(served, mallory, "bomb");
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const ping = served.ping(`${alice}/hello.deb`);
  await inspected.promise;
  // Then a timer limits the wait for the other packages.
  await onceUnchanged(() => vi.getTimerCount());
  await vi.advanceTimersByTimeAsync(58_000);
  expect(await isPending(ping)).toBe(true);
  await vi.advanceTimersByTimeAsync(3_000);
  await ping;
  expect(await packageNames(served)).toEqual(["hello 1.0-1"]);
  expect(served.repository.status().pending).toEqual([{ path: bomb, missing: [], inspecting: true }]);
});

test("after a restart, uploads wait only seconds for slow packages of others, and published packages stay", async () => {
  const { served, slow, letGo } = slowed();
  await put(served, alice, "hello");
  await put(served, mallory, "old");
  await served.ping();
  slow.files = (path) => path.includes("bomb");
  await put(served, mallory, "bomb");
  await served.restart();
  const path = await put(served, alice, "new");
  const begunMs = performance.now();
  expect((await served.ping(path)).added).toEqual([path]);
  expect(performance.now() - begunMs).toBeLessThan(5000);
  expect(await packageNames(served)).toEqual(["new 1.0-1", "old 1.0-1", "hello 1.0-1"]);
  letGo();
  await expect.poll(() => packageNames(served), { timeout: 20_000 }).toContain("bomb 1.0-1");
});

test("a refresh of the whole tree after a restart omits nothing that an earlier refresh is still reading", async () => {
  const gates: ReturnType<typeof withResolvers<void>>[] = [];
  let timesSeen = 0;
  let isSlow = false;
  const wrap = (tree: Tree): Tree => ({
    open: (...asked) => tree.open(...asked),
    async look(path, signal) {
      const gate = withResolvers<void>();
      if (isSlow && path === alice && gates.push(gate) > 0) await gate.promise;
      const node = await tree.look(path, signal);
      if (isSlow && path === place) timesSeen += 1;
      return node;
    },
  });
  const served = new ServedFolder({ wrap });
  await put(served, alice, "first");
  await served.ping();
  await served.restart();
  isSlow = true;
  const first = served.ping();
  await vi.waitFor(() => expect(gates).toHaveLength(1), 10_000);
  const second = served.ping();
  // The second ping has listed the suite and its directories, and waits for the builder's directory.
  await expect.poll(() => timesSeen).toBe(2);
  gates[0]?.resolve();
  await vi.waitFor(() => expect(gates).toHaveLength(2), 10_000);
  await first;
  expect(await packageNames(served)).toEqual(["first 1.0-1"]);
  gates[1]?.resolve();
  await second;
  expect(await packageNames(served)).toEqual(["first 1.0-1"]);
});

test("a ping during the first survey after a restart lists only its own file, after the survey", async () => {
  const { promise: gone, resolve: letGo } = withResolvers<void>();
  const listed: TreePath[] = [];
  let isSlow = false;
  const wrap = (tree: Tree): Tree => ({
    open: (...asked) => tree.open(...asked),
    async look(path, signal) {
      const node = await tree.look(path, signal);
      listed.push(path);
      // The listing has been made, so it lacks what is uploaded from now on.
      if (isSlow && path === place) await gone;
      return node;
    },
  });
  const served = new ServedFolder({ wrap });
  await put(served, place, "old");
  await served.ping();
  await served.restart();
  isSlow = true;
  listed.length = 0;
  const first = served.ping();
  await vi.waitFor(() => expect(listed).toContain(place), 10_000);
  const path = await put(served, place, "new");
  const ping = served.ping(path);
  expect(await isPending(ping)).toBe(true);
  letGo();
  expect((await ping).added).toContain(path);
  await first;
  expect(listed.filter((each) => each === place)).toEqual([place]);
  expect(listed.filter((each) => each === "dists/sid")).toHaveLength(1);
  expect(await packageNames(served)).toEqual(["new 1.0-1", "old 1.0-1"]);
});

test("a poll at the start does not survey a suite again that a ping has just begun to survey", async () => {
  const gates = new Map(["dists", place].map((path) => [path, withResolvers<void>()]));
  const listed: TreePath[] = [];
  const wrap = (tree: Tree): Tree => ({
    open: (...asked) => tree.open(...asked),
    async look(path, signal) {
      listed.push(path);
      await gates.get(path)?.promise;
      return await tree.look(path, signal);
    },
  });
  const served = new ServedFolder({ wrap });
  const path = await put(served, place, "hello");
  const polled = served.repository.start(3600);
  await vi.waitFor(() => expect(listed).toContain("dists"), 10_000);
  const ping = served.ping(path);
  await vi.waitFor(() => expect(listed).toContain(place), 10_000);
  gates.get("dists")?.resolve();
  expect(await isPending(polled)).toBe(true);
  gates.get(place)?.resolve();
  expect((await ping).added).toEqual([path]);
  expect(await polled).toBeUndefined();
  expect(listed.filter((each) => each === place)).toEqual([place]);
  expect(await packageNames(served)).toEqual(["hello 1.0-1"]);
});

test("the number of pings that wait for one directory is limited", async () => {
  const { served, slow, letGo } = slowed();
  await put(served, alice, "first");
  await put(served, mallory, "old");
  await served.ping();
  slow.listings = (path) => path.startsWith(mallory);
  const waiting = Array.from({ length: 2500 }, (_none, n) => served.ping(`${mallory}/${n}.deb`));
  const settled = Promise.allSettled(waiting);
  const path = await put(served, alice, "a");
  expect((await served.ping(path)).added).toEqual([path]);
  letGo();
  const refused = (await settled).filter(({ status }) => status === "rejected");
  expect(refused).toHaveLength(500);
  expect(refused[0]).toMatchObject({ reason: { code: "publishing/busy" } });
});
