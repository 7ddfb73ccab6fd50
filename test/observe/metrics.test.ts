// Prometheus metrics: correct values, conventional names, no secrets.
import { spawnSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { ContentId } from "../../src/base/content-id.ts";
import { parseRepositoryName, parseSuite, parseTreePath, rootPath } from "../../src/base/names.ts";
import { measuredSigner } from "../../src/observe/measured-signer.ts";
import { MeasuredTree } from "../../src/observe/measured-tree.ts";
import { createMetrics } from "../../src/observe/metrics.ts";
import type { Tree } from "../../src/storage/tree.ts";
import { StorageUnavailable } from "../../src/storage/tree.ts";
import { aRepository, aResource } from "../support/served-repository.ts";
import { startApp } from "../support/started-app.ts";
import { ask } from "../support/transcript.ts";

const name = parseRepositoryName("debian");
const sid = parseSuite("sid");
const promtool = "promtool";
const cap = "URI:CHK:secretsecret";
const ref = { path: parseTreePath("dists/secret-name.deb"), content: new ContentId(cap) };

/** A clock that a test moves. */
function aClock() {
  let nowMs = 1_000_000;
  return { clock: () => nowMs, pass: (seconds: number) => (nowMs += seconds * 1000) };
}

/** The value of one line of a scrape. */
function seriesValue(scrape: string, series: string): number {
  const line = scrape.split("\n").find((one) => one.startsWith(`${series} `));
  if (line === undefined) throw new Error(`no ${series} in\n${scrape}`);
  return Number(line.slice(series.length + 1));
}

async function drain(body: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _chunk of body);
}

test("a publication's age grows from the start on until it is confirmed or replaced", async () => {
  const { clock, pass } = aClock();
  const metrics = createMetrics(clock);
  const observer = metrics.observerOf(name);
  const age = async () =>
    seriesValue(await metrics.render(), 'tahoe_apt_publication_age_seconds{repository="debian",suite="sid"}');
  observer.restored(sid);
  pass(30);
  expect(await age()).toBe(30);
  observer.published(sid, 0.2);
  pass(60);
  expect(await age()).toBe(60);
  observer.confirmed(sid);
  pass(5);
  expect(await age()).toBe(5);
  observer.published(sid, 0.2);
  expect(await age()).toBe(0);
  observer.withdrawn(sid);
  await expect(age()).rejects.toThrow("no tahoe_apt_publication_age_seconds");
});

test("a tree's looks, reads and failures are counted separately, without the time of the consumer", async () => {
  const { clock, pass } = aClock();
  const metrics = createMetrics(clock);
  const never = new AbortController().signal;
  let broken = false;
  const tree: Tree = {
    async look(path) {
      if (broken) throw new StorageUnavailable(path, "refused", { transient: true });
      pass(0.3);
      return undefined;
    },
    async *open(file) {
      pass(2);
      yield Buffer.alloc(100);
      if (broken) throw new StorageUnavailable(file.path, "refused", { transient: true });
    },
  };
  const measured = new MeasuredTree(tree, metrics.treeObserverOf(name), clock);
  await measured.look(rootPath, never);
  for await (const _chunk of measured.open(ref, undefined, never)) pass(1000);
  broken = true;
  await expect(measured.look(rootPath, never)).rejects.toThrow(StorageUnavailable);
  await expect(drain(measured.open(ref, undefined, never))).rejects.toThrow(StorageUnavailable);
  await expect(measured.look(rootPath, AbortSignal.abort())).rejects.toThrow();
  const scrape = await metrics.render();
  expect(seriesValue(scrape, 'tahoe_apt_tree_look_duration_seconds_sum{repository="debian"}')).toBeCloseTo(0.3);
  expect(seriesValue(scrape, 'tahoe_apt_tree_look_duration_seconds_count{repository="debian"}')).toBe(1);
  expect(seriesValue(scrape, 'tahoe_apt_tree_read_duration_seconds_sum{repository="debian"}')).toBeCloseTo(4);
  expect(seriesValue(scrape, 'tahoe_apt_tree_read_bytes_total{repository="debian"}')).toBe(200);
  const errors = (operation: string) =>
    seriesValue(
      scrape,
      `tahoe_apt_tree_errors_total{repository="debian",operation="${operation}",code="storage/unavailable"}`,
    );
  expect([errors("look"), errors("read")]).toEqual([1, 1]);
});

test("a local read in a worker is measured too", async () => {
  const { clock } = aClock();
  const metrics = createMetrics(clock);
  const location = { root: "/tree", path: "/tree/file", fileIdentity: "file:1", hardLinkPath: undefined };
  const tree: Tree = { look: async () => undefined, async *open() {}, localFile: () => ({ location }) };
  const local = new MeasuredTree(tree, metrics.treeObserverOf(name), clock).localFile(ref);
  expect(local?.location).toEqual(location);
  local?.onRead?.(3, 300);
  const scrape = await metrics.render();
  expect(seriesValue(scrape, 'tahoe_apt_tree_read_duration_seconds_sum{repository="debian"}')).toBeCloseTo(3);
  expect(seriesValue(scrape, 'tahoe_apt_tree_read_bytes_total{repository="debian"}')).toBe(300);
});

