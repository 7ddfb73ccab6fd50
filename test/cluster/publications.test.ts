// What the publisher puts into Valkey and into announcements, and what the others take over from there.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import { parseRepositoryName } from "../../src/base/names.ts";
import { Secret } from "../../src/base/secret.ts";
import { SharedPublications } from "../../src/cluster/publications.ts";
import { Sealing } from "../../src/cluster/sealing.ts";
import { Valkey } from "../../src/cluster/valkey.ts";
import type { SegmentSizes } from "../../src/indices/assemble.ts";
import type { Manifest, Signatures, UnsignedManifest } from "../../src/publishing/store/publication.ts";
import { publicationId } from "../../src/publishing/store/publication.ts";
import { PublicationStore } from "../../src/publishing/store/publication-store.ts";
import { closeStateDatabase, openStateDatabase } from "../../src/publishing/store/state-database.ts";
import { fullWhile } from "../support/full-disk.ts";
import { sid } from "../support/replicas.ts";
import { slowLink } from "../support/slow-link.ts";
import { ValkeyUnderTest } from "../support/valkey.ts";

const stateName = parseRepositoryName("debian");
const signatures: Signatures = { inRelease: "signed", releaseGpg: "a signature" };
const servedMs = 1_000_000;
let valkey: ValkeyUnderTest;

beforeEach(async () => {
  valkey = await ValkeyUnderTest.start();
});
afterEach(async () => {
  await valkey.stop();
});

/** A replica with a store of its own. It ends with the test. */
async function aReplica(isFull = () => false, settings = valkey.settings()) {
  const directory = mkdtempSync(join(tmpdir(), "shared-"));
  const root = openStateDatabase(join(directory, "database"));
  const connection = new Valkey(settings, silentLog);
  onTestFinished(async () => {
    connection.close();
    await closeStateDatabase(root);
    rmSync(directory, { recursive: true });
  });
  await vi.waitFor(() => expect(connection.isConnected).toBe(true), 10_000);
  const store = new PublicationStore(fullWhile(root, isFull), stateName);
  const sealing = new Sealing(new Secret("a secret"), "debian");
  const shared = new SharedPublications({ valkey: connection, sealing, stateName, store });
  return { connection, store, shared };
}

type Replica = Awaited<ReturnType<typeof aReplica>>;

/** Stores a segment of some bytes. */
async function aSegment({ store }: Replica, id: string, bytes = 100): Promise<SegmentSizes> {
  const plain = Buffer.alloc(bytes, id);
  const xz = { bytes: plain, unpaddedBytes: bytes, uncompressedBytes: bytes };
  return await store.segments.put(id, plain, { gz: gzipSync(plain), xz, lines: 1 });
}

/** A publication with one index. */
function aManifest(dateSeconds: number, segments: readonly SegmentSizes[]): UnsignedManifest {
  const form = { sizeBytes: 1, sha256: "1".repeat(64) };
  return {
    suite: sid,
    id: publicationId(dateSeconds),
    dateSeconds,
    state: String(dateSeconds),
    components: ["main"],
    architectures: ["amd64"],
    binaryPackages: 0,
    sourcePackages: 0,
    indices: [{ directory: "main", name: "Contents-amd64", segments, forms: { plain: form, gz: form, xz: form } }],
    blobs: [],
    release: `Date: ${dateSeconds}`,
  };
}

/** A publisher with a publication of so many segments, which it has announced, and the next one. */
async function aPublisher(count: number, options: { readonly changedBytes?: number } = {}) {
  const publisher = await aReplica();
  const segments = await Promise.all(Array.from({ length: count }, (_, n) => aSegment(publisher, `segment-${n}`)));
  const first = aManifest(1, segments);
  await (await publisher.shared.announceable(first, servedMs, "fence")).stored;
  const changed = await aSegment(publisher, "changed", options.changedBytes);
  return { publisher, first, next: aManifest(2, [...segments.slice(0, -1), changed]) };
}

const kindsOf = (keys: Iterable<string>): readonly string[] =>
  Array.from(keys, (key) => key.slice(0, key.indexOf(":"))).toSorted();

async function keysInValkey({ connection }: Replica): Promise<string[]> {
  return (await connection.run((redis) => redis.keys("*"))).map((key) => key.slice(connection.prefix.length));
}

