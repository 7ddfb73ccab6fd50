// A whole minimal Debian of Debian's own packages in a Tahoe tree, by debootstrap and by mmdebstrap.
import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { archiveApt, archiveIndex, archiveMissing } from "../support/debian-archive.ts";
import { runTool } from "../support/debs.ts";
import { debianMirror, demandRoot, demandTool } from "../support/rootfs.ts";
import { ServedGrid } from "../support/served-grid.ts";

const setUpTimeoutMs = 900_000;
const installTimeoutMs = 900_000;
/** With fewer packages it is not a system. */
const fewestPackages = 80;

const missing = await archiveMissing();
if (missing !== undefined) process.stderr.write(`no whole Debian is installed: ${missing}\n`);

let grid: ServedGrid;
let suite: string;
let keyring: string;

/** The packages of a minimal system: all that Debian requires, those that debootstrap adds, and their dependencies. */
async function minimalPackages(): Promise<ReadonlyMap<string, Buffer>> {
  const root = await archiveApt(["main"], ["amd64"], "deb");
  try {
    const required = archiveIndex(root, "main_binary-amd64_Packages")
      .filter((stanza) => /^Priority: required$/m.test(stanza))
      .map((stanza) => /^Package: (.+)$/m.exec(stanza)?.[1] ?? "");
    const files = await root.installDownloadOnly("apt", "usr-is-merged", ...required);
    return new Map(files.map((name) => [name, readFileSync(join(root.directory, "cache/archives", name))]));
  } finally {
    root.close();
  }
}

/** Runs a command to its end. @throws Error with its output */
function run(command: string, args: readonly string[]): Promise<string> {
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C.UTF-8" };
  return new Promise((resolve, reject) => {
    execFile(command, args, { env, timeout: installTimeoutMs, maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout + stderr);
      else reject(new Error(`${command} failed: ${error.message}\n${stdout}${stderr}`));
    });
  });
}

/** @returns how many packages are installed, all of them completely */
async function expectWholeSystem(target: string): Promise<number> {
  const inside = (...args: readonly string[]) => run("chroot", [target, ...args]);
  expect(await inside("dpkg", "--audit")).toBe("");
  const states = (await inside("dpkg-query", "--show", "--showformat", `\${db:Status-Abbrev}\\n`))
    .trimEnd()
    .split("\n");
  expect(new Set(states.map((state) => state.trim()))).toEqual(new Set(["ii"]));
  expect(await inside("apt-get", "check")).not.toMatch(/^E:/m);
  expect(await inside("sh", "-c", "echo it lives; ls /usr/bin/apt")).toContain("it lives\n/usr/bin/apt");
  return states.length;
}

describe.skipIf(missing !== undefined)("a minimal Debian in a Tahoe tree", () => {
  beforeAll(async () => {
    demandRoot();
    demandTool("mmdebstrap", "mmdebstrap");
    suite = (await debianMirror()).suite;
    grid = await ServedGrid.start(inject("webapiUrl"));
    await grid.put(`dists/${suite}/main/binary-amd64/builder`, await minimalPackages());
    const { rejected } = await grid.ping();
    expect(rejected).toEqual([]);
    keyring = join(grid.work, "keyring.gpg");
    writeFileSync(keyring, runTool("gpg", ["--batch", "--homedir", grid.work, "--dearmor"], grid.publicKey, "gnupg"));
  }, setUpTimeoutMs);
  afterAll(() => grid?.end());

  test("debootstrap installs it, and it works", { timeout: installTimeoutMs }, async () => {
    demandTool("debootstrap", "debootstrap");
    const target = join(grid.work, "debootstrap");
    const options = ["--variant=minbase", "--arch=amd64", `--keyring=${keyring}`, "--force-check-gpg"];
    const output = await run("debootstrap", [...options, suite, target, grid.url]);
    expect(output).toContain("Valid Release signature");
    expect(output).toContain("Base system installed successfully");
    expect(await expectWholeSystem(target)).toBeGreaterThan(fewestPackages);
    // The installed system updates from the same repository.
    mkdirSync(join(target, "etc/apt/keyrings"), { recursive: true });
    writeFileSync(join(target, "etc/apt/keyrings/it.asc"), grid.publicKey);
    writeFileSync(
      join(target, "etc/apt/sources.list"),
      `deb [signed-by=/etc/apt/keyrings/it.asc] ${grid.url} ${suite} main\n`,
    );
    const updated = await run("chroot", [target, "apt-get", "update", "--error-on=any"]);
    expect(updated).toContain("Reading package lists...");
    expect(await run("chroot", [target, "apt-get", "--simulate", "dist-upgrade"])).toContain(
      "0 upgraded, 0 newly installed",
    );
  });

  test("mmdebstrap installs it, and it works", { timeout: installTimeoutMs }, async () => {
    const target = join(grid.work, "mmdebstrap");
    // In Debian's archive, apt has a priority that installs it, which is not in the package itself.
    const options = [
      "--mode=root",
      "--variant=minbase",
      "--include=apt",
      "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
      "--architectures=amd64",
      `--keyring=${keyring}`,
    ];
    await run("mmdebstrap", [...options, suite, target, `deb ${grid.url} ${suite} main`]);
    expect(await expectWholeSystem(target)).toBeGreaterThan(fewestPackages);
    expect(readdirSync(join(target, "var/lib/apt/lists")).length).toBeGreaterThan(0);
  });
});
