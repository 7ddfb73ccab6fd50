// Commands for a running server: preview of views, pins, and rollbacks.
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { CommandLine } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import { aSigningKey } from "../support/signing-key.ts";

const amd64 = "dists/sid/main/binary-amd64";
const longAgoSeconds = 1_700_000_000;

let work: string;
let config: string;
let url: string;
let server: CommandLine;

beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), "operator-"));
  config = join(work, "it.toml");
  onTestFinished(() => rm(work, { recursive: true, force: true }));
  await mkdir(join(work, "tree"));
  await writeFile(join(work, "key.asc"), (await aSigningKey()).reveal(), { mode: 0o600 });
  await writeFile(join(work, "token"), "a-token-for-this-test\n", { mode: 0o600 });
  await configure("");
});

const configure = (view: string) =>
  writeFile(
    config,
    `listen = "127.0.0.1:0"
state = "state"
[[repository]]
name = "debian"
folder = "tree"
signing_key_file = "key.asc"
ping_token_file = "token"
${view}`,
  );

async function start(): Promise<void> {
  server = new CommandLine(["serve", "--config", config]);
  onTestFinished(async () => void (await server.stop("SIGKILL")));
  url = await server.waitForOutput(/"url":"(http:[^"]+\/debian)\/"/);
  await ping();
}

async function put(path: string, version: string, atSeconds: number): Promise<void> {
  const target = join(work, "tree", path);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(`${target}.new`, await aDeb({ version, architecture: "amd64" }));
  await utimes(`${target}.new`, atSeconds, atSeconds);
  await rename(`${target}.new`, target);
}

async function ping(): Promise<void> {
  const headers = { authorization: "Bearer a-token-for-this-test" };
  const reply = await fetch(url.replace(/\/debian$/, "/-/ping/debian?wait=30"), { method: "POST", headers });
  expect(reply.status).toBe(200);
}

async function text(path: string): Promise<string> {
  const reply = await fetch(`${url}/${path}`);
  expect(reply.status, path).toBe(200);
  return await reply.text();
}

const versions = async (at = ""): Promise<string[]> =>
  [...(await text(`${at}${amd64}/Packages`)).matchAll(/^Version: (.*)$/gm)].map((match) => match[1] ?? "");

/** Runs a command to its end. @returns its output, which ends with the exit code if that is not 0 */
async function run(...args: readonly string[]): Promise<string> {
  const command = new CommandLine([...args, "--config", config]);
  const code = await command.ends();
  return code === 0 ? command.output : `${command.output}ended with ${code}`;
}

interface Listed {
  readonly snapshots: readonly { readonly id: string; readonly isCurrent: boolean; readonly pins: readonly string[] }[];
}

const listed = async (): Promise<Listed["snapshots"]> =>
  (JSON.parse(await run("snapshot", "list", "--json")) as Listed).snapshots;

test("list snapshots, roll back to a good one, inspect the problem, resume", async () => {
  await put(`${amd64}/1.deb`, "1", longAgoSeconds);
  await start();
  await put(`${amd64}/2.deb`, "2-bad", longAgoSeconds + 60);
  await ping();
  expect(await versions()).toEqual(["1", "2-bad"]);
  const good = (await listed()).at(-1);
  const lines = (await run("snapshot", "list")).split("\n");
  expect(lines[0]).toMatch(/^sid \w+ \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC 2 binary, 0 source, .* \(current\)$/);
  expect(lines.join("\n")).toMatch(/2 binary, 0 source, \+hello 2-bad amd64( |$)/m);
  expect(lines.at(-2)).toMatch(new RegExp(`^sid ${good?.id} .* UTC 1 binary, 0 source, oldest snapshot$`));

  expect(await run("snapshot", "rollback", good?.id ?? "")).toContain(`sid serves the contents of ${good?.id}`);
  expect(await versions()).toEqual(["1"]);
  await put(`${amd64}/3.deb`, "3", longAgoSeconds + 120);
  await ping();
  expect(await versions()).toEqual(["1"]);
  expect(await run("snapshot", "list")).toContain(`sid is rolled back to ${good?.id}`);
  expect(await text("")).toContain(`rolled back to ${good?.id}`);
  expect(server.output).toContain("control command executed");

  expect(await run("snapshot", "resume", "--suite", "sid")).toContain("sid serves the contents of the tree");
  expect(await versions()).toEqual(["1", "2-bad", "3"]);
  expect(await run("snapshot", "resume")).toContain("sid is not rolled back\nended with 1");
});

test("a pin is an address of its own, can be created with or without a running server, and is removed by its name", async () => {
  await put(`${amd64}/1.deb`, "1", longAgoSeconds);
  await start();
  const only = (await listed()).at(-1);
  expect(await run("snapshot", "pin", only?.id ?? "", "release-1")).toContain(`sid: ${only?.id} is kept as release-1`);
  expect(await versions("snapshots/release-1/")).toEqual(["1"]);
  await server.stop();
  expect(await run("snapshot", "pin", "release-1", "release-1.0")).toContain(`${only?.id} is kept as release-1.0`);
  expect(await run("snapshot", "unpin", "release-1")).toContain("is no longer kept as release-1");
  expect((await listed()).at(-1)).toMatchObject({ id: only?.id, pins: ["release-1.0"] });
  expect(await run("snapshot", "rollback", "20010101T000000Z")).toMatch(
    /no publication of sid is kept .*\nended with 1/,
  );
});

