// The inspection store: a stored finding always equals the finding of the stored inspection.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { Finding } from "../../../src/catalog/files/finding.ts";
import { findingOf } from "../../../src/catalog/files/finding.ts";
import type { BinaryInspection, Inspection, SourceInspection } from "../../../src/catalog/inspection/inspection.ts";
import { InspectionStore } from "../../../src/catalog/store/inspection-store.ts";
import type { DigestAlgorithm } from "../../../src/debian/digests.ts";
import { openStateDatabase } from "../../../src/publishing/store/state-database.ts";

const digests = { md5: "1".repeat(32), sha1: "2".repeat(40), sha256: "3".repeat(64) };

const binary: BinaryInspection = {
  kind: "binary",
  sizeBytes: 7,
  digests,
  builtAtSeconds: 1_700_000_000,
  control: [
    ["Package", "hello"],
    ["Version", "1:2.10-3"],
    ["Architecture", "amd64"],
    ["Source", "greetings (2.10)"],
    ["Maintainer", "Å. Ömer <a@example.org>"],
    ["Description", "says hello\n in two\n .\n lines"],
  ],
};

const source: SourceInspection = {
  kind: "source",
  sizeBytes: 8,
  digests,
  dsc: [
    ["Source", "hello"],
    ["Version", "1"],
  ],
  parts: [{ name: "hello_1.tar.xz", sizeBytes: 9, digests: { sha256: "4".repeat(64) } }],
};

const rejected: Inspection = { kind: "rejected", code: "limit", text: "too large" };

/** A database that is closed and opened again between two inspection stores. */
function aDisk() {
  const directory = mkdtempSync(join(tmpdir(), "ledger-"));
  let root = openStateDatabase(join(directory, "database"));
  onTestFinished(async () => {
    await root.close();
    rmSync(directory, { recursive: true });
  });
  return {
    /** Changes the stored record of a content, as a bad disk does. */
    async damage(contentKey: string, change: (record: Buffer) => Buffer) {
      const records = root.openDB<Buffer, string>({ name: "ledger", encoding: "binary" });
      for (const key of [...records.getKeys()].filter((each) => each.endsWith(`/${contentKey}`)))
        await records.put(key, change(Buffer.from(records.get(key) ?? "")));
    },
    async inspectionStore(algorithms: readonly DigestAlgorithm[], limits = "as they are") {
      await root.close();
      root = openStateDatabase(join(directory, "database"));
      return new InspectionStore(
        root.openDB<Buffer, string>({ name: "ledger", encoding: "binary" }),
        limits,
        algorithms,
      );
    },
  };
}

/** A plain object with the properties of the interface. */
const plain = (finding: Finding | undefined): unknown => JSON.parse(JSON.stringify(finding ?? null));

test.each([binary, source, rejected, { kind: "part", sizeBytes: 1, digests } as const])(
  "a finding is the same before a $kind file is written and after a restart",
  async (inspection) => {
    const disk = aDisk();
    const inspectionStore = await disk.inspectionStore(["md5", "sha1", "sha256"]);
    const put = await inspectionStore.put("key", inspection);
    expect(plain(put)).toEqual(plain(findingOf(inspection)));
    expect(plain(inspectionStore.finding("key"))).toEqual(plain(put));
    expect(inspectionStore.get("key")).toEqual(inspection);
    const again = await disk.inspectionStore(["md5", "sha1", "sha256"]);
    expect(plain(again.finding("key"))).toEqual(plain(put));
    expect(again.get("key")).toEqual(inspection);
    expect(again.finding("other")).toBeUndefined();
  },
);

test("a finding contains the digests that are required now, not those required when it was stored", async () => {
  const disk = aDisk();
  await (await disk.inspectionStore(["md5", "sha256"])).put("key", binary);
  const fewer = (await disk.inspectionStore(["sha256"])).finding("key");
  const direct = findingOf({ ...binary, digests: { sha256: digests.sha256 } });
  expect(plain(fewer)).toEqual(plain(direct));
  expect(plain(fewer)).not.toEqual(plain(findingOf(binary)));
});

test("an inspection that lacks a required digest is not returned", async () => {
  const disk = aDisk();
  await (await disk.inspectionStore(["sha256"])).put("key", binary);
  const more = await disk.inspectionStore(["sha256", "sha512"]);
  expect([more.finding("key"), more.get("key")]).toEqual([undefined, undefined]);
});

