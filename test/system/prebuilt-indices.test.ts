// A suite with prebuilt indices: real apt accepts them unchanged, and the server reports differences.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { aDeb, aDsc, runTool } from "../support/debs.ts";
import { ServerUnderTest } from "../support/server.ts";

const token = "the-token-of-prebuilt";
const timeoutMs = 20_000;
const work = mkdtempSync(join(tmpdir(), "tahoe-apt-prebuilt-"));
const tree = join(work, "tree");
const gnupg = join(work, "gnupg");
const stable = "dists/stable";
let server: ServerUnderTest;
let publicKey: string;
let deb: Buffer;
const source = aDsc({ source: "hello" });

function put(path: string, bytes: string | Uint8Array): void {
  mkdirSync(dirname(join(tree, path)), { recursive: true });
  writeFileSync(join(work, "new"), bytes);
  renameSync(join(work, "new"), join(tree, path));
}

const gpg = (...args: readonly string[]): Buffer =>
  runTool("gpg", ["--batch", "--quiet", "--homedir", gnupg, "--passphrase", "", ...args], "", "gnupg");

/** Generates and signs the indices of `stable` as an external tool does. */
function index(): void {
  runTool("apt-ftparchive", ["--version"], "", "apt-utils");
  const ftparchive = (...args: readonly string[]): Buffer =>
    execFileSync("apt-ftparchive", args, { cwd: tree, stdio: ["ignore", "pipe", "ignore"] });
  const packages = ftparchive("packages", "pool");
  put(`${stable}/main/binary-amd64/Packages`, packages);
  put(`${stable}/main/binary-amd64/Packages.gz`, gzipSync(packages));
  const sources = ftparchive("sources", "pool");
  put(`${stable}/main/source/Sources`, sources);
  put(`${stable}/main/source/Sources.gz`, gzipSync(sources));
  for (const name of ["Release", "InRelease", "Release.gpg"]) rmSync(join(tree, stable, name), { force: true });
  const settings = {
    Suite: "stable",
    Codename: "stable",
    Components: "main",
    Architectures: "amd64",
    Origin: "Elsewhere",
  };
  const options = Object.entries(settings).flatMap(([name, value]) => [
    "-o",
    `APT::FTPArchive::Release::${name}=${value}`,
  ]);
  put(`${stable}/Release`, ftparchive(...options, "release", stable));
  gpg("--clear-sign", "--output", join(tree, stable, "InRelease"), join(tree, stable, "Release"));
  gpg("--detach-sign", "--armor", "--output", join(tree, stable, "Release.gpg"), join(tree, stable, "Release"));
}

beforeAll(async () => {
  mkdirSync(gnupg, { mode: 0o700 });
  gpg("--quick-generate-key", "Elsewhere <it@example.org>", "rsa3072", "sign", "never");
  publicKey = gpg("--armor", "--export").toString();
  deb = await aDeb({ package: "hello", version: "1:2~rc1", architecture: "amd64" });
  put("pool/main/h/hello/hello_2~rc1_amd64.deb", deb);
  put("pool/main/h/hello/other_1_all.deb", await aDeb({ package: "other" }));
  for (const [name, bytes] of source.files) put(`pool/main/h/hello/${name}`, bytes);
  put("dists/sid/main/binary-amd64/made.deb", await aDeb({ package: "made", architecture: "amd64" }));
  index();
  writeFileSync(join(work, "token"), token, { mode: 0o600 });
  const lines = [
    "[[repository]]",
    'name = "debian"',
    `folder = ${JSON.stringify(tree)}`,
    `ping_token_file = ${JSON.stringify(join(work, "token"))}`,
    "[repository.suite.stable]",
    'indices = "prebuilt"',
  ];
  writeFileSync(join(work, "tahoe-apt.toml"), `${lines.join("\n")}\n`);
  server = await ServerUnderTest.start({
    flags: ["--config", join(work, "tahoe-apt.toml"), "--state", join(work, "state")],
  });
  await server.ready();
});

afterAll(async () => {
  await server?.end();
  spawnSync("gpgconf", ["--homedir", gnupg, "--kill", "all"]);
  rmSync(work, { recursive: true, force: true });
});

function anApt(suite: string, key: string): AptRoot {
  const root = new AptRoot({ source: { url: `${server.url}/debian`, suite, publicKey: key } });
  onTestFinished(() => root.close());
  return root;
}

async function ping(): Promise<void> {
  const headers = { authorization: `Bearer ${token}` };
  expect((await fetch(`${server.url}/-/ping/debian/?wait=60`, { method: "POST", headers })).status).toBe(200);
}

const text = async (path: string): Promise<string> => (await fetch(`${server.url}${path}`)).text();

/** Waits until the page shows this, because indices are checked in the background. */
async function pageComesToSay(pattern: RegExp): Promise<void> {
  for (const begunMs = Date.now(); Date.now() - begunMs < timeoutMs; await sleep(50)) {
    if (pattern.test(await text("/debian/-/rejects"))) return;
  }
  expect(await text("/debian/-/rejects")).toMatch(pattern);
}

test("apt accepts prebuilt indices, packages and sources unchanged, beside a suite with generated indices", async () => {
  const root = anApt("stable", publicKey);
  await root.update();
  expect(await root.packageNames()).toEqual(["hello", "other"]);
  expect(await root.policy("hello")).toContain("1:2~rc1");
  expect(await root.download("hello")).toEqual(deb);
  const fetched = await root.source("hello");
  for (const [name, bytes] of source.files) expect(fetched.get(name)).toEqual(bytes);
  expect(await text(`/debian/${stable}/InRelease`)).toBe(readFileSync(join(tree, stable, "InRelease"), "utf8"));
  expect((await root.update()).split("\n")[0]).toMatch(/^Hit:/);

  const made = anApt("sid", await text("/debian/key.asc"));
  await made.update();
  expect(await made.packageNames()).toEqual(["made"]);
  expect(await text("/debian/debian.sources")).toMatch(/^Suites: sid$/m);
});

test("correct indices cause no report, and differences are on the page, in the log and in a metric", async () => {
  await pageComesToSay(/<p>Nothing is rejected\.<\/p>/);
  put("pool/main/h/hello/hello_2~rc1_amd64.deb", await aDeb({ package: "hello", version: "9" }));
  rmSync(join(tree, "pool/main/h/hello/other_1_all.deb"));
  put(`${stable}/main/source/Sources.gz`, gzipSync("Package: another\n"));
  await ping();
  await pageComesToSay(/other_1_all\.deb<\/td><td[^>]*>.* lists it, but it does not exist \(absent\)/);
  await pageComesToSay(/hello_2~rc1_amd64\.deb<\/td><td[^>]*>.* lists it with another size or SHA256 \(mismatch\)/);
  await pageComesToSay(/Sources\.gz<\/td><td[^>]*>Release lists it with another size or SHA256 \(mismatch\)/);
  const scrape = await text("/metrics");
  expect(scrape).toMatch(/^tahoe_apt_rejects_total\{repository="debian",code="absent"\} 1$/m);
  expect(scrape).toMatch(/^tahoe_apt_rejects_total\{repository="debian",code="mismatch"\} 2$/m);
  await expect.poll(() => server.output).toContain("a file does not match a prebuilt index");
  index();
  await ping();
  await pageComesToSay(/<p>Nothing is rejected\.<\/p>/);
  const root = anApt("stable", publicKey);
  await root.update();
  expect(await root.packageNames()).toEqual(["hello"]);
});
