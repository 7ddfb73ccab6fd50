// Served indices of many segments, read by real clients and tools; and the same with one changed bit.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { CorruptingProxy, withOneBitChanged } from "../support/corrupting-proxy.ts";
import { aDeb, aDsc, runTool } from "../support/debs.ts";
import { ServerUnderTest } from "../support/server.ts";

const packages = 420;
/** The packages that debootstrap installs into a minimal system, beside apt. */
const requiredPackages = 12;
const sources = 30;
const clientTimeoutMs = 120_000;

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-read-back-"));
const keyring = join(work, "keyring.gpg");
const binaries = new Map<string, Buffer>();
const binaryNames: string[] = [];
const sourceFiles = new Map<string, Buffer>();
const indexPattern = /binary-amd64\/(by-hash|Packages)/;
let server: ServerUnderTest;
let proxy: CorruptingProxy;
let publicKey: string;

beforeAll(async () => {
  const tree = join(work, "tree/dists/sid/main");
  const put = (path: string, bytes: Uint8Array): void => {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    writeFileSync(join(tree, path), bytes);
  };
  for (let n = 0; n < packages; n++) {
    const name = n === 0 ? "apt" : `pack-${String(n).padStart(3, "0")}`;
    const priority = n <= requiredPackages ? "required" : "optional";
    const fields = { Priority: priority, Section: "misc", ...(n > 1 ? { Depends: "pack-001" } : {}) };
    const deb = await aDeb({ package: name, architecture: n % 3 === 0 ? "all" : "amd64", fields });
    binaryNames.push(name);
    binaries.set(`${name}.deb`, deb);
    put(`binary-amd64/${name}.deb`, deb);
  }
  for (let n = 0; n < sources; n++) {
    for (const [name, bytes] of aDsc({ source: `source-${n}` }).files) {
      sourceFiles.set(name, bytes);
      put(`source/${name}`, bytes);
    }
  }
  server = await ServerUnderTest.start({ flags: ["--folder", join(work, "tree"), "--state", join(work, "state")] });
  await server.ready();
  proxy = await CorruptingProxy.start(server.url);
  publicKey = await (await fetch(`${server.url}/debian/key.asc`)).text();
  writeFileSync(keyring, runTool("gpg", ["--batch", "--homedir", work, "--dearmor"], publicKey, "gnupg"));
});

afterAll(async () => {
  await proxy?.close();
  await server?.end();
  rmSync(work, { recursive: true, force: true });
});

async function fetched(path: string): Promise<Buffer> {
  const reply = await fetch(`${server.url}/debian/dists/sid/main/${path}`);
  expect(reply.status).toBe(200);
  return Buffer.from(await reply.arrayBuffer());
}

/** Runs a client, whatever its exit code. */
function run(
  command: string,
  args: readonly string[],
): Promise<{ readonly exitCode: number; readonly output: string }> {
  return new Promise((resolve, reject) => {
    const env = { PATH: `${process.env.PATH}:/usr/sbin:/sbin`, HOME: work, LC_ALL: "C.UTF-8", GNUPGHOME: work };
    execFile(command, args, { env, timeout: clientTimeoutMs, maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      if (error?.code === "ENOENT") reject(new Error(`this test needs ${command}: apt-get install ${command}`));
      else resolve({ exitCode: error === null ? 0 : Number(error.code ?? 1), output: stdout + stderr });
    });
  });
}

