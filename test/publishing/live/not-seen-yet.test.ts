// The responses of a repository before its tree is completely listed.
import { expect, onTestFinished, test, vi } from "vitest";
import { NotSeenYet } from "../../../src/publishing/served-repository.ts";
import { StorageUnavailable } from "../../../src/storage/tree.ts";
import { ServedFolder, unlistedWhile } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const poolFile = `pool/SHA256/${"0".repeat(64)}/a_1_amd64.deb`;

test("no path is reported as absent before the tree is listed, because apt would not retry", async () => {
  let broken = true;
  const served = new ServedFolder({ wrap: unlistedWhile(() => broken) });
  served.makeDirectory(amd64);
  await expect(served.bytes("dists/sid/InRelease")).rejects.toThrow(NotSeenYet);
  await expect(served.ping()).rejects.toThrow(StorageUnavailable);
  await expect(served.bytes("dists/sid/InRelease")).rejects.toThrow("the grid is down");
  await expect(served.bytes(poolFile)).rejects.toThrow(NotSeenYet);
  await expect(served.bytes("favicon.ico")).rejects.toThrow(StorageUnavailable);

  broken = false;
  await served.ping(amd64);
  expect(await served.bytes("dists/sid/InRelease")).toBeDefined();
  expect(await served.bytes("dists/sid/Contents-amd64.gz")).toBeUndefined();
  await expect(served.bytes("dists/stable/InRelease")).rejects.toThrow(NotSeenYet);
  await served.ping();
  expect(await served.bytes("dists/stable/InRelease")).toBeUndefined();
  expect(await served.bytes(poolFile)).toBeUndefined();
});

test("a tree that cannot be read is retried with increasing delays, without waiting for the next poll", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  let looks = 0;
  const served = new ServedFolder({
    wrap: (tree) => ({
      look: async (path) => {
        looks += 1;
        throw new StorageUnavailable(path, "the grid is down", { transient: true });
      },
      open: (file, range, signal) => tree.open(file, range, signal),
    }),
  });
  void served.repository.start(300);
  await vi.advanceTimersByTimeAsync(0);
  expect(looks).toBe(1);
  for (const seconds of [10, 20, 40, 80, 160, 300, 300]) {
    const before = looks;
    await vi.advanceTimersByTimeAsync(seconds * 1000 - 1);
    expect(looks).toBe(before);
    await vi.advanceTimersByTimeAsync(1);
    expect(looks).toBe(before + 1);
  }
});

test("after a restart, the age of the last publication is reported at once", async () => {
  const restored: string[] = [];
  const served = new ServedFolder({ observer: { restored: (suite) => void restored.push(suite) } });
  served.makeDirectory(amd64);
  await served.ping();
  expect(restored).toEqual([]);
  await served.restart();
  expect(restored).toEqual(["sid"]);
});