test("a suite that is rolled back without a running server is rolled back before the next server reads its tree", async () => {
  await put(`${amd64}/1.deb`, "1", longAgoSeconds);
  await start();
  await put(`${amd64}/2.deb`, "2-bad", longAgoSeconds + 60);
  await ping();
  const good = (await listed()).at(-1);
  await server.stop();
  expect(await run("snapshot", "rollback", good?.id ?? "")).toContain("none is running");
  await start();
  expect(await versions()).toEqual(["1"]);
});

test("the effect of a view is shown before it is in use, and matches the effect afterwards", async () => {
  for (const [n, version] of ["1", "2", "10"].entries())
    await put(`${amd64}/${version}.deb`, version, longAgoSeconds + n);
  const view = "[repository.suite.sid.view]\nnewest = ";
  await configure(`${view}1`);
  await start();
  expect(await versions()).toEqual(["10"]);
  await configure(`${view}2`);
  expect(await run("view")).toBe("show sid main hello 2 amd64\ndebian sid: 0 to hide, 1 to show, 1 stay as they are\n");
  await configure('[repository.suite.sid.view]\nhide = ["h?llo"]');
  expect(JSON.parse(await run("view", "--dry-run", "--suite", "sid", "--json"))).toEqual({
    repository: "debian",
    suite: "sid",
    hides: [{ component: "main", package: "hello", version: "10", architecture: "amd64" }],
    shows: [],
    stays: 0,
  });
  expect(await versions()).toEqual(["10"]);
  await server.stop();
  expect(await run("view", "--dry-run")).toContain("no server runs");
  await start();
  expect(await versions()).toEqual([]);
});

test("a view considers only what it hides, even if an override changes the indices", async () => {
  for (const version of ["1", "2"]) await put(`${amd64}/${version}.deb`, version, longAgoSeconds);
  await start();
  expect(await run("override", "set", "hello", "Section=libs")).toContain("Section=libs");
  expect(await run("view")).toBe("debian sid: 0 to hide, 0 to show, 2 stay as they are\n");
  await configure("[repository.suite.sid.view]\nnewest = 1");
  expect(await run("view")).toBe("hide sid main hello 1 amd64\ndebian sid: 1 to hide, 0 to show, 1 stay as they are\n");
});

test.each([
  ["newest = 0", "view.newest"],
  ["newest = 1.5", "view.newest"],
  ["hide = 'x'", "view.hide"],
  ["older = 1", "view.older"],
])("a view with %s is rejected with its place", async (view, place) => {
  await configure(`[repository.suite.sid.view]\n${view}`);
  const output = await run("view", "--dry-run");
  expect(output).toContain(`repository[0].suite.sid.${place}: `);
  expect(output).toContain("ended with 2");
});

test("only the owner can use the socket, and invalid or idle connections block nothing", async () => {
  await put(`${amd64}/1.deb`, "1", longAgoSeconds);
  await start();
  const socket = join(work, "state/in-use");
  expect((await stat(socket)).mode & 0o777).toBe(0o600);
  const respond = (question: string) =>
    new Promise<string>((resolve) => {
      let answer = "";
      const asking = createConnection({ path: socket, allowHalfOpen: true });
      asking.on("data", (chunk) => (answer += String(chunk)));
      asking.on("error", () => undefined);
      asking.on("close", () => resolve(answer));
      asking.end(question);
    });
  expect(JSON.parse(await respond("x"))).toHaveProperty("refused");
  expect(JSON.parse(await respond('{"ask":"rollback"}'))).toHaveProperty("refused");
  expect(await respond("x".repeat(100_000))).toBe("");
  expect(await respond("")).toBe("");
  const silent = createConnection({ path: socket });
  silent.on("error", () => undefined);
  await new Promise((resolve) => silent.once("connect", resolve));
  expect(await server.stop()).toBe(0);
  expect(existsSync(socket)).toBe(false);
});

test("with several suites, a command for one suite requires its name: a usage error with or without a running server", async () => {
  for (const suite of ["sid", "trixie"]) await put(`dists/${suite}/main/binary-amd64/1.deb`, "1", longAgoSeconds);
  await start();
  const rollBack = () => run("snapshot", "rollback", "20990101T000000Z");
  expect(await rollBack()).toBe("tahoe-apt: --suite: one of sid, trixie is needed\nended with 2");
  await server.stop();
  expect(await rollBack()).toBe("tahoe-apt: --suite: one of sid, trixie is needed\nended with 2");
});

test("a mistyped suite, repository or directory is an error, and nothing is created", async () => {
  await put(`${amd64}/1.deb`, "1", longAgoSeconds);
  await start();
  expect(await run("snapshot", "list", "--suite", "sdi")).toMatch(/there is no suite sdi; known: sid\nended with 2$/);
  expect(await run("view", "--dry-run", "--suite", "sdi")).toMatch(/no suite sdi\nended with 2$/);
  expect(await run("view", "--dry-run", "--repository", "dbian")).toMatch(/no repository dbian\nended with 2$/);
  expect(await run("snapshot", "list", "--state", join(work, "tree"))).toMatch(
    /holds no server's state\nended with 1$/,
  );
  expect(await run("snapshot", "list", "--state", join(work, "nowhere"))).toContain("holds no server's state");
  expect(existsSync(join(work, "tree/database"))).toBe(false);
});
