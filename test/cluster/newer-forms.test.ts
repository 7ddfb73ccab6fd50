// While replicas are upgraded, those of the older version meet entries that a newer one has written. Whatever is in a
// form that they do not know counts as missing; publishing goes on.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Secret } from "../../src/base/secret.ts";
import { Sealing } from "../../src/cluster/sealing.ts";
import { FleetSessions } from "../../src/cluster/sessions.ts";
import type { Valkey } from "../../src/cluster/valkey.ts";
import {
  addPackage,
  agreed,
  aUsedValkey,
  currentId,
  ReplicaUnderTest,
  releases,
  roles,
  sid,
  startedReplicas,
  withValkey,
} from "../support/replicas.ts";
import { packageNames } from "../support/served-folder.ts";
import type { ValkeyUnderTest } from "../support/valkey.ts";

/** Seals as the replicas do. */
const sealing = new Sealing(new Secret("a secret"), "debian");
const newer = JSON.stringify({ v: 99, anything: true });
let valkey: ValkeyUnderTest;

beforeEach(async () => {
  valkey = await aUsedValkey();
});
afterEach(async () => {
  await valkey.stop();
});

/** Publishes another package through each replica. */
async function publishes(replicas: readonly ReplicaUnderTest[], version: string): Promise<void> {
  for (const [n, replica] of replicas.entries()) {
    await addPackage(replica, `${version}.${n}`);
    await replica.ping();
    expect(new Set(await releases(replicas)).size).toBe(1);
    expect(await packageNames(replica.served)).toContain(`more ${version}.${n}`);
  }
}

/** A value that a newer version has sealed: in another form, or with other content in the same form. */
const sealed = (name: string, plain: string | Buffer): Buffer => sealing.seal(name, Buffer.from(plain));

/** Replaces the content of the current publication in Valkey by that of a newer version. */
async function replaceContent(connection: Valkey, kind: "manifest" | "segment" | "blob"): Promise<void> {
  const start = `${connection.prefix}${kind}:`;
  const keys = (await connection.run((redis) => redis.keys("*"))).filter((key) => key.startsWith(start));
  expect(keys).not.toHaveLength(0);
  for (const key of keys)
    await connection.run((redis) => redis.set(key, sealed(key.slice(connection.prefix.length), newer), "PX", 60_000));
}

describe("an entry in a newer form", () => {
  test("about members, pings, commands, past publications, owners or clients is ignored", async () => {
    const replicas = await startedReplicas(valkey, 2);
    const [one] = replicas;
    if (one === undefined) throw new Error("no replica");
    await withValkey(valkey, async (connection) => {
      const { prefix } = connection;
      const set = (key: string, field: string, value: string | Buffer) =>
        connection.run((redis) => redis.hset(prefix + key, new Map([[field, value]])));
      const send = (channel: string, message: string | Buffer) =>
        connection.run((redis) => redis.publish(prefix + channel, message));
      await connection.run((redis) => redis.sadd(`${prefix}members`, "newer"));
      await connection.run((redis) => redis.set(`${prefix}member:newer`, `${Date.now()} ${newer}`, "PX", 60_000));
      await set("pings:debian", "newer", newer);
      await set("kept:debian", "sid 1", newer);
      await set("snapshots:debian", "rollback sid", `99999999999999 ${newer}`);
      await set("snapshots:debian", "freeze sid", newer);
      await set("first-owners:debian", "sid/newer", sealed("first owner debian sid/newer", newer));
      for (const { fleet } of replicas) {
        await send(`prepared:${fleet.id}`, newer);
        await send(`answer:${fleet.id}`, newer);
        const answer = sealed("ping x", newer).toString("base64");
        await send(`answer:${fleet.id}`, JSON.stringify({ repository: "debian", ping: "x", answer }));
      }
      await send("ping", newer);
      const path = sealed("ping y", "not/a//path").toString("base64");
      await send("ping", JSON.stringify({ repository: "debian", ping: "y", from: "newer", path }));
      await send("snapshots", newer);
      const marks = new Sealing(new Secret("a secret"), "inspections of debian");
      await send(`untrusted:${marks.nameOf("untrusted")}`, marks.seal("untrusted", Buffer.from("not JSON")));
      const sessions = new FleetSessions(connection, new Secret("a secret"));
      await sessions.set("somebody", { id: "1", file: "InRelease", isPaired: false, beganMs: 1 }, 60_000);
      const [session = ""] = await connection.run((redis) => redis.keys(`${prefix}session:*`));
      await connection.run((redis) => redis.set(session, newer));
      expect(await sessions.get("somebody")).toBeUndefined();
    });
    await publishes(replicas, "2");
    const { snapshotControl, store } = one.served.repository;
    await snapshotControl.pin(sid, currentId(one) ?? "", "release");
    const late = new ReplicaUnderTest(valkey, { folder: one.served.folder });
    await late.start();
    await agreed([...replicas, late]);
    await vi.waitFor(() => expect([...late.served.repository.store.pins.all()]).toEqual([...store.pins.all()]), 10_000);
    await publishes([...replicas, late], "3");
  });

  test("that is an announcement takes the replica out of the way of the publisher until it has caught up", async () => {
    const replicas = await startedReplicas(valkey, 2);
    const { publisher, followers } = roles(replicas);
    const falls = followers.map(({ fleet }) => vi.spyOn(fleet, "fallBehind"));
    await withValkey(valkey, async (connection) => {
      // The last one may be on its way when the connection is closed.
      const announce = () => {
        connection.run((redis) => redis.publish(`${connection.prefix}announce`, newer)).catch(() => undefined);
      };
      const announcing = setInterval(announce, 50);
      await vi.waitFor(() => expect(falls[0]).toHaveBeenCalled(), 10_000);
      await addPackage(publisher, "1");
      await publisher.ping();
      clearInterval(announcing);
    });
    await agreed(replicas);
    await publishes(replicas, "2");
  });

  test.each(["manifest", "segment"] as const)(
    "that is a %s keeps a replica out of service, and nobody else",
    async (kind) => {
      const replicas = await startedReplicas(valkey, 2);
      const [one] = replicas;
      if (one === undefined) throw new Error("no replica");
      await withValkey(valkey, async (connection) => await replaceContent(connection, kind));
      const late = new ReplicaUnderTest(valkey, { folder: one.served.folder });
      await late.start();
      await vi.waitFor(
        () => expect(late.fleet.notReady).toContain("another version of the program has written"),
        10_000,
      );
      await addPackage(one, "2");
      await one.ping();
      expect(new Set(await releases(replicas)).size).toBe(1);
      if (kind === "manifest") {
        await agreed([...replicas, late]);
        expect(await packageNames(late.served)).toEqual(["hello 1.0-1", "more 2"]);
      }
    },
  );

  test("about the current publication is followed by a later one if no other replica serves", async () => {
    const replicas = await startedReplicas(valkey, 2);
    const [one] = replicas;
    if (one === undefined) throw new Error("no replica");
    const { dateSeconds = 0 } = one.served.repository.currentOf(sid) ?? {};
    const later = dateSeconds + 100;
    // As if a newer replica had published, and then died.
    await withValkey(valkey, async (connection) => {
      const { prefix } = connection;
      await connection.run((redis) => redis.set(`${prefix}lease:debian`, "newer", "PX", 2000));
      await connection.run((redis) => redis.hset(`${prefix}current:debian`, "sid", `${2 * later} ${newer}`));
    });
    await vi.waitFor(() => expect(one.served.repository.currentOf(sid)?.dateSeconds).toBeGreaterThan(later), 20_000);
    await agreed(replicas);
    await publishes(replicas, "2");
  });
});
