// The files for containers are valid for Compose and Prometheus, and consistent with each other.
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
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
const promtool = (file: string) => spawnSync("promtool", ["check", "config", file], { encoding: "utf8" });

const composeFile = join(projectRoot, "docker/compose.yaml");

test("Compose accepts the compose file", () => {
  const { status, stderr, stdout } = compose(composeFile);
  expect(stderr).toBe("");
  expect(status).toBe(0);
  for (const service of ["tahoe", "tahoe-apt", "prometheus", "tree"]) expect(stdout).toMatch(`\n  ${service}:\n`);
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

test("Prometheus scrapes the port on which the server's image listens", () => {
  const port = /^EXPOSE (\d+)$/m.exec(readProjectFile("docker/Dockerfile"))?.[1];
  expect(readProjectFile("docker/Dockerfile")).toContain(`"0.0.0.0:${port}"`);
  expect(readProjectFile("docker/prometheus/prometheus.yml")).toContain(`"tahoe-apt:${port}"`);
  expect(readProjectFile("docker/compose.yaml")).toContain(`"${port}:${port}"`);
});

test("the server gets its secrets as files, which are ignored by git", () => {
  const text = readProjectFile("docker/compose.yaml");
  const defined = [...text.matchAll(/file: (\.\/secrets\/\S+)/g)].map(([, path]) => path);
  expect(defined).toEqual(["./secrets/readcap", "./secrets/ping-token"]);
  expect(text).toContain("secrets: [readcap, ping-token]");
  expect(text).toContain("--readcap-file=/run/secrets/readcap");
  expect(text).toContain("--ping-token-file=/run/secrets/ping-token");
  expect(text).not.toMatch(/TAHOE_APT_(READCAP|PING_TOKEN)/);
  const ignored = execFileSync("git", ["check-ignore", ...defined.map((path) => join("docker", path!))], {
    cwd: projectRoot,
    encoding: "utf8",
  });
  expect(ignored.trim().split("\n")).toHaveLength(defined.length);
});
