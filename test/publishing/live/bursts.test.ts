// Many concurrent pings, also for several suites: the number of builds and signatures, and the time of each response.
import { expect, test } from "vitest";
import type { TreePath } from "../../../src/base/names.ts";
import type { Signer } from "../../../src/signing/signer.ts";
import type { Tree } from "../../../src/storage/tree.ts";
import { aDeb } from "../../support/debs.ts";
import { ServedFolder, treePath } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";

/** A signer that counts its calls and can be paused by the test. */
function countingSigner() {
  let held = Promise.resolve();
  let reached = (): void => {};
  const signer: Signer & { signed: number } = {
    publicKey: "no key",
    publicKeyBytes: Buffer.from("no key"),
    keys: [],
    signed: 0,
    sign: async (release) => {
      signer.signed += 1;
      reached();
      await held;
      return { inRelease: release, releaseGpg: "no signature" };
    },
  };
  /** Pauses signing until `goOn` is called; `isReached` resolves when a call is waiting. */
  const hold = () => {
    let goOn = (): void => {};
    held = new Promise((resolve) => {
      goOn = resolve;
    });
    const isReached = new Promise<void>((resolve) => {
      reached = resolve;
    });
    return { goOn, isReached };
  };
  return { signer, hold };
}

const put = async (served: ServedFolder, name: string, suite = "sid"): Promise<string> => {
  const path = `dists/${suite}/main/binary-amd64/${name}.deb`;
  served.put(path, await aDeb({ package: name, architecture: "amd64" }));
  return path;
};

const isListed = async (served: ServedFolder, name: string): Promise<boolean> =>
  (await served.text(`${amd64}/Packages`)).split("\n").includes(`Package: ${name}`);

test("a hundred pings at once make two builds, and each is answered when its own file can be downloaded", async () => {
  const { signer } = countingSigner();
  const served = new ServedFolder({ signer });
  await put(served, "first");
  await served.ping();
  expect(signer.signed).toBe(1);
  const names = Array.from({ length: 100 }, (_, n) => `p${n}`);
  const paths = await Promise.all(names.map((name) => put(served, name)));
  const outcomes = await Promise.all(
    paths.map(async (path, n) => {
      const outcome = await served.repository.ping(treePath(path), new AbortController().signal);
      expect(await isListed(served, names[n] ?? "")).toBe(true);
      expect(await served.repository.find(path, new AbortController())).toBeDefined();
      return outcome;
    }),
  );
  expect(outcomes.map(({ added }) => added)).toEqual(paths.map((path) => [path]));
  expect(signer.signed).toBeLessThanOrEqual(3);
});

test("a ping that arrives during a build is answered by the next build", async () => {
  const { signer, hold } = countingSigner();
  const served = new ServedFolder({ signer });
  await put(served, "first");
  await served.ping();
  const { goOn, isReached } = hold();
  const answered: string[] = [];
  const ask = async (name: string): Promise<void> => {
    await served.ping(`${amd64}/${name}.deb`);
    answered.push(name);
    expect(await isListed(served, name)).toBe(true);
  };
  await put(served, "early");
  const early = ask("early");
  await isReached;
  await put(served, "late");
  const late = ask("late");
  expect(await isListed(served, "early")).toBe(false);
  goOn();
  await Promise.all([early, late]);
  expect(answered).toEqual(["early", "late"]);
  expect(signer.signed).toBe(3);
});

test("a change in one suite rebuilds and signs only that suite, and a ping of the suite lists only that suite", async () => {
  const { signer } = countingSigner();
  const listed: TreePath[] = [];
  const watched = (tree: Tree): Tree => ({
    look: (path, signal) => {
      listed.push(path);
      return tree.look(path, signal);
    },
    open: (file, range, signal) => tree.open(file, range, signal),
  });
  const served = new ServedFolder({ signer, wrap: watched });
  await put(served, "here", "sid");
  await put(served, "there", "stable");
  await served.ping();
  expect(signer.signed).toBe(2);
  const before = await served.text("dists/stable/InRelease");

  const path = await put(served, "more", "sid");
  await served.ping();
  expect(signer.signed).toBe(3);
  listed.length = 0;
  await put(served, "again", "sid");
  await served.ping(path.replace("more", "again"));
  expect(signer.signed).toBe(4);
  expect(listed.filter((each) => each.startsWith("dists/stable"))).toEqual([]);
  expect(await served.text("dists/stable/InRelease")).toBe(before);

  await served.restart();
  await served.ping();
  await served.ping();
  expect(signer.signed).toBe(4);
});

test("a client that disconnects stops neither the refresh nor other clients that wait for it", async () => {
  const { signer, hold } = countingSigner();
  const served = new ServedFolder({ signer });
  await put(served, "first");
  await served.ping();
  const { goOn, isReached } = hold();
  const path = await put(served, "a");
  const impatient = new AbortController();
  const given = served.repository.ping(treePath(path), impatient.signal);
  await isReached;
  const patient = served.ping(path);
  impatient.abort(new Error("the asker has gone"));
  await expect(given).rejects.toThrow("the asker has gone");
  goOn();
  expect((await patient).publications).toHaveLength(1);
  expect(await isListed(served, "a")).toBe(true);
  expect(signer.signed).toBe(2);
});

test("a build that fails in its last step is repeated by the next refresh, although nothing has changed", async () => {
  const { signer } = countingSigner();
  let broken = false;
  const failing: Signer = {
    ...signer,
    sign: async (release, dateSeconds) => {
      if (broken) throw new Error("the signer is down");
      return await signer.sign(release, dateSeconds);
    },
  };
  const served = new ServedFolder({ signer: failing });
  await put(served, "first");
  await served.ping();
  const before = await served.text("dists/sid/InRelease");
  broken = true;
  const path = await put(served, "a");
  await expect(served.ping(path)).rejects.toThrow("the signer is down");
  expect(await served.text("dists/sid/InRelease")).toBe(before);
  broken = false;
  expect((await served.ping(path)).added).toEqual([path]);
  expect(await isListed(served, "a")).toBe(true);
});
