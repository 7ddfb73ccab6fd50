// Replicas of one folder, in this process, over a real Valkey.
import { renameSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { parseSuite, parseTreePath } from "../../src/base/names.ts";
import { withResolvers } from "../../src/base/with-resolvers.ts";
import { LeaseLost } from "../../src/cluster/lease-lost.ts";
import { UnusableContent } from "../../src/cluster/shared-values.ts";
import { ValkeyUnavailable } from "../../src/cluster/valkey.ts";
import { NotSeenYet } from "../../src/publishing/served-repository.ts";
import { publicationId } from "../../src/publishing/store/publication.ts";
import { aDeb } from "../support/debs.ts";
import {
  addPackage,
  agreed,
  amd64,
  aUsedValkey,
  currentId,
  indicesIn,
  ReplicaUnderTest,
  releases,
  roles,
  sid,
  snapshotsOf,
  startedReplicas,
} from "../support/replicas.ts";
import { packageNames } from "../support/served-folder.ts";
import { ValkeyUnderTest } from "../support/valkey.ts";

let valkey: ValkeyUnderTest;

beforeEach(async () => {
  valkey = await aUsedValkey();
});
afterEach(async () => {
  await valkey.stop();
});

/** A Valkey that is not that of the fleet. */
async function otherValkey(): Promise<ValkeyUnderTest> {
  const other = await ValkeyUnderTest.start();
  onTestFinished(async () => await other.stop());
  return other;
}

describe("three replicas", () => {
  const { signal } = new AbortController();
  /** The session of a request that a load balancer repeats elsewhere, or not. */
  const sessionThat = (canAskOthers: boolean) => ({
    canAskOthers,
    begin: (_suite: string, _file: string, id: string) => id,
    continued: () => undefined,
  });

  test("serve the same bytes after a ping to any of them", async () => {
    const replicas = await startedReplicas(valkey, 3);
    for (const [index, replica] of replicas.entries()) {
      await addPackage(replica, String(index));
      const { added, publications } = await replica.ping();
      expect(added).toEqual([`${amd64}/more_${index}_amd64.deb`]);
      expect(new Set(await releases(replicas)).size).toBe(1);
      expect(publications).toMatchObject([{ id: currentId(replicas[0] as ReplicaUnderTest) }]);
    }
    for (const { served } of replicas)
      expect(await packageNames(served)).toEqual(["hello 1.0-1", "more 0", "more 1", "more 2"]);
  });

  test("publish on when the publisher ends, without a needless publication", async () => {
    const replicas = await startedReplicas(valkey, 3);
    const { publisher, followers } = roles(replicas);
    const before = currentId(publisher);
    await publisher.end();
    await agreed(followers);
    expect(followers.map(currentId)).toEqual([before, before]);
    const [one] = followers;
    if (one === undefined) throw new Error("no follower");
    await addPackage(one, "2");
    expect((await one.ping()).added).toEqual([`${amd64}/more_2_amd64.deb`]);
    expect(new Set(await releases(followers)).size).toBe(1);
  });

  test("answer a ping that the publisher did not live to answer", async () => {
    const replicas = await startedReplicas(valkey, 3);
    const { publisher, followers } = roles(replicas);
    const [one] = followers;
    if (one === undefined) throw new Error("no follower");
    await addPackage(one, "2");
    // As if it was killed: it does not give its lease back.
    publisher.cut();
    const { publications } = await one.ping();
    expect(publications).toMatchObject([{ id: currentId(one) }]);
    expect(new Set(await releases(followers)).size).toBe(1);
    expect(await packageNames(one.served)).toEqual(["hello 1.0-1", "more 2"]);
  });

  test("refuse a ping while very many wait already", async () => {
    const [one] = await startedReplicas(valkey, 1);
    if (one === undefined) throw new Error("no replica");
    const { prefix } = one.fleet.valkey;
    const waiting = new Map(Array.from({ length: 5000 }, (_, number) => [`${number}`, "a ping that nobody answers"]));
    await one.fleet.valkey.run((redis) => redis.hset(`${prefix}pings:debian`, waiting));
    await expect(one.ping()).rejects.toMatchObject({ code: "publishing/busy" });
    await one.fleet.valkey.run((redis) => redis.hdel(`${prefix}pings:debian`, "1"));
    expect((await one.ping()).publications).toMatchObject([{ id: currentId(one) }]);
  });

  test("serve what they have without Valkey, refuse pings, and agree again when it is back, empty", async () => {
    const replicas = await startedReplicas(valkey, 3);
    const [one] = replicas;
    if (one === undefined) throw new Error("no replica");
    const before = await releases(replicas);
    await valkey.kill();
    await vi.waitFor(() => expect(one.fleet.pingRefusal).toBeDefined(), 10_000);
    await expect(one.ping()).rejects.toBeInstanceOf(ValkeyUnavailable);
    await expect(one.replicated.requestRefresh(amd64 as never)).rejects.toBeInstanceOf(ValkeyUnavailable);
    expect(await releases(replicas)).toEqual(before);
    await vi.waitFor(() => expect(one.fleet.notReady).toMatch(/Valkey has not answered for \d+ s/), 10_000);
    await addPackage(one, "2");
    await valkey.restart();
    await agreed(replicas);
    await one.ping();
    expect(new Set(await releases(replicas)).size).toBe(1);
    expect(await packageNames(one.served)).toEqual(["hello 1.0-1", "more 2"]);
  });

  test("publish without one that cannot take a publication over, which leaves clients to others until it can", async () => {
    const replicas = await startedReplicas(valkey, 3);
    const { publisher, followers } = roles(replicas);
    const [unable, able] = followers;
    if (unable === undefined || able === undefined) throw new Error("two followers are needed");
    const { repository } = unable.served;
    const prepare = vi.spyOn(repository.store, "prepare").mockRejectedValue(new UnusableContent("it cannot be read"));
    await addPackage(publisher, "2");
    const { publications } = await publisher.ping();
    await vi.waitFor(() => expect(publications).toMatchObject([{ id: currentId(able) }]), 10_000);
    const asked = { signal, session: sessionThat(true) };
    await expect(repository.find("dists/sid/InRelease", asked)).rejects.toThrow(NotSeenYet);
    expect(unable.fleet.notReady).toBe("it cannot be read");
    prepare.mockRestore();
    await agreed(replicas);
    expect(await repository.find("dists/sid/InRelease", asked)).toBeDefined();
  }, 30_000);

  test("take a suite out of service a second time without a word", async () => {
    const replicas = await startedReplicas(valkey, 2);
    const { publisher } = roles(replicas);
    const { store, name } = publisher.served.repository;
    const publications = publisher.replicated.publicationsOf(name);
    const suite = parseSuite("jessie");
    await store.noteDate(suite, 1);
    for (let time = 1; time <= 2; time++) {
      await publications.announceWithdrawal(suite, Date.now());
      await store.withdraw(suite, Date.now());
    }
    expect(store.withdrawalOf(suite)).toMatchObject({ dateSeconds: 1 });
  });

  test("do not wait for one that still has a publication of a suite that was taken out of service", async () => {
    const [one] = await startedReplicas(valkey, 1);
    if (one === undefined) throw new Error("no replica");
    const { store, name } = one.served.repository;
    await store.withdraw(parseSuite("jessie"), Date.now(), 10);
    const isBehind = (dateSeconds: number) =>
      one.replicated.publicationsOf(name).isBehind({ jessie: publicationId(dateSeconds), sid: currentId(one) ?? "" });
    expect([isBehind(10), isBehind(11)]).toEqual([false, true]);
  });

  /** A follower that is cut from Valkey while a publication that it has prepared may become current. */
  async function inDoubt(): Promise<ReplicaUnderTest> {
    const replicas = await startedReplicas(valkey, 3);
    const { publisher, followers } = roles(replicas);
    const [silent, one] = followers;
    if (silent === undefined || one === undefined) throw new Error("two followers are needed");
    // The publication waits for it until it does not count any more.
    silent.cut();
    await addPackage(one, "2");
    const published = publisher.ping();
    await vi.waitFor(() => expect(one.replicated.publicationsOf(one.served.repository.name).settling()).toBeDefined(), {
      timeout: 10_000,
      interval: 5,
    });
    expect(currentId(publisher)).toBe(currentId(one));
    one.cut();
    await published;
    expect(currentId(publisher)).not.toBe(currentId(one));
    return one;
  }

  test("leave it to others which publication is current, if one cannot know", async () => {
    const one = await inDoubt();
    const { repository } = one.served;
    const asked = { signal, session: sessionThat(true) };
    expect(repository.findNow("dists/sid/InRelease", asked.session)).toBeUndefined();
    await expect(repository.find("dists/sid/InRelease", asked)).rejects.toThrow(NotSeenYet);
    await expect(repository.find("dists/sid/Release", asked)).rejects.toThrow(NotSeenYet);
    // What is the same in each publication is served, and without others everything.
    const last = { signal, session: sessionThat(false) };
    expect(await repository.find("dists/sid/InRelease", last)).toBeDefined();
    const [index = ""] = indicesIn(await one.served.text("dists/sid/InRelease"));
    expect(repository.findNow(index, asked.session)).toBeDefined();
  });

  test("leave it to others what is current when these may have published alone", async () => {
    const [one] = await startedReplicas(valkey, 2);
    if (one === undefined) throw new Error("no replica");
    const asked = { signal, session: sessionThat(true) };
    await valkey.kill();
    await vi.waitFor(() => expect(one.fleet.pingRefusal).toBeDefined(), 10_000);
    expect(await one.served.repository.find("dists/sid/InRelease", asked)).toBeDefined();
    await vi.waitFor(() => expect(one.fleet.mayBeLeftBehind).toBe(true), 10_000);
    await expect(one.served.repository.find("dists/sid/InRelease", asked)).rejects.toThrow(NotSeenYet);
    await valkey.restart();
    await vi.waitFor(() => expect(one.fleet.mayBeLeftBehind).toBe(false), 10_000);
    expect(await one.served.repository.find("dists/sid/InRelease", asked)).toBeDefined();
  });

  test("never publish with an earlier Date than anyone has served, also from an empty Valkey", async () => {
    const replicas = await startedReplicas(valkey, 2);
    const { publisher, followers } = roles(replicas);
    for (const version of ["2", "3", "4"]) {
      await addPackage(publisher, version);
      await publisher.ping();
    }
    const [follower] = followers;
    if (follower === undefined) throw new Error("no follower");
    const before = currentId(publisher) ?? "";
    await valkey.kill();
    await vi.waitFor(() => expect(follower.fleet.pingRefusal).toBeDefined(), 10_000);
    await valkey.restart();
    await agreed(replicas);
    await addPackage(follower, "5");
    await follower.ping();
    expect((currentId(follower) ?? "") > before).toBe(true);
    expect(new Set(await releases(replicas)).size).toBe(1);
  });
});

describe("a command for snapshots at any replica", () => {
  test("rolls back and resumes the suite on all of them, whoever publishes afterwards", async () => {
    const replicas = await startedReplicas(valkey, 3);
    const { publisher, followers } = roles(replicas);
    const [one, other] = followers;
    if (one === undefined || other === undefined) throw new Error("no follower");
    const before = currentId(one) ?? "";
    await addPackage(one, "2");
    await one.ping();
    await one.served.repository.snapshotControl.rollBack(sid, before);
    for (const { served } of replicas) expect(await packageNames(served)).toEqual(["hello 1.0-1"]);
    expect(new Set(await releases(replicas)).size).toBe(1);
    await publisher.end();
    await agreed(followers);
    await addPackage(one, "3");
    await one.ping();
    for (const { served } of followers) expect(await packageNames(served)).toEqual(["hello 1.0-1"]);
    await other.served.repository.snapshotControl.resume(sid);
    for (const { served } of followers) expect(await packageNames(served)).toEqual(["hello 1.0-1", "more 2", "more 3"]);
  });

  test("pins a publication on all of them, also on one that was away, and after Valkey has lost everything", async () => {
    const replicas = await startedReplicas(valkey, 2);
    const [one, other] = replicas;
    if (one === undefined || other === undefined) throw new Error("no replica");
    const id = await one.served.repository.snapshotControl.pin(sid, currentId(one) ?? "", "release");
    const pinOf = ({ served }: ReplicaUnderTest) => served.repository.store.pins.idOf(sid, "release");
    await vi.waitFor(() => expect(pinOf(other)).toBe(id), 10_000);
    await valkey.kill();
    await vi.waitFor(() => expect(one.fleet.pingRefusal).toBeDefined(), 10_000);
    await valkey.restart();
    await agreed(replicas);
    const late = new ReplicaUnderTest(valkey, { folder: one.served.folder });
    await late.start();
    await vi.waitFor(() => expect(pinOf(late)).toBe(id), 10_000);
    await late.served.repository.snapshotControl.unpin(sid, "release");
    await vi.waitFor(() => expect([pinOf(one), pinOf(other)]).toEqual([undefined, undefined]), 10_000);
  });

  test("is refused, and changes nothing, while Valkey is away", async () => {
    const [one] = await startedReplicas(valkey, 1);
    if (one === undefined) throw new Error("no replica");
    await valkey.kill();
    await vi.waitFor(() => expect(one.fleet.pingRefusal).toBeDefined(), 10_000);
    const { snapshotControl, store } = one.served.repository;
    await expect(snapshotControl.pin(sid, currentId(one) ?? "", "release")).rejects.toBeInstanceOf(ValkeyUnavailable);
    expect(store.pins.idOf(sid, "release")).toBeUndefined();
  });
});

describe("a replica that joins", () => {
  test("serves the whole current publication before it has listed the tree", async () => {
    const [one] = await startedReplicas(valkey, 1);
    if (one === undefined) throw new Error("no replica");
    const late = new ReplicaUnderTest(valkey, { folder: one.served.folder });
    late.isCutFromTree = true;
    await late.start();
    await vi.waitFor(() => expect(late.fleet.notReady).toBeUndefined(), 10_000);
    const release = await one.served.text("dists/sid/InRelease");
    const [, file = ""] = /^Filename: (.*)$/m.exec(await one.served.text(`${amd64}/Packages`)) ?? [];
    for (const path of ["dists/sid/InRelease", ...indicesIn(release), file]) {
      const expected = await one.served.bytes(path);
      expect(expected).toBeDefined();
      expect([path, await late.served.bytes(path)]).toEqual([path, expected]);
    }
    expect(late.replicated.isUnreadable).toBe(true);
  });

  test("answers for the past publications that clients may still read", async () => {
    const [one] = await startedReplicas(valkey, 1);
    if (one === undefined) throw new Error("no replica");
    const before = indicesIn(await one.served.text("dists/sid/InRelease"));
    const beforeId = currentId(one) ?? "";
    await addPackage(one, "2");
    await one.ping();
    const late = new ReplicaUnderTest(valkey, { folder: one.served.folder });
    await late.start();
    await agreed([one, late]);
    await vi.waitFor(() => expect(snapshotsOf(late)).toEqual(snapshotsOf(one)), 10_000);
    for (const path of [...before, `snapshots/${beforeId}/dists/sid/InRelease`])
      expect([path, await late.served.bytes(path)]).toEqual([path, await one.served.bytes(path)]);
  });

  test("has taken over what clients are still reading before it reads the tree", async () => {
    const [one] = await startedReplicas(valkey, 1);
    if (one === undefined) throw new Error("no replica");
    const beforeId = currentId(one) ?? "";
    await addPackage(one, "2");
    await one.ping();
    const late = new ReplicaUnderTest(valkey, { folder: one.served.folder });
    await vi.waitFor(() => expect(late.fleet.valkey.isConnected).toBe(true), 10_000);
    late.fleet.add(late.replicated);
    await late.fleet.caughtUp();
    await late.fleet.hasTakenRecent();
    expect(snapshotsOf(late)).toEqual([`sid ${currentId(one)}`, `sid ${beforeId}`]);
  });

  test("exchanges past publications with the others, which had none of its own", async () => {
    const alone = new ReplicaUnderTest(await otherValkey());
    alone.served.put(`${amd64}/hello_1_amd64.deb`, await aDeb({ package: "hello" }));
    await alone.start();
    await agreed([alone]);
    await addPackage(alone, "2");
    await alone.ping();
    await alone.end();
    const folder = alone.served.folder;
    const [one] = await startedReplicas(valkey, 1, { folder });
    if (one === undefined) throw new Error("no replica");
    const same = new ReplicaUnderTest(valkey, { folder, state: alone.served.state });
    await same.start();
    await agreed([one, same]);
    await vi.waitFor(() => {
      expect(snapshotsOf(one)).toEqual(snapshotsOf(same));
      expect(snapshotsOf(one).length).toBeGreaterThan(1);
    }, 10_000);
  });

  test("takes over a publication with the same Date and other bytes", async () => {
    const alone = new ReplicaUnderTest(await otherValkey(), { releaseDigests: ["sha256", "sha512"] });
    alone.served.put(`${amd64}/hello_1_amd64.deb`, await aDeb({ package: "hello" }));
    await alone.start();
    await agreed([alone]);
    await alone.end();
    const { folder, state } = alone.served;
    const [one] = await startedReplicas(valkey, 1, { folder });
    if (one === undefined) throw new Error("no replica");
    expect(currentId(one)).toBe(currentId(alone));
    const same = new ReplicaUnderTest(valkey, { folder, state });
    await same.start();
    await agreed([one, same]);
    expect(new Set(await releases([one, same])).size).toBe(1);
  });

  test("knows who used a name first, which the tree does not tell", async () => {
    const [one] = await startedReplicas(valkey, 1);
    if (one === undefined) throw new Error("no replica");
    const owner = { owner: "alice", sinceMs: 1 };
    one.served.repository.firstOwners.of(sid).set("hello", owner);
    await vi.waitFor(async () => {
      const { prefix } = one.fleet.valkey;
      expect(await one.fleet.valkey.run((redis) => redis.hlen(`${prefix}first-owners:debian`))).toBe(1);
    }, 10_000);
    const late = new ReplicaUnderTest(valkey, { folder: one.served.folder });
    await late.start();
    expect(late.served.repository.firstOwners.of(sid).get("hello")).toEqual(owner);
  });

  test("takes over the newest publication of replicas that each had one, and Date moves forward", async () => {
    const alone = new ReplicaUnderTest(valkey);
    alone.served.put(`${amd64}/hello_1_amd64.deb`, await aDeb({ package: "hello" }));
    await alone.start();
    await agreed([alone]);
    const before = currentId(alone) ?? "";
    const other = new ReplicaUnderTest(valkey, { folder: alone.served.folder });
    await other.start();
    await agreed([alone, other]);
    expect(currentId(other)).toBe(before);
  });

  test("does not answer 404 for what the publisher has not published yet", async () => {
    const first = new ReplicaUnderTest(valkey);
    first.served.put(`${amd64}/hello_1_amd64.deb`, await aDeb({ package: "hello" }));
    await vi.waitFor(() => expect(first.fleet.valkey.isConnected).toBe(true), 10_000);
    // The lease is taken by somebody who never publishes.
    await first.fleet.valkey.run((redis) => redis.set(`${first.fleet.valkey.prefix}lease:debian`, "nobody"));
    await first.start();
    await vi.waitFor(() => expect(first.fleet.notReady).toBeUndefined(), 10_000);
    await expect(first.served.text("dists/sid/InRelease")).rejects.toMatchObject({ code: "publishing/not-seen-yet" });
    expect(first.served.repository.status().notReady).toBeDefined();
  });
});

describe("the publisher", () => {
  test("lets the others prepare a publication while it signs it, and all serve it when it is signed", async () => {
    let signing = Promise.resolve();
    const sign = async (release: string) => {
      await signing;
      return { inRelease: `signed ${release}`, releaseGpg: "a signature" };
    };
    const signer = { publicKey: "", publicKeyBytes: Buffer.alloc(0), keys: [], sign };
    const replicas = await startedReplicas(valkey, 3, { signer });
    const { publisher, followers } = roles(replicas);
    const before = await releases(replicas);
    const { promise, resolve: endSigning } = withResolvers<void>();
    signing = promise;
    await addPackage(publisher, "2");
    const pinging = publisher.ping();
    for (const { served } of followers)
      await vi.waitFor(() => expect(served.repository.store.preparedDate(sid)).toBeDefined(), 10_000);
    expect(await releases(replicas)).toEqual(before);
    endSigning();
    await pinging;
    const after = await releases(replicas);
    expect([new Set(after).size, after[0] === before[0]]).toEqual([1, false]);
  });

  test("leaves the others as they are while its disk is full, and publishes when it has room again", async () => {
    const replicas = await startedReplicas(valkey, 3);
    const { publisher, followers } = roles(replicas);
    const before = await releases(replicas);
    const falls = followers.map(({ fleet }) => vi.spyOn(fleet, "fallBehind"));
    // A fake, because the disk of this machine is not full.
    const full = vi
      .spyOn(publisher.served.repository.store.segments, "written")
      .mockRejectedValue(new Error("no space left on device"));
    await addPackage(publisher, "2");
    for (let attempt = 0; attempt < 3; attempt++) await expect(publisher.ping()).rejects.toThrow("no space left");
    expect(await releases(replicas)).toEqual(before);
    for (const fall of falls) expect(fall).not.toHaveBeenCalled();
    full.mockRestore();
    await publisher.ping();
    await agreed(replicas);
    expect(new Set(await releases(replicas)).size).toBe(1);
    for (const { served } of replicas) expect(await packageNames(served)).toContain("more 2");
  });

  test("lets another replica publish while it cannot read the tree, also for a ping that it has begun", async () => {
    const replicas = await startedReplicas(valkey, 3);
    const { publisher, followers } = roles(replicas);
    publisher.isCutFromTree = true;
    await addPackage(publisher, "2");
    const { publications } = await publisher.ping();
    expect(followers.some(({ replicated }) => replicated.isPublisher)).toBe(true);
    expect(publications).toMatchObject([{ id: currentId(publisher) }]);
    expect(await packageNames(publisher.served)).toEqual(["hello 1.0-1", "more 2"]);
  });

  test("goes on while nobody can read the tree, and answers pings with that", async () => {
    const replicas = await startedReplicas(valkey, 2);
    const { publisher, followers } = roles(replicas);
    for (const replica of replicas) replica.isCutFromTree = true;
    const before = await releases(replicas);
    await Promise.all(replicas.map(({ served }) => served.repository.refreshAll().catch(() => undefined)));
    await vi.waitFor(() => expect(followers[0]?.fleet.otherMembers[0]?.unreadable).toEqual(["debian"]), 10_000);
    await expect(publisher.ping()).rejects.toMatchObject({ code: "storage/unavailable" });
    expect(await releases(replicas)).toEqual(before);
  });

  test("is none whose signing key most others do not have, and each says what differs", async () => {
    const lines: string[] = [];
    const error = (context: object, text: string) => void lines.push(`${text} ${JSON.stringify(context)}`);
    const log = { info() {}, warn() {}, error };
    const wrong = new ReplicaUnderTest(valkey, { keys: ["B"], log });
    const { folder } = wrong.served;
    const others = [new ReplicaUnderTest(valkey, { folder }), new ReplicaUnderTest(valkey, { folder })];
    wrong.served.put(`${amd64}/hello_1_amd64.deb`, await aDeb({ package: "hello" }));
    for (const replica of [...others, wrong]) await replica.start();
    await agreed([wrong, ...others]);
    for (const replica of others) {
      await vi.waitFor(() => expect(lines.join("\n")).toContain('"differing":["signing keys"]'), 10_000);
      if (replica.replicated.isPublisher) await replica.end();
    }
    expect(wrong.replicated.isPublisher).toBe(false);
  });
});

describe("a suite that is taken out of the tree", () => {
  const { signal } = new AbortController();
  /** Moves the suite out of the tree, and back. */
  const moved = ({ served }: ReplicaUnderTest) => {
    const [inTree, elsewhere] = [join(served.folder, "dists/sid"), join(served.folder, "sid")];
    return { away: () => renameSync(inTree, elsewhere), back: () => renameSync(elsewhere, inTree) };
  };

  /** A publisher, and a follower that knows that the suite was withdrawn, but has not read the tree since. */
  async function withdrawn({ alsoIn }: { readonly alsoIn?: string } = {}) {
    const replicas = await startedReplicas(valkey, 2);
    const { publisher, followers } = roles(replicas);
    const [follower] = followers;
    if (follower === undefined) throw new Error("no follower");
    if (alsoIn !== undefined) {
      publisher.served.put(`${alsoIn}/other_1_arm64.deb`, await aDeb({ package: "other", architecture: "arm64" }));
      await publisher.ping();
      await follower.served.repository.refreshAll();
    }
    const suite = moved(publisher);
    suite.away();
    // Not a ping of the fleet, for which the follower reads the tree too.
    await publisher.served.ping();
    await vi.waitFor(() => expect(currentId(follower)).toBeUndefined(), 10_000);
    return { replicas, publisher, follower, suite };
  }

  test.each([
    ["before the follower looks", async () => undefined],
    ["after the follower has looked", async ({ served }: ReplicaUnderTest) => await served.repository.refreshAll()],
  ])("keeps its packages when it comes back %s and the publisher ends", async (_when, look) => {
    const { replicas, publisher, follower, suite } = await withdrawn();
    await look(follower);
    suite.back();
    await publisher.served.ping();
    await agreed(replicas);
    const id = currentId(publisher);
    await follower.served.repository.refreshAll();
    await publisher.end();
    await agreed([follower]);
    await follower.ping();
    expect(await packageNames(follower.served)).toEqual(["hello 1.0-1"]);
    expect(currentId(follower)).toBe(id);
  });

  test("does not exist for a follower from its withdrawal on, which stays ready", async () => {
    const { follower } = await withdrawn();
    const { repository } = follower.served;
    expect(await follower.served.bytes("dists/sid/InRelease")).toBeUndefined();
    expect(repository.notReady).toBeUndefined();
    await repository.refreshAll();
    expect([...repository.suites()]).toEqual([]);
  });

  test("does not exist for a follower that has seen only of a part that it is gone", async () => {
    const { follower } = await withdrawn({ alsoIn: "dists/sid/main/binary-arm64" });
    const { repository } = follower.served;
    await repository.ping(parseTreePath(amd64), signal);
    expect([...repository.suites()]).toHaveLength(1);
    expect(await follower.served.bytes("dists/sid/InRelease")).toBeUndefined();
    expect(repository.notReady).toBeUndefined();
  });

  test("is withdrawn once, also when the next publisher sees only later that it is gone", async () => {
    const { publisher, follower } = await withdrawn();
    const again = vi.spyOn(follower.replicated.publicationsOf(follower.served.repository.name), "announceWithdrawal");
    await publisher.end();
    await vi.waitFor(() => expect(follower.replicated.isPublisher).toBe(true), 10_000);
    expect((await follower.ping()).publications).toEqual([]);
    expect(again).not.toHaveBeenCalled();
    expect(follower.served.repository.status()).toMatchObject({ lastError: undefined, suites: [] });
  });

  /** A publisher that withdraws the suite, and a follower that prepares this. Another one is missing for seconds. */
  async function beingWithdrawn() {
    const replicas = await startedReplicas(valkey, 3);
    const { publisher, followers } = roles(replicas);
    const [silent, follower] = followers;
    if (silent === undefined || follower === undefined) throw new Error("two followers are needed");
    // The withdrawal waits for it until it does not count any more.
    silent.cut();
    const { name, store } = publisher.served.repository;
    const withdraw = vi.spyOn(publisher.replicated.publicationsOf(name), "announceWithdrawal");
    moved(publisher).away();
    const withdrawing = publisher.ping();
    await vi.waitFor(() => expect(withdraw).toHaveBeenCalled(), 10_000);
    expect(store.withdrawalOf(sid)).toBeUndefined();
    return { publisher, follower, withdrawing };
  }

  test("has the package that is uploaded while it is being withdrawn on all replicas", async () => {
    const { publisher, follower, withdrawing } = await beingWithdrawn();
    await addPackage(publisher, "2");
    expect((await publisher.ping()).publications).toMatchObject([{ suite: "sid" }]);
    await withdrawing;
    for (const { served } of [publisher, follower]) expect(await packageNames(served)).toEqual(["more 2"]);
  });

  test("is served until all know that it is withdrawn, and does not come back", async () => {
    const { publisher, follower, withdrawing } = await beingWithdrawn();
    const replicas = [publisher, follower];
    const seen = replicas.map((replica) => [currentId(replica) === undefined ? "gone" : "served"]);
    const watching = setInterval(() => {
      for (const [index, replica] of replicas.entries()) {
        const now = currentId(replica) === undefined ? "gone" : "served";
        if (seen[index]?.at(-1) !== now) seen[index]?.push(now);
      }
    }, 1);
    // Compares with the fleet again and again: what was current before must not look new at any moment.
    let isWithdrawn = false;
    const comparing = (async () => {
      while (!isWithdrawn) await publisher.fleet.settle();
    })();
    await withdrawing;
    isWithdrawn = true;
    await comparing;
    await vi.waitFor(() => expect(currentId(follower)).toBeUndefined(), 10_000);
    clearInterval(watching);
    expect(seen).toEqual([
      ["served", "gone"],
      ["served", "gone"],
    ]);
  });
});

describe("the lease", () => {
  test("lets only its holder publish, whatever another one believes", async () => {
    const replicas = await startedReplicas(valkey, 2);
    const { publisher, followers } = roles(replicas);
    const [follower] = followers;
    if (follower === undefined) throw new Error("no follower");
    const before = await releases(replicas);
    // Somebody else takes it, and the publisher has not heard of that yet.
    const { prefix } = publisher.fleet.valkey;
    await publisher.fleet.valkey.run((redis) => redis.set(`${prefix}lease:debian`, "another"));
    expect(publisher.replicated.isPublisher).toBe(true);
    await addPackage(publisher, "2");
    await expect(publisher.served.ping()).rejects.toBeInstanceOf(LeaseLost);
    expect(await releases(replicas)).toEqual(before);
    await publisher.fleet.valkey.run((redis) => redis.del(`${prefix}lease:debian`));
    await agreed(replicas);
    await follower.ping();
    expect(await packageNames(follower.served)).toEqual(["hello 1.0-1", "more 2"]);
  });

  test("does not let its holder publish with an earlier fence", async () => {
    const replicas = await startedReplicas(valkey, 2);
    const { publisher } = roles(replicas);
    const { prefix } = publisher.fleet.valkey;
    const before = await releases(replicas);
    await publisher.fleet.valkey.run((redis) => redis.incr(`${prefix}fence:debian`));
    await addPackage(publisher, "2");
    await expect(publisher.served.ping()).rejects.toBeInstanceOf(LeaseLost);
    expect(await releases(replicas)).toEqual(before);
    await agreed(replicas);
  });
});
