// Three replicas of one folder, in this process, over a real Valkey.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { aDeb } from "../support/debs.ts";
import { ReplicaUnderTest } from "../support/replicas.ts";
import { packageNames } from "../support/served-folder.ts";
import { ValkeyUnderTest } from "../support/valkey.ts";

const at = "dists/sid/main/binary-amd64";
let valkey: ValkeyUnderTest;

beforeEach(async () => {
  valkey = await ValkeyUnderTest.start();
});
afterEach(async () => {
  await valkey.stop();
});

async function startedReplicas(count: number): Promise<ReplicaUnderTest[]> {
  const first = new ReplicaUnderTest(valkey);
  first.served.put(`${at}/hello_1_amd64.deb`, await aDeb({ package: "hello" }));
  const replicas = [first];
  while (replicas.length < count) replicas.push(new ReplicaUnderTest(valkey, { folder: first.served.folder }));
  for (const replica of replicas) await replica.start();
  return replicas;
}

const ready = async (replicas: readonly ReplicaUnderTest[]) =>
  await vi.waitFor(async () => {
    for (const { fleet, served } of replicas) {
      expect(fleet.notReady).toBeUndefined();
      expect(served.repository.status().notReady).toBeUndefined();
    }
    expect(replicas.filter(({ replicated }) => replicated.isPublisher)).toHaveLength(1);
  }, 20_000);

describe("three replicas", () => {
  test("serve the same bytes after a ping to any of them", async () => {
    const replicas = await startedReplicas(3);
    await ready(replicas);
    for (const [index, replica] of replicas.entries()) {
      replica.served.put(`${at}/more_${index}_amd64.deb`, await aDeb({ package: "more", version: String(index) }));
      const { added, publications } = await replica.ping();
      expect(added).toEqual([`${at}/more_${index}_amd64.deb`]);
      const texts = await Promise.all(replicas.map(({ served }) => served.text("dists/sid/InRelease")));
      expect(new Set(texts).size).toBe(1);
      expect(publications).toMatchObject([{ id: replicas[0]?.served.repository.status().suites[0]?.id }]);
    }
    for (const { served } of replicas)
      expect(await packageNames(served)).toEqual(["hello 1.0-1", "more 0", "more 1", "more 2"]);
  });
});
