// Snapshots of a repository in a real grid, in apt 2.6 and apt 3, even after its packages were unlinked.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import type { WriteCap } from "../../src/storage/tahoe/caps.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import { AptRoot } from "../support/apt.ts";
import { CommandLine } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import { trixieMachine } from "../support/rootfs.ts";
import { ServerUnderTest } from "../support/server.ts";
import { aSigningKey } from "../support/signing-key.ts";

const setUpMs = 480_000;
const { signal } = new AbortController();
const token = "a-token-for-this-test-alone";
const builder = "dists/sid/main/binary-amd64/builder";

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-past-"));
const config = join(work, "c.toml");
let writer: WebapiWriter;
let cap: WriteCap;
let server: ServerUnderTest;
let publicKey: string;
/** The publication that contained only hello 1. */
let first: string;

const hello = (version: string) =>
  aDeb({ package: "hello", version, architecture: "amd64", files: { "./srv/hello": `${version}\n` } });

const link = async (version: string): Promise<void> =>
  writer.link(
    cap,
    new Map([[`${version}.deb`, { content: await writer.upload(await hello(version), signal), metadata: {} }]]),
    signal,
  );

async function serve(port: number | undefined, more = ""): Promise<void> {
  const repository = `[[repository]]\nname = "debian"\nwebapi = "${inject("webapiUrl")}"\nreadcap_file = "readcap"\n`;
  const secrets = 'signing_key_file = "key.asc"\nping_token_file = "token"\n';
  writeFileSync(config, `state = "state"\n${more}${repository}${secrets}`);
  server = await ServerUnderTest.start({ flags: ["--config", config], ...(port !== undefined && { port }) });
  await server.ready();
}

async function ping(): Promise<void> {
  const headers = { authorization: `Bearer ${token}` };
  const reply = await fetch(`${server.url}/-/ping/debian?wait=60`, { method: "POST", headers });
  expect(reply.status).toBe(200);
}

async function kept(): Promise<readonly { readonly id: string; readonly servedSeconds: number }[]> {
  const reply = await fetch(`${server.url}/debian/snapshots/index.json`);
  return ((await reply.json()) as { snapshots: { id: string; servedSeconds: number }[] }).snapshots;
}

/** The time one second after a publication was first served. */
async function secondAfter(wanted: string): Promise<string> {
  const served = (await kept()).find(({ id }) => id === wanted)?.servedSeconds ?? Number.NaN;
  return `${new Date((served + 1) * 1000).toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
}

const releaseOf = async (): Promise<string> => await (await fetch(`${server.url}/debian/dists/sid/Release`)).text();

/** apt 2.6 with one source. */
function apt(past = ""): AptRoot {
  const own = new AptRoot({ source: { url: `${server.url}/debian${past}`, suite: "sid", publicKey } });
  onTestFinished(() => own.close());
  return own;
}

async function operate(...args: readonly string[]): Promise<void> {
  const command = new CommandLine(["snapshot", ...args, "--config", config]);
  expect(await command.ends(), command.output).toBe(0);
}

beforeAll(async () => {
  writer = new WebapiWriter(new Webapi(inject("webapiUrl")));
  const root = await writer.createDirectory(signal);
  cap = await writer.makeDirectory(root, parseTreePath(builder), signal);
  writeFileSync(join(work, "readcap"), (await writer.readCapOf(root, signal)).reveal(), { mode: 0o600 });
  writeFileSync(join(work, "key.asc"), (await aSigningKey()).reveal(), { mode: 0o600 });
  writeFileSync(join(work, "token"), token, { mode: 0o600 });
  await link("1");
  await serve(undefined);
  expect(await releaseOf(), "without a public URL, Release announces no snapshots").not.toContain("Snapshots:");
  // As if a proxy were reachable at that address.
  const { port } = server;
  await server.end();
  rmSync(join(work, "state"), { recursive: true });
  await serve(port, `public_url = "http://127.0.0.1:${port}"\n`);
  publicKey = await (await fetch(`${server.url}/debian/key.asc`)).text();
  await ping();
  expect(await releaseOf()).toContain(`Snapshots: ${server.url}/debian/snapshots/@SNAPSHOTID@/\n`);
  first = (await kept()).at(-1)?.id ?? "";
  await new Promise((resolve) => setTimeout(resolve, 2000));
  await link("2");
  await writer.unlink(cap, parseTreePath("1.deb"), signal);
  await ping();
});

afterAll(async () => {
  await server?.end();
  rmSync(work, { recursive: true, force: true });
});

test("apt 2.6 updates from a snapshot and downloads packages that were unlinked since, by id, by time and by pin", async () => {
  await operate("pin", first, "release-1");
  for (const past of [`/snapshots/${first}`, `/snapshots/${await secondAfter(first)}`, "/snapshots/release-1"]) {
    const machine = apt(past);
    expect(await machine.update()).not.toContain("W:");
    expect(await machine.candidate("hello")).toBe("1");
    expect(await machine.download("hello")).toEqual(await hello("1"));
    expect(await machine.update()).toMatch(/^Hit:/m);
  }
  const present = apt();
  await present.update();
  expect(await present.candidate("hello")).toBe("2");
});

test("apt rejects a time before the first publication, and does not take it for an empty suite", async () => {
  expect(await apt("/snapshots/20010101T000000Z").failToUpdate()).toContain("404");
});

test("a machine with the bad version is offered the old one after a rollback, and the new one after resuming", async () => {
  const machine = apt();
  await machine.update();
  expect(await machine.candidate("hello")).toBe("2");
  await operate("rollback", first);
  expect(await machine.update()).not.toContain("W:");
  expect(await machine.candidate("hello")).toBe("1");
  expect(await machine.download("hello")).toEqual(await hello("1"));
  await operate("resume");
  await machine.update();
  expect(await machine.candidate("hello")).toBe("2");
});

test("apt 3 installs from a snapshot that Release announces, and upgrades to the current version", {
  timeout: setUpMs,
}, async () => {
  const machine = await trixieMachine();
  onTestFinished(() => machine.remove());
  const sources = "etc/apt/sources.list.d/debian.sources";
  mkdirSync(join(machine.changes, dirname(sources)), { recursive: true });
  writeFileSync(join(machine.changes, sources), await (await fetch(`${server.url}/debian/debian.sources`)).text());
  writeFileSync(join(machine.changes, "etc/apt/sources.list"), "");
  const on = async (lines: string): Promise<string> => {
    const [command, args] = await machine.enter(`exec 2>&1; set -eu; export DEBIAN_FRONTEND=noninteractive\n${lines}`);
    const running = promisify(execFile)(command, [...args], { maxBuffer: 2 ** 24 });
    const { stdout } = await running.catch((thrown: { readonly stdout: string }) => {
      throw new Error(thrown.stdout);
    });
    return stdout;
  };
  const then = await on(
    `apt-get update; apt-get update --snapshot ${first}; apt-get install -y --snapshot ${first} hello; cat /srv/hello`,
  );
  expect(then).toMatch(/^1$/m);
  expect(then).not.toMatch(/^[WE]:/m);
  const now = await on("apt-get update; apt-get upgrade -y; cat /srv/hello");
  expect(now).toMatch(/^2$/m);
});