const aKey = { fingerprint: "AB", signingFingerprint: "CD", expiresAtSeconds: 5_000, changedAtSeconds: 1_000 };

test("the default metrics of Node.js include the lag of the event loop", async () => {
  const { clock } = aClock();
  const metrics = createMetrics(clock);
  const lag = async () => seriesValue(await metrics.render(), "nodejs_eventloop_lag_max_seconds");
  await sleep(50);
  await lag();
  await sleep(50);
  const endMs = performance.now() + 300;
  while (performance.now() < endMs);
  await sleep(50);
  expect(await lag()).toBeGreaterThan(0.25);
  expect(seriesValue(await metrics.render(), "process_resident_memory_bytes")).toBeGreaterThan(0);
});

test("the expiry of each key has a metric, also for a key that never expires", async () => {
  const { clock, pass } = aClock();
  const metrics = createMetrics(clock);
  metrics.watchKeys(name, [aKey, { ...aKey, fingerprint: "EF", expiresAtSeconds: undefined }]);
  const left = async (fingerprint: string) => {
    const series = `tahoe_apt_signing_key_expires_in_seconds{repository="debian",fingerprint="${fingerprint}"}`;
    return (await metrics.render()).split(`${series} `)[1]?.split("\n")[0];
  };
  expect([await left("AB"), await left("EF")]).toEqual(["4000", "+Inf"]);
  pass(5000);
  expect([await left("AB"), await left("EF")]).toEqual(["-1000", "+Inf"]);
});

test("a measured signer behaves like the original", async () => {
  const { clock, pass } = aClock();
  const metrics = createMetrics(clock);
  const signer = measuredSigner(
    {
      publicKey: "key",
      publicKeyBytes: Buffer.from("key"),
      keys: [aKey],
      async sign(release) {
        pass(0.004);
        if (release === "bad") throw new Error("no");
        return { inRelease: `signed ${release}`, releaseGpg: "gpg" };
      },
    },
    metrics.signerObserver,
    clock,
  );
  expect(signer).toMatchObject({ publicKey: "key", keys: [aKey] });
  expect(await signer.sign("Release", 1)).toEqual({ inRelease: "signed Release", releaseGpg: "gpg" });
  await expect(signer.sign("bad", 1)).rejects.toThrow("no");
  const scrape = await metrics.render();
  expect(seriesValue(scrape, "tahoe_apt_signing_duration_seconds_sum")).toBeCloseTo(0.004);
  expect(seriesValue(scrape, "tahoe_apt_signing_errors_total")).toBe(1);
});

test("promtool accepts a scrape with all metrics, and it contains no secret", async () => {
  const { clock } = aClock();
  const metrics = createMetrics(clock);
  const observer = metrics.observerOf(name);
  observer.inspected("read");
  observer.rejected("not-a-deb");
  observer.pending(sid, 2);
  observer.published(sid, 0.2);
  observer.refreshFailed("storage/unavailable");
  observer.pingLive(0.3);
  metrics.cacheObserver.hit(10);
  metrics.cacheObserver.miss(10);
  metrics.cacheObserver.bypassed("disk");
  metrics.cacheObserver.stored(10);
  metrics.cacheObserver.evicted(10);
  metrics.cacheObserver.mismatched();
  metrics.cacheObserver.sizeChanged(10, 1);
  metrics.signerObserver.signed(0.1);
  metrics.treeObserverOf(name).failed("read", "storage/unavailable");
  const app = await startApp([aRepository("debian", { "pool/secret-name.deb": aResource("x") })], {
    metrics,
    observer: metrics.requestObserver,
  });
  await ask(app.address.port, "GET", "/debian/pool/secret-name.deb");
  await ask(app.address.port, "POST", "/-/ping/debian", { Authorization: "Bearer secret-token" });
  await new Promise((resolve) => setImmediate(resolve));
  const { body, headers } = await ask(app.address.port, "GET", "/metrics");
  await app.stop(0);
  const scrape = body.toString();
  expect(headers["content-type"]).toMatch(/^text\/plain; version=0\.0\.4/);
  expect(seriesValue(scrape, 'tahoe_apt_http_requests_total{class="package",status="2xx"}')).toBe(1);
  expect(seriesValue(scrape, 'tahoe_apt_http_requests_total{class="ping",status="4xx"}')).toBe(1);
  expect(seriesValue(scrape, 'tahoe_apt_pending_sources{repository="debian",suite="sid"}')).toBe(2);
  expect(scrape).not.toContain("secret");
  for (const line of scrape.split("\n").filter((one) => one !== ""))
    expect(line).toMatch(/^(# (HELP|TYPE) )?(tahoe_apt|process|nodejs)_/);
  const { error, status, stdout, stderr } = spawnSync(promtool, ["check", "metrics"], { input: scrape });
  if (error !== undefined) throw new Error("this test needs promtool: install Debian's package prometheus");
  expect([status, stdout.toString(), stderr.toString()]).toEqual([0, "", ""]);
});
