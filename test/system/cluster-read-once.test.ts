// Each file in the grid is read by one of three real servers, also if one of them is killed while it reads.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fetch from "node-fetch";
import { afterEach, expect, inject, test, vi } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import type { CountingGateway } from "../support/counting-gateway.ts";
import { countingGateway } from "../support/counting-gateway.ts";
import { aDeb } from "../support/debs.ts";
import { freePort, ServerUnderTest } from "../support/server.ts";
import { aQuickKey } from "../support/signing-key.ts";
import { ValkeyUnderTest } from "../support/valkey.ts";

const { signal } = new AbortController();
const amd64 = parseTreePath("dists/sid/main/binary-amd64");
const token = "the-token-of-a-builder-of-tests";
const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

/** A server with a gateway of its own, which counts what it reads. */
interface Replica {
  readonly server: ServerUnderTest;
  readonly gateway: CountingGateway;
}

/** A tree in the real grid, and the means to start servers of it that share a Valkey. */
async function aFleet() {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-read-once-"));
  closing.push(async () => rmSync(work, { recursive: true, force: true }));
  const writer = new WebapiWriter(new Webapi(inject("webapiUrl")));
  const root = await writer.createDirectory(signal);
  const readCap = (await writer.readCapOf(root, signal)).reveal();
  const directory = await writer.makeDirectory(root, amd64, signal);
  const valkey = await ValkeyUnderTest.start();
  closing.push(() => valkey.stop());
  const privateKey = await aQuickKey();
  for (const [name, text] of Object.entries({ readcap: readCap, token, "key.asc": privateKey }))
    writeFileSync(join(work, name), text, { mode: 0o600 });
  let count = 0;
  return {
    valkey,
    async put(names: readonly string[]): Promise<void> {
      const links = new Map();
      for (const name of names) {
        const content = await writer.upload(await aDeb({ package: name, architecture: "amd64" }), signal);
        links.set(`${name}.deb`, { content, metadata: {} });
      }
      await writer.link(directory, links, signal);
    },
    async start({ isGridAway = false } = {}): Promise<Replica> {
      const gateway = await countingGateway(inject("webapiUrl"));
      if (isGridAway) gateway.holdAll();
      closing.push(() => gateway.end());
      const at = join(work, String(++count));
      mkdirSync(at);
      const lines = [
        "[cluster]",
        `url = "${valkey.url}"`,
        'name = "tests"',
        "[[repository]]",
        'name = "debian"',
        `webapi = "${gateway.url}"`,
        `readcap_file = "${join(work, "readcap")}"`,
        `ping_token_file = "${join(work, "token")}"`,
        `signing_key_file = "${join(work, "key.asc")}"`,
      ];
      writeFileSync(join(at, "tahoe-apt.toml"), `${lines.join("\n")}\n`);
      const flags = ["--config", join(at, "tahoe-apt.toml"), "--state", join(at, "state")];
      const server = await ServerUnderTest.start({ flags, port: await freePort() });
      closing.push(() => server.end());
      return { server, gateway };
    },
  };
}

const namesOf = async ({ server }: Replica): Promise<string[]> => {
  const reply = await fetch(`${server.url}/debian/dists/sid/main/binary-amd64/Packages`);
  return reply.ok
    ? [...(await reply.text()).matchAll(/^Package: (.*)$/gm)].map(([, name]) => name ?? "").toSorted()
    : [];
};

const inspections = async ({ server }: Replica, source: string): Promise<number> => {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(new RegExp(`^tahoe_apt_inspections_total\\{.*source="${source}"\\} (.*)$`, "m").exec(text)?.[1] ?? 0);
};

const names = (prefix: string, count: number) => Array.from({ length: count }, (_, n) => `${prefix}${n}`).toSorted();

test("three new servers read each file of a new tree once between them; a fourth one reads none, and a fifth one serves without the grid", async () => {
  const fleet = await aFleet();
  await fleet.put(names("a", 40));
  const replicas = await Promise.all([fleet.start(), fleet.start(), fleet.start()]);
  const all = async () => {
    for (const replica of replicas) expect(await namesOf(replica)).toEqual(names("a", 40));
  };
  await vi.waitFor(all, { timeout: 60_000, interval: 200 });
  await vi.waitFor(
    async () => {
      for (const replica of replicas)
        expect((await inspections(replica, "read")) + (await inspections(replica, "shared"))).toBe(40);
    },
    { timeout: 60_000, interval: 200 },
  );
  const read = replicas.flatMap(({ gateway }) => gateway.readFiles());
  expect(read).toHaveLength(40);
  expect(new Set(read).size).toBe(40);

  const late = await fleet.start();
  await late.server.ready();
  expect(await namesOf(late)).toEqual(names("a", 40));
  await vi.waitFor(async () => expect(await inspections(late, "shared")).toBe(40), { timeout: 60_000, interval: 200 });
  expect(late.gateway.readFiles()).toEqual([]);

  const withoutGrid = await fleet.start({ isGridAway: true });
  await withoutGrid.server.ready();
  expect(await namesOf(withoutGrid)).toEqual(names("a", 40));
});

test("when a server is killed while it reads, the others read what it was reading, and nothing else again", async () => {
  const fleet = await aFleet();
  await fleet.put(["first"]);
  const replicas = [await fleet.start(), await fleet.start(), await fleet.start()];
  for (const { server } of replicas) await server.ready();
  const [doomed, ...others] = replicas as [Replica, Replica, Replica];
  // All of them, so that the others have not read everything before the doomed one has begun.
  for (const { gateway } of replicas) gateway.holdFiles();
  await fleet.put(names("b", 30));
  await fetch(`${others[0]?.server.url}/-/ping/debian/`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
  });
  await vi.waitFor(() => expect(doomed.gateway.heldFiles()).not.toEqual([]), { timeout: 30_000, interval: 20 });
  for (const { gateway } of others) gateway.releaseFiles();
  await doomed.server.end("SIGKILL");
  const killedMs = performance.now();
  for (const replica of others)
    await vi.waitFor(async () => expect(await namesOf(replica)).toEqual([...names("b", 30), "first"]), {
      timeout: 40_000,
      interval: 100,
    });
  expect(performance.now() - killedMs).toBeLessThan(30_000);
  const interrupted = new Set(doomed.gateway.heldFiles());
  expect(interrupted.size).toBeGreaterThan(0);
  const counts = new Map<string, number>();
  for (const file of replicas.flatMap(({ gateway }) => gateway.readFiles()))
    counts.set(file, (counts.get(file) ?? 0) + 1);
  expect(counts.size).toBe(31);
  for (const [file, times] of counts) expect([file, times]).toEqual([file, interrupted.has(file) ? 2 : 1]);
});
