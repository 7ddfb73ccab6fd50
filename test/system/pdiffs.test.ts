// Real apt uses pdiffs: it downloads the list of patches and one patch instead of the index.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AptRoot, sourceText } from "../support/apt.ts";
import { aDeb, aDsc, runTool } from "../support/debs.ts";
import type { Machine } from "../support/rootfs.ts";
import { demandTool, trixieMachine } from "../support/rootfs.ts";
import { ServerUnderTest } from "../support/server.ts";

const setUpMs = 480_000;
const packagesAtFirst = 120;
const token = "let-me-in-please";
const work = mkdtempSync(join(tmpdir(), "pdiffs-"));
const component = "tree/dists/sid/main";
let server: ServerUnderTest;
let publicKey = "";
let machine: Machine;

/** Text that hardly compresses, so that the index is large enough for a patch. */
const noise = (name: string): string =>
  Array.from({ length: 20 }, (_, n) => createHash("sha256").update(`${name}${n}`).digest("base64")).join("\n ");

function put(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(join(work, path)), { recursive: true });
  writeFileSync(join(work, path), bytes);
}
async function putPackage(name: string): Promise<void> {
  const fields = { Description: `it\n ${noise(name)}` };
  put(`${component}/binary-amd64/${name}.deb`, await aDeb({ package: name, architecture: "amd64", fields }));
}
function putSource(name: string): void {
  const { files } = aDsc({ source: name, fields: { "X-Noise": `it\n ${noise(name)}` } });
  for (const [file, bytes] of files) put(`${component}/source/${file}`, bytes);
}

async function release(): Promise<string> {
  return await (await fetch(`${server.url}/debian/dists/sid/Release`)).text();
}

