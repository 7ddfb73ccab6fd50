// Makes state.tar.xz with a released version of tahoe-apt; see README.md.
import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const [release, venv, target] = process.argv.slice(2).map((path) => resolve(path));
const load = (name) => import(join(release, "dist", name));
const [{ startGrid }, { installTahoe }, { Webapi }, { WebapiWriter }, { parseTreePath }] = await Promise.all([
  load("local/grid/grid.js"),
  load("local/grid/install.js"),
  load("storage/tahoe/webapi.js"),
  load("storage/tahoe/webapi-writer.js"),
  load("base/names.js"),
]);

const { signal } = new AbortController();
const work = mkdtempSync(join(tmpdir(), "state-of-a-release-"));
const out = join(work, "out");
const progress = () => {};
const tahoe = await installTahoe({ directory: venv, progress, signal, searchPath: process.env.PATH });
const grid = await startGrid({ directory: join(work, "grid"), tahoe, progress, signal });
const writer = new WebapiWriter(new Webapi(grid.webapiUrl));
const root = await writer.createDirectory(signal);
const token = "a-token-of-the-test-of-upgrades";

mkdirSync(out, { recursive: true });
const config = join(out, "tahoe-apt.toml");
const write = (name, text) => writeFileSync(join(out, name), text, { mode: 0o600 });
write("readcap", (await writer.readCapOf(root, signal)).reveal());
write("ping-token", token);
write(
  "tahoe-apt.toml",
  `state = "state"
[[repository]]
name = "debian"
webapi = "${grid.webapiUrl}"
readcap_file = "readcap"
ping_token_file = "ping-token"
package_owners = "first"
`,
);

function deb(name, version) {
  const directory = join(work, "deb");
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(join(directory, "DEBIAN"), { recursive: true });
  const fields = [`Package: ${name}`, `Version: ${version}`, "Architecture: amd64", "Maintainer: A <a@example.org>"];
  writeFileSync(join(directory, "DEBIAN/control"), `${fields.join("\n")}\nDescription: a test\n`);
  return execFileSync("sh", [
    "-c",
    'dpkg-deb --root-owner-group -b "$1" "$2" >/dev/null && cat "$2"',
    "-",
    directory,
    `${directory}.deb`,
  ]);
}

async function link(suite, builder, name, version, linkedAtSeconds) {
  const directory = await writer.makeDirectory(
    root,
    parseTreePath(`dists/${suite}/main/binary-amd64/${builder}`),
    signal,
  );
  const content = await writer.upload(deb(name, version), signal);
  await writer.link(directory, new Map([[`${name}_${version}_amd64.deb`, { content, metadata: {} }]]), signal);
  if (linkedAtSeconds === undefined) return;
  const times = { tahoe: { linkcrtime: linkedAtSeconds, linkmotime: linkedAtSeconds } };
  const child = { [`${name}_${version}_amd64.deb`]: ["filenode", { ro_uri: content.reveal(), metadata: times }] };
  const url = `${grid.webapiUrl}/uri/${encodeURIComponent(directory.reveal())}?t=set_children`;
  const { status } = await fetch(url, { method: "POST", body: JSON.stringify(child) });
  if (status !== 200) throw new Error(`set_children is answered ${status}`);
}

async function serving(environment, use) {
  const args = [join(release, "dist/cli.js"), "serve", "--config", config, "--listen", "127.0.0.1:18399"];
  const server = spawn(process.execPath, args, {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...environment },
  });
  for (;;) {
    const status = await fetch("http://127.0.0.1:18399/readyz").then(
      (reply) => reply.status,
      () => 0,
    );
    if (status === 200) break;
    await sleep(100);
  }
  await use();
  server.kill("SIGTERM");
  await new Promise((ended) => server.once("exit", ended));
}

async function ping() {
  const headers = { authorization: `Bearer ${token}` };
  const reply = await fetch("http://127.0.0.1:18399/-/ping/debian?wait=60", { method: "POST", headers });
  if (reply.status !== 200) throw new Error(`the ping is answered ${reply.status}: ${await reply.text()}`);
  console.log(await reply.text());
}

const command = (...args) =>
  execFileSync(process.execPath, [join(release, "dist/cli.js"), ...args, "--config", config], { encoding: "utf8" });

await link("sid", "alice", "hello", "1");
await link("trixie", "alice", "world", "1");
await serving({}, async () => {
  await ping();
  await sleep(8000);
  console.log(command("snapshot", "pin", idOf("sid"), "release-1", "--suite", "sid"));
  console.log(command("snapshot", "pin", idOf("trixie"), "good", "--suite", "trixie"));
});
await writer.unlink(root, parseTreePath("dists/sid/main/binary-amd64/alice/hello_1_amd64.deb"), signal);
await link("sid", "alice", "hello", "2");
await link("trixie", "alice", "world", "2-bad");
// An hour later, the server knows since long that alice had the name first, whatever bob's link says.
await link("sid", "bob", "hello", "9", 1_600_000_000);
await serving(
  {
    LD_PRELOAD: "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    FAKETIME: "+3600s",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    FAKETIME_NO_CACHE: "1",
  },
  async () => {
    await ping();
    console.log(command("snapshot", "rollback", "good", "--suite", "trixie"));
    console.log(command("override", "set", "hello", "--suite", "sid", "Section=utils"));
    await sleep(8000);
    console.log(command("owner", "list"));
    console.log(command("snapshot", "list"));
  },
);

function idOf(suite) {
  const { snapshots } = JSON.parse(command("snapshot", "list", "--suite", suite, "--json"));
  return snapshots.find(({ isCurrent }) => isCurrent).id;
}

await grid.stop();
cpSync(join(grid.nodeDirectory, "storage/shares"), join(out, "shares"), { recursive: true });
rmSync(join(out, "shares/incoming"), { recursive: true, force: true });
rmSync(join(out, "state/packages"), { recursive: true, force: true });
rmSync(join(out, "tahoe-apt.toml"));
execFileSync("tar", ["-cJf", target, "--sparse", "--owner=0", "--group=0", "--numeric-owner", "-C", out, "."]);
rmSync(work, { recursive: true });
