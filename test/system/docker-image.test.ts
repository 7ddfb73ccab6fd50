// The images are built and run by buildah, on a minimal trixie, without a container daemon.
import type { ChildProcess } from "node:child_process";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import type { ContainerStore, Ended, PrivateNetwork } from "../support/container.ts";
import { containerStore, privateNetwork } from "../support/container.ts";
import { aDeb } from "../support/debs.ts";
import { blockOf } from "../support/documents.ts";
import { projectRoot, readProjectFile } from "../support/project-files.ts";
import { cleanCheckout, demandTool } from "../support/rootfs.ts";

const setUpMs = 480_000;
const startsWithinMs = 30_000;
const image = "localhost/tahoe-apt-test";
const gridImage = "localhost/tahoe-apt-test-grid";
const gridStartsWithinMs = 60_000;
const planted = "planted-secret-0f9d1c";

interface ImageConfig {
  readonly User: string;
  readonly Entrypoint: readonly string[];
  readonly Healthcheck: { readonly Test: readonly string[] };
  readonly Env: readonly string[];
  readonly Volumes: Readonly<Record<string, unknown>>;
}

let directory: string;
let store: ContainerStore;
let network: PrivateNetwork;
/** The container that serves a folder. */
let server: ChildProcess;
let container: string;
let gridContainer: string;
let config: ImageConfig;
let gridConfig: ImageConfig;

beforeAll(async () => {
  demandTool("nginx", "nginx");
  demandTool("prometheus", "prometheus");
  directory = mkdtempSync(join(tmpdir(), "tahoe-apt-image-"));
  const context = join(directory, "context");
  await cleanCheckout(context);
  // Files of a checkout in use, beside the sources.
  for (const path of ["docker/secrets/readcap", ".tahoe-apt/caps/writecap", ".env", "node_modules/left.js"]) {
    mkdirSync(join(context, path, ".."), { recursive: true });
    writeFileSync(join(context, path), planted);
  }
  const packages = join(directory, "repository/dists/sid/main/binary-all");
  mkdirSync(packages, { recursive: true });
  writeFileSync(join(packages, "hello_1.0-1_all.deb"), await aDeb({ package: "hello" }));
  writeFileSync(join(packages, "hello-zst_1.0-1_all.deb"), await aDeb({ package: "hello-zst", compression: "zst" }));

  store = await containerStore();
  await Promise.all([
    store.build(image, join(context, "docker/Dockerfile"), context),
    store.build(gridImage, join(context, "docker/tahoe/Dockerfile"), join(context, "docker/tahoe")),
  ]);
  config = await configOf(image);
  gridConfig = await configOf(gridImage);
  container = await store.buildah("from", image);
  gridContainer = await store.buildah("from", gridImage);
  network = await privateNetwork();
}, setUpMs);

afterAll(async () => {
  await network?.close();
  for (const one of [container, gridContainer]) if (one !== undefined) await store.buildah("rm", one);
  rmSync(directory, { recursive: true, force: true });
});

async function configOf(name: string): Promise<ImageConfig> {
  const inspected = JSON.parse(await store.buildah("inspect", "--type", "image", name)) as {
    readonly Docker: { readonly config: ImageConfig };
  };
  return inspected.Docker.config;
}

/** Buildah sometimes loses the output of a command that ends at once, so this one waits for a moment. */
const lingering = ["sh", "-c", '"$@"; status=$?; sleep 0.3; exit $status', "sh"];
const inside = (...command: readonly string[]) =>
  network.run(store.inContainer(container, [], [...lingering, ...command]));

/** Repeats the health check as a container daemon does, until it succeeds; resolves to the last result. */
async function healthWithin(ms: number, check: () => Promise<Ended>): Promise<Ended> {
  for (const deadlineMs = Date.now() + ms; ; ) {
    const health = await check();
    if (health.status === 0 || Date.now() > deadlineMs) return health;
    await sleep(500);
  }
}

const checkOf = ({ Healthcheck: { Test: check } }: ImageConfig): readonly string[] => check.slice(1);

