// The packages that `npm run package` builds: an npm tarball that runs, and Debian packages that install and purge cleanly.

import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fetch from "node-fetch";
import { publint } from "publint";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { helloDeb, helloFile } from "../../src/local/hello-package.ts";
import { buildPackagesMs, builtPackages } from "../support/built-packages.ts";
import { CommandLine } from "../support/command-line.ts";
import { blockOf } from "../support/documents.ts";
import { projectRoot } from "../support/project-files.ts";
import { debianMachine, demandTool, rootfsOf } from "../support/rootfs.ts";
import { sectionsOf } from "../support/sections.ts";
import { freePort, ServerUnderTest } from "../support/server.ts";

const run = promisify(execFile);
const installMs = 10 * 60_000;

let work: string;
let output: string;
let files: readonly string[];
let version: string;
/** Serves the Debian packages as a repository. */
let server: ServerUnderTest;

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), "tahoe-apt-packages-"));
  ({ directory: output, files } = await builtPackages());
  ({ version } = JSON.parse(readFileSync(join(projectRoot, "package.json"), "utf8")) as { readonly version: string });
  const place = join(work, "tree/dists/stable/main/binary-amd64");
  mkdirSync(place, { recursive: true });
  for (const name of files.filter((each) => each.endsWith(".deb"))) cpSync(join(output, name), join(place, name));
  const flags = ["--folder", join(work, "tree"), "--name", "tools", "--state", join(work, "state")];
  server = await ServerUnderTest.start({ flags });
  await server.ready();
}, buildPackagesMs);

afterAll(async () => {
  await server?.end();
  rmSync(work, { recursive: true, force: true });
});

test("the npm tarball installs in an empty directory, and the program in it runs", { timeout: installMs }, async () => {
  const directory = join(work, "installed");
  mkdirSync(directory);
  const tarball = join(output, `tahoe-apt-${version}.tgz`);
  await run("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", tarball], { cwd: directory });
  const { stdout } = await run(join(directory, "node_modules/.bin/tahoe-apt"), ["--version"], { cwd: "/" });
  expect(stdout).toBe(`${version}\n`);
});

test("publint finds nothing in the npm tarball, and finds a program that is missing", async () => {
  const lint = async (tarball: Buffer): Promise<readonly string[]> => {
    const { messages } = await publint({ pack: { tarball: Uint8Array.from(tarball).buffer }, strict: true });
    return messages.map(({ code }) => code);
  };
  const tarball = join(output, `tahoe-apt-${version}.tgz`);
  expect(await lint(readFileSync(tarball))).toEqual([]);
  const unpacked = mkdtempSync(join(work, "tarball-"));
  await run("tar", ["-xzf", tarball, "-C", unpacked]);
  rmSync(join(unpacked, "package/dist/cli.js"));
  await run("tar", ["-czf", join(unpacked, "broken.tgz"), "-C", unpacked, "package"]);
  expect(await lint(readFileSync(join(unpacked, "broken.tgz")))).toContain("FILE_DOES_NOT_EXIST");
});

/** The machine of an ELF file. @see elf(5), e_machine */
const machineOf = (file: Buffer): number | undefined =>
  file.subarray(0, 4).equals(Buffer.from("\u007fELF", "latin1")) ? file.readUInt16LE(18) : undefined;

const architectures = [
  ["amd64", 0x3e],
  ["arm64", 0xb7],
] as const;

test.each(architectures)("the packages for %s contain programs for that architecture only", async (name, machine) => {
  const debs = files.filter((file) => file.endsWith(`_${name}.deb`));
  expect(debs.map((file) => file.split("_", 1).join("")).toSorted()).toEqual(["tahoe-apt", "tahoe-apt-nodejs"]);
  for (const deb of debs) {
    // Debian 12 has 2.36.
    const { stdout: depends } = await run("dpkg-deb", ["--field", join(output, deb), "Depends"]);
    expect(Number(/libc6 \(>= 2\.(\d+)\)/.exec(depends)?.[1]), depends).toBeLessThanOrEqual(36);
    const directory = mkdtempSync(join(work, "unpacked-"));
    await run("dpkg-deb", ["--extract", join(output, deb), directory]);
    const programs = readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => ({ path, machine: machineOf(readFileSync(path)) }))
      .filter((file) => file.machine !== undefined);
    expect(programs.length, deb).toBeGreaterThan(0);
    expect(programs.filter((file) => file.machine !== machine)).toEqual([]);
    // Without one of these the server cannot start, or writes no .xz.
    const modules = ["lmdb", "lzma-native"].filter(() => deb.startsWith("tahoe-apt_"));
    for (const module of modules) expect(programs.map(({ path }) => path).join("\n")).toContain(`/${module}`);
  }
});

test("the binary of lzma-native on npm is still a wrong one for arm64, which is why it is compiled", () => {
  const file = join(projectRoot, "node_modules/lzma-native/prebuilds/linux-arm64/node.napi.node");
  expect(machineOf(readFileSync(file))).toBe(0x3e);
});

