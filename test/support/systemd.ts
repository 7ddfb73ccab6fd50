// A minimal Debian that boots: systemd is process 1 in namespaces of its own, with real units, sockets, credentials and
// cgroups. Only the network is this machine's.
import { execFile, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { closeSync, openSync, readFileSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { rootfsOf, testCache } from "./rootfs.ts";

const run = promisify(execFile);
const bootMs = 120_000;
const pollMs = 50;

// systemd manages a cgroup of its own, which is the root that it sees.
const bootScript = `
set -eu
rootfs=$1 machine=$2 cgroup=$3 root=$2/root
mkdir "$machine/cgroup"
mount -t cgroup2 cgroup2 "$machine/cgroup"
mkdir "$machine/cgroup/$cgroup"
echo $$ > "$machine/cgroup/$cgroup/cgroup.procs"
exec unshare --mount --pid --cgroup --uts --ipc --fork --kill-child bash -euc '
  mount --make-rprivate /
  mount -t overlay -o "lowerdir=$0,upperdir=$1/changes,workdir=$1/scratch" overlay "$1/root"
  cd "$1/root"
  mount -t proc proc proc
  mount --bind proc/sys proc/sys
  mount -o remount,bind,ro proc/sys
  mount -t sysfs -o ro sysfs sys
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs dev
  for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
  done
  ln -s /proc/self/fd dev/fd
  mkdir dev/shm dev/pts
  mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
  ln -s pts/ptmx dev/ptmx
  mount -t tmpfs tmpfs dev/shm
  mount -t tmpfs -o mode=755 tmpfs run
  mount -t tmpfs tmpfs tmp
  pivot_root . mnt
  umount -l /mnt
  # Credentials are mounted while services start, and must appear in their namespaces.
  mount --make-rshared /
  exec env -i container=test PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --show-status=no
' "$rootfs" "$machine"
`;

const removeCgroups = `
set -eu
mount -t cgroup2 cgroup2 "$1/cgroup"
find "$1/cgroup/$2" -depth -type d -exec rmdir {} +
`;

/** Units that need hardware, or a terminal. */
const masked = ["console-getty.service", "systemd-modules-load.service", "systemd-logind.service", "getty.target"];

export interface BootedMachine {
  /** Runs a shell script there as root. @returns its output @throws an error with its messages, if it fails */
  sh(script: string): Promise<string>;
  /** The root directory, as this machine sees it. */
  readonly root: string;
  remove(): Promise<void>;
}

/** Boots a trixie with Node.js. */
export async function bootTrixie(): Promise<BootedMachine> {
  const rootfs = await rootfsOf("trixie-systemd");
  const machine = join(testCache, `machine-${randomUUID()}`);
  for (const name of ["changes/etc/systemd/system", "scratch", "root"]) {
    await mkdir(join(machine, name), { recursive: true });
  }
  await run("sh", [
    "-euc",
    'cd "$0"; for unit do ln -s /dev/null "$unit"; done',
    join(machine, "changes/etc/systemd/system"),
    ...masked,
  ]);
  const cgroup = `tahoe-apt-${randomUUID()}`;
  const console = openSync(join(machine, "console"), "w");
  const outer = spawn("unshare", ["--mount", "bash", "-c", bootScript, "bash", rootfs, machine, cgroup], {
    stdio: ["ignore", console, console],
  });
  closeSync(console);
  const exited = new Promise((resolve) => outer.once("exit", resolve));
  const remove = async (): Promise<void> => {
    outer.kill("SIGKILL");
    await exited;
    // The processes of the namespace end a moment after its first one.
    const clean = async (attempt = 1): Promise<void> => {
      try {
        await run("unshare", ["--mount", "sh", "-c", removeCgroups, "sh", machine, cgroup]);
      } catch (thrown) {
        if (attempt === 100) throw thrown;
        await new Promise((resolve) => setTimeout(resolve, pollMs));
        await clean(attempt + 1);
      }
    };
    await clean();
    await rm(machine, { recursive: true, force: true });
  };
  /** The process in this machine's numbering that is process 1 there. */
  const first = (): string => readFileSync(`/proc/${outer.pid}/task/${outer.pid}/children`, "utf8").trim();
  const enter = async (...command: readonly string[]): Promise<string> => {
    const args = [
      "--target",
      first(),
      "--mount",
      "--pid",
      "--cgroup",
      "--uts",
      "--ipc",
      "--root",
      "--wd",
      "--",
      ...command,
    ];
    const env = { PATH: "/usr/sbin:/usr/bin", HOME: "/root", LANG: "C.UTF-8" };
    try {
      return (await run("nsenter", args, { env, maxBuffer: 1 << 26 })).stdout;
    } catch (thrown) {
      const said =
        thrown instanceof Error && "stdout" in thrown && "stderr" in thrown ? [thrown.stdout, thrown.stderr] : [];
      throw new Error(`${command.at(-1)} failed: ${said.join("\n")}`, { cause: thrown });
    }
  };
  try {
    for (const begunMs = Date.now(); ; ) {
      // "degraded" is running too; it ends with 1.
      const state = await enter("sh", "-c", "systemctl is-system-running || true").catch(() => "");
      if (/^(running|degraded)$/m.test(state)) break;
      if (outer.exitCode !== null || Date.now() - begunMs > bootMs) {
        throw new Error(`no system came up:\n${readFileSync(join(machine, "console"), "utf8")}`);
      }
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
  } catch (thrown) {
    await remove();
    throw thrown;
  }
  return { sh: (script) => enter("sh", "-euc", script), root: `/proc/${first()}/root`, remove };
}
