// The lines for continuous integration in the guide for builders, run unchanged.
import { execFile } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { runTool } from "../support/debs.ts";
import { blockOf } from "../support/documents.ts";
import { InitializedTree, installedCommand } from "../support/initialized-tree.ts";
import { writeSourceTree } from "../support/source-tree.ts";

let tree: InitializedTree;
let bin: string;
beforeAll(async () => {
  tree = await InitializedTree.plant(inject("webapiUrl"));
  bin = installedCommand(tree.work);
});
afterAll(() => tree?.close());

/** The shell lines of a block in the guide. */
function linesOf(fence: string): string {
  const block = blockOf(fence);
  switch (fence) {
    case "sh runner":
      return `dpkg-buildpackage --no-sign\n${block}`;
    case "yaml github":
      return [...block.matchAll(/^- run: (?:\|\n((?: {4}.*\n)+)|(.*\n))/gm)]
        .map(([, many, one]) => many ?? one)
        .join("");
    default:
      return [...block.matchAll(/^ {4}- (.*\n)/gm)].map(([, line]) => line).join("");
  }
}

test("the script for cron builds and uploads a new commit, and does nothing without one", async () => {
  const home = mkdtempSync(join(tree.work, "home-"));
  const origin = join(home, "origin");
  const git = (...args: readonly string[]): void => {
    runTool("git", ["-C", origin, "-c", "user.name=a", "-c", "user.email=a@example.org", ...args]);
  };
  const commit = (version: string): void => {
    writeSourceTree(origin, { name: "hello", version, distribution: "sid" });
    git("add", "--all");
    git("commit", "--quiet", "-m", version);
  };
  mkdirSync(origin);
  git("init", "--quiet");
  commit("1.0");
  mkdirSync(join(home, "src"));
  runTool("git", ["clone", "--quiet", origin, join(home, "src/hello")]);
  copyFileSync(tree.file, join(home, "alice.bundle"));
  writeFileSync(join(home, "build-hello"), blockOf("sh cron"), { mode: 0o755 });
  const env = { ...process.env, HOME: home, PATH: `${bin}:${process.env.PATH}` };
  const runScript = async (): Promise<string> =>
    (await promisify(execFile)(join(home, "build-hello"), [], { cwd: "/", env })).stdout;
  expect(await runScript()).toContain("live: hello 1.0 amd64 in sid main");
  expect(await runScript()).toBe("");
  commit("1.1");
  expect(await runScript()).toContain("live: hello 1.1 amd64 in sid main");
});

test.each(["sh runner", "yaml github", "yaml gitlab"])(
  "the lines for %s build a package and upload it",
  async (fence) => {
    const home = mkdtempSync(join(tree.work, "home-"));
    const name = fence.replace(" ", "-");
    const source = join(home, "build", name);
    mkdirSync(source, { recursive: true });
    writeSourceTree(source, { name, version: "1.0", distribution: "sid" });
    copyFileSync(tree.file, join(home, "alice.bundle"));
    // As GitLab leaves it.
    chmodSync(join(home, "alice.bundle"), 0o666);
    const bundle = fence === "yaml gitlab" ? join(home, "alice.bundle") : readFileSync(tree.file, "utf8");
    const env = { ...process.env, HOME: home, RUNNER_TEMP: home, BUNDLE: bundle, PATH: `${bin}:${process.env.PATH}` };
    const script = linesOf(fence);
    expect(script).toMatch(/^dpkg-buildpackage[\s\S]*\btahoe-apt put /);
    const { stdout } = await promisify(execFile)("bash", ["-eo", "pipefail", "-c", script], { cwd: source, env });
    expect(stdout).toContain(`live: ${name} 1.0 source in sid main`);
    expect(stdout).toContain(`live: ${name} 1.0 amd64 in sid main`);
  },
);