test("a package for an architecture that is not known is an error", async () => {
  const args = ["packaging/build-packages.mjs", "--architecture", "mips", "--output", join(work, "none")];
  await expect(run(process.execPath, args, { cwd: projectRoot })).rejects.toThrow("there is no package for mips");
});

test("lintian finds no error and no warning in any of them", { timeout: installMs }, async () => {
  demandTool("lintian", "lintian");
  const debs = files.filter((name) => name.endsWith(".deb")).map((name) => join(output, name));
  expect(debs).toHaveLength(4);
  const { stdout } = await run("lintian", ["--allow-root", "--tag-display-limit", "0", "--fail-on", "none", ...debs]);
  expect(stdout).toBe("");
});

test("systemd rates the exposure of the service at 1.5 or less", async () => {
  demandTool("systemd-analyze", "systemd");
  const unit = join(projectRoot, "packaging/deb/tahoe-apt.service");
  const { stdout } = await run("systemd-analyze", ["security", "--offline=true", "--no-pager", unit]);
  const exposure = Number(/Overall exposure level for \S+: (\d+\.\d)/.exec(stdout)?.[1]);
  expect(exposure).toBeLessThanOrEqual(1.5);
});

/** Lists what an installed package leaves behind, ignoring the records that apt and dpkg keep of everything. */
const findOwn = "find / -xdev -path /proc -prune -o -path /sys -prune -o -iname '*tahoe-apt*' -print";

/** What a machine prints: each answer behind a line with its name. */
const script = (source: string, port: number): string => `
set -eu
export DEBIAN_FRONTEND=noninteractive
printf '%s' '${source.replaceAll("'", "'\\''")}' > /etc/apt/sources.list.d/tools.sources
apt-get update -q >&2
apt-get install -q -y --no-install-recommends tahoe-apt >&2
echo "== version"; tahoe-apt --version
echo "== node"; dpkg-query -W -f '\${db:Status-Status} \${Package}\\n' | sed -n 's/^installed \\(.*nodejs\\)$/\\1/p'
echo "== config"; stat -c '%U:%G %a' /etc/tahoe-apt /etc/tahoe-apt/tahoe-apt.toml /var/lib/tahoe-apt
echo "== conffiles"; dpkg-query -W -f '\${Conffiles}\\n' tahoe-apt
mkdir -p /srv/packages/dists/stable/main/binary-amd64
cat >> /etc/tahoe-apt/tahoe-apt.toml <<'END'
[[repository]]
name = "local"
folder = "/srv/packages"
END
echo "== serve"
setpriv --reuid=tahoe-apt --regid=tahoe-apt --clear-groups tahoe-apt serve --config /etc/tahoe-apt/tahoe-apt.toml \
  --listen 127.0.0.1:${port} > /tmp/log 2>&1 &
pid=$!
for i in $(seq 1 300); do grep -q '"serving local"' /tmp/log && break; sleep 0.1; done
grep -o '"serving local"' /tmp/log
kill -TERM "$pid"
wait "$pid" && echo "ended with 0"
echo "== reinstalled"
apt-get install -q -y --reinstall tahoe-apt >&2
grep -c '^\\[\\[repository' /etc/tahoe-apt/tahoe-apt.toml
apt-get purge -q -y tahoe-apt 'tahoe-apt-nodejs*' >&2
rm -f /etc/apt/sources.list.d/tools.sources
apt-get update -q >&2
apt-get clean
echo "== left"
${findOwn} | grep -v '^/var/l\\(og\\|ib/dpkg\\|ib/systemd\\)/' || true
getent passwd tahoe-apt || echo "no user"
`;

/**
 * Runs the commands of the guide for installation in their order. Nobody answers questions in this machine, and it has
 * no systemd: the command of the unit runs instead.
 */
const guideScript = (install: string, port: number, withNpm: boolean): string => `
set -eu
export DEBIAN_FRONTEND=noninteractive
echo 'APT::Get::Assume-Yes "true"; APT::Install-Recommends "false"; quiet "1";' > /etc/apt/apt.conf.d/90test
apt-get update >&2
cd /root/dist-packages
started=$(date +%s%3N)
{ ${install} } >&2
installed=$(date +%s%3N)
{ ${blockOf("sh install-tree")} ${blockOf("sh install-configure")} } >&2
setpriv --reuid=tahoe-apt --regid=tahoe-apt --clear-groups \
  $(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/tahoe-apt.service) --listen 127.0.0.1:${port} > /tmp/log 2>&1 &
for i in $(seq 1 600); do grep -q '"serving debian"' /tmp/log && break; sleep 0.1; done
echo "== put"; ${blockOf("sh install-put")}
{ ${blockOf("sh install-client")} } >&2
ended=$(date +%s%3N)
echo "== client"; tahoe-apt-hello
echo "== ms"; echo "$((installed - started)) $((ended - started))"
kill $! && wait $!
echo "== secrets"; find /etc/tahoe-apt -name '*.bundle'
{ ${blockOf("sh install-remove")} } >&2
echo "== kept"; ls /etc/tahoe-apt/tahoe-apt.toml /var/lib/tahoe-apt/repositories/debian/signing-key.asc
{ ${blockOf("sh install-purge")} } >&2
echo "== purged"; ls -d /etc/tahoe-apt /var/lib/tahoe-apt 2>/dev/null || true
# As on every Debian, and unlike in other machines of the tests.
export PATH=/usr/local/bin:$PATH
echo "== npm"
${withNpm ? `{ ${blockOf("sh install-npm")} } | tail -1` : ""}
`;

