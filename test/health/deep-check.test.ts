// The deep-check of all objects of a tree: each once, with cycles, with failures, and without a gateway.
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

/** A fake: directories by path. */
const aTree = (directories: { readonly [path: string]: { readonly [name: string]: Entry } }): Tree => ({
  async look(path): Promise<Directory> {
    const entries = directories[path];
    if (entries === undefined) throw new StorageUnavailable(path, "it has no shares", { transient: false });
    return { kind: "directory", entries: new Map(Object.entries(entries)) };
  },
  async *open() {},
});

async function check(tree: Tree, health: HealthCheck["check"] = async () => well) {
  const reported: CheckedObject[] = [];
  const options = { verify: false, repair: false };
  const counts = await deepCheck(
    { tree, health: { check: health }, options, concurrency: 3, onChecked: (object) => void reported.push(object) },
    signal,
  );
  return { counts, told: reported.map(({ path, kind, health: { state } }) => `${kind} ${path || "/"} ${state}`) };
}

test("objects with several links are checked once, and cyclic directories end", async () => {
  const tree = aTree({
    "": { a: aDirectory("a"), b: aDirectory("b"), x: aFile("x") },
    a: { x: aFile("x"), up: aDirectory("b") },
    b: { down: aDirectory("a"), y: aFile("y") },
  });
  const { told: reported, counts } = await check(tree);
  expect(reported.toSorted()).toEqual(
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

test("an unlistable directory and entries that are not objects are reported as unchecked, and the check continues", async () => {
  const tree = aTree({ "": { a: aDirectory("a"), odd: { kind: "other", reason: "unknown" }, x: aFile("x") } });
  const { told: reported, counts } = await check(tree);
  expect(reported).toEqual([
    "directory / healthy",
    "file odd unchecked",
    "file x healthy",
    "directory a healthy",
    "directory a unchecked",
  ]);
  expect(counts).toMatchObject({ healthy: 3, unchecked: 2 });
});

test("if every check fails, the gateway is at fault and the deep-check ends", async () => {
  const files = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`f${n}`, aFile(`f${n}`)]));
  let asked = 0;
  const fails: HealthCheck["check"] = async ({ path }) => {
    asked++;
    throw new StorageUnavailable(path, "the connection failed", { transient: true });
  };
  await expect(check(aTree({ "": files }), fails)).rejects.toThrow(StorageUnavailable);
  expect(asked).toBeLessThan(30);
});

test("an internal error is not reported as an object's", async () => {
  const broken: HealthCheck["check"] = async () => {
    throw new TypeError("a mistake");
  };
  await expect(check(aTree({ "": {} }), broken)).rejects.toThrow(TypeError);
});