test("a rejection is valid only for the limits under which it was made", async () => {
  const disk = aDisk();
  await (await disk.inspectionStore(["sha256"], "narrow")).put("key", rejected);
  const wide = await disk.inspectionStore(["sha256"], "wide");
  expect([wide.finding("key"), wide.get("key")]).toEqual([undefined, undefined]);
  expect((await disk.inspectionStore(["sha256"], "narrow")).finding("key")).toEqual(rejected);
});

test("many long inspections at once are stored without blocking the event loop", async () => {
  const inspectionStore = await aDisk().inspectionStore(["sha256"]);
  const parts = Array.from({ length: 1000 }, (_, n) => ({
    name: `hello_1.orig-component${n}.tar.xz`,
    sizeBytes: 9,
    digests: { sha256: n.toString(16).padStart(64, "0") },
  }));
  let isOver = false;
  let turns = 0;
  const others = (async () => {
    for (; !isOver; turns++) await new Promise((resolve) => setImmediate(resolve));
  })();
  await Promise.all(Array.from({ length: 100 }, (_, n) => inspectionStore.put(`long${n}`, { ...source, parts })));
  isOver = true;
  await others;
  expect(turns).toBeGreaterThan(10);
  expect(inspectionStore.get("long99")).toMatchObject({ parts });
});

test.each([
  ["zeroed", (record: Buffer) => Buffer.alloc(record.length)],
  ["truncated", (record: Buffer) => record.subarray(0, 20)],
  ["emptied", () => Buffer.alloc(0)],
  ["replaced by other JSON", () => Buffer.from("{}\nnull")],
])("a record that was %s on disk counts as missing, and can be replaced", async (_how, change) => {
  const disk = aDisk();
  const first = await disk.inspectionStore(["sha256"]);
  await first.put("damaged", binary);
  const second = await disk.inspectionStore(["sha256"]);
  expect(second.get("damaged")).toBeDefined();
  await disk.damage("damaged", change);
  const third = await disk.inspectionStore(["sha256"]);
  expect([third.get("damaged"), third.finding("damaged")]).toEqual([undefined, undefined]);
  await third.put("damaged", binary);
  expect(third.finding("damaged")).toMatchObject({ kind: "binary" });
});

test("any changed byte of a record is noticed: the content is inspected again", async () => {
  const disk = aDisk();
  await (await disk.inspectionStore(["sha256"])).put("changed", binary);
  let length = 0;
  await disk.damage("changed", (record) => {
    length = record.length;
    return record;
  });
  const sound = await disk.inspectionStore(["sha256"]);
  const [finding, inspection] = [plain(sound.finding("changed")), sound.get("changed")];
  const flip = (at: number) =>
    disk.damage("changed", (record) => Buffer.from(record.map((byte, index) => (index === at ? byte ^ 1 : byte))));
  let noticed = 0;
  for (let at = 0; at < length; at += 1) {
    await flip(at);
    // If only the name of a field has changed, everything is still as it was stored.
    const found = [sound.finding("changed"), sound.get("changed")] as const;
    expect([undefined, finding], `byte ${at}`).toContainEqual(found[0] && plain(found[0]));
    expect([undefined, inspection], `byte ${at}`).toContainEqual(found[1]);
    if (found.includes(undefined)) noticed += 1;
    await flip(at);
  }
  expect(noticed).toBeGreaterThan(length - 10);
  expect([plain(sound.finding("changed")), sound.get("changed")]).toEqual([finding, inspection]);
});

test("records that version 0.1.0 wrote, without checksums, are read", async () => {
  const disk = aDisk();
  const store = await disk.inspectionStore(["sha256"]);
  await store.put("old", binary);
  const before = [plain(store.finding("old")), store.get("old")];
  const again = await disk.inspectionStore(["sha256"]);
  await disk.damage("old", (record) => {
    const [first = "", second] = record.toString().split("\n");
    const { crc32: _own, inspectionCrc32: _other, ...summary } = JSON.parse(first) as Record<string, unknown>;
    return Buffer.from(`${JSON.stringify(summary)}\n${second}`);
  });
  expect([plain(again.finding("old")), again.get("old")]).toEqual(before);
});

test("a content stays marked untrusted, also after a restart, until its bytes were read", async () => {
  const disk = aDisk();
  const store = await disk.inspectionStore(["sha256"]);
  await store.put("binary/content", binary);
  expect(store.hasUntrusted()).toBe(false);
  await store.markUntrusted("content");
  const again = await disk.inspectionStore(["sha256"]);
  expect(again.hasUntrusted()).toBe(true);
  expect(["content", "another"].map((key) => again.isUntrusted(key))).toEqual([true, false]);
  await again.clearUntrusted("content");
  expect(again.hasUntrusted()).toBe(false);
});
