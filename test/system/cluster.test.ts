// Three replicas behind HAProxy, with clients and builders, to which every failure happens once. The long form:
//   FLEET_RUN=full FLEET_SEED=1 npm run test:system -- test/system/cluster.test.ts
// Two versions side by side, for an hour by default; the other one is a directory in which `npm run build` was executed:
//   FLEET_OTHER=/path/to/other FLEET_SECONDS=3600 npm run test:system -- test/system/cluster.test.ts -t "two versions"
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, inject, test, vi } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import type { FleetRunOptions } from "../chaos/fleet-run.ts";
import { fleetFailures, runFleet } from "../chaos/fleet-run.ts";
import { CommandLine } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import { blockOf } from "../support/documents.ts";
import { Fleet } from "../support/fleet.ts";
import { SentinelUnderTest } from "../support/valkey-sentinel.ts";

/** With FLEET_RUN=full: two minutes with more clients and longer outages, for the seed in FLEET_SEED. */
const isFull = process.env.FLEET_RUN === "full";
const runTimeoutMs = isFull ? 900_000 : 400_000;
const usual = {
  seed: Number(process.env.FLEET_SEED ?? 11),
  webapiUrl: inject("webapiUrl"),
  ...(isFull
    ? { rawClients: 50, aptClients: 5, pauseSeconds: 60, outageSeconds: 8, seconds: 120, maxLeaseChangeSeconds: 10 }
    : { rawClients: 8, aptClients: 2, pauseSeconds: 7, outageSeconds: 3, seconds: 0, maxLeaseChangeSeconds: 20 }),
};
/** Two of the failures have a twin that costs as much time and shows little more. */
const failures = fleetFailures.filter((failure) => isFull || !/follower|restart/.test(failure));

async function expectNoViolation(options: FleetRunOptions): Promise<void> {
  const { findings, rows, work } = await runFleet(options);
  process.stderr.write(`fleet: ${rows.map(([what, count]) => `${what} ${count}`).join("; ")}\n`);
  expect(findings.violations, `see ${work}`).toEqual([]);
  expect(findings.counts.get("recoveries")).toBeGreaterThanOrEqual(options.failures.length);
  for (const what of ["publications seen", "publications read by hash", "acknowledged uploads", "updates with apt"])
    expect(findings.counts.get(what), what).toBeGreaterThan(2);
}

test("whatever fails, clients of a fleet see no error, and all replicas are equal in the end", {
  timeout: runTimeoutMs,
}, async () => {
  await expectNoViolation({ ...usual, failures });
});

test("Sentinel replaces a Valkey that dies, and clients of the fleet see no error", {
  timeout: runTimeoutMs,
}, async () => {
  const sentinel = await SentinelUnderTest.start();
  try {
    await expectNoViolation({ ...usual, sentinel, failures: ["kill the primary Valkey"], seconds: 15 });
  } finally {
    await sentinel.stop();
  }
});

const otherCheckout = process.env.FLEET_OTHER;
const versionsSeconds = Number(process.env.FLEET_SECONDS ?? 3600);
if (otherCheckout !== undefined)
  test("two versions run side by side, and each replica gets the other version, without an error for clients", {
    timeout: versionsSeconds * 1000 + runTimeoutMs,
  }, async () => {
    const rates = { rawClients: 4, aptClients: 1, idleMs: [2000, 8000] } as const;
    const half = { calmSeconds: versionsSeconds / 2, seconds: versionsSeconds };
    const failures = ["exchange the versions of all replicas, one by one"] as const;
    await expectNoViolation({ ...usual, ...rates, ...half, failures, otherCheckout });
  });

test("an operator sees the replicas, their publisher and what is wrong, and waits for one that restarts", async () => {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-cluster-"));
  const { signal } = new AbortController();
  const writer = new WebapiWriter(new Webapi(inject("webapiUrl")));
  const root = await writer.createDirectory(signal);
  const bytes = await aDeb({ architecture: "amd64" });
  await writer.put(root, parseTreePath("dists/sid/main/binary-amd64/hello_1.0-1_amd64.deb"), bytes, signal);
  const readCap = (await writer.readCapOf(root, signal)).reveal();
  const tree = { webapiUrl: inject("webapiUrl"), readCap };
  const fleet = await Fleet.start({ work, tree, token: "a-token-of-two-replicas", names: ["one", "two"] });
  try {
    const [one, two] = fleet.replicas;
    if (one === undefined || two === undefined) throw new Error("two replicas are needed");
    const status = async (...flags: readonly string[]) => {
      const command = blockOf("sh cluster-status")
        .replace("/etc/tahoe-apt/tahoe-apt.toml", one.config)
        .trim()
        .split(" ")
        .slice(1);
      const line = new CommandLine([...command, ...flags]);
      const exitCode = await line.ends();
      return { exitCode, output: line.printed };
    };
    await expect.poll(status, { timeout: 30_000 }).toMatchObject({ exitCode: 0 });
    // What each serves the other learns once a second, and there is another publication with Contents.
    const output = await vi.waitFor(async () => {
      const told = (await status()).output;
      expect(told.match(/: serves everything \(/g)).toHaveLength(2);
      return told;
    }, 30_000);
    expect(output).toMatch(/^Valkey: connected, answered \d\.\d s ago$/m);
    for (const { port } of fleet.replicas) expect(output).toContain(`127.0.0.1:${port} `);
    expect(output).toMatch(new RegExp(`^debian: published by 127\\.0\\.0\\.1:(${one.port}|${two.port}), `, "m"));
    await vi.waitFor(async () => {
      const json = JSON.parse((await status("--json")).output) as { readonly replicas: readonly { current: object }[] };
      const [current] = json.replicas.map((each) => each.current);
      expect(current).toMatchObject({ debian: { sid: expect.any(String) } });
      expect(json.replicas.map((each) => each.current)).toEqual([current, current]);
    }, 30_000);

    expect(await two.stop()).toBe(0);
    const [, wait = ""] = blockOf("sh rolling-upgrade")
      .replaceAll("127.0.0.1:8380", `127.0.0.1:${two.port}`)
      .split("\n");
    const waiting = promisify(execFile)("bash", ["-c", wait]);
    await Promise.all([waiting, two.start()]);
    expect((await waiting).stdout).toBe("ready\n");

    await fleet.valkey.kill();
    const away = expect.stringMatching(/^problem: this replica is not ready: Valkey has not answered for \d+ s$/m);
    await expect.poll(status, { timeout: 30_000 }).toMatchObject({ exitCode: 3, output: away });

    const inRelease = async (): Promise<string> => await (await fetch(`${two.url}/debian/dists/sid/InRelease`)).text();
    const served = await inRelease();
    expect(served).toContain("-----BEGIN PGP SIGNED MESSAGE-----");
    expect(await two.stop()).toBe(0);
    await two.start();
    expect(await inRelease()).toBe(served);
  } finally {
    await fleet.end();
    rmSync(work, { recursive: true });
  }
});
