// Minimal Debian systems: each is made once, kept under `.tahoe-apt/`, and never changed by the programs in it.
import { execFile } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { projectFiles, projectRoot } from "./project-files.ts";

const run = promisify(execFile);

/** The packages of each machine, in addition to Debian's essential ones. */
const machines = {
  bookworm: { suite: "bookworm", packages: ["curl"] },
  /** A machine that this project is installed on. */
  trixie: {
    suite: "trixie",
    packages: ["ca-certificates", "curl", "nodejs", "npm", "python3-netifaces", "python3-venv"],
  },
  /** apt 3, its Python library, and faketime to set its clock back. */
  "trixie-apt": { suite: "trixie", packages: ["faketime", "python3-apt"] },
  /** Boots, see systemd.ts. */
  "trixie-systemd": { suite: "trixie", packages: ["curl", "nodejs", "systemd"] },
  /** An apt that supports architecture variants. */
  sid: { suite: "sid", packages: [] },
} as const satisfies { readonly [name: string]: { readonly suite: string; readonly packages: readonly string[] } };

type MachineName = keyof typeof machines;
/** Files that no test needs; they would be a seventh of the size. */
const leftOut = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"];

/** The directory for things that are expensive to make. Not in git. */
export const testCache = join(projectRoot, ".tahoe-apt/test-cache");

/** @throws an error that names the Debian package to install */
export function demandTool(command: string, debianPackage: string): void {
  const found = (process.env.PATH ?? "").split(delimiter).some((directory) => existsSync(join(directory, command)));
  if (!found) throw new Error(`this test needs ${command}: apt-get install ${debianPackage}`);
}

/** @throws an error unless the tests run as root, because only root may mount and chroot */
export function demandRoot(): void {
  if (process.getuid?.() !== 0) throw new Error("this test enters another root directory and so must run as root");
}

/** Copies the files of a clean clone, including uncommitted changes, into a new directory. */
export async function cleanCheckout(target: string): Promise<void> {
  for (const path of projectFiles()) await cp(join(projectRoot, path), join(target, path), { recursive: true });
}

/** The Debian mirror of this machine's own apt, and the suite of the machine. */
export async function debianMirror(): Promise<{ readonly url: string; readonly suite: string }> {
  const format = "$(REPO_URI) $(CODENAME) $(COMPONENT) $(LABEL)";
  const { stdout } = await run("apt-get", ["indextargets", "--format", format, "Created-By: Packages"]);
  const [, url, suite] = /^(\S+) (\S+) main Debian$/m.exec(stdout) ?? [];
  if (url === undefined || suite === undefined) throw new Error("apt knows no mirror of Debian here: apt-get update");
  return { url, suite };
}

/** The root directory of a minimal trixie with Debian's Node.js, npm and Python. It must not be modified. */
export const trixieRootfs = (): Promise<string> => rootfsOf("trixie");

/** Takes about a minute the first time. @returns the root directory of the machine, which must not be modified */
export async function rootfsOf(name: MachineName): Promise<string> {
  const { suite, packages } = machines[name];
  demandRoot();
  demandTool("mmdebstrap", "mmdebstrap");
  const recipe = [
    "--variant=minbase",
    ...(packages.length === 0 ? [] : [`--include=${packages.join(",")}`]),
    ...leftOut.map((paths) => `--dpkgopt=path-exclude=${paths}`),
    // Only sid expires after some days, and a mirror may be older than that.
    ...(suite === "sid" ? ['--aptopt=Acquire::Check-Valid-Until "false"'] : []),
    suite,
  ];
  const key = createHash("sha256").update(recipe.join("\n")).digest("hex").slice(0, 12);
  const rootfs = join(testCache, `${suite}-${key}`);
  await mkdir(testCache, { recursive: true });
  // Test files run in parallel: the first one makes the system, and the others wait for the lock.
  const script = `
    rootfs=$1; shift
    [ -e "$rootfs" ] && exit
    rm -rf "$rootfs.partial"
    mmdebstrap --quiet --format=directory "$@"
    mv "$rootfs.partial" "$rootfs"`;
  const target = [...recipe, `${rootfs}.partial`, (await debianMirror()).url];
  await run("flock", [`${rootfs}.lock`, "bash", "-euc", script, "bash", rootfs, ...target]);
  return rootfs;
}

/** Files of this machine that are needed to reach the registries from another root, with their paths there. */
export async function networkFiles(): Promise<ReadonlyArray<readonly [here: string, there: string]>> {
  const npmFile = async (key: string) => (await run("npm", ["config", "get", key], { cwd: "/" })).stdout.trim();
  const files: ReadonlyArray<readonly [string, string]> = [
    ["/etc/resolv.conf", "/etc/resolv.conf"],
    ["/etc/hosts", "/etc/hosts"],
    ["/etc/ssl/certs", "/etc/ssl/certs"],
    ["/etc/pip.conf", "/etc/pip.conf"],
    [join(homedir(), ".config/pip/pip.conf"), "/root/.config/pip/pip.conf"],
    [await npmFile("userconfig"), "/root/.npmrc"],
    [await npmFile("globalconfig"), "/etc/npmrc"],
    ["/usr/local/share/ca-certificates", "/usr/local/share/ca-certificates"],
  ];
  return files.filter(([here]) => existsSync(here));
}

const networkVariables =
  /^(https?_proxy|no_proxy|npm_config_registry|pip_(index_url|cert)|node_extra_ca_certs|ssl_cert_file)$/i;

// Mounts and processes are in separate namespaces, so they end with the first process. Files of this machine are copied,
// because a package that is installed there may change them, as ca-certificates does.
const enterScript = `
set -eu
rootfs=$1 machine=$2 root=$2/root script=$3; shift 3
mount -t overlay -o "lowerdir=$rootfs,upperdir=$machine/changes,workdir=$machine/scratch" overlay "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
  mkdir -p "$(dirname "$root$2")"
  if [ -d "$1" ]; then mkdir -p "$root$2"; cp -a "$1/." "$root$2/"; else cp -L "$1" "$root$2"; fi
  shift 2
done
shift
exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 TERM=dumb PATH=/usr/sbin:/usr/bin "$@" sh -c "$script"
`;

/** A temporary machine: a minimal Debian with changes of its own and separate processes. */
export interface Machine {
  /** Files that are put here before the first command appear in the machine's root directory. */
  readonly changes: string;
  /**
   * The command line that runs a shell script there as process 1. When it ends or is killed, all processes there end.
   */
  enter(script: string): Promise<readonly [command: string, args: readonly string[]]>;
  remove(): Promise<void>;
}

export const trixieMachine = (): Promise<Machine> => debianMachine("trixie");

export async function debianMachine(name: MachineName): Promise<Machine> {
  const rootfs = await rootfsOf(name);
  const machine = join(testCache, `machine-${randomUUID()}`);
  const changes = join(machine, "changes");
  for (const directory of [changes, join(machine, "scratch"), join(machine, "root")]) {
    await mkdir(directory, { recursive: true });
  }
  return {
    changes,
    async enter(script) {
      const variables = Object.entries(process.env).filter(([name]) => networkVariables.test(name));
      const settings = variables.map(([name, value]) => `${name}=${value}`);
      const files = (await networkFiles()).flat();
      const namespaces = ["--mount", "--pid", "--fork", "--kill-child"];
      return [
        "unshare",
        [...namespaces, "bash", "-c", enterScript, "bash", rootfs, machine, script, ...files, "--", ...settings],
      ];
    },
    remove: () => rm(machine, { recursive: true, force: true }),
  };
}
