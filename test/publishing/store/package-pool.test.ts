// The pool on disk: a restart does not write unchanged records again.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test, vi } from "vitest";
import { ContentId } from "../../../src/base/content-id.ts";
import { parseArchitecture, parseComponent, parseTreePath } from "../../../src/base/names.ts";
import type { BinaryIndexEntry } from "../../../src/catalog/suite/index-entry.ts";
import type { PoolRecord } from "../../../src/publishing/store/package-pool.ts";
import { PackagePool } from "../../../src/publishing/store/package-pool.ts";
import { openStateDatabase } from "../../../src/publishing/store/state-database.ts";

function aPool() {
  const directory = mkdtempSync(join(tmpdir(), "pool-"));
  const root = openStateDatabase(join(directory, "database"));
  onTestFinished(async () => {
    await root.close();
    rmSync(directory, { recursive: true });
  });
  const files = root.openDB<PoolRecord, string>({ name: "debian/pool" });
  const segments = root.openDB<string, string>({ name: "debian/pool-segments" });
  const pool = new PackagePool(files, segments);
  return { files, pool, found: () => pool.find(`pool/SHA256/${"2".repeat(64)}/hello_1_amd64.deb`) };
}

function anEntry(builder: string, content: string): BinaryIndexEntry {
  const linkedAtMs = 1_700_000_000_000;
  return {
    kind: "binary",
    path: parseTreePath(`dists/sid/main/binary-amd64/${builder}/hello_1_amd64.deb`),
    linkedAtMs,
    identity: "1".repeat(64),
    component: parseComponent("main"),
    package: "hello",
    version: "1",
    entry: {
      kind: "file",
      content: new ContentId(content),
      sizeBytes: 7,
      linkedAtMs,
      relinkedAtMs: linkedAtMs,
      metadata: undefined,
    },
    inspectionKey: "binary/hello",
    sizeBytes: 7,
    sha256: "2".repeat(64),
    stanzaKey: "hello",
    stanzaBytes: 1,
    architecture: parseArchitecture("amd64"),
    variant: undefined,
    builtAtSeconds: 1,
    descriptionKey: undefined,
    source: undefined,
    forInstaller: false,
  };
}

test("a record is written once, and again if the package has another path", async () => {
  const { files, pool, found } = aPool();
  const put = vi.spyOn(files, "put");

  await pool.add([anEntry("one", "first")]);
  expect(found()?.path).toBe("dists/sid/main/binary-amd64/one/hello_1_amd64.deb");
  await pool.add([anEntry("one", "first")]);
  expect(put).toHaveBeenCalledTimes(1);

  await pool.add([anEntry("two", "first")]);
  expect(found()?.path).toBe("dists/sid/main/binary-amd64/two/hello_1_amd64.deb");
  await pool.add([anEntry("two", "second")]);
  expect(found()?.content?.reveal()).toBe("second");
});

test("the records of a segment are read again only if one of its packages has another path or content", async () => {
  const { files, pool, found } = aPool();
  const aSegment = (entry: BinaryIndexEntry) => ({ id: "segment", items: [entry] });
  await pool.addSegments([aSegment(anEntry("one", "first"))]);
  expect(found()?.content?.reveal()).toBe("first");
  const get = vi.spyOn(files, "get");
  await pool.addSegments([aSegment(anEntry("one", "first"))]);
  expect(get).not.toHaveBeenCalled();

  await pool.addSegments([aSegment(anEntry("one", "second"))]);
  expect(found()?.content?.reveal()).toBe("second");

  // The fingerprint of the segment is the present one, but the record is another one meanwhile.
  await pool.add([anEntry("two", "third")]);
  await pool.addSegments([aSegment(anEntry("one", "second"))]);
  expect(found()?.content?.reveal()).toBe("second");
});

test("a segment whose packages were deleted is added again", async () => {
  const { pool, found } = aPool();
  const segment = { id: "segment", items: [anEntry("one", "first")] };
  await pool.addSegments([segment]);
  await pool.keepOnly(new Set(), new Set());
  expect(found()).toBeUndefined();
  await pool.addSegments([segment]);
  expect(found()?.content?.reveal()).toBe("first");
});

test("a record can be read by its file as soon as it is being added, and is on disk later", async () => {
  const { pool, found } = aPool();
  const [path, key] = [`pool/SHA256/${"2".repeat(64)}/hello_1_amd64.deb`, `${"2".repeat(64)}/hello_1_amd64.deb`];
  const adding = pool.add([anEntry("a", "URI:CHK:one")]);
  const records = await pool.recordsOf([path, "pool/SHA256/unknown"]);
  expect(found()).toBeUndefined();
  await adding;
  expect(await pool.recordsOf([path])).toEqual(records);
  expect(records).toMatchObject([[key, { path: found()?.path }]]);
});

test.each(["add", "addSegments"] as const)(
  "records that %s could not write are not passed on as missing, until they are added again",
  async (kind) => {
    const { files, pool } = aPool();
    const path = `pool/SHA256/${"2".repeat(64)}/hello_1_amd64.deb`;
    const items = [anEntry("a", "URI:CHK:one")];
    const add = () => (kind === "add" ? pool.add(items) : pool.addSegments([{ id: "segment", items }]));
    // A fake, because the disk of this machine is not full. The reason comes later, as with lmdb.
    const failed = Object.assign(new Error("Commit failed"), { commitError: sleep(50).then(() => undefined) });
    vi.spyOn(files, "put").mockImplementationOnce(() => Promise.reject(failed));
    const adding = expect(add()).rejects.toMatchObject({ code: "state/unwritable" });
    await setImmediate();
    await expect(pool.recordsOf([path])).rejects.toMatchObject({ code: "state/unwritable" });
    await adding;
    await expect(pool.recordsOf([path])).rejects.toMatchObject({ code: "state/unwritable" });
    expect(await pool.recordsOf([])).toEqual([]);
    await add();
    expect(await pool.recordsOf([path])).toHaveLength(1);
  },
);
