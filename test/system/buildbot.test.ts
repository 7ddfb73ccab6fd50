// The example for Buildbot, as in its README: a commit is built, uploaded with the worker's own bundle, and
// installable.
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { runTool } from "../support/debs.ts";
import { blockOf } from "../support/documents.ts";
import { InitializedTree, installedCommand } from "../support/initialized-tree.ts";
import { projectRoot, readProjectFile } from "../support/project-files.ts";
import { testCache } from "../support/rootfs.ts";
import { freePort } from "../support/server.ts";
import { writeSourceTree } from "../support/source-tree.ts";

const timeoutMs = 150_000;
/** The first time, Buildbot is downloaded. */
const setUpMs = 480_000;
const readme = readProjectFile("docker/buildbot/README.md");
/** The virtual environment, made once for each set of versions. */
const venv = join(testCache, `buildbot-${/buildbot==([\d.]+)/.exec(readme)?.[1]}`);
let tree: InitializedTree;
let checkout: string;
let source: string;
let bin: string;

/** Runs lines of the README. */
async function follow(block: string, cwd = checkout): Promise<void> {
  await promisify(execFile)("bash", ["-euc", block], {
    cwd,
    env: { ...process.env, PATH: `${bin}:${process.env.PATH}` },
  });
}

function git(...args: readonly string[]): void {
  runTool("git", ["-C", source, "-c", "user.name=a", "-c", "user.email=a@example.org", ...args]);
}

function commit(version: string): void {
  writeSourceTree(source, { name: "hello", version, distribution: "sid" });
  git("add", "--all");
  git("commit", "--quiet", "-m", version);
}

const logOf = (who: "master" | "worker"): string => readFileSync(join(checkout, who, "twistd.log"), "utf8");

async function until(condition: () => Promise<boolean> | boolean, what: string): Promise<void> {
  for (const begunMs = Date.now(); !(await condition()); await sleep(500)) {
    if (Date.now() - begunMs > timeoutMs)
      throw new Error(`${what} did not happen:\n${logOf("master")}\n${logOf("worker")}`);
  }
}

beforeAll(async () => {
  tree = await InitializedTree.plant(inject("webapiUrl"));
  checkout = join(tree.work, "checkout");
  source = join(tree.work, "hello");
  for (const directory of [checkout, source]) mkdirSync(directory);
  bin = installedCommand(tree.work);
  // Its programs contain its path, so it cannot be made elsewhere and moved. A file marks it as complete.
  const whole = join(venv, "whole");
  if (!existsSync(whole)) {
    rmSync(venv, { recursive: true, force: true });
    mkdirSync(venv, { recursive: true });
    await follow(blockOf("sh buildbot-install"), venv);
    writeFileSync(whole, "");
  }
  symlinkSync(join(venv, "venv"), join(checkout, "venv"));
  cpSync(join(projectRoot, "docker/buildbot"), join(checkout, "docker/buildbot"), { recursive: true });
  const port = await freePort();
  change("master.cfg", /https:\/\/git\.example\.org\/hello\.git/, source);
  change("master.cfg", /POLL_SECONDS = 60/, "POLL_SECONDS = 1");
  change("master.cfg", /tcp:9989/, `tcp:${port}`);
  change("worker.tac", /MASTER_PORT = 9989/, `MASTER_PORT = ${port}`);
  mkdirSync(join(checkout, "debian/builders"), { recursive: true });
  cpSync(tree.file, join(checkout, "debian/builders/alice.bundle"));

  git("init", "--quiet", "--initial-branch=main");
  commit("1.0");
  await follow(blockOf("sh buildbot-master"));
  await follow(blockOf("sh buildbot-worker"));
}, setUpMs);

function change(file: string, pattern: RegExp, text: string): void {
  const path = join(checkout, "docker/buildbot", file);
  const before = readFileSync(path, "utf8");
  expect(before).toMatch(pattern);
  writeFileSync(path, before.replace(pattern, text));
}

afterAll(async () => {
  for (const [program, directory] of [
    ["buildbot-worker", "worker"],
    ["buildbot", "master"],
  ] as const) {
    await promisify(execFile)(join(checkout, "venv/bin", program), ["stop", directory], { cwd: checkout }).catch(
      () => {},
    );
  }
  await tree?.close();
});

test("a commit becomes a package that apt can install, built and uploaded by a worker with one builder's bundle", async () => {
  await until(() => logOf("worker").includes("Connected to buildmaster; worker is ready"), "the worker's greeting");
  await until(() => logOf("master").includes("gitpoller: processing changes"), "the first look at the source");
  commit("1.1");
  const machine = await tree.apt();
  try {
    await until(async () => {
      await machine.update();
      return (await machine.candidate("hello").catch(() => undefined)) === "1.1";
    }, "the package of the commit");
    expect(await machine.download("hello")).toEqual(readFileSync(join(checkout, "worker/hello/hello_1.1_amd64.deb")));
    expect([...(await machine.source("hello")).keys()]).toContain("hello_1.1.dsc");
  } finally {
    machine.close();
  }
});

test("neither the master nor the logs contain a cap or the token", () => {
  const bundle = readFileSync(tree.file, "utf8");
  const secrets = [...bundle.matchAll(/(?:writecap|ping_token) = "([^"]+)"/g)].map(([, secret]) => secret ?? "");
  expect(secrets).toHaveLength(tree.bundle.directories.length + 1);
  const databases = readFileSync(join(checkout, "master/state.sqlite"), "latin1");
  for (const secret of secrets)
    for (const text of [logOf("master"), logOf("worker"), databases]) expect(text).not.toContain(secret);
});
