// A real Prometheus scrapes real servers that are brought into each state that an alert is about, and the alert fires.
// Grafana's dashboard is checked against the same servers.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import fetch from "node-fetch";
import type { ExpectStatic } from "vitest";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import type { Grid } from "../../src/local/grid/grid.ts";
import { parseReadCap } from "../../src/storage/tahoe/caps.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiHealthCheck } from "../../src/storage/tahoe/webapi-health.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import type { PanelQuery } from "../support/dashboard.ts";
import { panelQueries, readDashboard } from "../support/dashboard.ts";
import { aDeb, runTool } from "../support/debs.ts";
import { readProjectFile } from "../support/project-files.ts";
import type { Alert } from "../support/prometheus.ts";
import { PrometheusUnderTest } from "../support/prometheus.ts";
import { demandRoot } from "../support/rootfs.ts";
import { ServerUnderTest } from "../support/server.ts";
import { sharesOf, threeShareGrid } from "../support/three-share-grid.ts";
import { ValkeyUnderTest } from "../support/valkey.ts";

const setUpMs = 120_000;
const firesWithinMs = 60_000;
const { signal } = new AbortController();
const work = mkdtempSync(join(tmpdir(), "tahoe-apt-alerts-"));
const at = (...names: readonly string[]) => join(work, ...names);
const blocked = at("blocked");
const binaries = "dists/sid/main/binary-amd64";
const daySeconds = 24 * 3600;

/**
 * - healthy: a folder, and nothing happens to it until it is stopped
 * - folder: its key expires in two days; broken packages are put into it, and its small disk is filled
 * - grid: checks its objects all the time; shares are deleted, and the grid is stopped
 * - replica: in a cluster; its lease is taken away, it is told of what it cannot have, and then its Valkey is killed
 * - neglected: reads the same grid, was last checked 22 days ago, and its event loop is blocked
 */
type ServerName = "healthy" | "folder" | "grid" | "replica" | "neglected";

const servers = new Map<ServerName, ServerUnderTest>();
let grid: Grid;
let prometheus: PrometheusUnderTest;
let valkey: ValkeyUnderTest;

/** Makes a signing key by gpg. @param expires in gpg's form, e.g. `2d` or `never` */
function makeKey(name: string, expires: string): void {
  const home = mkdtempSync(at("gpg-"));
  const gpg = (...args: readonly string[]) =>
    runTool("gpg", ["--homedir", home, "--batch", "--quiet", "--passphrase", "", ...args]);
  gpg("--quick-generate-key", name, "ed25519", "sign", expires);
  writeFileSync(at(`${name}.asc`), gpg("--armor", "--export-secret-keys"), { mode: 0o600 });
}

/** @param settings lines of the configuration before the repository's table, and in it */
async function startServer(
  name: ServerName,
  settings: {
    readonly server?: string;
    readonly repository: string;
    readonly last?: string;
    readonly env?: { readonly [name: string]: string };
  },
): Promise<void> {
  const lines = [
    `state = ${JSON.stringify(at(name, "state"))}`,
    "poll_seconds = 1",
    settings.server ?? "",
    "[[repository]]",
    'name = "debian"',
    settings.repository,
    settings.last ?? "",
  ];
  writeFileSync(at(name, "tahoe-apt.toml"), `${lines.join("\n")}\n`);
  const flags = ["--config", at(name, "tahoe-apt.toml")];
  const server = await ServerUnderTest.start({ flags, ...(settings.env && { env: settings.env }) });
  servers.set(name, server);
  await server.ready();
}

/**
 * Blocks the event loop of a server for 1.2 seconds again and again while a file exists. A fake, to force the fault. Node
 * does not count a blocking during which it is asked for its metrics, so this must not be in step with the scrapes.
 */
const blockingModule = `
import { existsSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
const block = () => {
  if (existsSync(${JSON.stringify(blocked)})) for (const endMs = Date.now() + 1200; Date.now() < endMs; );
  setTimeout(block, 1000 + 1000 * Math.random()).unref();
};
if (isMainThread) block();
`;

async function putIntoFolder(server: string, name: string, bytes: Uint8Array | string): Promise<void> {
  mkdirSync(at(server, "tree", binaries), { recursive: true });
  writeFileSync(at(server, "tree", binaries, name), bytes);
}

