// A private repository and real apt: readers log in by auth.conf, and others get a clear error.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { aDeb } from "../support/debs.ts";
import { ServerUnderTest } from "../support/server.ts";

const password = "correct:horse-battery";
const directory = mkdtempSync(join(tmpdir(), "private-"));

let server: ServerUnderTest;
let deb: Buffer;

beforeAll(async () => {
  deb = await aDeb({ architecture: "amd64" });
  const path = join(directory, "tree/dists/sid/main/binary-amd64/hello_1.0-1_amd64.deb");
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, deb);
  writeFileSync(join(directory, "bob.password"), password, { mode: 0o600 });
  writeFileSync(join(directory, "metrics.token"), "a-token-for-metrics", { mode: 0o600 });
  const mount = (name: string) => `[[repository]]\nname = "${name}"\nfolder = "tree"\n`;
  const reader = '[[repository.reader]]\nname = "bob"\npassword_file = "bob.password"\n';
  const limits = "[limits.http]\nfailed_logins_per_minute = 5\n";
  const text = `metrics_token_file = "metrics.token"\n${limits}${mount("ours")}${reader}${mount("open")}`;
  writeFileSync(join(directory, "c.toml"), text);
  server = await ServerUnderTest.start({
    flags: ["--config", join(directory, "c.toml"), "--state", join(directory, "state")],
  });
  await server.ready();
});
afterAll(async () => {
  await server?.end();
  rmSync(directory, { recursive: true });
});

/** apt with a user's auth.conf; its source contains a public path of the key. */
async function aRoot(login?: { readonly name?: string; readonly password: string }): Promise<AptRoot> {
  const publicKey = await (await fetch(`${server.url}/ours/key.asc`)).text();
  const root = new AptRoot({ source: { url: `${server.url}/ours`, suite: "sid", publicKey } });
  onTestFinished(() => root.close());
  if (login !== undefined) {
    const authConf = `machine ${server.url}/ours login ${login.name ?? "bob"} password ${login.password}\n`;
    writeFileSync(join(root.directory, "etc/auth.conf"), authConf, { mode: 0o600 });
  }
  return root;
}

test("a reader's apt updates and downloads a package", async () => {
  const root = await aRoot({ password });
  await root.update();
  expect(await root.download("hello")).toEqual(deb);
});

test("apt without a password is told that it is not authorised, and gets nothing", async () => {
  const root = await aRoot();
  expect(await root.failToUpdate()).toMatch(/401 +Unauthorized/);
  expect(await root.candidate("hello")).toBeUndefined();
});

test("another repository on the same server needs no password", async () => {
  const publicKey = await (await fetch(`${server.url}/open/key.asc`)).text();
  const root = new AptRoot({ source: { url: `${server.url}/open`, suite: "sid", publicKey } });
  onTestFinished(() => root.close());
  await root.update();
});

test("the binary keys are a keyring for a source that names the file", async () => {
  const keyring = join(directory, "open.gpg");
  writeFileSync(keyring, Buffer.from(await (await fetch(`${server.url}/open/key.gpg`)).arrayBuffer()));
  const source = `Types: deb\nURIs: ${server.url}/open\nSuites: sid\nComponents: main\nSigned-By: ${keyring}\n`;
  const root = new AptRoot({ source });
  onTestFinished(() => root.close());
  await root.update();
});

test("a wrong password is reported as such, and repeated guessing is soon rejected", async () => {
  const root = await aRoot({ password: "a-wrong-guess" });
  expect(await root.failToUpdate()).toMatch(/401 +Unauthorized/);
  const headers = { Authorization: `Basic ${Buffer.from("bob:another-guess").toString("base64")}` };
  for (let count = 0; count < 5; count++) await fetch(`${server.url}/ours/`, { headers });
  const reader = await aRoot({ password });
  expect(await reader.failToUpdate()).toMatch(/429 +Too Many Requests/);
});

test("no log line and no public page contains a password or a token", async () => {
  for (const secret of [
    password,
    "a-wrong-guess",
    "a-token-for-metrics",
    Buffer.from(`bob:${password}`).toString("base64"),
  ]) {
    expect(server.output).not.toContain(secret);
  }
  await expect.poll(() => server.output).toContain("too many failed logins");
  expect((await fetch(`${server.url}/metrics`)).status).toBe(401);
  expect(await (await fetch(`${server.url}/`)).text()).not.toContain("ours");
});