/** Publishes packages and sources, and waits for their patches. */
async function publish(...names: readonly string[]): Promise<void> {
  for (const name of names) {
    await putPackage(name);
    putSource(name);
  }
  const reply = await fetch(`${server.url}/-/ping/debian?wait=60`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}` },
  });
  expect(reply.status).toBe(200);
  while (!(await release()).includes("Sources.diff/Index")) await new Promise((resolve) => setTimeout(resolve, 100));
}

beforeAll(async () => {
  for (let n = 0; n < packagesAtFirst; n++) {
    await putPackage(`p${n}`);
    putSource(`p${n}`);
  }
  writeFileSync(join(work, "token"), token, { mode: 0o600 });
  const configuration = `
    [[repository]]
    name = "debian"
    folder = ${JSON.stringify(join(work, "tree"))}
    ping_token_file = ${JSON.stringify(join(work, "token"))}
    pdiffs = true\n`;
  writeFileSync(join(work, "tahoe-apt.toml"), configuration);
  server = await ServerUnderTest.start({
    flags: ["--config", join(work, "tahoe-apt.toml"), "--state", join(work, "state")],
  });
  await server.ready();
  publicKey = await (await fetch(`${server.url}/debian/key.asc`)).text();
  machine = await trixieMachine();
}, setUpMs);

afterAll(async () => {
  await machine?.remove();
  await server?.end();
  rmSync(work, { recursive: true });
});

/** The paths below the suite that apt requested, from its own output. */
const requestsIn = (output: string): readonly string[] =>
  [...output.matchAll(/GET \/debian\/dists\/sid\/(\S+) HTTP/g)].map(([, path = ""]) => path);

const debug = { "Debug::Acquire::http": "true", "Debug::pkgAcquire::Diffs": "true" };
const listOf = (directory: string) => new RegExp(`^main/${directory}\\.diff/(by-hash/SHA256/[0-9a-f]{64}|Index)$`);
const patchOf = (directory: string) => new RegExp(`^main/${directory}\\.diff/[0-9a-f]{64}\\.gz$`);
const wholeIndex = /(Packages|Sources)(\.xz|\.gz)?$|(binary-amd64|source)\/by-hash/;

function expectOnePatchEach(requests: readonly string[]): void {
  for (const index of ["binary-amd64/Packages", "source/Sources"]) {
    expect(requests.filter((path) => listOf(index).test(path))).toHaveLength(1);
    expect(requests.filter((path) => patchOf(index).test(path))).toHaveLength(1);
  }
  expect(requests.filter((path) => wholeIndex.test(path))).toEqual([]);
}

test("apt updates from any earlier publication by one patch of Packages and one of Sources", async () => {
  const root = new AptRoot({ source: { url: `${server.url}/debian`, suite: "sid", publicKey }, options: debug });
  const other = new AptRoot({ source: { url: `${server.url}/debian`, suite: "sid", publicKey }, options: debug });
  try {
    expect(requestsIn(await root.update()).filter((path) => wholeIndex.test(path))).toHaveLength(2);
    await other.update();
    await publish("one");
    expectOnePatchEach(requestsIn(await root.update()));
    expect(await root.candidate("one")).toBe("1.0-1");
    expect(await root.packageNames()).toHaveLength(packagesAtFirst + 1);
    await publish("two");
    for (const each of [root, other]) {
      expectOnePatchEach(requestsIn(await each.update()));
      expect(await each.packageNames()).toHaveLength(packagesAtFirst + 2);
    }
    expect([...(await root.source("two")).keys()]).toContain("two_1.0-1.dsc");
  } finally {
    root.close();
    other.close();
  }
});

test("apt with pdiffs disabled downloads whole indices", async () => {
  const source = { url: `${server.url}/debian`, suite: "sid", publicKey };
  const root = new AptRoot({ source, options: { ...debug, "Acquire::PDiffs": "false" } });
  try {
    await root.update();
    await publish("three");
    const requests = requestsIn(await root.update());
    expect(requests.filter((path) => wholeIndex.test(path))).toHaveLength(2);
    expect(requests.filter((path) => path.includes(".diff/"))).toEqual([]);
  } finally {
    root.close();
  }
});

test("debmirror, which supports only SHA1, patches its indices", async () => {
  for (const tool of ["debmirror", "patch", "ed"]) demandTool(tool, tool);
  const keyring = join(work, "keyring");
  runTool("gpg", ["--dearmor", "--output", keyring], publicKey, "gnupg");
  const host = new URL(server.url).host;
  const args = `--method=http --host=${host} --root=debian --dist=sid --section=main --arch=amd64 --source --i18n
    --rsync-extra=none --diff=use --verbose --keyring=${keyring} ${join(work, "mirror")}`;
  const mirror = async (): Promise<string> => {
    const { stdout, stderr } = await promisify(execFile)("debmirror", args.split(/\s+/), { maxBuffer: 2 ** 26 });
    return stdout + stderr;
  };
  await mirror();
  await publish("mirrored");
  const output = await mirror();
  expect(output).toMatch(/binary-amd64\/Packages patched with .*\.gz/);
  expect(output).toMatch(/source\/Sources patched with .*\.gz/);
  expect(output).not.toMatch(/^Errors:/m);
});

test(
  "trixie's apt also updates by one patch",
  async () => {
    const sources = join(machine.changes, "etc/apt/sources.list.d/it.sources");
    mkdirSync(dirname(sources), { recursive: true });
    writeFileSync(sources, sourceText({ url: `${server.url}/debian`, suite: "sid", publicKey }));
    const aptConf = join(machine.changes, "etc/apt/apt.conf.d/99it");
    mkdirSync(dirname(aptConf), { recursive: true });
    const options = { ...debug, "Acquire::http::Proxy": "DIRECT", "Dir::Etc::sourcelist": "/dev/null" };
    writeFileSync(
      aptConf,
      Object.entries(options)
        .map(([key, value]) => `${key} "${value}";\n`)
        .join(""),
    );
    const run = async (script: string): Promise<string> => {
      const [command, args] = await machine.enter(script);
      const { stdout, stderr } = await promisify(execFile)(command, args, { maxBuffer: 2 ** 26 });
      return stdout + stderr;
    };
    expect(await run("apt-get --version")).toMatch(/^apt 3/);
    expect(requestsIn(await run("apt-get update")).filter((path) => wholeIndex.test(path))).toHaveLength(2);
    await publish("four");
    expectOnePatchEach(requestsIn(await run("apt-get update")));
    expect(await run("apt-cache policy four")).toContain("Candidate: 1.0-1");
  },
  setUpMs,
);
