// End to end: a builder's `tahoe put` into its own directory, a ping, and real apt with its own root.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import type { Grid } from "../../src/local/grid/grid.ts";
import { startGrid } from "../../src/local/grid/grid.ts";
import type { WriteCap } from "../../src/storage/tahoe/caps.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import { AptRoot } from "../support/apt.ts";
import { aDeb, aDsc } from "../support/debs.ts";
import { ServerUnderTest } from "../support/server.ts";

const { signal } = new AbortController();
const token = "a-token-for-this-test-alone";
const builderPath = "dists/sid/main/binary-amd64/builder";
const sourcePath = "dists/sid/main/source/builder";

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-end-to-end-"));
const readCapFile = join(work, "readcap");
const state = join(work, "state");
let grid: Grid;
let writer: WebapiWriter;
let builderCap: WriteCap;
let server: ServerUnderTest;
let publicKey: string;

const startServer = (port?: number) =>
  ServerUnderTest.start({
    flags: ["--webapi", grid.webapiUrl, "--readcap-file", readCapFile, "--state", state],
    env: { TAHOE_APT_PING_TOKEN: token },
    ...(port !== undefined && { port }),
  });

beforeAll(async () => {
  // A separate grid, because one test stops it.
  grid = await startGrid({
    directory: join(work, "grid"),
    tahoe: { executable: inject("tahoe") },
    progress() {},
    signal,
  });
  writer = new WebapiWriter(new Webapi(grid.webapiUrl));
  const root = await writer.createDirectory(signal);
  builderCap = await writer.makeDirectory(root, parseTreePath(builderPath), signal);
  await grid.addAlias("builder", builderCap);
  await grid.addAlias("sources", await writer.makeDirectory(root, parseTreePath(sourcePath), signal));
  writeFileSync(readCapFile, (await writer.readCapOf(root, signal)).reveal(), { mode: 0o600 });
  server = await startServer();
  await server.ready();
  publicKey = await (await fetch(`${server.url}/debian/key.asc`)).text();
});

afterAll(async () => {
  await server?.end();
  await grid?.stop();
  rmSync(work, { recursive: true, force: true });
});

/** Uploads with the real `tahoe put`, by an alias with the write cap of one directory only. */
async function tahoePut(name: string, bytes: Uint8Array | string, alias = "builder"): Promise<void> {
  const file = join(work, name);
  writeFileSync(file, bytes);
  await promisify(execFile)(inject("tahoe"), ["-d", grid.nodeDirectory, "put", file, `${alias}:${name}`]);
}

/** Links many files into the builder's directory in one write, as a faster builder would. */
async function linkAll(files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  const links = [...files].map(
    async ([name, bytes]) => [name, { content: await writer.upload(bytes, signal), metadata: {} }] as const,
  );
  await writer.link(builderCap, new Map(await Promise.all(links)), signal);
}

interface PingReply {
  readonly status: number;
  readonly body: {
    readonly added: string[];
    readonly removed: string[];
    readonly rejected: { path: string; code: string }[];
  };
}

async function ping(path: string, query = "?wait=60"): Promise<PingReply> {
  const reply = await fetch(`${server.url}/-/ping/debian/${path}${query}`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
  });
  return { status: reply.status, body: (await reply.json()) as PingReply["body"] };
}

