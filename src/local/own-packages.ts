// A part of `npm run demo`: tahoe-apt's own Debian packages, and minimal Debian systems to install them on.
import { existsSync } from "node:fs";
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { RepoError } from "../base/errors.ts";

/** Runs a program. @returns its standard output @throws if it fails, with its standard error */
export type RunTool = (tool: string, args: readonly string[], timeoutMs: number) => Promise<string>;

/** The Debian releases that the packages are made for. */
export const debianReleases = ["trixie", "bookworm"] as const;
export type DebianRelease = (typeof debianReleases)[number];

/** The packages for this machine are not in the directory. */
class NoPackages extends RepoError {
  readonly code = "demo/no-packages";
}

const project = fileURLToPath(new URL("../..", import.meta.url));
const builder = join(project, "packaging/build-packages.mjs");
const buildTimeoutMs = 900_000;
const systemTimeoutMs = 900_000;
const installTimeoutMs = 600_000;

/** @returns why the packages cannot be installed on another Debian here; undefined if they can */
export function whyNotHere(searchPath: string, packages: string | undefined): string | undefined {
  if (process.getuid?.() !== 0) return "entering another root directory needs root";
  const isFound = searchPath.split(delimiter).some((directory) => existsSync(join(directory, "mmdebstrap")));
  if (!isFound) return "making a minimal Debian needs mmdebstrap: apt-get install mmdebstrap";
  if (packages === undefined && !existsSync(builder)) return "building the packages needs a checkout";
  return undefined;
}

/**
 * Finds the packages in a directory, or in the checkout's dist-packages; builds them if they are not there.
 * @param packages the directory; undefined: the checkout's
 * @param scratch the directory for packages that are built here
 * @returns the paths of the packages for one architecture
 */
export async function ownPackages(
  packages: string | undefined,
  { architecture, scratch, run }: { readonly architecture: string; readonly scratch: string; readonly run: RunTool },
): Promise<readonly string[]> {
  const found = await packagesIn(packages ?? join(project, "dist-packages"), architecture);
  if (found.length > 0) return found;
  if (packages !== undefined) throw new NoPackages(`${packages} has no packages of tahoe-apt for ${architecture}`);
  const args = [builder, "--architecture", architecture, "--output", scratch];
  await run(process.execPath, args, buildTimeoutMs);
  return await packagesIn(scratch, architecture);
}

async function packagesIn(directory: string, architecture: string): Promise<readonly string[]> {
  const names = await readdir(directory).catch(() => []);
  return names
    .filter((name) => name.startsWith("tahoe-apt") && name.endsWith(`_${architecture}.deb`))
    .toSorted()
    .map((name) => join(directory, name));
}

// Mounts and processes are in separate namespaces, so they end with the first process.
const enterScript = `
rootfs=$1 machine=$2 script=$3
mkdir -p "$machine/changes" "$machine/work" "$machine/root"
mount -t overlay -o "lowerdir=$rootfs,upperdir=$machine/changes,workdir=$machine/work" overlay "$machine/root"
mount -t proc proc "$machine/root/proc"
mount --rbind /dev "$machine/root/dev"
for file in /etc/resolv.conf /etc/hosts; do
  [ ! -e $file ] || { touch "$machine/root$file"; mount --bind $file "$machine/root$file"; }
done
cp "$machine/demo.sources" "$machine/root/etc/apt/sources.list.d/"
exec chroot "$machine/root" env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -euc "$script"`;

const installScript = `
apt-get -q update >&2
apt-get -q -y --no-install-recommends install tahoe-apt >&2
tahoe-apt --version
dpkg-query -W -f '\${db:Status-Status} \${Package} \${Version}\\n' nodejs tahoe-apt-nodejs 2>/dev/null | sed -n 's/^installed //p'`;

/**
 * Installs tahoe-apt with the apt of a minimal Debian, which is made the first time and stays unchanged.
 * @param source the .sources file of the repository
 * @returns the version that the installed program prints, and the package of its Node.js
 */
export async function installOn(
  release: DebianRelease,
  {
    systems,
    scratch,
    source,
    run,
  }: {
    /** The directory that keeps the systems. */
    readonly systems: string;
    readonly scratch: string;
    readonly source: string;
    readonly run: RunTool;
  },
): Promise<{ readonly version: string; readonly node: string }> {
  const rootfs = join(systems, release);
  if (!existsSync(rootfs)) {
    const partial = join(systems, `${release}.partial`);
    await mkdir(systems, { recursive: true });
    await rm(partial, { recursive: true, force: true });
    await run("mmdebstrap", ["--quiet", "--variant=minbase", "--format=directory", release, partial], systemTimeoutMs);
    await rename(partial, rootfs);
  }
  const machine = join(scratch, release);
  await mkdir(machine, { recursive: true });
  await writeFile(join(machine, "demo.sources"), source);
  const namespaces = ["--mount", "--pid", "--fork", "--kill-child"];
  const args = [...namespaces, "sh", "-euc", enterScript, "sh", rootfs, machine, installScript];
  const [version = "", node = ""] = (await run("unshare", args, installTimeoutMs)).trim().split("\n");
  return { version, node };
}
