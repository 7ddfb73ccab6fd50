// All kinds of clients, used as their users do, with a tree in the real grid.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import type { AptCommand, AptRoot, AptRootOptions } from "../support/apt.ts";
import { sourceText } from "../support/apt.ts";
import { aDeb, aDsc, runTool } from "../support/debs.ts";
import { demandTool, trixieMachine } from "../support/rootfs.ts";
import { ServedGrid } from "../support/served-grid.ts";

const machineTimeoutMs = 600_000;
const amd64 = "dists/sid/main/binary-amd64/builder";
const changelog =
  "hello (2:1.0~rc1+ds-1) sid; urgency=low\n\n  * It works.\n\n -- A <a@b.c>  Thu, 01 Jan 2026 00:00:00 +0000\n";
const names = ["hello", "hello+data", "libhello1"];

let grid: ServedGrid;
let keyring: string;
const debs = new Map<string, Buffer>();
const source = aDsc({ source: "hello", version: "2:1.0~rc1+ds-1" });

beforeAll(async () => {
  for (const [n, name] of names.entries()) {
    const architecture = n === 1 ? "all" : "amd64";
    const fields = {
      Source: n === 0 ? undefined : "hello",
      Section: "misc",
      Priority: "optional",
      Depends: n === 0 ? "libhello1, hello+data" : undefined,
    };
    const files = { [`./usr/share/doc/${name}/changelog.Debian.gz`]: gzipSync(changelog) };
    const version = "2:1.0~rc1+ds-1";
    debs.set(
      `${name}_1.0~rc1+ds-1_${architecture}.deb`,
      await aDeb({ package: name, version, architecture, fields, files }),
    );
  }
  grid = await ServedGrid.start(inject("webapiUrl"));
  await grid.put(amd64, debs);
  await grid.put("dists/sid/main/source/builder", source.files);
  expect(await grid.ping()).toMatchObject({ rejected: [], pending: [] });
  keyring = join(grid.work, "keyring.gpg");
  const gnupg = ["--batch", "--homedir", grid.work];
  writeFileSync(keyring, runTool("gpg", [...gnupg, "--dearmor"], grid.publicKey, "gnupg"));
});
afterAll(() => grid?.end());

function anApt(options: AptRootOptions["options"] = {}): AptRoot {
  const root = grid.apt("sid", { options });
  onTestFinished(() => root.close());
  return root;
}

