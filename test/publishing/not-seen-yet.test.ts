// What a repository says while it can't know.
import { expect, test } from "vitest";
import { NotSeenYet } from "../../src/publishing/served.ts";
import type { Tree } from "../../src/storage/tree.ts";
import { StorageUnavailable } from "../../src/storage/tree.ts";
import { ServedFolder } from "../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const poolFile = `pool/SHA256/${"0".repeat(64)}/a_1_amd64.deb`;

test("nothing is called absent before the tree was seen: for APT that would be final", async () => {
  let broken = true;
  const failing = (tree: Tree): Tree => ({
    look: (path, signal) =>
      broken
        ? Promise.reject(new StorageUnavailable(path, "the grid is down", { transient: true }))
        : tree.look(path, signal),
    open: (file, range, signal) => tree.open(file, range, signal),
  });
  const served = new ServedFolder({ wrap: failing });
  served.makeDirectory(amd64);
  await expect(served.bytes("dists/sid/InRelease")).rejects.toThrow(NotSeenYet);
  await expect(served.ping()).rejects.toThrow(StorageUnavailable);
  await expect(served.bytes("dists/sid/InRelease")).rejects.toThrow("the grid is down");
  await expect(served.bytes(poolFile)).rejects.toThrow(NotSeenYet);
  expect(await served.bytes("favicon.ico")).toBeUndefined();

  broken = false;
  await served.ping(amd64);
  expect(await served.bytes("dists/sid/InRelease")).toBeDefined();
  expect(await served.bytes("dists/sid/Contents-amd64.gz")).toBeUndefined();
  await expect(served.bytes("dists/stable/InRelease")).rejects.toThrow(NotSeenYet);
  await served.ping();
  expect(await served.bytes("dists/stable/InRelease")).toBeUndefined();
  expect(await served.bytes(poolFile)).toBeUndefined();
});
