// The walk over all objects of a tree: each once, around loops, past what fails, and not on and on without a gateway.
import { expect, test } from "vitest";
import { ContentId } from "../../src/base/content-id.ts";
import type { CheckedObject } from "../../src/health/deep-check.ts";
import { deepCheck } from "../../src/health/deep-check.ts";
import type { Health, HealthCheck } from "../../src/storage/health.ts";
import type { Directory, Entry, Tree } from "../../src/storage/tree.ts";
import { StorageUnavailable } from "../../src/storage/tree.ts";

const { signal } = new AbortController();
const well: Health = {
  state: "healthy",
  storageIndex: "si",
  shares: { good: 1, needed: 1, expected: 1 },
  repaired: false,
};

const aFile = (id: string): Entry => ({
  kind: "file",
  sizeBytes: 1,
  content: new ContentId(id),
  linkedAtMs: 0,
  relinkedAtMs: 0,
  metadata: undefined,
});

const aDirectory = (identity: string): Entry => ({ kind: "directory", directoryIdentity: identity });

/** A fake: directories by their path. */
const aTree = (directories: { readonly [path: string]: { readonly [name: string]: Entry } }): Tree => ({
  async look(path): Promise<Directory> {
    const entries = directories[path];
    if (entries === undefined) throw new StorageUnavailable(path, "it has no shares", { transient: false });
    return { kind: "directory", entries: new Map(Object.entries(entries)) };
  },
  async *open() {},
});

async function check(tree: Tree, health: HealthCheck["check"] = async () => well) {
  const told: CheckedObject[] = [];
  const options = { verify: false, repair: false };
  const counts = await deepCheck(
    { tree, health: { check: health }, options, concurrency: 3, onChecked: (object) => void told.push(object) },
    signal,
  );
  return { counts, told: told.map(({ path, kind, health: { state } }) => `${kind} ${path || "/"} ${state}`) };
}

test("what is linked at several places is checked once, and directories that hold each other come to an end", async () => {
  const tree = aTree({
    "": { a: aDirectory("a"), b: aDirectory("b"), x: aFile("x") },
    a: { x: aFile("x"), up: aDirectory("b") },
    b: { down: aDirectory("a"), y: aFile("y") },
  });
  const { told, counts } = await check(tree);
  expect(told.toSorted()).toEqual(
    [
      "directory / healthy",
      "directory a healthy",
      "directory b healthy",
      "file x healthy",
      "file b/y healthy",
    ].toSorted(),
  );
  expect(counts).toMatchObject({ healthy: 5, renewed: 5 });
});

test("a directory that can't be listed, and what is no object, are told as unchecked; all else goes on", async () => {
  const tree = aTree({ "": { a: aDirectory("a"), odd: { kind: "other", reason: "unknown" }, x: aFile("x") } });
  const { told, counts } = await check(tree);
  expect(told).toEqual([
    "directory / healthy",
    "file odd unchecked",
    "file x healthy",
    "directory a healthy",
    "directory a unchecked",
  ]);
  expect(counts).toMatchObject({ healthy: 3, unchecked: 2 });
});

test("where every check fails it is the gateway, and the walk ends", async () => {
  const files = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`f${n}`, aFile(`f${n}`)]));
  let asked = 0;
  const fails: HealthCheck["check"] = async ({ path }) => {
    asked++;
    throw new StorageUnavailable(path, "the connection failed", { transient: true });
  };
  await expect(check(aTree({ "": files }), fails)).rejects.toThrow(StorageUnavailable);
  expect(asked).toBeLessThan(30);
});

test("a fault of ours is not taken for an object's", async () => {
  const broken: HealthCheck["check"] = async () => {
    throw new TypeError("a mistake");
  };
  await expect(check(aTree({ "": {} }), broken)).rejects.toThrow(TypeError);
});