/** @throws Error with the output, unless it succeeds */
async function succeed(root: AptRoot, command: AptCommand, ...args: readonly string[]): Promise<string> {
  const { exitCode, output } = await root.run(command, ...args);
  if (exitCode !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${exitCode}:\n${output}`);
  return output;
}

/** Runs another program in a directory of its own. @throws Error with the output, unless it succeeds */
function run(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { env: { PATH: process.env.PATH, HOME: grid.work, LC_ALL: "C.UTF-8", ...env }, maxBuffer: 2 ** 26 };
    execFile(command, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout + stderr);
      else reject(new Error(`${command} failed: ${error.message}\n${stdout}${stderr}`));
    });
  });
}

/** Every file below a directory, by file name. */
const filesBelow = (directory: string): ReadonlyMap<string, Buffer> =>
  new Map(
    readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => [entry.name, readFileSync(join(entry.parentPath, entry.name))]),
  );

test("apt-get and apt show a package's changelog, also if the source has another name", async () => {
  const root = anApt();
  await root.update();
  for (const name of names) {
    await succeed(root, "apt-get", "changelog", "--download-only", name);
    // The file is named after the source.
    const file = join(root.directory, "got/hello.changelog");
    expect(readFileSync(file, "utf8")).toBe(changelog);
    rmSync(file);
  }
  expect(await succeed(root, "apt", "changelog", "hello")).toContain(changelog);
  const { exitCode, output } = await root.run("apt-get", "changelog", "nothing");
  expect([exitCode, output]).toEqual([100, expect.stringContaining("Unable to locate package")]);
});

test("apt with forced by-hash requests indices only by hash", async () => {
  const root = anApt({ "Acquire::By-Hash": "force", "Debug::Acquire::http": "true" });
  const requests = [...(await root.update()).matchAll(/^GET \/debian\/dists\/sid\/(\S+)/gm)].map(
    ([, path = ""]) => path,
  );
  const indices = requests.filter((path) => path.includes("/"));
  expect(indices.length).toBeGreaterThanOrEqual(2);
  for (const path of indices) expect(path).toMatch(/\/by-hash\/SHA256\/[0-9a-f]{64}$/);
  expect(await root.packageNames()).toEqual(names);
});

test("aptitude updates, searches and downloads", async () => {
  demandTool("aptitude", "aptitude");
  const root = anApt();
  expect(await succeed(root, "aptitude", "update")).not.toMatch(/^[WE]:/m);
  expect(await succeed(root, "aptitude", "search", "--display-format", "%p %V", "~i|~n.")).toContain(
    "hello+data 2:1.0~rc1+ds-1",
  );
  await succeed(root, "aptitude", "download", "hello");
  expect(filesBelow(join(root.directory, "got")).get("hello_2%3a1.0~rc1+ds-1_amd64.deb")).toEqual(
    debs.get("hello_1.0~rc1+ds-1_amd64.deb"),
  );
});

const pythonScript = `
import apt, apt.progress.base, sys
cache = apt.Cache()
cache.update(raise_on_error=True)
cache.open()
for name in sorted(cache.keys()):
    print(name, cache[name].candidate.version, cache[name].candidate.source_name)
path = cache["hello"].candidate.fetch_binary(destdir=".", progress=apt.progress.base.AcquireProgress())
dsc = cache["hello"].candidate.fetch_source(destdir=".", unpack=False, progress=apt.progress.base.AcquireProgress())
print("fetched", path, dsc)
`;

test("python-apt updates, lists, and downloads a package and its source", async () => {
  const root = anApt();
  const output = await succeed(root, "/usr/bin/python3", "-c", pythonScript).catch((thrown: Error) => {
    const hint = thrown.message.includes("No module named 'apt'")
      ? "this test needs python3-apt: apt-get install python3-apt"
      : "";
    throw new Error(`${hint}\n${thrown.message}`);
  });
  for (const name of names) expect(output).toContain(`${name} 2:1.0~rc1+ds-1 hello\n`);
  const got = filesBelow(join(root.directory, "got"));
  for (const [name, bytes] of source.files) expect(got.get(name)).toEqual(bytes);
  expect([...got.values()]).toContainEqual(debs.get("hello_1.0~rc1+ds-1_amd64.deb"));
});

test("aptly mirrors binaries and sources", async () => {
  demandTool("aptly", "aptly");
  const home = mkdtempSync(join(grid.work, "aptly-"));
  const configuration = join(home, "aptly.conf");
  writeFileSync(configuration, JSON.stringify({ rootDir: home, gpgProvider: "gpg" }));
  const aptly = (...args: readonly string[]) => run("aptly", [`-config=${configuration}`, ...args]);
  const options = [`-keyring=${keyring}`, "-architectures=amd64", "-with-sources"];
  await aptly("mirror", "create", ...options, "it", grid.url, "sid", "main");
  expect(await aptly("mirror", "update", `-keyring=${keyring}`, "it")).toContain("has been successfully updated");
  const listed = await aptly("mirror", "show", "-with-packages", "it");
  for (const name of names) expect(listed).toContain(`${name}_2:1.0~rc1+ds-1_`);
  const mirrored = [...filesBelow(join(home, "pool")).values()];
  for (const bytes of [...debs.values(), ...source.files.values()]) expect(mirrored).toContainEqual(bytes);
});

test("reprepro imports binaries and sources by an update", async () => {
  demandTool("reprepro", "reprepro");
  const home = mkdtempSync(join(grid.work, "reprepro-"));
  mkdirSync(join(home, "conf"));
  const gnupg = join(home, "gnupg");
  mkdirSync(gnupg, { mode: 0o700 });
  runTool("gpg", ["--batch", "--quiet", "--homedir", gnupg, "--import"], grid.publicKey, "gnupg");
  const fingerprints = runTool("gpg", ["--batch", "--homedir", gnupg, "--with-colons", "--list-keys"]).toString();
  const key = /^fpr:+[0-9A-F]{24}([0-9A-F]{16}):/m.exec(fingerprints)?.[1];
  writeFileSync(
    join(home, "conf/distributions"),
    "Codename: sid\nArchitectures: amd64 source\nComponents: main\nUpdate: it\n",
  );
  writeFileSync(
    join(home, "conf/updates"),
    `Name: it\nMethod: ${grid.url}\nSuite: sid\nComponents: main\nArchitectures: amd64 source\nVerifyRelease: ${key}\n`,
  );
  await run("reprepro", ["--basedir", home, "update"], { GNUPGHOME: gnupg });
  const listed = await run("reprepro", ["--basedir", home, "list", "sid"]);
  for (const name of names) expect(listed).toContain(`sid|main|amd64: ${name} 2:1.0~rc1+ds-1\n`);
  expect(listed).toContain("sid|main|source: hello 2:1.0~rc1+ds-1\n");
  const taken = [...filesBelow(join(home, "pool")).values()];
  for (const bytes of [...debs.values(), ...source.files.values()]) expect(taken).toContainEqual(bytes);
});

test("apt 3 with sqv updates, installs, downloads a source and shows a changelog", {
  timeout: machineTimeoutMs,
}, async () => {
  const machine = await trixieMachine();
  onTestFinished(() => machine.remove());
  mkdirSync(join(machine.changes, "etc/apt/sources.list.d"), { recursive: true });
  const text = sourceText({ url: grid.url, suite: "sid", publicKey: grid.publicKey });
  writeFileSync(join(machine.changes, "etc/apt/sources.list.d/it.sources"), text);
  const [command, args] = await machine.enter(`exec 2>&1; set -eux
    export DEBIAN_FRONTEND=noninteractive
    rm -f /etc/apt/sources.list
    apt-get --version | head -1; ls /usr/bin/sqv
    apt-get update -o APT::Update::Error-Mode=any
    apt-get install -y hello
    apt-get source --download-only hello; ls *.dsc
    apt-get changelog hello | cat
    dpkg-query --show --showformat 'installed \${Package} \${Version}\\n' ${names.join(" ")}`);
  const output = await run(command, args);
  expect(output).toMatch(/^apt 3\./m);
  expect(output).toContain("/usr/bin/sqv\n");
  expect(output).toContain("hello_1.0~rc1+ds-1.dsc\n");
  expect(output).toContain(changelog);
  for (const name of names) expect(output).toContain(`installed ${name} 2:1.0~rc1+ds-1\n`);
});
