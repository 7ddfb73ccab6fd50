// The profiles for dput and dput-ng, with the real programs and a real sshd on minimal Debian systems.

import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { buildPackagesMs, builtPackages } from "../support/built-packages.ts";
import { blockOf } from "../support/documents.ts";
import { InitializedTree } from "../support/initialized-tree.ts";
import { projectRoot } from "../support/project-files.ts";
import { debianMachine } from "../support/rootfs.ts";
import { sectionsOf } from "../support/sections.ts";
import { freePort, ServerUnderTest } from "../support/server.ts";
import { buildSourceTree, writeSourceTree } from "../support/source-tree.ts";

const machineMs = 10 * 60_000;
const examples = join(projectRoot, "docs/examples/dput");

let tree: InitializedTree;
let packages: Awaited<ReturnType<typeof builtPackages>>;
beforeAll(async () => {
  packages = await builtPackages();
  tree = await InitializedTree.plant(inject("webapiUrl"));
}, buildPackagesMs);
afterAll(async () => {
  await tree?.close();
});

/** Builds a source package. @returns its .changes and the files that it lists */
function build(name: string, distribution: string): readonly string[] {
  const source = join(tree.work, `build-${name}`, name);
  mkdirSync(source, { recursive: true });
  writeSourceTree(source, { name, version: "1.0", distribution });
  buildSourceTree(source);
  const directory = join(source, "..");
  return readdirSync(directory)
    .filter((file) => file.startsWith(`${name}_`))
    .map((file) => join(directory, file));
}

/** What a machine does; each answer follows a line with its name. */
const script = (tools: string, profiles: string, sshPort: number): string => `
set -eu
export DEBIAN_FRONTEND=noninteractive PATH=/usr/local/bin:$PATH
apt-get update -q >&2
apt-get install -q -y --no-install-recommends /root/packages/*.deb ${tools} openssh-server openssh-client curl >&2
{ ${blockOf("sh dput-script")}${profiles} } >&2
# The machine of the builder and the one with the bundle are the same.
useradd --create-home builder
install -d -o builder /home/builder/incoming
install -o builder -m 600 /srv/alice.bundle /home/builder/alice.bundle
install -d -m 700 /root/.ssh
install -d -m 700 -o builder /home/builder/.ssh
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
install -o builder -m 600 /root/.ssh/id_ed25519.pub /home/builder/.ssh/authorized_keys
printf 'Host apt.example.org\\n  HostName 127.0.0.1\\n  Port ${sshPort}\\n  StrictHostKeyChecking accept-new\\n' >/root/.ssh/config
mkdir -p /run/sshd /srv/packages
/usr/sbin/sshd -E /root/sshd.log -p ${sshPort} -o ListenAddress=127.0.0.1
for i in $(seq 50); do ssh builder@apt.example.org true 2>/dev/null && break; sleep 0.2; done
cd /root/build
printf '\\n== local\\n'; { ${blockOf("sh dput")} } 2>&1
printf '\\n== left\\n'; ls /srv/incoming
printf '\\n== scp\\n'; dput tahoe-apt-ssh over-ssh-*_1.0_amd64.changes 2>&1 || { cat /root/sshd.log; exit 1; }
printf '\\n== left over ssh\\n'; ls /home/builder/incoming
printf '\\n== folder\\n'; dput tahoe-apt-folder in-folder-*_1.0_amd64.changes 2>&1
printf '\\n== in the folder\\n'; ls /srv/packages
printf '\\n== refused\\n'; dput tahoe-apt refused-*_1.0_amd64.changes 2>&1 || echo "failed"
printf '\\n== kept\\n'; ls /srv/incoming
`;

