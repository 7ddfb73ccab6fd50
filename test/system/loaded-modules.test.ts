// A command loads only the modules that it needs, because loading all of them takes longer than most commands.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { CommandLine } from "../support/command-line.ts";
import { ServerUnderTest } from "../support/server.ts";

const module = (text: string): string => `data:text/javascript,${encodeURIComponent(text)}`;

/** Prints the path of each loaded module. */
const telling = module(`
import { writeSync } from "node:fs";
export const load = (url, context, next) => { writeSync(1, "loads " + url + "\\n"); return next(url, context); };
`);
const NODE_OPTIONS = `--import=${module(`import { register } from "node:module"; register(${JSON.stringify(telling)});`)}`;

/** Below `dist/` and `node_modules/`. */
async function loadedBy(...args: readonly string[]): Promise<readonly string[]> {
  const command = new CommandLine(args, { env: { NODE_OPTIONS } });
  await command.ends();
  return [...command.output.matchAll(/^loads file:.*\/((?:dist|node_modules)\/.*)$/gm)].map(([, path = ""]) => path);
}

const ofServersAlone = /^node_modules\/(koa|@koa|openpgp|lmdb|prom-client|pino)\/|^dist\/(main|config)\.js$/;

test("an upload loads no module that only a server needs", async () => {
  const loaded = await loadedBy("put", "--help");
  expect(loaded).toContain("dist/commands/put.js");
  expect(loaded.filter((path) => ofServersAlone.test(path))).toEqual([]);
});

test("the help of all commands loads them all", async () => {
  const loaded = await loadedBy("--help");
  expect(loaded).toEqual(expect.arrayContaining(["dist/commands/put.js", "dist/commands/verify.js"]));
  expect(loaded.some((path) => ofServersAlone.test(path))).toBe(true);
});

test("a server loads its routes and its pages after it has begun to serve", async () => {
  const work = mkdtempSync(join(tmpdir(), "loaded-"));
  mkdirSync(join(work, "tree"));
  const flags = ["--folder", join(work, "tree"), "--name", "debian", "--state", join(work, "state")];
  const server = await ServerUnderTest.start({ flags, env: { NODE_OPTIONS } });
  onTestFinished(async () => {
    await server.end();
    rmSync(work, { recursive: true });
  });
  expect((await fetch(`${server.url}/debian/-/health`)).status).toBe(200);
  const places = ["serving debian", "dist/http/routes.js", "dist/web/pages/page-routes.js"].map((text) =>
    server.output.indexOf(text),
  );
  expect(places).not.toContain(-1);
  expect(places).toEqual(places.toSorted((a, b) => a - b));
});

test("every command in the help can be loaded by its name", async () => {
  const help = new CommandLine(["--help"]);
  await help.ends();
  const names = [...help.output.matchAll(/^ {2}([a-z-]+) (?:\[|<| {2})/gm)].map(([, name = ""]) => name);
  expect(names).toEqual(expect.arrayContaining(["serve", "init", "prune", "publish", "demo"]));
  for (const name of names.filter((each) => each !== "help")) {
    const own = new CommandLine([name, "--help"]);
    expect([name, await own.ends(), own.output]).toEqual([
      name,
      0,
      expect.stringContaining(`Usage: tahoe-apt ${name}`),
    ]);
  }
});
