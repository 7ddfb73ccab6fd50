// A copy of this machine: what is changed there is forgotten, and it has a network of its own with its usual ports free.
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { projectRoot } from "./project-files.ts";
import { demandRoot, demandTool, testCache } from "./rootfs.ts";

const run = promisify(execFile);

/** Stands for systemd, which does not run in the copy: starts what a unit starts, with the unit's own lines. */
const systemctl = `#!/bin/sh
set -eu
case $1 in daemon-reload) exit ;; restart | reload | enable) shift ;; esac
for unit; do
  case $unit in --*) continue ;; esac
  lines=$(cat /lib/systemd/system/$unit.service /etc/systemd/system/$unit.service.d/*.conf 2>/dev/null | sed -e ':more' -e '/\\\\$/N; s/\\\\\\n//; t more')
  set -a
  eval "$(echo "$lines" | sed -n 's/^Environment=/export /p')"
  for file in $(echo "$lines" | sed -n 's/^EnvironmentFile=-*//p'); do [ ! -e $file ] || . $file; done
  set +a
  user=$(echo "$lines" | sed -n 's/^User=//p')
  as_user=
  if [ "$user" ]; then
    export HOME=$(getent passwd $user | cut -d : -f 6)
    capabilities=$(echo "$lines" | sed -n 's/^AmbientCapabilities=//p' | tr A-Z a-z | sed 's/cap_/+/g; s/ /,/g')
    as_user="setpriv --reuid=$user --regid=$user --init-groups \${capabilities:+--inh-caps=$capabilities --ambient-caps=$capabilities}"
  fi
  eval "$as_user $(echo "$lines" | sed -n 's/^ExecStart=//p' | tail -1)" >/var/log/$unit.out 2>&1 &
done
`;

/** The directories that the guides change. */
const changed = ["etc", "var", "root", "usr/share/doc", "usr/local/bin"];

const enterScript = `
set -eu
place=$1 script=$2
for directory in ${changed.join(" ")}; do
  mkdir -p "$place/$directory.scratch"
  mount -t overlay -o "lowerdir=/$directory,upperdir=$place/$directory,workdir=$place/$directory.scratch" overlay /$directory
done
mount -t tmpfs tmpfs /run
ip link set lo up
cd /root
exec env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
  bash -c "exec 2>&1; set -e; $script"
`;

/**
 * Runs a script in a copy of this machine, in which tahoe-apt is installed as the Debian package installs it, without the
 * service. Packages that are installed here are installed there, and apt-get asks nothing.
 * @param files more files of the copy, by their paths
 * @returns what the script printed @throws an error with that, if the script fails
 */
export async function onThisMachine(script: string, files: Readonly<Record<string, string>> = {}): Promise<string> {
  demandRoot();
  demandTool("ip", "iproute2");
  const place = join(testCache, `machine-${randomUUID()}`);
  const all = {
    "etc/apt/apt.conf.d/99test": 'APT::Get::Assume-Yes "true";\nAPT::Get::Upgrade "false";\n',
    "usr/local/bin/systemctl": systemctl,
    "usr/local/bin/tahoe-apt": `#!/bin/sh\nexec ${process.execPath} ${join(projectRoot, "dist/cli.js")} "$@"\n`,
    ...files,
  };
  try {
    for (const directory of changed) mkdirSync(join(place, directory), { recursive: true });
    for (const [path, text] of Object.entries(all)) {
      mkdirSync(join(place, path, ".."), { recursive: true });
      writeFileSync(join(place, path), text, { mode: path.includes("/bin/") ? 0o755 : 0o644 });
    }
    const documents = join(place, "usr/share/doc/tahoe-apt");
    cpSync(join(projectRoot, "docs"), documents, { recursive: true });
    mkdirSync(join(documents, "examples/monitoring"));
    cpSync(join(projectRoot, "docker/prometheus/alerts.yml"), join(documents, "examples/monitoring/alerts.yml"));
    const namespaces = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    const { stdout } = await run("unshare", [...namespaces, "bash", "-c", enterScript, "bash", place, script], {
      maxBuffer: 1 << 26,
    });
    return stdout;
  } catch (thrown) {
    throw new Error(thrown instanceof Error && "stdout" in thrown ? String(thrown.stdout) : "", { cause: thrown });
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}