/** Shell lines with the addresses of this run. */
const here = (script: string, port: number): string =>
  script.replaceAll("http://127.0.0.1:3456", inject("webapiUrl")).replaceAll("127.0.0.1:8380", `127.0.0.1:${port}`);

test.each([
  ["trixie", "sh install-trixie", true],
  ["bookworm", "sh install-bookworm", false],
] as const)(
  "on a minimal %s, the commands of the guide lead from the installation to a client's first package and back",
  {
    timeout: installMs,
  },
  async (suite, install, hasNpm) => {
    expect(blockOf("sh install-start")).toBe("systemctl enable --now tahoe-apt\n");
    const machine = await debianMachine(suite);
    try {
      const place = join(machine.changes, "root/dist-packages");
      mkdirSync(place, { recursive: true });
      for (const name of files) cpSync(join(output, name), join(place, name));
      writeFileSync(join(place, helloFile("1.0")), helloDeb("1.0"));
      const port = await freePort();
      const [command, args] = await machine.enter(here(guideScript(blockOf(install), port, hasNpm), port));
      const { stdout } = await run(command, args, { maxBuffer: 1 << 26 });
      const sections = sectionsOf(stdout);
      expect(sections.get("put")).toBe("live: tahoe-apt-hello 1.0 all in sid main");
      expect(sections.get("client")).toBe("Hello from tahoe-apt-hello 1.0, installed by APT from Tahoe-LAFS.");
      expect(sections.get("secrets"), "the server gets no write cap").toBe("");
      expect(sections.get("kept")?.split("\n")).toHaveLength(2);
      expect(sections.get("purged")).toBe("");
      expect(sections.get("npm")).toBe(hasNpm ? version : "");
      const [installedMs = 0, endedMs = 0] = (sections.get("ms") ?? "").split(" ").map(Number);
      expect(endedMs).toBeGreaterThan(installedMs);
      process.stderr.write(`${suite}: installed after ${installedMs} ms, a client has a package after ${endedMs} ms\n`);
    } finally {
      await machine.remove();
    }
  },
);

test("the demo publishes them, installs them on trixie and bookworm, and leaves nothing behind", {
  timeout: installMs,
}, async () => {
  const temporary = join(work, "tmp");
  mkdirSync(temporary);
  // The demo would make such systems itself. It uses the Tahoe that the tests have installed.
  const systems = join(projectRoot, ".tahoe-apt/systems");
  mkdirSync(systems, { recursive: true });
  for (const release of ["trixie", "bookworm"] as const) {
    rmSync(join(systems, release), { recursive: true, force: true });
    symlinkSync(await rootfsOf(release), join(systems, release));
  }
  const demo = new CommandLine(["demo", "--packages", output], { env: { TMPDIR: temporary } });
  expect(await demo.ends(), demo.output).toBe(0);
  expect(demo.output).toContain("the candidate of tahoe-demo-hello is 1.1");
  expect(demo.output).toMatch(
    new RegExp(`trixie: apt-get install tahoe-apt; its version is ${version}, with nodejs 20\\.`),
  );
  expect(demo.output).toMatch(
    new RegExp(`bookworm: apt-get install tahoe-apt; its version is ${version}, with tahoe-apt-nodejs 24\\.`),
  );
  expect(readdirSync(temporary)).toEqual([]);
  const { stdout } = await run("ps", ["-ww", "-eo", "args="]);
  expect(stdout.split("\n").filter((commandLine) => commandLine.includes(temporary))).toEqual([]);
});

describe.each([
  ["trixie", "nodejs"],
  ["bookworm", "tahoe-apt-nodejs"],
] as const)("on a minimal %s", (suite, node) => {
  test(`apt installs it from a repository that it serves itself, with ${node}, and purges it without a trace`, {
    timeout: installMs,
  }, async () => {
    const machine = await debianMachine(suite);
    try {
      const source = await (await fetch(`${server.url}/tools/tools.sources`)).text();
      const [command, args] = await machine.enter(script(source, await freePort()));
      const { stdout } = await run(command, args, { maxBuffer: 1 << 26 });
      const sections = sectionsOf(stdout);
      expect(sections.get("version")).toBe(version);
      expect(sections.get("node")).toBe(node);
      expect(sections.get("config")).toBe("root:tahoe-apt 750\nroot:root 644\ntahoe-apt:tahoe-apt 700");
      expect(sections.get("conffiles")).toMatch(/^\/etc\/tahoe-apt\/tahoe-apt\.toml [0-9a-f]{32}$/);
      expect(sections.get("serve")).toBe('"serving local"\nended with 0');
      expect(sections.get("reinstalled"), "the edited configuration is kept").toBe("1");
      expect(sections.get("left")).toBe("no user");
    } finally {
      await machine.remove();
    }
  });
});