test.concurrent.each([
  ["dput", "trixie", "sh dput-profiles"],
  // It recommends paramiko, without which it has no scp.
  ["dput-ng python3-paramiko", "bookworm", "sh dput-ng-profiles"],
] as const)(
  "%s of %s uploads into a grid by a directory and by scp, and into a folder with a ping",
  { timeout: machineMs },
  async (tools, release, profiles) => {
    const suffix = release;
    const machine = await debianMachine(release);
    const within = (path: string): string => join(machine.changes, path);
    const state = join(tree.work, `folder-${suffix}`);
    let server: ServerUnderTest | undefined;
    try {
      for (const path of ["root/packages", "root/build", "srv/packages", "usr/sbin", "usr/local/bin"])
        mkdirSync(within(path), { recursive: true });
      // No service is started by its installation.
      writeFileSync(within("usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n", { mode: 0o755 });
      for (const name of packages.files.filter((each) => each.endsWith("_amd64.deb")))
        if (release === "bookworm" || !name.includes("nodejs"))
          cpSync(join(packages.directory, name), within(`root/packages/${name}`));
      // The package installs them there, but minimal systems leave out documents.
      const installed = "usr/share/doc/tahoe-apt/examples/dput";
      cpSync(examples, within(installed), { recursive: true });
      cpSync(tree.file, within("srv/alice.bundle"));
      const names = { local: `hello-${suffix}`, ssh: `over-ssh-${suffix}`, folder: `in-folder-${suffix}` };
      for (const [name, distribution] of [
        [names.local, "sid"],
        [names.ssh, "sid"],
        [names.folder, "sid"],
        [`refused-${suffix}`, "nowhere"],
      ] as const)
        for (const file of build(name, distribution)) cpSync(file, within(`root/build/${file.split("/").at(-1)}`));

      const port = await freePort();
      server = await ServerUnderTest.start({
        flags: ["--folder", within("srv/packages"), "--state", state],
        env: { TAHOE_APT_PING_TOKEN: "a-token-of-a-folder" },
        port,
      });
      writeFileSync(within("srv/ping-header"), "Authorization: Bearer a-token-of-a-folder\n", { mode: 0o600 });
      const lines = script(tools, blockOf(profiles), await freePort()).replaceAll("hello_1.0", `${names.local}_1.0`);
      for (const name of ["dput.cf", "dput-ng/tahoe-apt-folder.json"]) {
        const file = within(join(installed, name));
        writeFileSync(file, readFileSync(file, "utf8").replace("127.0.0.1:8380", `127.0.0.1:${port}`));
      }
      const [command, args] = await machine.enter(lines);
      const running = promisify(execFile)(command, args, { maxBuffer: 1 << 26 });
      const { stdout } = await running.catch((thrown: { readonly stdout: string; readonly stderr: string }) => {
        throw new Error(`${thrown.stderr.slice(-2_000)}\n${thrown.stdout}`);
      });
      const said = sectionsOf(stdout);
      for (const [section, name] of [
        ["local", names.local],
        ["scp", names.ssh],
      ] as const) {
        expect(said.get(section)).toContain(`live: ${name} 1.0 source in sid main`);
        expect(said.get(section)).toContain(`live: ${name} 1.0 amd64 in sid main`);
      }
      expect([said.get("left"), said.get("left over ssh")]).toEqual(["", ""]);
      expect(said.get("folder")).toMatch(/"status":"servable".*in-folder/);
      expect(said.get("in the folder")).toContain(`${names.folder}_1.0_amd64.deb`);
      // A suite that the bundle does not have: nothing is changed, the exit code says so, and the files stay.
      expect(said.get("refused")).toMatch(/nowhere[\s\S]*failed$/);
      expect(said.get("kept")).toContain(`refused-${suffix}_1.0_amd64.changes`);

      const apt = await tree.apt();
      await apt.update();
      for (const name of [names.local, names.ssh]) expect(await apt.candidate(name)).toBe("1.0");
      apt.close();
      const publicKey = await (await fetch(`${server.url}/debian/key.asc`)).text();
      const flat = new AptRoot({ source: { url: `${server.url}/debian`, suite: "./", components: [], publicKey } });
      await flat.update();
      expect(await flat.candidate(names.folder)).toBe("1.0");
      flat.close();
    } finally {
      await server?.end();
      await machine.remove();
    }
  },
);
