// Builds and runs container images without a container daemon, by buildah, on a base image of our own.
import type { ChildProcess } from "node:child_process";
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, realpath, rm, statfs } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { demandRoot, demandTool, networkFiles, testCache, trixieRootfs } from "./rootfs.ts";

const run = promisify(execFile);
const maxOutputBytes = 2 ** 24;
const overlayFileSystem = 0x794c7630;
const errorTailLength = 4_000;

/** The result of a command. */
export interface Ended {
  readonly status: number;
  readonly output: string;
}

/** Images and containers in a separate directory. */
export interface ContainerStore {
  /** @returns buildah's output @throws if it fails */
  buildah(...args: readonly string[]): Promise<string>;
  /** Builds an image on the base image and tags it. @throws with the end of the build's output */
  build(name: string, dockerfile: string, context: string): Promise<void>;
  /**
   * The text of a program `docker` that builds and runs with the same images, on the network of whoever calls it. It is
   * podman, which understands docker's commands and needs no daemon.
   * @param runDirectory an empty directory with a short path, for what lasts until the containers end
   */
  docker(runDirectory: string): Promise<string>;
  /** The command line that runs a command in a container. */
  inContainer(container: string, options: readonly string[], command: readonly string[]): readonly string[];
}

export async function containerStore(): Promise<ContainerStore> {
  demandRoot();
  demandTool("buildah", "buildah");
  demandTool("ip", "iproute2");
  await mkdir(testCache, { recursive: true });
  // If the cache is on an overlay file system (inside a container), overlays on top of it do not work.
  const driver = (await statfs(testCache)).type === overlayFileSystem ? "vfs" : "overlay";
  const places = ["--root", join(testCache, "containers"), "--runroot", join(testCache, "containers-run")];
  const global = [...places, "--storage-driver", driver];
  const buildah = async (...args: readonly string[]) =>
    (await run("buildah", [...global, ...args], { maxBuffer: maxOutputBytes })).stdout.trim();

  const rootfs = await trixieRootfs();
  const base = `localhost/${basename(rootfs)}`;
  const script = `
    base=$1 rootfs=$2; shift 2
    "$@" inspect --type image "$base" >/dev/null 2>&1 && exit
    container=$("$@" from scratch)
    cp --archive "$rootfs/." "$("$@" mount "$container")"
    "$@" umount "$container"
    "$@" commit --quiet --disable-compression --rm "$container" "$base"`;
  await run("flock", [`${rootfs}.lock`, "bash", "-euc", script, "bash", base, rootfs, "buildah", ...global]);

  const buildFlags = async (): Promise<readonly string[]> => {
    const volumes = (await networkFiles()).flatMap(([here, there]) => ["--volume", `${here}:${there}:ro`]);
    // Only Docker's format supports health checks.
    return ["--layers", "--isolation", "chroot", "--format", "docker", "--build-arg", `BASE=${base}`, ...volumes];
  };

  return {
    buildah,
    async build(name, dockerfile, context) {
      try {
        await buildah("bud", ...(await buildFlags()), "--tag", name, "--file", dockerfile, context);
      } catch (thrown) {
        const output = thrown instanceof Error && "stdout" in thrown ? String(thrown.stdout) : "";
        throw new Error(`the image ${name} cannot be built:\n${output.slice(-errorTailLength)}`, { cause: thrown });
      }
    },
    async docker(runDirectory) {
      const engine = ["--cgroup-manager", "cgroupfs", "--events-backend", "none"];
      const root = join(await realpath(testCache), "containers");
      // Its own database refuses another directory than that of the last time.
      await rm(join(root, "libpod"), { recursive: true, force: true });
      const podman = ["podman", "--root", root, "--runroot", runDirectory, ...engine];
      const begin = [...podman, "--storage-driver", driver].join(" ");
      return `#!/bin/sh
export DISABLE_HC_SYSTEMD=true # Nobody repeats health checks.
command=$1
shift
case $command in
  build) exec ${begin} build ${(await buildFlags()).join(" ")} "$@" ;;
  run) exec ${begin} run --network host --cgroups disabled "$@" ;;
  *) exec ${begin} "$command" "$@" ;;
esac
`;
    },
    inContainer(container, options, command) {
      const isolated = ["run", "--isolation", "chroot", ...options];
      return ["buildah", ...global, ...isolated, container, "--", ...command];
    },
  };
}

/** A network with only its own loopback interface, and separate processes: fixed ports conflict with nothing. */
export interface PrivateNetwork {
  /** Starts a command in it. */
  start(command: readonly string[]): ChildProcess;
  /** Runs a command in it to its end. */
  run(command: readonly string[]): Promise<Ended>;
  /** Kills every process in it. */
  close(): Promise<void>;
}

export async function privateNetwork(): Promise<PrivateNetwork> {
  const namespaces = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
  const first = spawn("unshare", [...namespaces, "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise((resolve, reject) => {
    first.stdout.once("data", resolve);
    first.once("close", () => reject(new Error("no namespaces can be made here")));
  });
  const inside = (await run("pgrep", ["--parent", String(first.pid)])).stdout.trim();
  const enter = ["--target", inside, "--net", "--pid", "--mount", "--"];
  return {
    start: (command) => spawn("nsenter", [...enter, ...command], { stdio: ["ignore", "ignore", "inherit"] }),
    run: (command) =>
      new Promise((resolve) => {
        execFile("nsenter", [...enter, ...command], { maxBuffer: maxOutputBytes }, (error, stdout, stderr) => {
          resolve({ status: typeof error?.code === "number" ? error.code : error ? -1 : 0, output: stdout + stderr });
        });
      }),
    close: () =>
      new Promise((resolve) => {
        if (first.exitCode !== null || !existsSync(`/proc/${first.pid}`)) return resolve();
        first.once("close", () => resolve());
        first.kill("SIGKILL");
      }),
  };
}
