// A suite that is no longer in the tree is withdrawn. With other replicas this takes a while, in which packages arrive.
import { expect, test, vi } from "vitest";
import { parseSuite } from "../../../src/base/names.ts";
import { withResolvers } from "../../../src/base/with-resolvers.ts";
import { noReplicas } from "../../../src/publishing/build/replicas.ts";
import type { ServedSuite } from "../../../src/publishing/live/served-suite.ts";
import type { Tree } from "../../../src/storage/tree.ts";
import { aDeb } from "../../support/debs.ts";
import type { ServedFolderOptions } from "../../support/served-folder.ts";
import { packageNames, ServedFolder, treePath } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const sid = parseSuite("sid");

const suiteOf = ({ repository }: ServedFolder): ServedSuite | undefined =>
  [...repository.suites()].find(({ name }) => name === sid);

/** A repository whose suite is gone, while the other replicas are being told. */
async function withdrawing(options: ServedFolderOptions = {}) {
  const { promise: told, resolve: endTelling } = withResolvers<void>();
  const { promise: telling, resolve: tell } = withResolvers<void>();
  const announceWithdrawal = async () => {
    tell();
    await told;
  };
  const served = new ServedFolder({ ...options, replicas: { ...noReplicas, announceWithdrawal } });
  served.put(`${amd64}/one/first.deb`, await aDeb({ package: "first" }));
  await served.ping();
  served.remove("dists/sid");
  const withdrawn = served.ping();
  await telling;
  return { served, withdrawn, endTelling };
}

test("a package that is uploaded while its suite is being withdrawn is published by its ping", async () => {
  const { served, withdrawn, endTelling } = await withdrawing();
  served.put(`${amd64}/one/second.deb`, await aDeb({ package: "second" }));
  const pinged = served.ping(`${amd64}/one`);
  await vi.waitFor(() => expect(suiteOf(served)?.hasChanges).toBe(true));
  endTelling();
  expect((await withdrawn).publications).toEqual([]);
  expect((await pinged).added).toEqual([`${amd64}/one/second.deb`]);
  expect(await packageNames(served)).toEqual(["second 1.0-1"]);
});

test("a package is published although its ping still waits for another directory when its suite is withdrawn", async () => {
  const { promise: listable, resolve: list } = withResolvers<void>();
  let mustWait = false;
  const wrap = (tree: Tree): Tree => ({
    look: async (path, signal) => {
      if (mustWait && path === treePath(`${amd64}/two`)) await listable;
      return await tree.look(path, signal);
    },
    open: (file, range, signal) => tree.open(file, range, signal),
  });
  const builderDirectories = () => [treePath(`${amd64}/one`), treePath(`${amd64}/two`)];
  const { served, withdrawn, endTelling } = await withdrawing({ wrap, builderDirectories });
  mustWait = true;
  served.put(`${amd64}/one/second.deb`, await aDeb({ package: "second" }));
  served.put(`${amd64}/two/third.deb`, await aDeb({ package: "third" }));
  const pinged = served.ping();
  await vi.waitFor(() => expect(suiteOf(served)?.hasChanges).toBe(true));
  endTelling();
  await withdrawn;
  list();
  expect((await pinged).added).toEqual([`${amd64}/one/second.deb`, `${amd64}/two/third.deb`]);
  expect(await packageNames(served)).toEqual(["second 1.0-1", "third 1.0-1"]);
});

test("a suite is served until the others are told that it is withdrawn, and this is stored", async () => {
  const { served, withdrawn, endTelling } = await withdrawing();
  const { repository } = served;
  expect(repository.currentOf(sid)).toBeDefined();
  const withdraw = repository.store.withdraw.bind(repository.store);
  const whileStored = vi.spyOn(repository.store, "withdraw").mockImplementationOnce(async (...stored) => {
    expect(repository.currentOf(sid)).toBeDefined();
    await withdraw(...stored);
  });
  endTelling();
  await withdrawn;
  expect(whileStored).toHaveBeenCalledOnce();
  expect(repository.currentOf(sid)).toBeUndefined();
});

test("a suite stays in service if the others cannot be told that it is gone, until they can", async () => {
  let canTell = false;
  const announceWithdrawal = async () => {
    if (!canTell) throw new Error("nobody can be told");
  };
  const served = new ServedFolder({ replicas: { ...noReplicas, announceWithdrawal } });
  served.put(`${amd64}/first.deb`, await aDeb({ package: "first" }));
  await served.ping();
  served.remove("dists/sid");
  await expect(served.ping()).rejects.toThrow("nobody can be told");
  expect(await packageNames(served)).toEqual(["first 1.0-1"]);
  canTell = true;
  expect((await served.ping()).publications).toEqual([]);
  expect(suiteOf(served)).toBeUndefined();
});

test("a suite that is withdrawn is not in service any more", async () => {
  const { served, withdrawn, endTelling } = await withdrawing();
  endTelling();
  await withdrawn;
  expect(suiteOf(served)).toBeUndefined();
  expect(served.repository.store.withdrawalOf(sid)).toBeDefined();
});

test("a suite whose directory stays without packages is withdrawn once", async () => {
  const served = new ServedFolder({});
  served.put(`${amd64}/first.deb`, await aDeb({ package: "first" }));
  await served.ping();
  served.put("dists/sid/first.deb", await aDeb({ package: "first" }));
  served.remove("dists/sid/main");
  const withdraw = vi.spyOn(served.repository.store, "withdraw");
  for (let look = 1; look <= 3; look++) await served.ping();
  expect(withdraw).toHaveBeenCalledTimes(1);
  expect(suiteOf(served)).toBeUndefined();
});

test("a publication of another replica is served although its withdrawn suite is dropped while it is stored", async () => {
  const replicas = { ...noReplicas, isPublisher: true };
  const served = new ServedFolder({ replicas });
  served.put(`${amd64}/first.deb`, await aDeb({ package: "first" }));
  await served.ping();
  const { repository } = served;
  const manifest = repository.currentOf(sid);
  if (manifest === undefined) throw new Error("nothing is published");
  replicas.isPublisher = false;
  await repository.adoptWithdrawal(sid, Date.now(), manifest.dateSeconds);
  expect(suiteOf(served)).toBeDefined();
  served.remove("dists/sid");
  const publish = repository.store.publish.bind(repository.store);
  vi.spyOn(repository.store, "publish").mockImplementationOnce(async (...stored) => {
    await served.ping();
    expect(suiteOf(served)).toBeUndefined();
    await publish(...stored);
  });
  await repository.adopt(manifest, Date.now());
  expect(repository.currentOf(sid)?.id).toBe(manifest.id);
});