test("the image runs as a user other than root, who may write only to the state directory", async () => {
  expect(config.User).toMatch(/^[1-9]\d*:[1-9]\d*$/);
  expect((await inside("id", "--user")).output.trim()).toBe(config.User.split(":")[0]);
  expect(Object.keys(config.Volumes)).toEqual(["/var/lib/tahoe-apt"]);
  expect(await inside("touch", "/var/lib/tahoe-apt/it")).toMatchObject({ status: 0 });
  expect((await inside("touch", "/opt/tahoe-apt/dist/cli.js")).status).not.toBe(0);
});

test("the command is in the image's PATH, and prints its version", async () => {
  const { version } = JSON.parse(readProjectFile("package.json")) as { readonly version: string };
  expect(await inside("tahoe-apt", "--version")).toMatchObject({ status: 0, output: `${version}\n` });
});

const serveFolder = "--name debian --folder /srv/debian --public-url http://localhost:8380".split(" ");

test("the health check fails while no server runs, and passes once it serves a folder", async () => {
  expect(config.Healthcheck.Test[0]).toBe("CMD");
  expect((await inside(...checkOf(config))).status).not.toBe(0);
  const folder = ["--volume", `${join(directory, "repository")}:/srv/debian:ro`];
  server = network.start(store.inContainer(container, folder, [...config.Entrypoint, ...serveFolder]));
  expect(await healthWithin(startsWithinMs, () => inside(...checkOf(config)))).toMatchObject({ status: 0 });
  const get = async (path: string) => (await network.run(["curl", "-sSf", `http://127.0.0.1:8380${path}`])).output;
  expect(await get("/debian/dists/sid/InRelease")).toMatch(/^-----BEGIN PGP SIGNED MESSAGE-----\n/);
  const packages = await get("/debian/dists/sid/main/binary-all/Packages");
  expect(packages.match(/^Package: .*$/gm)).toEqual(["Package: hello", "Package: hello-zst"]);
  expect(await get("/metrics")).toMatch(/^# TYPE /m);
});

test("the server process does not run as root", async () => {
  const { output } = await network.run(["ps", "-ww", "-eo", "uid=,args="]);
  const servers = output
    .split("\n")
    .filter((line) => /^\s*\d+ (\S*\/)?node --\S+ \/opt\/tahoe-apt\/dist\/cli\.js serve/.test(line));
  expect(servers.map((line) => line.trim().split(" ")[0])).toEqual([config.User.split(":")[0]]);
});

test("no layer and no setting of the image contains a secret, a development tool or a source file", async () => {
  expect(config.Env.join("\n")).not.toMatch(/token|cap|secret|passw/i);
  const layers = join(directory, "layers");
  await store.buildah("push", "--quiet", "--disable-compression", image, `dir:${layers}`);
  const layersWith = (text: string) => {
    // grep ends with 1 if it finds nothing.
    const script = 'grep --recursive --files-with-matches --text --fixed-strings -e "$1" "$2" || [ $? = 1 ]';
    return execFileSync("sh", ["-c", script, "sh", text, layers], { encoding: "utf8" }).split("\n").filter(Boolean);
  };
  expect(layersWith("opt/tahoe-apt/dist/healthcheck.js"), "the search sees what is there").not.toEqual([]);
  expect(layersWith(planted)).toEqual([]);
  expect((await inside("ls", "/opt/tahoe-apt")).output.split("\n").filter(Boolean).sort().join(" ")).toBe(
    "dist node_modules package.json",
  );
  expect((await inside("test", "-e", "/opt/tahoe-apt/node_modules/typescript")).status).not.toBe(0);
});

test("SIGTERM to the server in a container ends it with 0", async () => {
  const ended = once(server, "exit");
  // As a container daemon does to process 1.
  const kill = "kill -TERM $(ps -ww -eo pid=,args= | awk '$2 ~ /node$/ && /dist\\/cli\\.js serve/ { print $1 }')";
  expect(await network.run(["sh", "-c", kill])).toMatchObject({ status: 0 });
  expect(await ended).toEqual([0, null]);
});

test("the commands of the guide build the image, serve a folder with it, and run a command in the container", async () => {
  demandTool("podman", "podman");
  const bin = join(directory, "bin");
  mkdirSync(bin);
  const runDirectory = mkdtempSync(join(tmpdir(), "docker-"));
  writeFileSync(join(bin, "docker"), await store.docker(runDirectory), { mode: 0o755 });
  const [build = "", ...others] = blockOf("sh install-image").split(/\n(?=docker )/);
  const script = (lines: string) => ["-ec", `PATH=${bin}:$PATH; cd ${directory}/context; exec 2>&1\n${lines}`];
  // The network of the others reaches no registry.
  execFileSync("sh", script(build));
  onTestFinished(async () => {
    const remove = "docker rm --force apt-server; docker volume rm --force apt-state; docker rmi tahoe-apt:local";
    await network.run(["sh", ...script(remove)]);
    rmSync(runDirectory, { recursive: true, force: true });
  });
  const lines = others.join("\n").replace("-v /srv/debian:", `-v ${join(directory, "repository")}:`);
  // crun accepts no mixture of both versions of cgroups, as some machines have it.
  expect(await network.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"])).toMatchObject({ status: 0 });
  const { status, output } = await network.run(["sh", ...script(lines)]);
  const { version } = JSON.parse(readProjectFile("package.json")) as { readonly version: string };
  expect([status, output]).toEqual([0, expect.stringMatching(new RegExp(`^[0-9a-f]{64}\n${version}\n$`, "m"))]);
  const inRelease = () => network.run(["curl", "-sSf", "http://127.0.0.1:8380/debian/dists/sid/InRelease"]);
  expect(await healthWithin(startsWithinMs, inRelease)).toMatchObject({ status: 0 });
});

test("the image adds less than 120 MB to its base", async () => {
  const { output } = await inside("du", "--summarize", "--block-size=1000000", "/opt/tahoe-apt");
  expect(Number.parseInt(output, 10)).toBeGreaterThan(10);
  expect(Number.parseInt(output, 10)).toBeLessThan(120);
});

test("the steps of the compose file work, with its own configurations of the server, nginx and Prometheus", async () => {
  const served = await store.buildah("from", image);
  onTestFinished(async () => void (await store.buildah("rm", served)));
  const own = await privateNetwork();
  onTestFinished(() => own.close());
  const docker = join(directory, "docker");
  cpSync(join(projectRoot, "docker"), docker, { recursive: true });
  const hosts = join(directory, "hosts");
  writeFileSync(hosts, "127.0.0.1 localhost tahoe tahoe-apt\n");
  // Buildah gives this file to each container that is run afterwards.
  expect(await own.run(["mount", "--bind", hosts, "/etc/hosts"])).toMatchObject({ status: 0 });
  const gridEntry = store.inContainer(gridContainer, [], gridConfig.Entrypoint);
  own.start(gridEntry);
  const checkGrid = () => own.run(store.inContainer(gridContainer, [], checkOf(gridConfig)));
  expect((await checkGrid()).status).not.toBe(0);
  expect(await healthWithin(gridStartsWithinMs, checkGrid)).toMatchObject({ status: 0 });

  const secrets = join(directory, "secrets");
  mkdirSync(secrets);
  const inServed = (volumes: readonly string[], command: readonly string[], ...options: readonly string[]) => {
    const mounted = volumes.flatMap((volume) => ["--volume", volume]);
    return store.inContainer(served, [...options, ...mounted], command);
  };
  const variables = ["TAHOE_GATEWAY=http://127.0.0.1:3456", "PUBLIC_URL=http://localhost"];
  const environment = variables.flatMap((each) => ["--env", each]);
  const volumes = [`${secrets}:/secrets`, `${docker}/make-tree.sh:/make-tree.sh:ro`];
  const makeTree = () => own.run(inServed(volumes, ["sh", "/make-tree.sh"], "--user", "0:0", ...environment));
  expect(await makeTree()).toMatchObject({ status: 0 });
  const secretOf = (name: string) => readFileSync(join(secrets, name), "utf8");
  const [readcap, metricsToken] = [secretOf("readcap"), secretOf("metrics-token").trim()];
  expect(readcap).toMatch(/^URI:DIR2-RO:/);
  expect(await makeTree()).toMatchObject({ status: 0 });
  expect(secretOf("readcap"), "a second run leaves the tree alone").toBe(readcap);
  expect(secretOf("metrics-token").trim()).toBe(metricsToken);
  for (const name of ["readcap", "alice-token", "bob-token", "metrics-token", "prometheus-token", "alice.bundle"]) {
    expect(statSync(join(secrets, name)).mode & 0o777, name).toBe(0o400);
  }
  const runtime = `${secrets}:/run/secrets:ro`;
  const configuration = `${docker}/tahoe-apt.toml:/etc/tahoe-apt.toml:ro`;
  own.start(inServed([runtime, configuration], [...config.Entrypoint, "--config", "/etc/tahoe-apt.toml"]));
  const checkServer = () => own.run(inServed([], checkOf(config)));
  expect(await healthWithin(startsWithinMs, checkServer)).toMatchObject({ status: 0 });

  // Debian's nginx and Prometheus, with the files of the compose file in the places where their images have them.
  const prepare = `
    mount -t tmpfs tmpfs /run
    mkdir -p /run/secrets /var/cache/nginx
    mount --bind "$1" /run/secrets
    mount -t tmpfs tmpfs /var/cache/nginx
    nginx -t -c "$2/nginx.conf"
    promtool check config "$2/prometheus/prometheus.yml"`;
  const prepared = await own.run(["sh", "-euc", prepare, "sh", secrets, docker]);
  expect(prepared.output).toContain("test is successful");
  expect(prepared.output).toContain("SUCCESS: 1 rule files found");
  expect(prepared.status, prepared.output).toBe(0);
  own.start(["nginx", "-c", `${docker}/nginx.conf`, "-g", "daemon off;"]);
  const storage = `--storage.tsdb.path=${join(directory, "prometheus")}`;
  own.start(["prometheus", `--config.file=${docker}/prometheus/prometheus.yml`, storage, "--log.level=error"]);
  const fetched = (url: string, ...options: readonly string[]) => own.run(["curl", "-sS", ...options, url]);
  const viaNginx = () => fetched("http://localhost/readyz", "-f");
  expect(await healthWithin(startsWithinMs, viaNginx)).toMatchObject({ status: 0 });

  const packages = join(directory, "repository/dists/sid/main/binary-all");
  const put = (builder: string, file: string) => {
    const command = ["tahoe-apt", "put", "--bundle", `/run/secrets/${builder}.bundle`, `/packages/${file}`];
    return own.run(inServed([runtime, `${packages}:/packages:ro`], command, "--user", "0:0"));
  };
  for (const [builder, file] of [
    ["alice", "hello_1.0-1_all.deb"],
    ["bob", "hello-zst_1.0-1_all.deb"],
  ] as const) {
    const { status, output } = await put(builder, file);
    expect(status, output).toBe(0);
  }
  const index = await fetched("http://localhost/debian/dists/sid/main/binary-amd64/Packages", "-f");
  expect(index.output.match(/^Package: .*$/gm)).toEqual(["Package: hello", "Package: hello-zst"]);

  // Each bundle has caps of its own, and each token is for the builder's own directories.
  const caps = (builder: string) => new Set(secretOf(`${builder}.bundle`).match(/URI:DIR2:[a-z0-9]+:[a-z0-9]+/g));
  expect(caps("alice").size).toBe(3);
  expect([...caps("alice")].filter((cap) => caps("bob").has(cap))).toEqual([]);
  const ping = async (builder: string) => {
    const script = 'curl -sS -o /dev/null -w "%{http_code}" -X POST -H "Authorization: Bearer $(cat "$1")" "$2"';
    const url = `http://localhost/-/ping/debian/dists/sid/main/binary-all/${builder}`;
    return (await own.run(["sh", "-euc", script, "sh", join(secrets, "alice-token"), url])).output;
  };
  expect([await ping("alice"), await ping("bob")]).toEqual(["202", "403"]);

  const statusOf = async (url: string) => (await fetched(url, "-o", "/dev/null", "-w", "%{http_code}")).output;
  expect(await statusOf("http://localhost/metrics"), "nginx does not show the metrics").toBe("403");
  expect(await statusOf("http://tahoe-apt:8380/metrics"), "the server asks for the token").toBe("401");
  const isUp = async () => (await fetched("http://localhost:9090/api/v1/query?query=tahoe_apt_tree_up")).output;
  await expect.poll(isUp, { timeout: startsWithinMs }).toMatch(/"repository":"debian"\},"value":\[[\d.]+,"1"\]/);
});
