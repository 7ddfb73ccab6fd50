// Every way to reach Valkey that the configuration offers, with real servers. Sentinel is in test/system/cluster.test.ts.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import { Secret } from "../../src/base/secret.ts";
import { FleetCounter } from "../../src/cluster/counters.ts";
import { ReadOnce } from "../../src/cluster/read-once.ts";
import { FleetSessions } from "../../src/cluster/sessions.ts";
import { Valkey } from "../../src/cluster/valkey.ts";
import type { ValkeySettings } from "../../src/cluster/valkey-settings.ts";
import { aCertificate } from "../support/certificates.ts";
import { aDeb } from "../support/debs.ts";
import { addPackage, amd64, isUsed, releases, startedReplicas } from "../support/replicas.ts";
import { ServedFolder } from "../support/served-folder.ts";
import { freePort } from "../support/server.ts";
import { ValkeyUnderTest } from "../support/valkey.ts";
import { ValkeyClusterUnderTest } from "../support/valkey-cluster.ts";

interface Started {
  settings(): ValkeySettings;
}

function directory(): string {
  const made = mkdtempSync(join(tmpdir(), "tahoe-apt-variant-"));
  onTestFinished(() => rmSync(made, { recursive: true }));
  return made;
}

async function withTls(): Promise<Started> {
  const certificate = aCertificate(directory());
  const port = await freePort();
  const files = ["--tls-cert-file", certificate.certificateFile, "--tls-key-file", certificate.keyFile];
  const tls = ["--tls-port", String(port), ...files, "--tls-auth-clients", "no", "--requirepass", "a password"];
  const server = await ValkeyUnderTest.start([...tls, "--tls-ca-cert-file", certificate.caFile]);
  onTestFinished(async () => await server.stop());
  const reached = { urls: [`rediss://127.0.0.1:${port}`], ca: readFileSync(certificate.caFile, "utf8") };
  return { settings: () => ({ ...server.settings(), ...reached, password: new Secret("a password") }) };
}

async function throughSocket(): Promise<Started> {
  const path = join(directory(), "valkey.sock");
  const server = await ValkeyUnderTest.start(["--unixsocket", path]);
  onTestFinished(async () => await server.stop());
  return { settings: () => ({ ...server.settings(), urls: [`redis+unix://${path}`] }) };
}

async function asCluster(): Promise<Started> {
  const cluster = await ValkeyClusterUnderTest.start();
  onTestFinished(async () => await cluster.stop());
  return cluster;
}

async function connected(started: Started): Promise<Valkey> {
  const valkey = new Valkey(started.settings(), silentLog);
  onTestFinished(() => valkey.close());
  await vi.waitFor(() => expect(valkey.isConnected).toBe(true), 10_000);
  return valkey;
}

describe.each([
  ["with TLS, a private authority and a password", withTls],
  ["through a socket", throughSocket],
  ["that is a Redis Cluster of three nodes", asCluster],
])("a Valkey %s", (_name, start) => {
  test("connects replicas: publications, pings, and what they know of clients", async () => {
    const started = await start();
    await isUsed(started);
    const replicas = await startedReplicas(started, 2);
    for (const [n, replica] of replicas.entries()) {
      await addPackage(replica, String(n));
      expect((await replica.ping()).added).toEqual([`${amd64}/more_${n}_amd64.deb`]);
      expect(new Set(await releases(replicas)).size).toBe(1);
    }
    const [one, other] = [await connected(started), await connected(started)];
    const counters = [one, other].map((valkey) => new FleetCounter(valkey, "tests", 60));
    for (const counter of counters) counter.points = 2;
    await counters[0]?.consume("somebody");
    await counters[1]?.consume("somebody");
    await expect(counters[0]?.consume("somebody")).rejects.toMatchObject({ consumedPoints: 3 });
    const session = { id: "20261130T080000Z", file: "InRelease", isPaired: false, beganMs: 1 } as const;
    await new FleetSessions(one, new Secret("a secret")).set("somebody", session, 10_000);
    expect(await new FleetSessions(other, new Secret("a secret")).get("somebody")).toEqual(session);
  });

  test("lets each file be read once", async () => {
    const started = await start();
    const sources: string[] = [];
    const replica = async (member: string, folder?: string): Promise<ServedFolder> => {
      const valkey = await connected(started);
      const secret = new Secret("a secret");
      const readOnce = new ReadOnce({ valkey, secret, repository: "debian", member, version: "1" });
      onTestFinished(() => readOnce.close());
      const served = new ServedFolder({
        ...(folder !== undefined && { folder }),
        sharedInspections: readOnce.shared,
        observer: { inspected: (source) => void sources.push(source) },
      });
      readOnce.add(served.repository);
      await readOnce.start();
      return served;
    };
    const one = await replica("one");
    for (let n = 0; n < 5; n++) one.put(`${amd64}/p${n}.deb`, await aDeb({ package: `p${n}`, architecture: "amd64" }));
    await one.ping();
    await (await replica("other", one.folder)).ping();
    expect(sources.toSorted()).toEqual([...Array<string>(5).fill("read"), ...Array<string>(5).fill("shared")]);
  });
});

test("a server whose authority is unknown is refused", async () => {
  const started = await withTls();
  const valkey = new Valkey({ ...started.settings(), ca: undefined }, silentLog);
  onTestFinished(() => valkey.close());
  await vi.waitFor(() => expect(valkey.errors).toBeGreaterThan(0), 10_000);
  expect(valkey.isConnected).toBe(false);
});
