// Contents as read by real programs: apt-file, which rejects a changed bit, and debmirror.
import { execFile } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { CorruptingProxy } from "../support/corrupting-proxy.ts";
import { aDeb, runTool } from "../support/debs.ts";
import { ServerUnderTest } from "../support/server.ts";

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-contents-"));
const packages = 300;
const clientTimeoutMs = 120_000;
/** The configuration of Debian's apt-file, with which apt downloads Contents. */
const aptFileTargets = "/etc/apt/apt.conf.d/50apt-file.conf";
const contentsPattern = /Contents-amd64|\/main\/by-hash\//;
const token = "a-token-for-this-test-alone";
let server: ServerUnderTest;
let proxy: CorruptingProxy;
let publicKey: string;

async function put(path: string, name: string, paths: readonly string[]): Promise<void> {
  const files = Object.fromEntries(paths.map((each) => [`./${each}`, "x"]));
  const target = join(work, "tree/dists/sid", path, `${name}.deb`);
  const architecture = path.endsWith("all") ? "all" : "amd64";
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, await aDeb({ package: name, architecture, files, fields: { Section: "misc" } }));
}

const text = async (path: string): Promise<string> => (await fetch(`${server.url}/${path}`)).text();
const release = (): Promise<string> => text("debian/dists/sid/InRelease");

async function releaseWhere(holds: (release: string) => boolean): Promise<void> {
  for (const begunMs = Date.now(); !holds(await release()); await sleep(50)) {
    if (Date.now() - begunMs > clientTimeoutMs) throw new Error(`Contents did not come:\n${server.output}`);
  }
}

beforeAll(async () => {
  for (let n = 0; n < packages; n++) {
    const place = n % 3 === 0 ? "main/binary-all" : "main/binary-amd64";
    const name = `p${String(n).padStart(3, "0")}`;
    const own = Array.from({ length: 20 }, (_none, k) => `usr/share/${name}/file-${k}`);
    await put(place, name, [...own, `usr/bin/tool-${n}`, "usr/share/doc/shared file"]);
  }
  await put("contrib/binary-amd64", "extra", ["usr/bin/extra"]);
  writeFileSync(join(work, "token"), token, { mode: 0o600 });
  server = await ServerUnderTest.start({
    flags: ["--folder", join(work, "tree"), "--state", join(work, "state"), "--ping-token-file", join(work, "token")],
  });
  await server.ready();
  await releaseWhere((known) => known.includes("contrib/Contents-amd64.xz"));
  proxy = await CorruptingProxy.start(server.url);
  publicKey = await text("debian/key.asc");
});

afterAll(async () => {
  await proxy?.close();
  await server?.end();
  rmSync(work, { recursive: true, force: true });
});

interface Run {
  readonly exitCode: number;
  readonly output: string;
}

function run(command: string, args: readonly string[], env: { readonly [name: string]: string }): Promise<Run> {
  return new Promise((resolve, reject) => {
    const options = {
      env: { PATH: process.env.PATH, HOME: work, LC_ALL: "C.UTF-8", ...env },
      timeout: clientTimeoutMs,
    };
    execFile(command, args, { ...options, maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      if (error?.code === "ENOENT") reject(new Error(`this test needs ${command}: apt-get install ${command}`));
      else resolve({ exitCode: error === null ? 0 : Number(error.code ?? 1), output: stdout + stderr });
    });
  });
}

/** apt-file with its own apt configuration. */
function anAptFile(options: { readonly [name: string]: string } = {}): (...args: readonly string[]) => Promise<Run> {
  if (!existsSync(aptFileTargets)) throw new Error("this test needs apt-file: apt-get install apt-file");
  const components = ["main", "contrib"];
  const source = { url: `http://${proxy.host}/debian`, suite: "sid", components, publicKey };
  const root = new AptRoot({ source, options });
  onTestFinished(() => root.close());
  copyFileSync(aptFileTargets, join(root.directory, "etc/parts/50apt-file.conf"));
  return (...args) => run("apt-file", args, { APT_CONFIG: join(root.directory, "apt.conf") });
}

for (const form of ["xz", "gz"]) {
  test(`apt-file finds files and packages in the .${form}, and its update fails when one bit differs`, async () => {
    const options = { "Acquire::CompressionTypes::Order": form };
    const aptFile = anAptFile(options);
    const updated = await aptFile("update");
    expect(updated.output).not.toMatch(/^[WE]:/m);
    expect(updated.exitCode).toBe(0);
    expect((await aptFile("search", "usr/bin/tool-7")).output).toContain("p007: /usr/bin/tool-7\n");
    expect((await aptFile("search", "bin/extra")).output).toBe("extra: /usr/bin/extra\n");
    expect(
      (await aptFile("search", "shared file")).output.match(/^p\d+: \/usr\/share\/doc\/shared file$/gm),
    ).toHaveLength(packages);
    expect((await aptFile("list", "p012")).output.trim().split("\n")).toHaveLength(22);
    expect((await aptFile("search", "usr/bin/no-such-tool")).exitCode).toBe(1);

    const refused = await proxy.whileCorrupting(contentsPattern, () => anAptFile(options)("update"));
    expect(refused.output).toMatch(/Hash Sum mismatch/i);
  });
}

test("a ping is answered before its Contents are generated, and apt-file finds the new file soon after", async () => {
  await put("main/binary-amd64", "newcomer", ["usr/bin/newcomer"]);
  const headers = { authorization: `Bearer ${token}` };
  const before = /([0-9a-f]{64}) \d+ main\/Contents-amd64$/m.exec(await release())?.[1] ?? "none";
  const ping = `${server.url}/-/ping/debian/dists/sid/main/binary-amd64/newcomer.deb?wait=60`;
  expect((await fetch(ping, { method: "POST", headers })).status).toBe(200);
  const live = await release();
  expect(live).toContain(before);
  await releaseWhere((now) => !now.includes(before));
  const aptFile = anAptFile();
  expect((await aptFile("update")).exitCode).toBe(0);
  expect((await aptFile("search", "newcomer")).output).toBe("newcomer: /usr/bin/newcomer\n");
  expect(await text("metrics")).toMatch(/^tahoe_apt_late_lag_seconds\{.*maker="contents".*\} \d/m);
});

test("debmirror mirrors Contents", async () => {
  const keyring = join(work, "keyring.gpg");
  writeFileSync(keyring, runTool("gpg", ["--batch", "--homedir", work, "--dearmor"], publicKey, "gnupg"));
  const debmirror = async (target: string): Promise<Run> =>
    await run(
      "debmirror",
      [
        ...`--method=http --host=${proxy.host} --root=debian --dist=sid --section=main,contrib --arch=amd64`.split(" "),
        ...`--nosource --getcontents --rsync-extra=none --diff=none --checksums --keyring=${keyring}`.split(" "),
        target,
      ],
      { GNUPGHOME: work },
    );
  const target = join(work, "mirror");
  const { exitCode, output } = await debmirror(target);
  expect(exitCode, output).toBe(0);
  for (const component of ["main", "contrib"]) {
    const path = `dists/sid/${component}/Contents-amd64.gz`;
    const served = Buffer.from(await (await fetch(`${server.url}/debian/${path}`)).arrayBuffer());
    expect(readFileSync(join(target, path)).equals(served)).toBe(true);
  }
});
