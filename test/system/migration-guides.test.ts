// The guides from reprepro and from aptly, run as they are with repositories of these tools.
import { execFile } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { blockOf } from "../support/documents.ts";
import type { ForeignPackage } from "../support/foreign-repositories.ts";
import { aptlyRepository, ForeignKey, foreignPackages, RepreproRepository } from "../support/foreign-repositories.ts";
import { installedCommand } from "../support/initialized-tree.ts";
import { freePort, ServerUnderTest } from "../support/server.ts";

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-migration-"));
const bin = installedCommand(work);
let key: ForeignKey;
let packages: readonly ForeignPackage[];

beforeAll(async () => {
  key = new ForeignKey(work);
  packages = await foreignPackages(work, 0.03);
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** Runs a block of the guide in a directory, with the paths and the gateway of this test. @returns both outputs */
async function run(fence: string, directory: string): Promise<string> {
  const script = blockOf(fence)
    .replaceAll("/srv/", `${directory}/`)
    .replaceAll("~/", `${directory}/`)
    .replaceAll("http://127.0.0.1:3456", inject("webapiUrl"));
  const env = { ...key.environment, PATH: `${bin}:${process.env.PATH}`, HOME: directory };
  const options = { cwd: directory, env };
  return (await promisify(execFile)("bash", ["-c", `exec 2>&1; set -e\n${script}`], options)).stdout;
}

/** The packages that apt sees with the public key of the old repository. */
async function seenByApt(url: string): Promise<readonly string[]> {
  const publicKey = readFileSync(key.keyring, "utf8");
  // A server is ready when its first suite is published.
  const inRelease = async () => (await fetch(`${url}/dists/bookworm/InRelease`)).status;
  await expect.poll(inRelease, { timeout: 30_000 }).toBe(200);
  const apt = new AptRoot({ source: { url, suite: "bookworm", components: ["main"], publicKey } });
  onTestFinished(() => apt.close());
  await apt.update();
  return await apt.packageNames();
}

test("the guide from reprepro moves a repository into a grid, and apt accepts it with the old key", async () => {
  const directory = mkdtempSync(join(work, "home-"));
  const repository = new RepreproRepository(directory, key, packages);
  expect(await run("sh reprepro-dry-run", directory)).toMatch(/planned: main-tool-0 .*[\s\S]*nothing was changed/);
  await run("sh reprepro-init", directory);
  const config = join(directory, "debian/tahoe-apt.toml");
  appendFileSync(config, blockOf("toml reprepro-identity"));
  const port = await freePort();
  // The port of the guide may be in use on this machine.
  for (const file of [config, join(directory, "debian/master.bundle")])
    writeFileSync(file, readFileSync(file, "utf8").replaceAll("127.0.0.1:8380", `127.0.0.1:${port}`));
  const server = await ServerUnderTest.start({ flags: ["--config", config], port });
  onTestFinished(async () => void (await server.end()));
  await server.ready();
  expect(await run("sh reprepro-import", directory)).toMatch(/live: main-tool-0 1\.0-1 source in bookworm main/);
  repository.remove("bookworm", "main-tool-1");
  expect(await run("sh reprepro-again", directory)).toMatch(/removed: main-tool-1 1\.0-1 amd64/);
  const seen = await seenByApt(`${server.url}/debian`);
  expect(seen).toContain("main-tool-0");
  expect(seen).not.toContain("main-tool-1");
});

test("the guide from aptly moves what is published into a folder, and apt accepts it with the old key", async () => {
  const directory = mkdtempSync(join(work, "home-"));
  aptlyRepository(directory, key, packages);
  mkdirSync(join(directory, ".aptly"));
  renameSync(join(directory, "aptly/public"), join(directory, ".aptly/public"));
  const output = await run("sh aptly-import", directory);
  expect(output).toMatch(/planned: main-tool-0 [\s\S]*nothing was changed[\s\S]*linked: main-tool-0 /);
  await run("sh aptly-key", directory);
  const config = join(directory, "tahoe-apt.toml");
  writeFileSync(config, blockOf("toml aptly-server").replaceAll("/srv/", `${directory}/`));
  const flags = ["--config", config, "--state", join(directory, "state")];
  const port = await freePort();
  writeFileSync(config, readFileSync(config, "utf8").replaceAll("127.0.0.1:8380", `127.0.0.1:${port}`));
  const server = await ServerUnderTest.start({ flags, port });
  onTestFinished(async () => void (await server.end()));
  await server.ready();
  expect(await seenByApt(`${server.url}/debian`)).toContain("main-tool-0");
});
