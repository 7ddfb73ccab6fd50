// What replicas remember when Valkey loses everything: nothing that operators did is lost, and nothing comes back that
// a replica has missed to end.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { parseSuite } from "../../src/base/names.ts";
import { SnapshotControl } from "../../src/publishing/live/snapshot-control.ts";
import { aDeb } from "../support/debs.ts";
import {
  addPackage,
  agreed,
  aUsedValkey,
  currentId,
  isUsed,
  ReplicaUnderTest,
  releases,
  sid,
  startedReplicas,
  withValkey,
} from "../support/replicas.ts";
import { packageNames } from "../support/served-folder.ts";
import type { ValkeyUnderTest } from "../support/valkey.ts";

const forky = parseSuite("forky");
let valkey: ValkeyUnderTest;

beforeEach(async () => {
  valkey = await aUsedValkey();
});
afterEach(async () => {
  await valkey.stop();
});

/** Two replicas that have published twice, and the id of the first publication. */
async function twoReplicas(): Promise<{ one: ReplicaUnderTest; other: ReplicaUnderTest; before: string }> {
  const [one, other] = await startedReplicas(valkey, 2);
  if (one === undefined || other === undefined) throw new Error("two are needed");
  const before = currentId(one) ?? "";
  await addPackage(one, "2");
  await one.ping();
  return { one, other, before };
}

/** A replica that was away comes back with its state. */
async function returned(replica: ReplicaUnderTest): Promise<ReplicaUnderTest> {
  const { folder, state } = replica.served;
  const same = new ReplicaUnderTest(valkey, { folder, state });
  await same.start();
  return same;
}

/** As `valkey.empty`, without the seconds in which no replica may publish. */
async function emptied(): Promise<void> {
  await valkey.empty();
  await isUsed(valkey);
}

const pinOf = ({ served }: ReplicaUnderTest) => served.repository.store.pins.idOf(sid, "release");
const rolledBackTo = ({ served }: ReplicaUnderTest) => served.repository.store.pins.rolledBackTo(sid);

describe("a rollback", () => {
  test("that was ended while a replica was away does not come back with it", async () => {
    const { one, other, before } = await twoReplicas();
    await one.served.repository.snapshotControl.rollBack(sid, before);
    await vi.waitFor(() => expect(rolledBackTo(other)).toBe(before), 10_000);
    await other.end();
    await agreed([one]);
    await one.served.repository.snapshotControl.resume(sid);
    await emptied();
    const same = await returned(other);
    await agreed([one, same]);
    await vi.waitFor(() => expect(rolledBackTo(same)).toBeUndefined(), 10_000);
    await one.end();
    await agreed([same]);
    await addPackage(same, "3");
    await same.ping();
    expect(await packageNames(same.served)).toEqual(["hello 1.0-1", "more 2", "more 3"]);
  });

  test("that was begun while a replica was away has effect when that one publishes", async () => {
    const { one, other, before } = await twoReplicas();
    await other.end();
    await agreed([one]);
    await one.served.repository.snapshotControl.rollBack(sid, before);
    await emptied();
    const same = await returned(other);
    await agreed([one, same]);
    await one.end();
    await agreed([same]);
    await addPackage(same, "3");
    await same.ping();
    expect(await packageNames(same.served)).toEqual(["hello 1.0-1"]);
  });

  test("has effect when a replica publishes that has joined since, and had none of it", async () => {
    const { one, other, before } = await twoReplicas();
    await other.end();
    await agreed([one]);
    await one.served.repository.snapshotControl.rollBack(sid, before);
    const late = new ReplicaUnderTest(valkey, { folder: one.served.folder });
    await late.start();
    await agreed([one, late]);
    await one.end();
    await agreed([late]);
    await addPackage(late, "3");
    await late.ping();
    expect(await packageNames(late.served)).toEqual(["hello 1.0-1"]);
    await late.served.repository.snapshotControl.resume(sid);
    expect(await packageNames(late.served)).toEqual(["hello 1.0-1", "more 2", "more 3"]);
  });
});

describe("a pin", () => {
  test("that was removed while a replica was away does not come back with it, and another is not lost", async () => {
    const { one, other, before } = await twoReplicas();
    await one.served.repository.snapshotControl.pin(sid, before, "release");
    await vi.waitFor(() => expect(pinOf(other)).toBe(before), 10_000);
    await other.end();
    await agreed([one]);
    await one.served.repository.snapshotControl.unpin(sid, "release");
    await one.served.repository.snapshotControl.pin(sid, before, "kept");
    await emptied();
    const same = await returned(other);
    await agreed([one, same]);
    await vi.waitFor(() => {
      expect(pinOf(same)).toBeUndefined();
      expect(same.served.repository.store.pins.idOf(sid, "kept")).toBe(before);
    }, 10_000);
    expect(pinOf(one)).toBeUndefined();
  });

  test("that an operator sets while the replica does not run has effect on all when it is back", async () => {
    const { one, other, before } = await twoReplicas();
    await one.served.repository.snapshotControl.pin(sid, before, "release");
    await vi.waitFor(() => expect(pinOf(other)).toBe(before), 10_000);
    await other.served.stop();
    await other.fleet.close();
    await other.served.restart();
    const { store } = other.served.repository;
    await new SnapshotControl(store).unpin(sid, "release");
    await new SnapshotControl(store).pin(sid, before, "offline");
    await other.served.stop();
    const same = await returned(other);
    await agreed([one, same]);
    await vi.waitFor(() => {
      expect([pinOf(one), pinOf(same)]).toEqual([undefined, undefined]);
      expect(one.served.repository.store.pins.idOf(sid, "offline")).toBe(before);
    }, 10_000);
  });
});

