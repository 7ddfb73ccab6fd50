// Backup and restore with the real grid and real apt, in the words of the guide: everything is lost, and clients notice
// nothing.
import { execFile } from "node:child_process";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { outputOf, runCommand } from "../support/command-line.ts";
import { blockOf } from "../support/documents.ts";
import { installedCommand, namedDeb } from "../support/initialized-tree.ts";
import { freePort, ServerUnderTest } from "../support/server.ts";

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-backup-"));
const bin = installedCommand(work);
const config = join(work, "debian/tahoe-apt.toml");
const state = join(work, "debian/state");
let port: number;
let server: ServerUnderTest;
let client: AptRoot;

/**
 * Runs a block of the guide as a user would, with the configuration of this test and the backup where the guide has it
 * later. systemd.test.ts runs them unchanged.
 * @returns both outputs
 */
async function guide(fence: string): Promise<string> {
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
  const script = blockOf(fence)
    .replace("/etc/tahoe-apt/tahoe-apt.toml", "debian/tahoe-apt.toml")
    .replace("/var/backups/tahoe-apt-$(date +%F).backup", "tahoe-apt.backup");
  const { stdout, stderr } = await promisify(execFile)("sh", ["-ec", script], { cwd: work, env });
  return stdout + stderr;
}

const serve = async (): Promise<void> => {
  server = await ServerUnderTest.start({ flags: ["--config", config], port });
  await server.ready();
};

async function put(name: string, version: string): Promise<void> {
  const [file, bytes] = await namedDeb({ package: name, version });
  writeFileSync(join(work, file), bytes);
  const bundle = join(work, "debian/builders/alice.bundle");
  expect(await outputOf(["put", "--bundle", bundle, join(work, file)], { cwd: work })).toContain(name);
}

const get = async (path: string): Promise<string> => {
  const reply = await fetch(`${server.url}/debian/${path}`);
  expect([path, reply.status]).toEqual([path, 200]);
  return await reply.text();
};

const dateOf = async (): Promise<number> =>
  Date.parse(/^Date: (.*)$/m.exec(await get("dists/sid/Release"))?.[1] ?? "") / 1000;

const currentId = async (): Promise<string> => {
  const text = await outputOf(["snapshot", "list", "--config", config, "--json"]);
  const { snapshots } = JSON.parse(text) as { snapshots: { id: string; isCurrent: boolean }[] };
  return snapshots.find(({ isCurrent }) => isCurrent)?.id ?? "";
};

const tokenOf = (name: string): string => readFileSync(join(work, `debian/builders/${name}.token`), "utf8").trim();

beforeAll(async () => {
  port = await freePort();
  const arguments_ = `init debian --webapi ${inject("webapiUrl")} --listen 127.0.0.1:${port} --suite sid`;
  await outputOf([...arguments_.split(" "), "--architecture", "amd64", "--builder", "alice"], { cwd: work });
  await serve();
  await put("hello", "1");
  client = new AptRoot({
    source: { url: `${server.url}/debian`, suite: "sid", publicKey: await get("key.asc") },
  });
});

afterAll(async () => {
  await server?.end();
  client?.close();
  rmSync(work, { recursive: true, force: true });
});

test("after the loss of state and configuration, a restore gives clients and builders what they had", async () => {
  await client.update();
  await outputOf(["snapshot", "pin", await currentId(), "release-1", "--config", config]);
  const pinned = await get("snapshots/release-1/dists/sid/InRelease");
  await outputOf(["override", "set", "hello", "Section=utils", "--config", config]);
  await put("hello", "2");
  const said = await guide("sh backup");
  expect(said).toMatch(/configuration: \d+ files/);
  expect(said).toContain("1 pins");
  const file = join(work, "tahoe-apt.backup");
  expect(statSync(file).mode & 0o777).toBe(0o600);

  // What happens after the backup is lost, but its Date must not come back.
  await put("hello", "3");
  await client.update();
  const lastDate = await dateOf();
  const key = await get("key.asc");
  const token = tokenOf("alice");
  await server.end("SIGKILL");
  // The bundle is the builder's, on her own machine.
  copyFileSync(join(work, "debian/builders/alice.bundle"), join(work, "alice.bundle"));
  rmSync(join(work, "debian"), { recursive: true });

  expect(await guide("sh restore")).toContain(`tahoe-apt serve --config ${config}`);
  copyFileSync(join(work, "alice.bundle"), join(work, "debian/builders/alice.bundle"));
  await serve();
  expect(await get("key.asc")).toBe(key);
  expect(tokenOf("alice")).toBe(token);
  expect(await get("snapshots/release-1/dists/sid/InRelease")).toBe(pinned);
  expect(await dateOf()).toBeGreaterThan(lastDate);
  await client.update();
  expect(await client.candidate("hello")).toBe("3");
  expect((await client.download("hello")).length).toBeGreaterThan(0);
  expect(await get("dists/sid/main/binary-amd64/Packages")).toContain("Section: utils");

  const old = new AptRoot({
    source: { url: `${server.url}/debian/snapshots/release-1`, suite: "sid", publicKey: key },
  });
  try {
    await old.update();
    expect(await old.candidate("hello")).toBe("1");
    expect((await old.download("hello")).length).toBeGreaterThan(0);
  } finally {
    old.close();
  }
  // The token of before is accepted: put pings, and waits for the answer.
  await put("hello", "4");
  await client.update();
  expect(await client.candidate("hello")).toBe("4");
});

test("a trial, a move to other places and a restore over what is there work beside the running server and without it", async () => {
  expect(await guide("sh try-restore")).toMatch(/ release-1$/m);
  expect(existsSync(join(work, "trial/state/version.json"))).toBe(true);
  const file = join(work, "second.backup");
  await outputOf(["backup", file, "--config", config]);
  const places = ["--config", join(work, "elsewhere/tahoe-apt.toml"), "--state", join(work, "elsewhere/state")];
  expect(await outputOf(["restore", file, ...places])).toContain(`tahoe-apt serve --config ${places[1]}`);
  const { exitCode, output } = await runCommand(["restore", file, "--force"]);
  expect([exitCode, output]).toEqual([1, expect.stringContaining("another server uses the state directory")]);
  await server.end();
  expect(await outputOf(["restore", file, "--force"])).toContain("the state that was there is in");
  await serve();
  await client.update();
  expect(await client.candidate("hello")).toBe("4");
});

test("a rollback is in the backup: the restored server serves the pinned content until resume", async () => {
  await outputOf(["snapshot", "rollback", "release-1", "--config", config]);
  const file = join(work, "rolled-back.backup");
  await server.end();
  await outputOf(["backup", file, "--config", config]);
  rmSync(state, { recursive: true });
  await outputOf(["restore", file]);
  await serve();
  await expect
    .poll(async () => await get("dists/sid/main/binary-amd64/Packages"), { timeout: 30_000 })
    .toMatch(/^Version: 1$/m);
  await client.update();
  expect(await client.candidate("hello")).toBe("1");
  await outputOf(["snapshot", "resume", "--config", config]);
  await client.update();
  expect(await client.candidate("hello")).toBe("4");
});
