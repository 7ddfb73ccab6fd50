// Writing segments to disk: every caller that waits for a segment gets the error if the write failed.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { parseRepositoryName } from "../../../src/base/names.ts";
import { SegmentStore } from "../../../src/publishing/store/segment-store.ts";
import { openStateDatabase } from "../../../src/publishing/store/state-database.ts";
import { fullWhile } from "../../support/full-disk.ts";

const plain = Buffer.from("Package: hello\n");
const compressed = { gz: plain, xz: { bytes: plain, unpaddedBytes: 15, uncompressedBytes: 15 }, lines: 1 };

function aStore(isFull: () => boolean): SegmentStore {
  const directory = mkdtempSync(join(tmpdir(), "segment-store-"));
  const root = openStateDatabase(join(directory, "database"));
  onTestFinished(async () => {
    await root.close();
    rmSync(directory, { recursive: true });
  });
  return new SegmentStore(fullWhile(root, isFull), parseRepositoryName("debian"));
}

test("every caller that waits for a segment gets its write error, also after another caller", async () => {
  let isFull = true;
  const store = aStore(() => isFull);
  await store.put("one", plain, compressed);
  await expect(store.written(["one"])).rejects.toMatchObject({ code: "state/unwritable" });
  await expect(store.written(["one"])).rejects.toMatchObject({ code: "state/unwritable" });
  expect(store.sizesOf("one")).toBeUndefined();
  isFull = false;
  await store.put("one", plain, compressed);
  await store.written(["one"]);
  expect(Buffer.from(store.read("one", "plain"))).toEqual(plain);
});

test("a build that began before a write failed can read the segment until it gets the error", async () => {
  const store = aStore(() => true);
  await store.put("one", plain, compressed);
  // The build that stored it gives up first.
  await expect(store.written(["one"])).rejects.toMatchObject({ code: "state/unwritable" });
  expect(Buffer.from(store.read("one", "plain"))).toEqual(plain);
  expect(Buffer.from(store.readTransient("one", "xz"))).toEqual(plain);
  await expect(store.written(["one"])).rejects.toMatchObject({ code: "state/unwritable" });
});

test("a caller that waits for its own segment does not get the errors of others", async () => {
  let isFull = true;
  const store = aStore(() => isFull);
  await store.put("others", plain, compressed);
  isFull = false;
  await store.put("own", plain, compressed);
  await store.written(["own"]);
  await expect(store.written(["others"])).rejects.toMatchObject({ code: "state/unwritable" });
});

test("of many segments that cannot be written, few stay in memory, and none counts as written", async () => {
  let isFull = true;
  const store = aStore(() => isFull);
  const ids = Array.from({ length: 100 }, (_, index) => `segment ${index}`);
  const put = (id: string) => store.put(id, plain, compressed);
  let refused = 0;
  for (const id of ids) await put(id).catch(() => (refused += 1));
  expect(refused).toBeGreaterThan(60);
  // The caller that builds an index of the first segments gets their errors when it finishes.
  expect(Buffer.from(store.read("segment 0", "plain"))).toEqual(plain);
  expect(ids.filter((id) => store.sizesOf(id) !== undefined)).toEqual([]);
  isFull = false;
  await put("segment 0");
  await store.written(["segment 0"]);
  for (const id of ids.slice(1)) await expect(store.written([id])).rejects.toMatchObject({ code: "state/unwritable" });
});

test("transient reads return the same bytes as normal ones, during and after the write, and after a longer segment", async () => {
  const store = aStore(() => false);
  const forms = ["plain", "gz", "xz"] as const;
  const long = Buffer.alloc(300_000, "Package: long\n");
  const ofLong = { gz: long, xz: { bytes: long, unpaddedBytes: 15, uncompressedBytes: 15 }, lines: 1 };
  await store.put("long", long, ofLong);
  await store.put("short", plain, compressed);
  const same = () => {
    for (const id of ["long", "short", "long"]) {
      for (const form of forms)
        expect(Buffer.from(store.readTransient(id, form)).equals(store.read(id, form))).toBe(true);
    }
  };
  same();
  await store.written(["long", "short"]);
  same();
  await store.put("packed", plain, { ...compressed, gz: gzipSync(plain) }, "compressed");
  await store.written(["packed"]);
  expect(Buffer.from(store.readTransient("packed", "plain"))).toEqual(plain);
});

test("all of a segment can be read that could not be written, as others need it", async () => {
  const store = aStore(() => true);
  const sizes = await store.put("one", plain, compressed);
  await expect(store.written(["one"])).rejects.toMatchObject({ code: "state/unwritable" });
  expect(store.contentOf("one")).toMatchObject({ sizes, kept: "plain" });
  expect(() => store.contentOf("another")).toThrow("lacks segment another");
});
