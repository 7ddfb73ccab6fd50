// Repositories of other tools in a real grid: if no package is served, the reason is shown.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { aDeb } from "../support/debs.ts";
import { ServerUnderTest } from "../support/server.ts";

const token = "a-token-for-this-test";
const work = mkdtempSync(join(tmpdir(), "tahoe-apt-other-tools-"));
const made = join(work, "made");
const readyMade =
  /dists\/stable has ready-made indices and no package in its places; 2 packages lie in pool\/: link the packages below dists\/stable\/COMPONENT\/binary-ARCH .*or set indices = "prebuilt"/;
const backup = /the root of a `tahoe backup`.*serve the read cap of Latest/;

const tahoe = (...args: readonly string[]): string =>
  execFileSync(inject("tahoe"), ["-d", inject("nodeDirectory"), ...args], { stdio: ["ignore", "pipe", "ignore"] })
    .toString()
    .trim();

/** The read cap of a directory, from its own cap or from a path below one. */
function readCapOf(directory: string): string {
  const [, facts] = JSON.parse(tahoe("ls", "--json", directory)) as readonly [string, { readonly ro_uri: string }];
  return facts.ro_uri;
}

beforeAll(async () => {
  const pool = join(made, "pool/main/h/hello");
  const place = join(made, "dists/stable/main/binary-amd64");
  for (const directory of [pool, place]) mkdirSync(directory, { recursive: true });
  for (const name of ["hello", "hello-doc"])
    writeFileSync(join(pool, `${name}_1_amd64.deb`), await aDeb({ package: name, architecture: "amd64" }));
  const index = (...args: readonly string[]): Buffer =>
    execFileSync("apt-ftparchive", args, { cwd: made, stdio: ["ignore", "pipe", "ignore"] });
  const packages = index("packages", "pool");
  writeFileSync(join(place, "Packages"), packages);
  writeFileSync(join(place, "Packages.gz"), gzipSync(packages));
  writeFileSync(join(made, "dists/stable/Release"), index("release", "dists/stable"));
  writeFileSync(join(work, "token"), token, { mode: 0o600 });
});
afterAll(() => rmSync(work, { recursive: true }));

/** Expects a server of a tree to report something in the log, on the page and in the response to a ping. */
async function expectTold(readCap: string, what: RegExp): Promise<void> {
  const own = mkdtempSync(join(work, "server-"));
  writeFileSync(join(own, "readcap"), readCap, { mode: 0o600 });
  const flags = [
    "--webapi",
    inject("webapiUrl"),
    "--readcap-file",
    join(own, "readcap"),
    "--state",
    join(own, "state"),
  ];
  const server = await ServerUnderTest.start({ flags: [...flags, "--ping-token-file", join(work, "token")] });
  onTestFinished(async () => void (await server.end()));
  const headers = { authorization: `Bearer ${token}` };
  const reply = await fetch(`${server.url}/-/ping/debian?wait=60`, { method: "POST", headers });
  const { notices } = (await reply.json()) as { readonly notices: readonly string[] };
  expect(notices.join("\n")).toMatch(what);
  const page = await (await fetch(`${server.url}/debian/`)).text();
  expect(page.replaceAll("&quot;", '"')).toMatch(what);
  // Its log output may still be in the pipe.
  await expect.poll(() => server.output.replaceAll('\\"', '"'), { timeout: 10_000 }).toMatch(what);
}

test("a repository from apt-ftparchive and `tahoe cp -r` is reported in the log, on the page and in ping responses", async () => {
  const writeCap = tahoe("mkdir");
  tahoe("cp", "-r", join(made, "dists"), join(made, "pool"), writeCap);
  await expectTold(readCapOf(writeCap), readyMade);
});

test("a `tahoe backup` of it is explained at its root, and reported as the repository that it is at Latest", async () => {
  const writeCap = tahoe("mkdir");
  tahoe("backup", made, writeCap);
  await expectTold(readCapOf(writeCap), backup);
  await expectTold(readCapOf(`${writeCap}/Latest`), readyMade);
});
