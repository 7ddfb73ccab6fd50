// The files for containers are valid for Compose and Prometheus, and consistent with each other.
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readPrivateKey } from "openpgp";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { loadConfiguration } from "../../src/config/load-config.ts";
import { readDashboard } from "../support/dashboard.ts";
import { blockOf } from "../support/documents.ts";
import { projectRoot, readProjectFile } from "../support/project-files.ts";
import { demandTool } from "../support/rootfs.ts";

beforeAll(() => {
  demandTool("docker-compose", "docker-compose");
  demandTool("promtool", "prometheus");
});

/** A copy of `docker/` in which one text is replaced. */
function sabotaged(file: string, what: string, by: string): string {
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-docker-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  cpSync(join(projectRoot, "docker"), directory, { recursive: true });
  const text = readFileSync(join(directory, file), "utf8");
  expect(text).toContain(what);
  writeFileSync(join(directory, file), text.replace(what, by));
  return join(directory, file);
}

const compose = (file: string) => spawnSync("docker-compose", ["-f", file, "config"], { encoding: "utf8" });
const promtool = (file: string) =>
  spawnSync("promtool", ["check", "config", "--syntax-only", file], { encoding: "utf8" });

const composeFile = join(projectRoot, "docker/compose.yaml");

test("Compose accepts the compose file", () => {
  const { status, stderr, stdout } = compose(composeFile);
  expect(stderr).toBe("");
  expect(status).toBe(0);
  for (const service of ["tahoe", "tahoe-apt", "nginx", "prometheus", "grafana", "tree", "alice", "bob"])
    expect(stdout).toMatch(`\n  ${service}:\n`);
});

test("Compose rejects a compose file with a misspelt key", () => {
  expect(compose(sabotaged("compose.yaml", "depends_on:", "depend_on:")).status).not.toBe(0);
});

test("Compose rejects a service with an undefined volume", () => {
  expect(compose(sabotaged("compose.yaml", "- state:/", "- stale:/")).status).not.toBe(0);
});

test("Prometheus accepts its configuration", () => {
  expect(promtool(join(projectRoot, "docker/prometheus/prometheus.yml"))).toMatchObject({ status: 0 });
});

test("Prometheus rejects a configuration with a misspelt key", () => {
  expect(promtool(sabotaged("prometheus/prometheus.yml", "static_configs", "static_config")).status).not.toBe(0);
});

test("nginx and Prometheus reach the port on which the server's image listens, and nginx is reached from outside", () => {
  const port = /^EXPOSE (\d+)$/m.exec(readProjectFile("docker/Dockerfile"))?.[1];
  expect(readProjectFile("docker/Dockerfile")).toContain(`"0.0.0.0:${port}"`);
  expect(readProjectFile("docker/prometheus/prometheus.yml")).toContain(`"tahoe-apt:${port}"`);
  expect(readProjectFile("docker/nginx.conf")).toMatch(`server tahoe-apt:${port};`);
  expect(readProjectFile("docker/nginx.conf")).toMatch("listen 80;");
  expect(readProjectFile("docker/compose.yaml")).toContain('"8380:80"');
});

test("each service gets its secrets as files, which make-tree.sh writes and git ignores", () => {
  const text = readProjectFile("docker/compose.yaml");
  const defined = [...text.matchAll(/^ {2}([\w.-]+):\n {4}file: \.\/secrets\/(\S+)$/gm)].map(([, name, file]) => {
    expect(file).toBe(name);
    return name!;
  });
  const used = [...text.matchAll(/^ +secrets: \[(.+)\]$/gm)].flatMap(([, names = ""]) => names.split(", "));
  expect([...new Set(used)].toSorted()).toEqual(defined.toSorted());
  const named = [
    text,
    ...["tahoe-apt.toml", "prometheus/prometheus.yml"].map((file) => readProjectFile(`docker/${file}`)),
  ]
    .flatMap((each) => [...each.matchAll(/\/run\/secrets\/([\w.-]+)/g)])
    .map(([, name = ""]) => name);
  expect([...new Set(named)].toSorted()).toEqual(defined.toSorted());
  const ignored = execFileSync("git", ["check-ignore", ...defined.map((name) => join("docker/secrets", name))], {
    cwd: projectRoot,
    encoding: "utf8",
  });
  expect(ignored.trim().split("\n")).toHaveLength(defined.length);
});

test("the server accepts its configuration, which has two builders, and rejects it with a misspelt key", () => {
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-docker-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const secrets = {
    readcap: `URI:DIR2-RO:${"a".repeat(26)}:${"b".repeat(52)}`,
    "alice-token": "a-token-of-alice",
    "bob-token": "a-token-of-bob",
    "metrics-token": "a-token-for-metrics",
  };
  for (const [name, text] of Object.entries(secrets)) writeFileSync(join(directory, name), text, { mode: 0o600 });
  const read = (text: string) => {
    writeFileSync(join(directory, "tahoe-apt.toml"), text.replaceAll("/run/secrets", directory));
    return loadConfiguration({ config: join(directory, "tahoe-apt.toml") });
  };
  const text = readProjectFile("docker/tahoe-apt.toml");
  const { repositories } = read(text);
  const builders = repositories[0]?.builders(() => undefined) ?? [];
  expect([...new Set(builders.map(({ name }) => name))]).toEqual(["alice", "bob"]);
  for (const { name, directory: path } of builders) expect(path.split("/").at(-1)).toBe(name);
  expect(() => read(text.replace("behind_proxy", "behind_proxies"))).toThrow("behind_proxies");
});

