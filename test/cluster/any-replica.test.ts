// Any replica answers anything that any replica has announced: also what is made later, what is past, and what is not
// in the tree any more.
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { indexPath } from "../../src/publishing/store/publication.ts";
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
import type { ValkeyUnderTest } from "../support/valkey.ts";

let valkey: ValkeyUnderTest;

beforeEach(async () => {
  valkey = await aUsedValkey();
});
afterEach(async () => {
  await valkey.stop();
});

/** Publishes another package and everything that follows later. */
async function publish(replicas: readonly ReplicaUnderTest[], version: string): Promise<void> {
  const [one] = replicas;
  if (one === undefined) throw new Error("no replica");
  await addPackage(one, version);
  await one.ping();
  await roles(replicas).publisher.served.deferredGenerated();
  await agreed(replicas);
}

/** Everything that can be requested by hash of the current publication: indices, and patches under their own names. */
async function lasting({ served }: ReplicaUnderTest): Promise<readonly string[]> {
  const blobs = served.repository.currentOf(sid)?.blobs ?? [];
  const patches = blobs.filter(({ listed }) => !listed).map(({ path }) => `dists/sid/${path}`);
  return [...indicesIn(await served.text("dists/sid/InRelease")), ...patches];
}

/** Everything that has another content in the next publication. */
const present = ({ served }: ReplicaUnderTest): readonly string[] => {
  const { indices = [], blobs = [] } = served.repository.currentOf(sid) ?? {};
  const listed = [...indices.map((index) => indexPath(index, "xz")), ...blobs.map(({ path }) => path)];
  return ["InRelease", "Release", "Release.gpg", ...listed].map((path) => `dists/sid/${path}`);
};

async function expectEqual(replicas: readonly ReplicaUnderTest[], paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const bodies = await Promise.all(replicas.map(async ({ served }) => (await served.bytes(path))?.toString("hex")));
    expect([path, new Set(bodies).size, bodies.includes(undefined)]).toEqual([path, 1, false]);
  }
}

test("pdiffs and Contents are the same at all replicas, also past ones, those of another publisher, and at a late replica", async () => {
  const replicas = await startedReplicas(valkey, 2, { pdiffs: true, contents: true });
  const [one] = replicas;
  if (one === undefined) throw new Error("no replica");
  // Patches of a small index would be larger than the index.
  for (let n = 0; n < 40; n++) {
    const fields = { Description: randomBytes(150).toString("base64url") };
    one.served.put(`${amd64}/p${n}_1_amd64.deb`, await aDeb({ package: `p${n}`, fields }));
  }
  const past = new Set<string>();
  const ids: string[] = [];
  for (const version of ["2", "3"]) {
    await publish(replicas, version);
    for (const path of await lasting(one)) past.add(path);
    ids.push(currentId(one) ?? "");
    await expectEqual(replicas, [...past, ...present(one)]);
  }
  const names = present(one).join(" ");
  for (const name of ["Packages.diff/Index", "Contents-amd64"]) expect(names).toContain(name);
  expect([...past].filter((path) => path.endsWith(".gz"))).not.toHaveLength(0);

  const late = new ReplicaUnderTest(valkey, { folder: one.served.folder, pdiffs: true, contents: true });
  await late.start();
  const { publisher, followers } = roles(replicas);
  await publisher.end();
  const rest = [...followers, late];
  await agreed(rest);
  await vi.waitFor(() => expect(snapshotsOf(late)).toEqual(snapshotsOf(followers[0] as ReplicaUnderTest)), 10_000);
  await publish(rest, "4");
  const snapshots = ids.map((id) => `snapshots/${id}/dists/sid/InRelease`);
  await expectEqual(rest, [...past, ...present(late), ...snapshots]);
  expect(present(late).join(" ")).toContain("Packages.diff/Index");
});

test("packages of past publications are served by all that have seen them, and looked for elsewhere by others", async () => {
  const replicas = await startedReplicas(valkey, 2);
  const [one] = replicas;
  if (one === undefined) throw new Error("no replica");
  const [, path = ""] = /^Filename: (.*)$/m.exec(await one.served.text(`${amd64}/Packages`)) ?? [];
  await publish(replicas, "2");
  one.served.remove(`${amd64}/hello_1_amd64.deb`);
  await one.ping();
  expect(await one.served.text(`${amd64}/Packages`)).not.toContain("Package: hello");
  await expectEqual(replicas, [path]);
  // A folder forgets what is deleted, so a replica that is added now cannot have it: its 503 lets HAProxy ask another.
  const late = new ReplicaUnderTest(valkey, { folder: one.served.folder });
  await late.start();
  await agreed([...replicas, late]);
  await vi.waitFor(() => expect(snapshotsOf(late)).toEqual(snapshotsOf(one)), 10_000);
  await expect(late.served.bytes(path)).rejects.toMatchObject({ code: "storage/unavailable" });
});

test("a snapshot by time is the same at all replicas, also at a late one", async () => {
  const replicas = await startedReplicas(valkey, 2);
  const [one] = replicas;
  if (one === undefined) throw new Error("no replica");
  for (const version of ["2", "3"]) await publish(replicas, version);
  const { snapshotControl } = one.served.repository;
  const snapshots = [...one.served.repository.snapshots()];
  await snapshotControl.pin(sid, snapshots.at(-1)?.id ?? "", "first");
  const late = new ReplicaUnderTest(valkey, { folder: one.served.folder });
  await late.start();
  await agreed([...replicas, late]);
  await vi.waitFor(() => expect(snapshotsOf(late)).toEqual(snapshotsOf(one)), 10_000);
  await vi.waitFor(
    () => expect([...late.served.repository.snapshots()]).toEqual([...one.served.repository.snapshots()]),
    10_000,
  );
  const moment = (seconds: number) => `${new Date(seconds * 1000).toISOString().slice(0, 19).replace(/[-:]/g, "")}Z`;
  const times = snapshots.map(({ servedSeconds }) => moment(servedSeconds));
  for (const when of [...times, "first"]) {
    const ids = [...replicas, late].map(({ served }) => served.repository.snapshotId(sid, when));
    expect([when, new Set(ids).size, ids.includes(undefined)]).toEqual([when, 1, false]);
  }
  expect(new Set(await releases([...replicas, late])).size).toBe(1);
});