describe("a suite that was removed from the tree", () => {
  test("vanishes at all replicas, and does not come back with one that was away", async () => {
    const [one, other] = await startedReplicas(valkey, 2);
    if (one === undefined || other === undefined) throw new Error("two are needed");
    one.served.put("dists/forky/main/binary-amd64/tree_1_amd64.deb", await aDeb({ package: "tree" }));
    await one.ping();
    const release = "dists/forky/InRelease";
    expect(await other.served.text(release)).toBe(await one.served.text(release));
    await other.end();
    await agreed([one]);
    one.served.remove("dists/forky");
    await one.ping();
    expect(await one.served.bytes(release)).toBeUndefined();
    const returns: string[] = [];
    const watching = setInterval(() => {
      const current = one.served.repository.currentOf(forky);
      if (current !== undefined) returns.push(current.id);
    }, 10);
    await valkey.empty();
    const same = await returned(other);
    await agreed([one, same]);
    await vi.waitFor(async () => expect(await same.served.bytes(release)).toBeUndefined(), 10_000);
    clearInterval(watching);
    expect(returns).toEqual([]);
    // Also not with one that knew nothing of it.
    const late = new ReplicaUnderTest(valkey, { folder: one.served.folder });
    await late.start();
    await agreed([one, same, late]);
    expect(await late.served.bytes(release)).toBeUndefined();
    // It can be made again.
    one.served.put("dists/forky/main/binary-amd64/tree_2_amd64.deb", await aDeb({ package: "tree", version: "2" }));
    await late.ping();
    expect(new Set(await Promise.all([one, same, late].map(({ served }) => served.text(release)))).size).toBe(1);
  });
});

describe("first owners of names", () => {
  test("are known to a replica that joins a moment after Valkey has lost everything", async () => {
    const [one] = await startedReplicas(valkey, 1);
    if (one === undefined) throw new Error("no replica");
    const owner = { owner: "alice", sinceMs: 1 };
    one.served.repository.firstOwners.of(sid).set("hello", owner);
    await valkey.empty();
    const late = new ReplicaUnderTest(valkey, { folder: one.served.folder });
    await late.start();
    expect(late.served.repository.firstOwners.of(sid).get("hello")).toEqual(owner);
  });

  test("are those of the publisher at a replica that was away while they have changed", async () => {
    const [one, other] = await startedReplicas(valkey, 2);
    if (one === undefined || other === undefined) throw new Error("two are needed");
    for (const { served } of [one, other]) {
      served.repository.firstOwners.of(sid).set("hello", { owner: "alice", sinceMs: 1 });
      served.repository.firstOwners.of(sid).set("freed", { owner: "alice", sinceMs: 1 });
    }
    await other.end();
    await agreed([one]);
    const owners = one.served.repository.firstOwners.of(sid);
    owners.set("hello", { owner: "bob", sinceMs: 2 });
    owners.set("freed", undefined);
    const same = await returned(other);
    const known = same.served.repository.firstOwners.of(sid);
    expect([known.get("hello"), known.get("freed")]).toEqual([{ owner: "bob", sinceMs: 2 }, undefined]);
  });
});

describe("a publication", () => {
  /** Deletes the content of all publications, as if it had expired. */
  const withoutContent = async (): Promise<void> =>
    await withValkey(valkey, async (connection) => {
      const keys = await connection.run((redis) => redis.keys(`${connection.prefix}*`));
      const content = keys.filter((key) => /:(manifest|segment|blob):/.test(key));
      expect(content.length).toBeGreaterThan(1);
      await connection.run((redis) => redis.del(...content));
    });

  test("whose content Valkey has forgotten while all replicas were away is stored again by one that has it", async () => {
    const { one, other } = await twoReplicas();
    const before = await releases([one]);
    await other.end();
    await one.end();
    await withoutContent();
    const same = await returned(one);
    await agreed([same]);
    expect(await releases([same])).toEqual(before);
    const late = new ReplicaUnderTest(valkey, { folder: one.served.folder });
    await late.start();
    await agreed([same, late]);
    expect(await releases([late])).toEqual(before);
  });

  test("whose content nobody has any more is replaced by one with a later Date, and suites without packages end", async () => {
    const { one, other } = await twoReplicas();
    one.served.put("dists/forky/main/binary-amd64/tree_1_amd64.deb", await aDeb({ package: "tree" }));
    await one.ping();
    const before = currentId(one) ?? "";
    await other.end();
    await one.end();
    one.served.remove("dists/forky");
    await withoutContent();
    const fresh = new ReplicaUnderTest(valkey, { folder: one.served.folder });
    await fresh.start();
    await agreed([fresh]);
    expect((currentId(fresh) ?? "") > before).toBe(true);
    expect(await packageNames(fresh.served)).toEqual(["hello 1.0-1", "more 2"]);
    expect(await fresh.served.bytes("dists/forky/InRelease")).toBeUndefined();
  });
});