const signed = (manifest: UnsignedManifest): Manifest => ({ ...manifest, ...signatures });

describe("of a small change", () => {
  test("an announcement contains all that is new, and the rest is not looked up again", async () => {
    const { publisher, next } = await aPublisher(100);
    const run = vi.spyOn(publisher.connection, "run");
    const { values, stored } = await publisher.shared.announceable(next, servedMs, "fence");
    expect(kindsOf(values.keys())).toEqual(["manifest", "run", "segment"]);
    await stored;
    expect(run).toHaveBeenCalledTimes(values.size);
  });

  test("a replica with the publication before takes it over from the announcement alone, before it is signed", async () => {
    const { publisher, first, next } = await aPublisher(100);
    const follower = await aReplica();
    await follower.shared.fetch(await publisher.shared.push(signed(first), servedMs));
    const { current, values } = await publisher.shared.announceable(next, servedMs, "fence");
    await valkey.kill();
    await (await follower.shared.take(current, values)).written;
    expect(follower.store.prepared(sid, next.id)).toEqual(next);
    const completed = publisher.shared.complete(current, signatures);
    expect(await follower.shared.fetch(completed.current, completed.values)).toEqual(signed(next));
  });

  test("a replica without the publication before finds everything in Valkey", async () => {
    const { publisher, next } = await aPublisher(100);
    const { current, values, stored } = await publisher.shared.announceable(next, servedMs, "fence");
    await stored;
    const late = await aReplica();
    await (await late.shared.take(current, values)).written;
    expect(late.store.prepared(sid, next.id)).toEqual(next);
  });

  test("Valkey keeps only what is new beside the publication before", async () => {
    const { publisher, first, next } = await aPublisher(100);
    await publisher.shared.push(signed(first), servedMs);
    const before = new Set(await keysInValkey(publisher));
    await publisher.shared.push(signed(next), servedMs);
    const added = (await keysInValkey(publisher)).filter((key) => !before.has(key));
    expect(kindsOf(added)).toEqual(["manifest", "run", "segment", "signatures"]);
  });
});

test("a large publication is taken over through a slow network, on which other commands are answered meanwhile", async () => {
  const publisher = await aReplica();
  const bytes = 128 * 1024;
  const random = Array.from({ length: 48 }, () => randomBytes(bytes));
  const segments = await Promise.all(
    random.map(async (plain, n) => {
      const xz = { bytes: plain, unpaddedBytes: bytes, uncompressedBytes: bytes };
      return await publisher.store.segments.put(`random-${n}`, plain, { gz: gzipSync(plain), xz, lines: 1 });
    }),
  );
  const current = await publisher.shared.push(signed(aManifest(1, segments)), servedMs);
  const port = await slowLink(valkey.port, 2 * 1024 ** 2);
  const follower = await aReplica(undefined, { ...valkey.settings(), urls: [`redis://127.0.0.1:${port}`] });
  let isTaken = false;
  const taking = follower.shared.fetch(current).finally(() => {
    isTaken = true;
  });
  while (!isTaken) {
    await follower.connection.run((redis) => redis.ping());
    await sleep(100);
  }
  await taking;
  expect(follower.connection.errors).toBe(0);
}, 60_000);

test("of a large change, everything is in Valkey before the announcement, which contains nothing of it", async () => {
  const { publisher, next } = await aPublisher(1, { changedBytes: 4 * 1024 ** 2 });
  const { values } = await publisher.shared.announceable(next, servedMs, "fence");
  expect(values.size).toBe(0);
  expect(kindsOf(await keysInValkey(publisher))).toEqual(["manifest", "manifest", "run", "run", "segment", "segment"]);
});