test("Grafana's provisioning refers to what is there: the source of data, and the directory of dashboards", () => {
  const dashboard = readDashboard();
  const [source] = dashboard.templating.list.filter(({ type }) => type === "datasource");
  const datasources = readProjectFile("docker/grafana/provisioning/datasources/prometheus.yaml");
  expect(datasources).toContain(`uid: ${source?.current.value}\n`);
  expect(datasources).toContain("url: http://prometheus:9090\n");
  const path = /^ +path: (\S+)$/m.exec(readProjectFile("docker/grafana/provisioning/dashboards/tahoe-apt.yaml"))?.[1];
  const text = readProjectFile("docker/compose.yaml");
  expect(text).toContain(`- ./grafana/dashboards:${path}:ro`);
  expect(text).toContain("- ./grafana/provisioning:/etc/grafana/provisioning:ro");
  expect(text).toContain(`DEFAULT_HOME_DASHBOARD_PATH: ${path}/tahoe-apt.json`);
});

test("the panels of the dashboard have different ids, and none covers another", () => {
  const { panels } = readDashboard();
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const cells = panels.flatMap(({ gridPos: { h, w, x, y } }) =>
    Array.from({ length: h * w }, (_cell, n) => `${x + (n % w)},${y + Math.floor(n / w)}`),
  );
  expect(new Set(cells).size).toBe(cells.length);
  for (const { gridPos } of panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
});

test("the tree of an earlier compose file is neither replaced nor lost among new files", () => {
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-secrets-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  for (const name of ["writecap", "readcap"]) writeFileSync(join(directory, name), "of the earlier tree");
  const env = { ...process.env, SECRETS_DIR: directory, TAHOE_GATEWAY: "none", PUBLIC_URL: "none" };
  const { status, stderr } = spawnSync("sh", [join(projectRoot, "docker/make-tree.sh")], { env, encoding: "utf8" });
  expect(status).toBe(1);
  expect(stderr).toContain('see "Upgrade" in docs/guide-install.md');
  expect(readdirSync(directory).toSorted()).toEqual(["readcap", "writecap"]);
});

const cluster = "docker/cluster";

test("Compose accepts the compose file of the cluster, and the guide's commands name its services", () => {
  const file = join(projectRoot, cluster, "compose.yaml");
  const { status, stderr, stdout } = spawnSync("docker-compose", ["-f", file, "--profile", "setup", "config"], {
    encoding: "utf8",
  });
  expect([status, stderr]).toEqual([0, ""]);
  for (const service of ["tahoe", "key", "valkey", "one", "two", "three", "haproxy"])
    expect(stdout).toMatch(`\n  ${service}:\n`);
  const commands = blockOf("sh cluster-compose").trim().split("\n");
  for (const command of commands) {
    const [, path = "", service] = /^docker compose -f (\S+) (?:run --rm (\w+)|up -d)$/.exec(command) ?? [];
    const text = readProjectFile(path);
    if (service !== undefined) expect(text).toMatch(`\n  ${service}:\n`);
  }
});

test("the replicas of the compose file have the configuration of the single server, with [cluster] and a signing key", () => {
  const lines = (path: string) =>
    readProjectFile(path)
      .split("\n")
      .filter((line) => !line.startsWith("#"));
  const single = lines("docker/tahoe-apt.toml");
  const added = lines(`${cluster}/tahoe-apt.toml`).filter((line) => !single.includes(line));
  expect(added).toEqual([
    "[cluster]",
    'url = "redis://valkey:6379"',
    'name = "docker"',
    'signing_key_file = "/run/secrets/signing-key"',
  ]);
  expect(readProjectFile(`${cluster}/compose.yaml`)).toMatch(/^ {2}valkey:$/m);
});

test("HAProxy accepts the file of the cluster, which is the example without TLS, with the addresses of the replicas", () => {
  demandTool("haproxy", "haproxy");
  const file = join(projectRoot, cluster, "haproxy.cfg");
  const { status, stderr } = spawnSync("haproxy", ["-c", "-f", file], { encoding: "utf8" });
  expect(status, stderr).toBe(0);
  const rules = (text: string) =>
    text.split("\n").filter((line) => !/^ *#|ssl|log |bind |Forwarded-Proto|^ {4}(user|group) /.test(line));
  const example = readProjectFile("docs/examples/proxies/haproxy-replicas.cfg").replaceAll("192.0.2.", "172.28.83.1");
  expect(rules(readFileSync(file, "utf8"))).toEqual(rules(example));
  const compose = readProjectFile(`${cluster}/compose.yaml`);
  for (const address of ["172.28.83.11", "172.28.83.12", "172.28.83.13"]) {
    expect(compose).toContain(`ipv4_address: ${address}\n`);
    expect(example).toContain(`${address}:8380`);
  }
});

test("the signing key of the cluster is created once", async () => {
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-secrets-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const env = { ...process.env, TAHOE_APT_DIRECTORY: projectRoot, SECRETS_DIR: directory, SERVER_UID: "0" };
  const make = () => execFileSync("node", [join(projectRoot, cluster, "make-key.mjs")], { env });
  make();
  const key = readFileSync(join(directory, "signing-key"), "utf8");
  expect((await readPrivateKey({ armoredKey: key })).isPrivate()).toBe(true);
  make();
  expect(readFileSync(join(directory, "signing-key"), "utf8")).toBe(key);
});
