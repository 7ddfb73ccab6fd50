// Health check schedule: a server checks the objects of its tree on the grid, renews leases, and reports losses.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiHealthCheck } from "../../src/storage/tahoe/webapi-health.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import { aDeb } from "../support/debs.ts";
import { ServerUnderTest } from "../support/server.ts";

const { signal } = new AbortController();
const work = mkdtempSync(join(tmpdir(), "tahoe-apt-health-"));
const path = parseTreePath("dists/sid/main/binary-amd64/builder/hello_1.0-1_amd64.deb");
let server: ServerUnderTest;

/** The shares of the package's bytes. */
let shares: string;

async function start(checkSeconds: number): Promise<void> {
  writeFileSync(
    join(work, "c.toml"),
    `state = "state"\ncheck_seconds = ${checkSeconds}\n[[repository]]\nname = "debian"\nreadcap_file = "readcap"\n` +
      `webapi = "${inject("webapiUrl")}"\n`,
  );
  server = await ServerUnderTest.start({ flags: ["--config", join(work, "c.toml")] });
  await server.ready();
}

beforeAll(async () => {
  const webapi = new Webapi(inject("webapiUrl"));
  const writer = new WebapiWriter(webapi);
  const root = await writer.createDirectory(signal);
  await writer.put(root, path, await aDeb({ package: "hello", architecture: "amd64" }), signal);
  writeFileSync(join(work, "readcap"), (await writer.readCapOf(root, signal)).reveal(), { mode: 0o600 });
  const health = new WebapiHealthCheck(webapi, root);
  const { storageIndex } = await health.check({ path, content: undefined }, { verify: false, repair: false }, signal);
  shares = join(inject("nodeDirectory"), "storage/shares", storageIndex.slice(0, 2), storageIndex);
  await start(1);
});

afterAll(async () => {
  await server?.end();
  rmSync(work, { recursive: true, force: true });
});

async function metric(series: string): Promise<number | undefined> {
  const scrape = await (await fetch(`${server.url}/metrics`)).text();
  const line = scrape.split("\n").find((each) => each.startsWith(`tahoe_apt_${series}`));
  return line === undefined ? undefined : Number(line.split(" ").at(-1));
}

const objects = (state: string) => metric(`objects{repository="debian",state="${state}"}`);

test("every object is checked and its leases are renewed, round after round", async () => {
  await expect.poll(() => objects("healthy"), { timeout: 30_000 }).toBe(7);
  expect(await objects("lost")).toBe(0);
  const renewed = () => metric('leases_renewed_total{repository="debian"}');
  await expect.poll(renewed, { timeout: 30_000 }).toBeGreaterThanOrEqual(14);
  const endedAt = await metric('deep_check_timestamp_seconds{repository="debian"}');
  expect(Math.abs(Number(endedAt) - Date.now() / 1000)).toBeLessThan(30);
});

test("lost objects are shown in the metrics and named in the log, without a cap", async () => {
  rmSync(shares, { recursive: true });
  await expect.poll(() => objects("lost"), { timeout: 30_000 }).toBe(1);
  expect(await objects("healthy")).toBe(6);
  // The metric changes a moment before the log line arrives through the pipe.
  await expect.poll(() => server.output).toContain(`"path":"${path}","kind":"file","state":"lost"`);
  expect(server.output).not.toMatch(/URI:|URI%3A/i);
});

test("after a restart the last round is still reported, and the next one waits until it is due", async () => {
  expect(await server.end()).toBe(0);
  await start(3600);
  expect(await objects("lost")).toBe(1);
  expect(await metric('objects_checked_total{repository="debian",state="healthy"}')).toBeUndefined();
});