describe("what the publisher has stored is looked up again", () => {
  test.each([
    ["in other circumstances", "another fence", 0],
    ["after an hour, because Valkey keeps it for a day", "fence", 2 * 3_600_000],
  ])("%s", async (_, circumstances, waitMs) => {
    const { publisher, next } = await aPublisher(100);
    await valkey.empty();
    vi.useFakeTimers({ now: Date.now(), toFake: ["performance"] });
    onTestFinished(() => void vi.useRealTimers());
    vi.advanceTimersByTime(waitMs);
    const { current, values, stored } = await publisher.shared.announceable(next, servedMs, circumstances);
    await stored;
    const late = await aReplica();
    expect((await late.shared.take(current, values)).manifest).toEqual(next);
    const found = kindsOf(await keysInValkey(publisher)).filter((kind) => kind === "segment");
    expect(found).toHaveLength(100);
  });

  test("after the connection was lost", async () => {
    const { publisher, next } = await aPublisher(100);
    await valkey.restart();
    await vi.waitFor(() => expect(publisher.connection.connections).toBe(2), 10_000);
    await (await publisher.shared.announceable(next, servedMs, "fence")).stored;
    expect(kindsOf(await keysInValkey(publisher)).filter((kind) => kind === "segment")).toHaveLength(100);
  });
});

test("publications that are renewed together have their common parts looked up once", async () => {
  const { publisher, first, next } = await aPublisher(100);
  const known = new Set<string>();
  await publisher.shared.push(signed(first), servedMs, known);
  const evaluated = vi.spyOn(publisher.connection, "run");
  const sizeBefore = known.size;
  await publisher.shared.push(signed(next), servedMs, known);
  expect(kindsOf([...known].slice(sizeBefore))).toEqual(["manifest", "run", "segment", "signatures"]);
  expect(evaluated).toHaveBeenCalledTimes(1 + 4);
});

test("a publication that was stored and read again is the same for Valkey", async () => {
  const { publisher, next } = await aPublisher(40);
  const { current } = await publisher.shared.announceable(next, servedMs, "fence");
  const completed = publisher.shared.complete(current, signatures);
  await publisher.store.publish(signed(next), servedMs);
  const stored = publisher.store.get(sid, next.id);
  expect(stored && (await publisher.shared.push(stored, servedMs))).toEqual(completed.current);
});

describe("a segment that was deleted and built again with other bytes", () => {
  test.each([
    ["is announced with these", async () => undefined],
    [
      "is announced with these, also if its publication was stored in Valkey while it was being deleted",
      async ({ shared }: Replica, first: UnsignedManifest) => void (await shared.push(signed(first), servedMs)),
    ],
  ])("%s", async (_, meanwhile) => {
    const publisher = await aReplica();
    const first = aManifest(1, [await aSegment(publisher, "segment")]);
    await (await publisher.shared.announceable(first, servedMs, "fence")).stored;
    await publisher.store.segments.written(["segment"]);
    const deleted = publisher.store.segments.keepOnly(new Set());
    await meanwhile(publisher, first);
    await deleted;
    const next = aManifest(2, [await aSegment(publisher, "segment", 200)]);
    const { current, values } = await publisher.shared.announceable(next, servedMs, "fence");
    const follower = await aReplica();
    expect((await follower.shared.take(current, values)).manifest).toEqual(next);
  });
});

test("a segment that another version has compressed otherwise is announced as that version has compressed it", async () => {
  const publisher = await aReplica();
  const other = await aReplica();
  const first = aManifest(1, [await aSegment(publisher, "segment")]);
  await (await publisher.shared.announceable(first, servedMs, "fence")).stored;
  const second = aManifest(2, [await aSegment(other, "segment", 200)]);
  const announced = await other.shared.announceable(second, servedMs, "another fence");
  await (await publisher.shared.take(announced.current, announced.values)).written;
  const third = aManifest(3, second.indices[0]?.segments ?? []);
  const { current, values } = await publisher.shared.announceable(third, servedMs, "fence");
  const follower = await aReplica();
  expect((await follower.shared.take(current, values)).manifest).toEqual(third);
  expect(follower.store.segments.contentOf("segment")).toEqual(other.store.segments.contentOf("segment"));
});

