// Prometheus metrics: correct values, conventional names, no secrets.
import { spawnSync } from "node:child_process";
import { statfs } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { ContentId } from "../../src/base/content-id.ts";
import { parseRepositoryName, parseSuite, parseTreePath, rootPath } from "../../src/base/names.ts";
import { withoutPrivate } from "../../src/http/public-metrics.ts";
import { measuredSigner } from "../../src/observe/measured-signer.ts";
import { MeasuredTree } from "../../src/observe/measured-tree.ts";
import { createMetrics } from "../../src/observe/metrics.ts";
import type { SuiteCounts } from "../../src/publishing/served-repository.ts";
import type { Tree } from "../../src/storage/tree.ts";
import { StorageUnavailable } from "../../src/storage/tree.ts";
import { aWatchedKey as aKey, observeEverything } from "../support/observed-everything.ts";
import { readProjectFile } from "../support/project-files.ts";
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

test("the time of the last confirmation is exported beside the age, which stays for old dashboards", async () => {
  const { clock, pass } = aClock();
  const metrics = createMetrics(clock);
  const observer = metrics.observerOf(name);
  const labels = '{repository="debian",suite="sid"}';
  observer.published(sid, 0.2);
  pass(30);
  const scrape = await metrics.render();
  const confirmed = `tahoe_apt_publication_confirmed_timestamp_seconds${labels}`;
  expect(seriesValue(scrape, confirmed)).toBe(1000);
  expect(seriesValue(scrape, `tahoe_apt_publication_age_seconds${labels}`)).toBe(30);
  expect(scrape).toContain("# HELP tahoe_apt_publication_age_seconds Deprecated: use tahoe_apt_publication_confirmed_");
  observer.confirmed(sid);
  expect(seriesValue(await metrics.render(), confirmed)).toBe(1030);
});

test("polls and surveys set whether the tree is up, and when all of it was last seen", async () => {
  const { clock, pass } = aClock();
  const metrics = createMetrics(clock);
  const observer = metrics.observerOf(name);
  const value = async (metric: string) =>
    seriesValue(await metrics.render(), `tahoe_apt_${metric}{repository="debian"}`);
  await expect(value("tree_up"), "before the first poll nothing is known").rejects.toThrow("no tahoe_apt_tree_up");
  observer.polled(true);
  observer.surveyed();
  pass(60);
  expect([await value("tree_up"), await value("survey_timestamp_seconds")]).toEqual([1, 1000]);
  observer.polled(false);
  expect([await value("tree_up"), await value("survey_timestamp_seconds")]).toEqual([0, 1000]);
});

test("each scrape counts what the suites contain, and forgets what is gone or unknown", async () => {
  const metrics = createMetrics(aClock().clock);
  let counts: readonly SuiteCounts[] = [
    { suite: "sid", published: { binaryPackages: 12, sourcePackages: 3, dateSeconds: 900 }, rejectedFiles: 2 },
    { suite: "./extras/", published: undefined, rejectedFiles: undefined },
  ];
  metrics.watchSuites(name, () => counts);
  const ofSuites = async () =>
    (await metrics.render())
      .split("\n")
      .filter((line) => /^tahoe_apt_(binary_packages|source_packages|rejected_files|publication_timestamp)/.test(line));
  const labels = '{repository="debian",suite="sid"}';
  expect(await ofSuites()).toEqual([
    `tahoe_apt_binary_packages${labels} 12`,
    `tahoe_apt_source_packages${labels} 3`,
    `tahoe_apt_rejected_files${labels} 2`,
    `tahoe_apt_publication_timestamp_seconds${labels} 900`,
  ]);
  counts = [];
  expect(await ofSuites()).toEqual([]);
});

test("the room of the state directory is measured, and a directory that is gone has none", async () => {
  const metrics = createMetrics(aClock().clock);
  const value = async (metric: string) => seriesValue(await metrics.render(), `tahoe_apt_state_${metric}`);
  metrics.watchStateDirectory("/tmp");
  const { blocks, bsize } = await statfs("/tmp");
  expect(await value("size_bytes")).toBe(blocks * bsize);
  expect(await value("free_bytes")).toBeGreaterThan(0);
  metrics.watchStateDirectory("/tmp/there-is-no-such-directory");
  expect(await value("free_bytes")).toBe(0);
});

test("the version of the server and of Node.js are labels of one metric", async () => {
  const { version } = JSON.parse(readProjectFile("package.json")) as { readonly version: string };
  const series = `tahoe_apt_build_info{version="${version}",node_version="${process.version}"}`;
  expect(seriesValue(await createMetrics(aClock().clock).render(), series)).toBe(1);
});

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

test("the time of expiry is exported too, and a replaced key disappears", async () => {
  const metrics = createMetrics(aClock().clock);
  const expiries = async () =>
    (await metrics.render())
      .split("\n")
      .filter((line) => line.startsWith("tahoe_apt_signing_key_expir"))
      .toSorted();
  const labels = (fingerprint: string) => `{repository="debian",fingerprint="${fingerprint}"}`;
  metrics.watchKeys(name, [aKey]);
  expect(await expiries()).toEqual([
    `tahoe_apt_signing_key_expires_in_seconds${labels("AB")} 4000`,
    `tahoe_apt_signing_key_expiry_timestamp_seconds${labels("AB")} 5000`,
  ]);
  metrics.watchKeys(name, [{ ...aKey, fingerprint: "EF", expiresAtSeconds: undefined }]);
  expect(await expiries()).toEqual([
    `tahoe_apt_signing_key_expires_in_seconds${labels("EF")} +Inf`,
    `tahoe_apt_signing_key_expiry_timestamp_seconds${labels("EF")} +Inf`,
  ]);
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

test("no metric tells of a private repository without the token, and every metric of it is there with it", async () => {
  const metrics = createMetrics(aClock().clock);
  const ours = parseRepositoryName("ours");
  observeEverything(metrics, ours);
  const all = await metrics.render();
  expect(all.match(/^tahoe_apt_\w+\{.*\brepository="ours"/gm)?.length).toBeGreaterThan(30);
  const open = withoutPrivate(all, new Set([ours]));
  expect(open).not.toContain("ours");
  expect(open).toContain("tahoe_apt_build_info{");
});

test("promtool accepts a scrape with all metrics, and it contains no secret", async () => {
  const { clock } = aClock();
  const metrics = createMetrics(clock);
  observeEverything(metrics, name);
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