beforeAll(async () => {
  demandRoot();
  for (const name of ["healthy", "folder", "grid", "replica", "neglected"]) mkdirSync(at(name));
  mkdirSync(at("folder/state"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", at("folder/state")]);
  makeKey("lasting", "never");
  makeKey("expiring", "2d");
  const hello = await aDeb({ package: "hello", architecture: "amd64" });
  for (const name of ["healthy", "folder", "replica"]) await putIntoFolder(name, "hello_1.0-1_amd64.deb", hello);

  valkey = await ValkeyUnderTest.start();
  grid = await threeShareGrid(inject("tahoe"), at("tahoe"));
  const writer = new WebapiWriter(new Webapi(grid.webapiUrl));
  const root = await writer.createDirectory(signal);
  for (const name of ["thin", "gone"]) {
    const bytes = await aDeb({ package: name, architecture: "amd64" });
    await writer.put(root, parseTreePath(`${binaries}/${name}_1.0-1_amd64.deb`), bytes, signal);
  }
  writeFileSync(at("readcap"), (await writer.readCapOf(root, signal)).reveal(), { mode: 0o600 });
  const inGrid = `webapi = "${grid.webapiUrl}"\nreadcap_file = "../readcap"\nsigning_key_file = "../lasting.asc"`;
  const inFolder = (key: string) => `folder = "tree"\nsigning_key_file = "../${key}.asc"`;

  const counts = { healthy: 1, unhealthy: 0, lost: 0, unchecked: 0, repaired: 0, renewed: 1 };
  const longAgo = { endedAtSeconds: Date.now() / 1000 - 22 * daySeconds, counts };
  mkdirSync(at("neglected/state/repositories/debian"), { recursive: true });
  writeFileSync(at("neglected/state/repositories/debian/deep-check.json"), JSON.stringify(longAgo));
  writeFileSync(at("block.mjs"), blockingModule);

  await Promise.all([
    startServer("healthy", { repository: inFolder("lasting") }),
    startServer("replica", {
      repository: inFolder("lasting"),
      last: `[cluster]\nurl = "${valkey.url}"\nname = "alerts"`,
    }),
    startServer("folder", { repository: inFolder("expiring") }),
    startServer("grid", { server: "check_seconds = 1", repository: inGrid }),
    startServer("neglected", { repository: inGrid, env: { NODE_OPTIONS: `--import=${at("block.mjs")}` } }),
  ]);
  const targets = [...servers.values()].map(({ port }) => `127.0.0.1:${port}`);
  prometheus = await PrometheusUnderTest.start(targets);
}, setUpMs);

afterAll(async () => {
  await prometheus?.stop();
  await Promise.all([...servers.values()].map((server) => server.end("SIGKILL")));
  await grid?.stop();
  await valkey?.stop();
  execFileSync("umount", [at("folder/state")]);
  rmSync(work, { recursive: true, force: true });
});

const instanceOf = (name: ServerName) => `127.0.0.1:${servers.get(name)?.port}`;

/** The names of the firing alerts about a server, sorted. */
async function firing(name: ServerName): Promise<readonly string[]> {
  const isFiring = ({ state, labels }: Alert) => state === "firing" && labels.instance === instanceOf(name);
  return (await prometheus.alerts())
    .filter(isFiring)
    .map(({ labels }) => labels.alertname)
    .toSorted();
}

/** @param inTest of the test's own context, because several tests run at the same time */
const expectFiring = async (inTest: ExpectStatic, name: ServerName, alert: string) =>
  await inTest.poll(() => firing(name), { timeout: firesWithinMs, interval: 200 }).toContain(alert);

/** The value of the only series of an expression about a server; undefined if there is none. */
async function value(name: ServerName, metric: string): Promise<number | undefined> {
  const [first] = await prometheus.query(`${metric}{instance="${instanceOf(name)}"}`);
  return first && Number(first.value[1]);
}

/** Without the lag of the event loop, which other work on this machine can cause. */
const firingOnQuietMachine = async (name: ServerName) =>
  (await firing(name)).filter((alert) => alert !== "TahoeAptEventLoopLag");

async function ping(name: ServerName): Promise<void> {
  const token = readFileSync(at(name, "state/repositories/debian/ping-token"), "utf8").trim();
  const headers = { authorization: `Bearer ${token}` };
  const reply = await fetch(`${servers.get(name)?.url}/-/ping/debian?wait=30`, { method: "POST", headers });
  expect(reply.status).toBe(200);
}

test("at first, only the alerts fire whose cause is there at the start", async () => {
  await expectFiring(expect, "folder", "TahoeAptSigningKeyExpiring");
  await expectFiring(expect, "folder", "TahoeAptSigningKeyExpiresNow");
  await expectFiring(expect, "neglected", "TahoeAptLeasesNotRenewed");
  const isKnown = async () => [
    await value("folder", "tahoe_apt_rejected_files"),
    await value("grid", "tahoe_apt_tree_up"),
  ];
  await expect.poll(isKnown, { timeout: firesWithinMs }).toEqual([0, 1]);
  const checked = `tahoe_apt_objects{instance="${instanceOf("grid")}",state="healthy"} > 0`;
  await expect.poll(() => prometheus.query(checked), { timeout: firesWithinMs }).toHaveLength(1);
  await ping("healthy");
  expect(await firingOnQuietMachine("healthy")).toEqual([]);
  expect(await firingOnQuietMachine("grid")).toEqual([]);
  expect(await firingOnQuietMachine("folder")).toEqual(["TahoeAptSigningKeyExpiresNow", "TahoeAptSigningKeyExpiring"]);
  expect(await firingOnQuietMachine("neglected")).toEqual(["TahoeAptLeasesNotRenewed"]);
});

// These happen to separate servers, so none has to wait for the others.
test.concurrent("rejects rising, disk full and state unwritable: broken packages arrive, then the disk is filled", async ({
  expect,
}) => {
  for (let n = 0; n < 6; n++) await putIntoFolder("folder", `broken${n}_1.0-1_amd64.deb`, `not a package: ${n}`);
  await expectFiring(expect, "folder", "TahoeAptRejectsRising");
  const { bavail, bsize } = statfsSync(at("folder/state"));
  writeFileSync(at("folder/state/filler"), Buffer.alloc(bavail * bsize));
  await putIntoFolder("folder", "late_1.0-1_amd64.deb", await aDeb({ package: "late", architecture: "amd64" }));
  await expectFiring(expect, "folder", "TahoeAptDiskFull");
  await expectFiring(expect, "folder", "TahoeAptStateUnwritable");
});

test.concurrent("objects unhealthy and lost, grid away and publication stale: shares are deleted, then the grid is stopped", async ({
  expect,
}) => {
  const health = new WebapiHealthCheck(new Webapi(grid.webapiUrl), parseReadCap(readFileSync(at("readcap"), "utf8")));
  const sharesOfPackage = async (name: string) => {
    const object = { path: parseTreePath(`${binaries}/${name}_1.0-1_amd64.deb`), content: undefined };
    return sharesOf(grid, (await health.check(object, { verify: false, repair: false }, signal)).storageIndex);
  };
  const [thin, gone] = await Promise.all(["thin", "gone"].map(sharesOfPackage));
  rmSync(join(thin ?? "", "0"));
  rmSync(gone ?? "", { recursive: true });
  await expectFiring(expect, "grid", "TahoeAptObjectsUnhealthy");
  await expectFiring(expect, "grid", "TahoeAptObjectsLost");
  await grid.stop();
  await expectFiring(expect, "grid", "TahoeAptGridAway");
  await expectFiring(expect, "grid", "TahoeAptPublicationStale");
});

test.concurrent("event loop lag: the main thread is kept busy", async ({ expect }) => {
  // The start of the server, on a busy machine, may have been such a lag too.
  const before = () => firing("neglected");
  await expect.poll(before, { timeout: firesWithinMs }).not.toContain("TahoeAptEventLoopLag");
  writeFileSync(blocked, "");
  await expectFiring(expect, "neglected", "TahoeAptEventLoopLag");
  rmSync(blocked);
});

test.concurrent("lease changes, replica behind, Valkey away, Valkey errors and no publisher: Valkey is changed, then killed", async ({
  expect,
  onTestFinished,
}) => {
  const redis = new Redis(valkey.port, "127.0.0.1").on("error", () => undefined);
  onTestFinished(() => redis.disconnect());
  const prefix = "{tahoe-apt:alerts}:";
  const changes = () => value("replica", "tahoe_apt_cluster_lease_changes_total");
  for (let n = 1; n <= 12; n++) {
    await expect.poll(() => redis.del(`${prefix}lease:debian`), { timeout: firesWithinMs }).toBe(1);
  }
  await expect.poll(changes, { timeout: firesWithinMs }).toBeGreaterThan(11);
  await expectFiring(expect, "replica", "TahoeAptLeaseChanges");
  // A publication whose content is nowhere.
  const dateSeconds = 4_000_000_000;
  const digests = { digest: "x", signed: "x" };
  const lost = { kind: "publication", suite: "sid", id: "9", dateSeconds, servedMs: Date.now() - 60_000, ...digests };
  await redis.hset(`${prefix}current:debian`, "sid", `${2 * dateSeconds} ${JSON.stringify(lost)}`);
  await expectFiring(expect, "replica", "TahoeAptReplicaBehind");
  await valkey.kill();
  await expectFiring(expect, "replica", "TahoeAptValkeyAway");
  await expectFiring(expect, "replica", "TahoeAptValkeyErrors");
  const names = async () => (await prometheus.alerts()).map(({ state, labels }) => `${labels.alertname} ${state}`);
  await expect.poll(names, { timeout: firesWithinMs }).toContain("TahoeAptNoPublisher firing");
});

/** What the queries of the dashboard lack: data, or a label that their legend shows. */
async function lacking(query: PanelQuery): Promise<string | undefined> {
  const series = await prometheus.query(query.expression);
  if (series.length === 0) return `${query.panel}: no data for ${query.expression}`;
  const unknown = query.labels.filter((label) => series.some(({ metric }) => metric[label] === undefined));
  return unknown.length > 0 ? `${query.panel}: no label ${unknown.join()} in ${query.expression}` : undefined;
}

test("every panel of the dashboard has data from these servers, with the labels of its legend", async () => {
  const dashboard = readDashboard();
  const queries = panelQueries(dashboard);
  expect(queries.length).toBeGreaterThan(25);
  // A rate needs two scrapes with the values of the ping.
  const rate = 'rate(tahoe_apt_ping_to_live_seconds_count{repository="debian"}[1m])';
  await expect.poll(() => prometheus.query(rate), { timeout: firesWithinMs }).not.toEqual([]);
  expect((await Promise.all(queries.map(lacking))).filter((flaw) => flaw !== undefined)).toEqual([]);
  for (const { expr } of dashboard.annotations.list) expect(await prometheus.query(expr)).not.toEqual([]);
  const definitions = dashboard.templating.list.flatMap(({ definition }) => definition ?? []);
  expect(definitions).toEqual(["label_values(tahoe_apt_tree_up, repository)"]);
  expect(await prometheus.query("group by (repository) (tahoe_apt_tree_up)")).toMatchObject([
    { metric: { repository: "debian" } },
  ]);
});

test("a panel with an unknown metric, label or function is noticed", async () => {
  const flaw = (expression: string, ...labels: readonly string[]) => lacking({ panel: "P", expression, labels });
  expect(await flaw('tahoe_apt_tree_up{repository=~".+"}', "repository")).toBeUndefined();
  expect(await flaw("tahoe_apt_tree_upp")).toMatch("no data");
  expect(await flaw('tahoe_apt_tree_up{repositry=~".+"}')).toMatch("no data");
  expect(await flaw("sum by (suite) (tahoe_apt_tree_up)", "suite")).toMatch("no label suite");
  await expect(flaw("summ(tahoe_apt_tree_up)")).rejects.toThrow("unknown function");
});

test("nothing fires about a healthy server, until it does not answer any more", async () => {
  expect(await firingOnQuietMachine("healthy")).toEqual([]);
  await servers.get("healthy")?.end();
  await expectFiring(expect, "healthy", "TahoeAptServerDown");
});

test("every alert of the rules has fired, each with a summary for people", async () => {
  const names = [...readProjectFile("docker/prometheus/alerts.yml").matchAll(/- alert: (\w+)/g)].map(
    ([, name = ""]) => name,
  );
  const fired = await prometheus.query('count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[10m]))');
  expect(fired.map(({ metric: { alertname = "" } }) => alertname).toSorted()).toEqual(names.toSorted());
  for (const { annotations } of await prometheus.alerts()) expect(annotations.summary).toMatch(/^[^<>{}]{30,}$/);
});