function aDirectory(): string {
  const directory = mkdtempSync(join(work, "target-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const filesBelow = (directory: string): Map<string, Buffer> =>
  new Map(
    readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => [entry.name, readFileSync(join(entry.parentPath, entry.name))]),
  );

test("these indices consist of several gzip members and several xz blocks", async () => {
  const members = (bytes: Buffer) => bytes.toString("latin1").split("\x1f\x8b\x08\0\0\0\0\0").length - 1;
  expect(members(await fetched("binary-amd64/Packages.gz"))).toBeGreaterThan(5);
  const listing = runTool(
    "xz",
    ["--robot", "--list", saved(await fetched("binary-amd64/Packages.xz"))],
    "",
    "xz-utils",
  );
  const [, streams, blocks] = /^totals\t(\d+)\t(\d+)/m.exec(listing.toString()) ?? [];
  expect(Number(streams)).toBe(1);
  expect(Number(blocks)).toBeGreaterThan(5);
});

const saved = (bytes: Uint8Array): string => {
  const file = join(aDirectory(), "index.xz");
  writeFileSync(file, bytes);
  return file;
};

const pythonReader = "import lzma,sys; sys.stdout.buffer.write(lzma.decompress(sys.stdin.buffer.read()))";
test.each([
  ["xz -dc", "xz", "xz", ["-dc"], "xz-utils"],
  ["xz -t", "xz", "xz", ["-t"], "xz-utils"],
  ["python's lzma", "xz", "python3", ["-c", pythonReader], "python3"],
  ["gzip -dc", "gz", "gzip", ["-dc"], "gzip"],
  ["gzip -t", "gz", "gzip", ["-t"], "gzip"],
] as const)("%s accepts the indices, and rejects them if one bit differs", async (what, form, command, args, from) => {
  for (const index of ["binary-amd64/Packages", "source/Sources"]) {
    const bytes = await fetched(`${index}.${form}`);
    const output = runTool(command, args, bytes, from);
    if (!what.endsWith("-t")) expect(output.equals(await fetched(index))).toBe(true);
    expect(() => runTool(command, args, withOneBitChanged(bytes), from)).toThrow();
  }
});

for (const form of ["xz", "gz"] as const) {
  test(`apt takes every package from .${form} and installs one, and refuses the index when one bit differs`, async () => {
    const anApt = (): AptRoot => {
      const source = { url: `http://${proxy.host}/debian`, suite: "sid", publicKey };
      const root = new AptRoot({ source, options: { "Acquire::CompressionTypes::Order": form } });
      onTestFinished(() => root.close());
      return root;
    };
    const good = anApt();
    await good.update();
    expect(await good.packageNames()).toEqual(binaryNames.toSorted());
    expect(await good.download("pack-399")).toEqual(binaries.get("pack-399.deb"));
    expect([...(await good.source("source-17")).values()]).toHaveLength(3);
    const bad = anApt();
    expect(await proxy.whileCorrupting(indexPattern, () => bad.failToUpdate())).toMatch(/Hash Sum mismatch/i);
    expect(await bad.packageNames()).toEqual([]);
  });
}

test("debootstrap finds and downloads a minimal system, and rejects an index with one changed bit", async () => {
  const debootstrap = (target: string) =>
    run("debootstrap", [
      ...`--download-only --variant=minbase --arch=amd64 --keyring=${keyring} --force-check-gpg sid`.split(" "),
      target,
      `http://${proxy.host}/debian`,
    ]);
  const target = aDirectory();
  const { exitCode, output } = await debootstrap(target);
  expect(output).toContain("Valid Release signature");
  expect(output).not.toMatch(/^[WE]:/m);
  expect(exitCode).toBe(0);
  const got = [...filesBelow(join(target, "var/cache/apt/archives")).values()];
  expect(got).toHaveLength(requiredPackages + 1);
  for (const bytes of got) expect([...binaries.values()].some((deb) => deb.equals(bytes))).toBe(true);

  const refused = await proxy.whileCorrupting(indexPattern, () => debootstrap(aDirectory()));
  expect(refused.exitCode).not.toBe(0);
});

test("debmirror mirrors binaries and sources without a complaint, and rejects an index with one changed bit", async () => {
  const debmirror = (target: string) =>
    run("debmirror", [
      ...`--method=http --host=${proxy.host} --root=debian --dist=sid --section=main --arch=amd64 --source`.split(" "),
      ...`--rsync-extra=none --diff=none --checksums --verbose --keyring=${keyring}`.split(" "),
      target,
    ]);
  const target = aDirectory();
  const { exitCode, output } = await debmirror(target);
  // A complaint about its own option, whatever the server: there is no rsync beside HTTP here.
  const complaints = output.replace(/^Warning: --rsync-extra is not configured .*$/m, "");
  expect(complaints).not.toMatch(/error|warning|fail|mismatch|missing/i);
  expect(exitCode, output).toBe(0);
  const mirrored = filesBelow(join(target, "pool"));
  for (const [name, bytes] of [...binaries, ...sourceFiles]) expect(mirrored.get(name)?.equals(bytes), name).toBe(true);

  const refused = await proxy.whileCorrupting(indexPattern, () => debmirror(aDirectory()));
  expect(refused.exitCode).not.toBe(0);
});