describe("a segment that the disk of the publisher does not take", () => {
  async function aFullPublisher() {
    let isFull = false;
    const publisher = await aReplica(() => isFull);
    const first = aManifest(1, [await aSegment(publisher, "segment")]);
    await (await publisher.shared.announceable(first, servedMs, "fence")).stored;
    isFull = true;
    const next = aManifest(2, [await aSegment(publisher, "changed")]);
    await expect(publisher.store.segments.written(["changed"])).rejects.toMatchObject({ code: "state/unwritable" });
    const { current, values } = await publisher.shared.announceable(next, servedMs, "fence");
    isFull = false;
    return { publisher, next, current, values };
  }

  test("is announced as it is", async () => {
    const { next, current, values } = await aFullPublisher();
    const follower = await aReplica();
    expect((await follower.shared.take(current, values)).manifest).toEqual(next);
  });

  test.each([
    ["when the disk has room again", 0],
    ["when the disk has room again and has taken many others", 40],
  ])("is taken over from the next publisher %s", async (_, others) => {
    const { publisher } = await aFullPublisher();
    await Promise.all(Array.from({ length: others }, (__, n) => aSegment(publisher, `other-${n}`)));
    const nextPublisher = await aReplica();
    const same = aManifest(3, [await aSegment(nextPublisher, "changed")]);
    const { current, values } = await nextPublisher.shared.announceable(same, servedMs, "another fence");
    await (await publisher.shared.take(current, values)).written;
    expect(publisher.store.segments.has("changed")).toBe(true);
  });
});

describe("a segment that the disk of a follower does not take", () => {
  /** A follower with the first publication, and the next ones, which have a new segment. */
  async function aFollower() {
    let isFull = false;
    const { publisher, first, next } = await aPublisher(40);
    const follower = await aReplica(() => isFull);
    await follower.shared.fetch(await publisher.shared.push(signed(first), servedMs));
    const third = aManifest(3, next.indices[0]?.segments ?? []);
    const take = async (manifest: UnsignedManifest) => {
      const { current, values, stored } = await publisher.shared.announceable(manifest, servedMs, "fence");
      await stored;
      return await follower.shared.take(current, values);
    };
    const { segments } = follower.store;
    const fill = (full: boolean): void => {
      isFull = full;
    };
    return { segments, take, next, third, fill };
  }
  const unwritable = { code: "state/unwritable" };

  test("is taken over again with the next publication", async () => {
    const { segments, take, next, third, fill } = await aFollower();
    fill(true);
    await expect((await take(next)).written).rejects.toMatchObject(unwritable);
    fill(false);
    await (await take(third)).written;
    expect(segments.has("changed")).toBe(true);
    expect(segments.isUnwritten("changed")).toBe(false);
  });

  test.each([
    ["when there is room again", 0],
    ["when there is room again for it and many others", 40],
  ])("and that replaces another one, is taken over again %s", async (_, others) => {
    let isFull = false;
    const publisher = await aReplica();
    const other = await aReplica();
    const follower = await aReplica(() => isFull);
    const first = aManifest(1, [await aSegment(other, "segment")]);
    await follower.shared.fetch(await other.shared.push(signed(first), servedMs));
    const next = aManifest(2, [await aSegment(publisher, "segment", 200)]);
    const { current, values } = await publisher.shared.announceable(next, servedMs, "fence");
    isFull = true;
    await expect((await follower.shared.take(current, values)).written).rejects.toMatchObject(unwritable);
    isFull = false;
    await Promise.all(Array.from({ length: others }, (__, n) => aSegment(follower, `other-${n}`)));
    await (await follower.shared.take(current, values)).written;
    expect(follower.store.segments.contentOf("segment")).toEqual(publisher.store.segments.contentOf("segment"));
  });

  test("fails both publications that are taken over while it is being written", async () => {
    const { take, next, third, fill } = await aFollower();
    fill(true);
    const [one, other] = await Promise.all([take(next), take(third)]);
    await expect(one.written).rejects.toMatchObject(unwritable);
    await expect(other.written).rejects.toMatchObject(unwritable);
  });
});

test("a signature of another publication is not taken over", async () => {
  const { publisher, next } = await aPublisher(1);
  const announced = await publisher.shared.announceable(next, servedMs, "fence");
  await announced.stored;
  const { current, values } = publisher.shared.complete(announced.current, signatures);
  const other = publisher.shared.complete(announced.current, { ...signatures, inRelease: "other" });
  const [key = ""] = values.keys();
  const [value = Buffer.alloc(0)] = other.values.values();
  const follower = await aReplica();
  await expect(follower.shared.fetch(current, new Map([[key, value]]))).rejects.toMatchObject({
    code: "cluster/unavailable",
  });
});
