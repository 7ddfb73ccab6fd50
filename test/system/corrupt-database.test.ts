// A truncated or corrupt database is set aside and rebuilt; the key and the last Date are kept.
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fetch from "node-fetch";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { aDeb } from "../support/debs.ts";
import { killed } from "../support/killed.ts";
import { projectRoot } from "../support/project-files.ts";
import { freePort } from "../support/server.ts";

const long = 90_000;
const pageBytes = 4096;
const packagesAtFirst = 40;
const setAside = '"msg":"the database is corrupt';

let work: string;
let state: string;
let database: string;
let port: number;

beforeEach(async () => {
  work = mkdtempSync(join(tmpdir(), "tahoe-apt-corrupt-"));
  onTestFinished(() => rmSync(work, { recursive: true, force: true }));
  state = join(work, "state");
  database = join(state, "database/data.mdb");
  port = await freePort();
  const place = join(work, "tree/dists/sid/main/binary-amd64");
  mkdirSync(place, { recursive: true });
  for (let n = 0; n < packagesAtFirst; n++)
    writeFileSync(join(place, `p${n}.deb`), await aDeb({ package: `p${n}`, architecture: "amd64" }));
});

/** The real server, which may end in any way. */
class Served {
  readonly child: ChildProcess;
  log = "";

  constructor() {
    const flags = ["--folder", join(work, "tree"), "--state", state, "--listen", `127.0.0.1:${port}`];
    this.child = spawn(process.execPath, [join(projectRoot, "dist/cli.js"), "serve", ...flags]);
    onTestFinished(() => killed(this.child));
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.on("data", (chunk) => (this.log += String(chunk)));
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const ended = once(this.child, "close");
    this.child.kill(signal);
    await ended;
  }

  async ping(): Promise<number> {
    const token = readFileSync(join(state, "repositories/debian/ping-token"), "utf8").trim();
    const headers = { authorization: `Bearer ${token}` };
    const url = `http://127.0.0.1:${port}/-/ping/debian?wait=30`;
    return await fetch(url, { method: "POST", headers }).then(
      ({ status }) => status,
      () => 0,
    );
  }

  /** Waits until everything can be downloaded, and no other publication follows. @returns Release's Date */
  async whole(): Promise<number> {
    await expect.poll(() => this.ping(), { timeout: long / 2, interval: 200 }).toBe(200);
    const get = async (path: string): Promise<string> => {
      const reply = await fetch(`http://127.0.0.1:${port}/debian/${path}`);
      expect([path, reply.status]).toEqual([path, 200]);
      return await reply.text();
    };
    const packages = await get("dists/sid/main/binary-amd64/Packages");
    const names = [...packages.matchAll(/^Filename: (.*)$/gm)].map(([, name]) => name ?? "");
    expect(names).toHaveLength(packagesAtFirst);
    for (const name of names) await get(name);
    const release = () => get("dists/sid/Release");
    await expect.poll(release, { timeout: long / 2, interval: 200 }).toContain(" main/Contents-amd64\n");
    return Date.parse(/^Date: (.*)$/m.exec(await release())?.[1] ?? "");
  }
}

function zeroPages(): void {
  const pages = statSync(database).size / pageBytes;
  const file = openSync(database, "r+");
  // All pages except the first two, which describe the database.
  for (let page = 2; page < pages; page++) writeSync(file, Buffer.alloc(pageBytes), 0, pageBytes, page * pageBytes);
  closeSync(file);
}

const key = (): string => readFileSync(join(state, "repositories/debian/signing-key.asc"), "utf8");

/** Leaves a database behind, closed or not. @returns the last Date, and the key */
async function leave(signal: NodeJS.Signals): Promise<readonly [dateMs: number, key: string]> {
  const served = new Served();
  const dateMs = await served.whole();
  await served.end(signal);
  return [dateMs, key()];
}

test.each(["SIGTERM", "SIGKILL"] as const)(
  "a database that lost its second half after %s is set aside before it is read, and rebuilt",
  { timeout: long },
  async (signal) => {
    const [before, keyBefore] = await leave(signal);
    truncateSync(database, Math.floor(statSync(database).size / 2 / pageBytes) * pageBytes);
    const served = new Served();
    expect(await served.whole()).toBeGreaterThanOrEqual(before);
    expect(served.log).toContain(setAside);
    expect(key()).toBe(keyBefore);
    expect(existsSync(join(state, "database.corrupt/data.mdb"))).toBe(true);
  },
);

test("zeroed pages in a closed database are found at the start, and the server continues with a new database", {
  timeout: long,
}, async () => {
  const [before, keyBefore] = await leave("SIGTERM");
  zeroPages();
  const served = new Served();
  expect(await served.whole()).toBeGreaterThanOrEqual(before);
  expect(served.log).toContain(setAside);
  expect(key()).toBe(keyBefore);
  expect(served.child.exitCode).toBeNull();
});

test("pages that are zeroed under a running server make it restart with a new database by itself", {
  timeout: long,
}, async () => {
  const served = new Served();
  const before = await served.whole();
  zeroPages();
  writeFileSync(
    join(work, "tree/dists/sid/main/binary-amd64/p0.deb"),
    await aDeb({ package: "p0", version: "2", architecture: "amd64" }),
  );
  expect(await served.whole()).toBeGreaterThan(before);
  expect(served.log).toContain(setAside);
  expect(served.child.exitCode).toBeNull();
});

test("an intact database is kept, however the server ended", { timeout: long }, async () => {
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    const [before] = await leave(signal);
    const served = new Served();
    expect(await served.whole()).toBe(before);
    expect(served.log).not.toContain(setAside);
    await served.end("SIGTERM");
  }
});
