// A repository as a site of plain files, served by an ordinary web server, and read by real clients.
import { execFile } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import fetch from "node-fetch";
import { expect, onTestFinished, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { CommandLine, outputOf, runCommand } from "../support/command-line.ts";
import { aDeb, aDsc } from "../support/debs.ts";
import { plainWebServer } from "../support/plain-web-server.ts";
import { ServerUnderTest } from "../support/server.ts";

const run = promisify(execFile);
const place = "dists/sid/main/binary-amd64";
const long = 180_000;

class Site {
  readonly work = mkdtempSync(join(tmpdir(), "tahoe-apt-export-"));
  readonly directory = join(this.work, "www/debian");
  readonly flags = ["--folder", join(this.work, "tree"), "--state", join(this.work, "state")];

  constructor() {
    onTestFinished(() => rmSync(this.work, { recursive: true }));
  }

  put(path: string, bytes: Uint8Array): void {
    const target = join(this.work, "tree", path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(`${target}.new`, bytes);
    renameSync(`${target}.new`, target);
  }

  remove(path: string): void {
    rmSync(join(this.work, "tree", path));
  }

  async export(): Promise<string> {
    return await outputOf(["export", ...this.flags, this.directory]);
  }

  /** Python's web server for a directory beside the site, or for the site itself. @returns its URL */
  async serve(directory = this.directory): Promise<string> {
    return await plainWebServer(directory);
  }

  async apt(url: string, options: Readonly<Record<string, string>> = {}): Promise<AptRoot> {
    const publicKey = readFileSync(join(this.directory, "key.asc"), "utf8");
    const apt = new AptRoot({ source: { url, suite: "sid", publicKey }, options });
    onTestFinished(() => apt.close());
    const { exitCode, output } = await apt.run("apt-get", "update");
    expect(output).not.toMatch(/^[WE]:/m);
    expect(exitCode).toBe(0);
    return apt;
  }

  /** The directory of the suite. */
  get generation(): string {
    return readlinkSync(join(this.directory, "dists/sid"));
  }
}

async function siteWithPackages(): Promise<Site> {
  const site = new Site();
  site.put(`${place}/hello.deb`, await aDeb({ package: "hello", version: "1:2.0+b~1", architecture: "amd64" }));
  site.put(`${place}/other.deb`, await aDeb({ package: "other", architecture: "all" }));
  // The packages that debootstrap installs into a minimal system: apt, and all required ones.
  site.put(`${place}/apt.deb`, await aDeb({ package: "apt", architecture: "amd64" }));
  const fields = { Priority: "required" };
  site.put(`${place}/base.deb`, await aDeb({ package: "base", architecture: "amd64", fields }));
  for (const [name, bytes] of aDsc({ source: "greet" }).files) site.put(`dists/sid/main/source/${name}`, bytes);
  return site;
}

test("apt, debmirror, debootstrap and a copy find a complete repository in the files", { timeout: long }, async () => {
  const site = await siteWithPackages();
  expect(await site.export()).toContain("packagesWritten 7");
  const url = await site.serve();
  const apt = await site.apt(url, { "Acquire::By-Hash": "force" });
  expect(await apt.download("hello")).toEqual(readFileSync(join(site.work, "tree", place, "hello.deb")));
  expect((await apt.source("greet")).size).toBe(3);

  const keyring = join(site.work, "keyring.gpg");
  const home = mkdtempSync(join(site.work, "gpg-"));
  await run("gpg", ["--homedir", home, "--batch", "--output", keyring, "--dearmor", join(site.directory, "key.asc")]);
  const mirror = join(site.work, "mirror");
  const host = new URL(url).host;
  const ofMirror = `--method=http --host=${host} --root=/ --dist=sid --section=main --arch=amd64 --source --checksums`;
  await run("debmirror", [...ofMirror.split(" "), "--rsync-extra=none", "--diff=none", `--keyring=${keyring}`, mirror]);
  expect(readdirSync(join(mirror, "pool/SHA256"))).toHaveLength(5);

  const system = join(site.work, "system");
  const minimal = "--download-only --variant=minbase --arch=amd64 --force-check-gpg".split(" ");
  await run("debootstrap", [...minimal, `--keyring=${keyring}`, "sid", system, url]);
  expect(readdirSync(join(system, "var/cache/apt/archives")).filter((name) => name.endsWith(".deb"))).toHaveLength(2);

  const copy = join(site.work, "copy");
  cpSync(site.directory, copy, { recursive: true, verbatimSymlinks: true });
  await site.apt(await site.serve(copy));
});

test("a package with the longest possible name does not fail the export", async () => {
  const site = new Site();
  const name = `${"x".repeat(251)}.deb`;
  site.put(`${place}/hello.deb`, await aDeb({ package: "hello", architecture: "amd64" }));
  const bytes = await aDeb({ package: "other", architecture: "amd64" });
  site.put(`${place}/short.deb`, bytes);
  renameSync(join(site.work, "tree", place, "short.deb"), join(site.work, "tree", place, name));
  expect(await site.export()).toContain("packagesWritten 2");
  const files = readdirSync(join(site.directory, "pool"), { recursive: true, withFileTypes: true });
  expect(files.filter((file) => file.isFile()).map((file) => file.name)).toEqual(
    expect.arrayContaining(["hello.deb", name]),
  );
  expect(readdirSync(join(site.directory, "pool"), { recursive: true }).join()).not.toContain(".new");
});

test("a package in several indices is written once", async () => {
  const site = new Site();
  for (const architecture of ["amd64", "arm64", "armhf"]) {
    site.put(`dists/sid/main/binary-${architecture}/own.deb`, await aDeb({ package: "own", architecture }));
  }
  for (let count = 0; count < 8; count += 1) {
    const bytes = await aDeb({ package: `shared-${count}`, architecture: "all" });
    site.put(`dists/sid/main/binary-all/${count}.deb`, bytes);
    site.put(`dists/trixie/main/binary-all/${count}.deb`, bytes);
  }
  expect(await site.export()).toContain("packagesWritten 11");
});

test("only changes are written, an old index still finds its packages, and removed files are deleted after a while", {
  timeout: long,
}, async () => {
  const site = await siteWithPackages();
  await site.export();
  const before = site.generation;
  expect(await site.export()).toContain("up to date");
  expect(site.generation).toBe(before);

  const url = await site.serve();
  const outdated = await site.apt(url);
  const sources = join(site.directory, "dists/sid/main/source/Sources.xz");
  const inode = statSync(sources).ino;
  const old = readFileSync(join(site.work, "tree", place, "hello.deb"));
  site.put(`${place}/hello.deb`, await aDeb({ package: "hello", version: "3", architecture: "amd64" }));
  await sleep(1100);
  expect(await site.export()).toContain("packagesWritten 1");
  expect(site.generation).not.toBe(before);
  expect(statSync(sources).ino).toBe(inode);
  expect(existsSync(join(site.directory, "dists", before))).toBe(false);
  expect(await outdated.download("hello")).toEqual(old);
  expect((await (await site.apt(url)).run("apt-cache", "policy", "hello")).output).toContain("Candidate: 3");

  const held = () =>
    readdirSync(join(site.directory, "pool/SHA256"), { recursive: true }).filter((path) =>
      String(path).endsWith(".deb"),
    );
  expect(held()).toHaveLength(5);
  const config = join(site.work, "conf");
  writeFileSync(config, 'state = "state"\nkeep_seconds = 1\n[[repository]]\nname = "debian"\nfolder = "tree"\n');
  site.remove(`${place}/other.deb`);
  await sleep(1100);
  for (const expected of [5, 3]) {
    const command = new CommandLine(["export", "--config", config, site.directory]);
    expect(await command.ends(), command.output).toBe(0);
    if (expected === 3) expect(held()).toHaveLength(3);
    await sleep(1100);
  }
});

test("after a kill at any moment, the site is complete, and the next export finishes it", {
  timeout: long,
}, async () => {
  const site = await siteWithPackages();
  await site.export();
  const url = await site.serve();
  for (const afterMs of [300, 600, 900, 1200, 1500]) {
    site.put(`${place}/more-${afterMs}.deb`, await aDeb({ package: `more-${afterMs}`, architecture: "amd64" }));
    const command = new CommandLine(["export", ...site.flags, site.directory]);
    await sleep(afterMs);
    await command.stop("SIGKILL");
    const apt = await site.apt(url);
    await apt.download("hello");
  }
  await site.export();
  const apt = await site.apt(url);
  await apt.download("more-1500");
  expect(readdirSync(join(site.directory, ".generations/sid"))).toHaveLength(1);
});

test("a server keeps the site up to date by itself, and a command may export at the same time", {
  timeout: long,
}, async () => {
  const site = await siteWithPackages();
  const config = join(site.work, "conf");
  writeFileSync(
    config,
    `state = "state"\npoll_seconds = 1\n[[repository]]\nname = "debian"\nfolder = "tree"\nexport_directory = "www/debian"\n`,
  );
  const server = await ServerUnderTest.start({ flags: ["--config", config] });
  onTestFinished(async () => void (await server.end()));
  await server.ready();
  const inRelease = () => readFileSync(join(site.directory, "dists/sid/InRelease"), "utf8");
  const served = async () => await (await fetch(`${server.url}/debian/dists/sid/InRelease`)).text();
  await expect
    .poll(async () => existsSync(join(site.directory, "dists/sid")) && inRelease() === (await served()), {
      timeout: 30_000,
    })
    .toBe(true);
  site.put(`${place}/later.deb`, await aDeb({ package: "later", architecture: "amd64" }));
  const packages = () => readFileSync(join(site.directory, place, "Packages"), "utf8");
  await expect.poll(packages, { timeout: 30_000 }).toContain("Package: later\n");
  const elsewhere = join(site.work, "elsewhere");
  const command = new CommandLine(["export", "--config", config, elsewhere]);
  expect(await command.ends(), command.output).toBe(0);
  expect(readFileSync(join(elsewhere, "key.asc"), "utf8")).toBe(readFileSync(join(site.directory, "key.asc"), "utf8"));
  expect(readFileSync(join(elsewhere, place, "Packages"), "utf8")).toBe(packages());
  expect(await (await fetch(`${server.url}/metrics`)).text()).toMatch(
    /output_duration_seconds_count\{repository="debian",output="exported"\} [1-9]/,
  );
});

test("a directory with somebody else's dists is not touched, and the command reports it", async () => {
  const site = await siteWithPackages();
  mkdirSync(join(site.directory, "dists/precious"), { recursive: true });
  const command = new CommandLine(["export", ...site.flags, site.directory]);
  expect(await command.ends()).toBe(1);
  expect(command.output).toContain("dists/precious was not made by an export");
});

test("an export directory belongs to one repository: another one's export is rejected and deletes nothing", async () => {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-site-"));
  onTestFinished(() => rmSync(work, { recursive: true }));
  const site = join(work, "site");
  for (const [tree, suite] of [
    ["a", "sid"],
    ["b", "trixie"],
  ] as const) {
    const place = join(work, tree, "dists", suite, "main/binary-amd64");
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, `${tree}.deb`), await aDeb({ package: `only-${tree}`, architecture: "amd64" }));
  }
  const run = async (tree: string) => {
    const flags = ["--folder", join(work, tree), "--state", join(work, `state-${tree}`)];
    return await runCommand(["export", ...flags, site]);
  };
  expect(await run("a")).toMatchObject({ exitCode: 0 });
  const refused = await run("b");
  expect(refused.exitCode).toBe(1);
  expect(refused.output).toContain(join(work, "a"));
  expect(readdirSync(join(site, "dists"))).toEqual(["sid"]);
  expect(await run("a"), "its own repository goes on").toMatchObject({ exitCode: 0 });
  rmSync(join(site, ".generations/repository.json"));
  expect(await run("b"), "once it is given away").toMatchObject({ exitCode: 0 });
});