function apt(): AptRoot {
  const own = new AptRoot({ source: { url: `${server.url}/debian`, suite: "sid", publicKey } });
  onTestFinished(() => own.close());
  return own;
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const hello = (version: string) => aDeb({ package: "hello", version, architecture: "amd64" });

test("apt updates from an empty tree", async () => {
  expect(await apt().update()).not.toContain("W:");
});

test("an uploaded package is installable after a ping, byte for byte, and a second update is all Hit", async () => {
  const bytes = await hello("1.0-1");
  await tahoePut("hello_1.0-1_amd64.deb", bytes);
  const { status, body } = await ping(builderPath);
  expect(status).toBe(200);
  expect(body).toMatchObject({ added: [`${builderPath}/hello_1.0-1_amd64.deb`], removed: [], rejected: [] });

  // These follow some seconds later, in a separate publication.
  const contents = async () => (await fetch(`${server.url}/debian/dists/sid/main/Contents-amd64`)).text();
  await expect.poll(contents, { timeout: 60_000 }).toMatch(/ hello$/m);
  const machine = apt();
  await machine.update();
  expect(await machine.candidate("hello")).toBe("1.0-1");
  expect(sha256(await machine.download("hello"))).toBe(sha256(bytes));
  expect(await machine.installDownloadOnly("hello")).toEqual(["hello_1.0-1_amd64.deb"]);

  const again = await machine.update();
  expect(again).toMatch(/^Hit:/m);
  expect(again).not.toMatch(/^Get:/m);
});

test("the next upload is apt's candidate after ping and update, and not before", async () => {
  const machine = apt();
  await machine.update();
  await tahoePut("hello_2.0-1_amd64.deb", await hello("2.0-1"));
  await machine.update();
  expect(await machine.candidate("hello")).toBe("1.0-1");
  await ping(`${builderPath}/hello_2.0-1_amd64.deb`);
  await machine.update();
  expect(await machine.candidate("hello")).toBe("2.0-1");
});

test("apt-get source downloads a complete source package", async () => {
  const { files } = aDsc({ source: "hello", version: "2.0-1" });
  for (const [name, bytes] of files) await tahoePut(name, bytes, "sources");
  await ping(sourcePath);
  const machine = apt();
  await machine.update();
  const fetched = await machine.source("hello");
  expect([...fetched.keys()].toSorted()).toEqual([...files.keys()].toSorted());
  for (const [name, bytes] of fetched) expect(sha256(bytes)).toBe(sha256(files.get(name) ?? Buffer.alloc(0)));
});

test("apt rejects the repository if it trusts another key", async () => {
  const otherKey = publicKey.replace(/\n([A-Za-z0-9+/]{10})/, "\nAAAAAAAAAA");
  const machine = new AptRoot({ source: { url: `${server.url}/debian`, suite: "sid", publicKey: otherKey } });
  onTestFinished(() => machine.close());
  expect(await machine.failToUpdate()).toMatch(/NO_PUBKEY|couldn't be verified|not signed/);
});

test("a truncated package and a text named .deb among good ones leave the suite intact and are reported", async () => {
  const good = await aDeb({ package: "good", architecture: "amd64" });
  await linkAll(
    new Map([
      ["good_1.0-1_amd64.deb", good],
      ["cut_1.0-1_amd64.deb", good.subarray(0, good.length - 33)],
      ["text_1.0-1_amd64.deb", Buffer.from("this is no package\n")],
    ]),
  );
  const { body } = await ping(builderPath);
  expect(body.added).toContain(`${builderPath}/good_1.0-1_amd64.deb`);
  expect(body.rejected.map(({ path, code }) => [path.split("/").at(-1), code])).toEqual([
    ["cut_1.0-1_amd64.deb", "truncated"],
    ["text_1.0-1_amd64.deb", "not-a-deb"],
  ]);
  const page = await (await fetch(`${server.url}/debian/-/rejects`)).text();
  expect(page).toContain("text_1.0-1_amd64.deb");
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  expect(metrics).toMatch(/rejects?_total\{[^}]*truncated[^}]*\} 1/);
  const machine = apt();
  await machine.update();
  expect(await machine.packageNames()).toEqual(["good", "hello"]);
});

test("a builder's cap and token give access to no other directory", async () => {
  const foreign = await fetch(`${server.url}/-/ping/debian/dists`, {
    method: "POST",
    headers: { authorization: "Bearer of-somebody-else" },
  });
  expect([401, 403]).toContain(foreign.status);
  const aliases = join(grid.nodeDirectory, "private", "aliases");
  expect(statSync(aliases).mode & 0o077).toBe(0);
});

test("after kill -9 during a rebuild, the server starts with the last complete publication and then catches up", async () => {
  const inRelease = async () => (await fetch(`${server.url}/debian/dists/sid/InRelease`)).text();
  const before = await inRelease();
  const more = new Map<string, Uint8Array>();
  for (let n = 0; n < 5; n++) {
    more.set(`late${n}_1.0-1_amd64.deb`, await aDeb({ package: `late${n}`, architecture: "amd64" }));
  }
  await linkAll(more);
  expect((await ping(builderPath, "")).status).toBe(202);
  await new Promise((resolve) => setTimeout(resolve, 30));
  await server.end("SIGKILL");
  server = await startServer(server.port);
  await server.ready();
  // Whether the rebuild was complete or not, the served files are consistent.
  const machine = apt();
  await machine.update();
  if ((await inRelease()) === before) expect(await machine.packageNames()).toEqual(["good", "hello"]);
  await ping(builderPath);
  await machine.update();
  expect(await machine.packageNames()).toEqual(["good", "hello", "late0", "late1", "late2", "late3", "late4"]);
  expect(publicKey).toBe(await (await fetch(`${server.url}/debian/key.asc`)).text());
});

test("while the grid is stopped, the suite and cached packages are still served, and a ping fails clearly, even after a restart", async () => {
  const early = apt();
  await early.update();
  const bytes = await early.download("hello");
  const health = async () => await (await fetch(`${server.url}/debian/-/health`)).text();
  expect(await health()).toContain("Gateway 1: no failure");
  await grid.stop();

  const whileDown = async () => {
    const machine = apt();
    await machine.update();
    expect(await machine.packageNames()).toContain("late4");
    expect(sha256(await machine.download("hello"))).toBe(sha256(bytes));
    const pool = /^Filename: (.*late4.*)$/m.exec(
      await (await fetch(`${server.url}/debian/dists/sid/main/binary-amd64/Packages`)).text(),
    )?.[1];
    const cold = await fetch(`${server.url}/debian/${pool}`);
    expect(cold.status).toBe(503);
    expect(await cold.text()).not.toBe("");
    expect(await health()).toContain("Gateway 1 did not respond");
    const headers = { accept: "text/html" };
    const directory = await fetch(`${server.url}/debian/dists/sid/main/binary-amd64/`, { headers });
    expect(await directory.text()).toContain(">Packages.xz</a>");
  };
  await whileDown();
  expect(await server.end()).toBe(0);
  server = await startServer(server.port);
  await server.ready();
  await whileDown();
});

test("no output of the server contains a cap or the token", () => {
  expect(server.output).not.toMatch(/URI:|URI%3A/i);
  expect(server.output).not.toContain(token);
});
