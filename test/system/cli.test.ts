// The command line as users see it: serving, error messages and exit codes.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { CommandLine } from "../support/command-line.ts";
import { projectRoot, readProjectFile } from "../support/project-files.ts";
import { freePort } from "../support/server.ts";
import { aSigningKey } from "../support/signing-key.ts";
import { temporaryDirectory } from "../support/temporary-directory.ts";
import { ValkeyUnderTest } from "../support/valkey.ts";

/** A state directory with a signing key, because generating a key takes seconds. */
async function aState(): Promise<string> {
  const state = temporaryDirectory("cli");
  await mkdir(join(state, "repositories/debian"), { recursive: true });
  await writeFile(join(state, "repositories/debian/signing-key.asc"), (await aSigningKey()).reveal(), { mode: 0o600 });
  return state;
}

async function aFolder(): Promise<string> {
  const folder = temporaryDirectory("cli");
  await mkdir(join(folder, "dists/sid/main/binary-amd64"), { recursive: true });
  return folder;
}

/** A server for a folder, on its own port; killed after the test. */
async function aServer(state: string, ...flags: readonly string[]): Promise<{ server: CommandLine; url: string }> {
  const folder = await aFolder();
  const args = ["serve", "--folder", folder, "--listen", "127.0.0.1:0", "--state", state, ...flags];
  const server = new CommandLine(args);
  onTestFinished(async () => void (await server.stop("SIGKILL")));
  return { server, url: await server.waitForOutput(/"url":"(http:[^"]+)\/debian\/"/) };
}

test("a folder is served with flags only, and SIGTERM ends the server with 0", async () => {
  const { server, url } = await aServer(await aState());
  const key = await (await fetch(`${url}/debian/key.asc`)).text();
  expect(key).toMatch(/^-----BEGIN PGP PUBLIC KEY BLOCK-----/);
  expect(await server.stop("SIGTERM")).toBe(0);
});

test("Ctrl-C also ends it with 0", async () => {
  const { server } = await aServer(await aState());
  expect(await server.stop("SIGINT")).toBe(0);
});

test("the key and the ping token are generated once, readable only by their owner, and never printed", async () => {
  const state = temporaryDirectory("cli");
  const first = await aServer(state);
  const keyBefore = await (await fetch(`${first.url}/debian/key.asc`)).text();
  const tokenFile = await first.server.waitForOutput(/"file":"([^"]*ping-token)"/);
  const token = readFileSync(tokenFile, "utf8").trim();
  expect(token.length).toBeGreaterThanOrEqual(32);
  for (const file of [tokenFile, join(state, "repositories/debian/signing-key.asc")]) {
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  }
  const ping = (bearer: string): Promise<Response> =>
    fetch(`${first.url}/-/ping/debian`, { method: "POST", headers: { Authorization: `Bearer ${bearer}` } });
  expect((await ping(token)).status).toBe(202);
  expect((await ping(`${token}x`)).status).toBe(401);
  await first.server.stop();
  const second = await aServer(state);
  expect(await (await fetch(`${second.url}/debian/key.asc`)).text()).toBe(keyBefore);
  expect(first.server.output + second.server.output).not.toContain(token);
  expect(first.server.output + second.server.output).not.toContain("PRIVATE KEY");
});

test("a ping token can come from a file or from the environment", async () => {
  const directory = temporaryDirectory("cli");
  await writeFile(join(directory, "token"), "one-from-a-file-of-mine\n", { mode: 0o600 });
  const { url } = await aServer(await aState(), "--ping-token-file", join(directory, "token"));
  const headers = { Authorization: "Bearer one-from-a-file-of-mine" };
  expect((await fetch(`${url}/-/ping/debian`, { method: "POST", headers })).status).toBe(202);
});

test("metrics, health and readiness are available", async () => {
  const { url } = await aServer(await aState());
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  await expect.poll(async () => (await fetch(`${url}/readyz`)).status, { timeout: 10_000 }).toBe(200);
  expect(await (await fetch(`${url}/metrics`)).text()).toContain("# TYPE ");
});

test("every mistake in a configuration is one line with its key, and the exit code is 2", async () => {
  const directory = temporaryDirectory("cli");
  await writeFile(join(directory, "c.toml"), '[[repository]]\nname = "-"\nfolder = "none"\ncolour = "red"\n');
  const command = new CommandLine(["serve", "--config", join(directory, "c.toml")]);
  expect(await command.ends()).toBe(2);
  expect(command.output.trim().split("\n").sort()).toEqual([
    expect.stringMatching(/^tahoe-apt: repository\[0\]\.colour: /),
    expect.stringMatching(/^tahoe-apt: repository\[0\]\.folder: /),
    expect.stringMatching(/^tahoe-apt: repository\[0\]\.name: /),
  ]);
});

test.each([
  [["serve", "--colour", "red"], /--colour/],
  [["serve"], /--webapi: is missing/],
  [["serve", "--readcap", "URI:DIR2-RO:x"], /unknown option/],
  [["sevre"], /Did you mean serve/],
])("%j is a usage error: exit code 2, and no stack trace", async (args, expected) => {
  const command = new CommandLine(args, { env: { TAHOE_APT_READCAP: "" } });
  expect(await command.ends()).toBe(2);
  expect(command.output).toMatch(expected);
  expect(command.output).not.toMatch(/\n {4}at /);
});

test.each([
  [["put", "--bundel", "alice.bundle", "x.deb"], /unknown option '--bundel'/],
  [["put", "x.deb"], /required option '--bundle <file>' not specified/],
  [["promote", "--bundle", "b", "--form", "sid", "--to", "x", "hello"], /unknown option '--form'/],
  [["init", "--webapp", "http://127.0.0.1:3456", "x"], /unknown option '--webapp'/],
  [["view", "--confg", "x.toml"], /unknown option '--confg'/],
  [["publish", "--bundel", "x"], /unknown option '--bundel'/],
])("%j: the error names the misspelt option, and not the missing one", async (args, expected) => {
  const command = new CommandLine(args);
  expect(await command.ends()).toBe(2);
  expect(command.output).toMatch(expected);
});

test.each([
  ["put", ["--bundel", "b", "x.deb"], 2, { linked: "none", code: "usage/wrong-arguments" }],
  ["put", ["--bundle", "/nowhere.bundle", "x.deb"], 2, { linked: "none", code: "builder/bad-bundle" }],
  ["put", ["--bundle", "/nowhere.bundle", "--timeout", "x", "x.deb"], 2, { linked: "none" }],
  ["remove", ["--bundle", "/nowhere.bundle", "x"], 2, { code: "builder/bad-bundle" }],
  ["list", ["--webapi", "x", "--readcap-file", "/nowhere"], 2, { code: "configuration/invalid" }],
  ["snapshot", ["list", "--state", "/nowhere"], 1, { code: "operator/refused" }],
] as const)("%s %j --json prints one object though it fails", async (name, args, exitCode, expected) => {
  const command = new CommandLine([name, ...args, "--json"], { env: { TAHOE_APT_READCAP: "" } });
  expect(await command.ends()).toBe(exitCode);
  const objects = command.printed.split("\n").filter((line) => line !== "");
  expect(objects).toHaveLength(1);
  expect(JSON.parse(objects[0] ?? "")).toMatchObject({
    status: "failed",
    exitCode,
    errors: expect.arrayContaining([expect.stringMatching(/\S/)]),
    ...expected,
  });
});

test("if the reader of a pipe leaves, such as head, a command ends without a stack trace", async () => {
  const program = join(projectRoot, "dist/cli.js");
  const script = `'${process.execPath}' '${program}' --help | true; echo "\${PIPESTATUS[0]}"`;
  const { stdout, stderr } = await promisify(execFile)("bash", ["-c", script]);
  expect([stdout, stderr]).toEqual(["0\n", ""]);
});

test("an address in use is reported in one line, and the exit code is 1", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => void other.close());
  await expect.poll(() => other.listening).toBe(true);
  const address = other.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const flags = ["--folder", await aFolder(), "--state", await aState(), "--listen", `127.0.0.1:${port}`];
  const command = new CommandLine(["serve", ...flags]);
  expect(await command.ends()).toBe(1);
  expect(command.output).toContain(`tahoe-apt: cannot listen on 127.0.0.1:${port}`);
  expect(command.output).not.toMatch(/\n {4}at /);
});

test("a replica that cannot start ends, too, with Valkey and without", async () => {
  const valkey = await ValkeyUnderTest.start();
  onTestFinished(() => valkey.stop());
  const other = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => void other.close());
  await expect.poll(() => other.listening).toBe(true);
  const address = other.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  for (const url of [valkey.url, `redis://127.0.0.1:${await freePort()}`]) {
    const config = join(await aState(), "tahoe-apt.toml");
    const [folder, state] = [await aFolder(), await aState()];
    const repository = `[[repository]]\nname = "debian"\nfolder = "${folder}"\n`;
    await writeFile(config, `state = "${state}"\n[cluster]\nurl = "${url}"\nname = "tests"\n${repository}`);
    const command = new CommandLine(["serve", "--config", config, "--listen", `127.0.0.1:${port}`]);
    expect(await command.ends()).toBe(1);
    expect(command.output).toContain(`tahoe-apt: cannot listen on 127.0.0.1:${port}`);
  }
});

test("a second server cannot use a state directory in use, but can use that of a killed server", async () => {
  const flags = ["--folder", await aFolder(), "--state", await aState(), "--listen", "127.0.0.1:0"];
  const first = new CommandLine(["serve", ...flags]);
  await first.waitForOutput(/serving debian/);
  const second = new CommandLine(["serve", ...flags]);
  expect(await second.ends()).toBe(1);
  expect(second.output).toContain("tahoe-apt: another server uses the state directory");
  first.child.kill("SIGKILL");
  await first.ends();
  const third = new CommandLine(["serve", ...flags]);
  await third.waitForOutput(/serving debian/);
  third.child.kill("SIGTERM");
  expect(await third.ends()).toBe(0);
});

test.each([
  [["--help"], ["serve", "start", "demo", "Examples:"]],
  [
    ["serve", "--help"],
    ["TAHOE_APT_READCAP", "TAHOE_APT_PING_TOKEN", "Exit codes:", "[[repository]]", "--listen"],
  ],
  [
    ["start", "--help"],
    ["--folder", "--show-caps"],
  ],
  [
    ["prune", "--help"],
    ["newest versions to keep (default with --older-than: 1)", "--older-than or both are required"],
  ],
])("%j prints help, and ends with 0", async (args, texts) => {
  const command = new CommandLine(args);
  expect(await command.ends()).toBe(0);
  const output = command.output.replaceAll(/\s+/g, " ");
  for (const text of texts) expect(output).toContain(text);
});

test.each(["--version", "-V"])("%s prints only the version of package.json, from any directory", async (flag) => {
  const { version } = JSON.parse(readProjectFile("package.json")) as { readonly version: string };
  const program = [join(projectRoot, "dist/cli.js"), flag];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, program, { cwd: "/" });
  expect([stdout, stderr]).toEqual([`${version}\n`, ""]);
});

test.each([
  { state: "/proc/x", reason: "ENOENT" },
  { state: "/proc/version/x", reason: "not a directory" },
])(
  "a state directory that cannot be created, $state, is named, and the server ends with 2",
  async ({ state, reason }) => {
    const server = new CommandLine(["serve", "--folder", await aFolder(), "--listen", "127.0.0.1:0", "--state", state]);
    onTestFinished(async () => void (await server.stop("SIGKILL")));
    expect(await server.ends()).toBe(2);
    expect(server.output).toContain(`tahoe-apt: the state directory ${state} cannot be created: ${reason}`);
  },
);

test("verify accepts --suite repeatedly, and does not take the URL for another suite", async () => {
  const suites = ["--suite", "a b", "--suite", "sid"];
  const verify = new CommandLine(["verify", "--folder", await aFolder(), ...suites, "http://127.0.0.1:1/debian"]);
  expect(await verify.ends()).toBe(2);
  expect(verify.output).toContain('--suite: "a b" is not a suite name');
});

test.each([
  ["init", "directory", ["--suite", "a b"], "--suite, --component or --architecture: "],
  ["export", "directory", [], "--readcap-file: is missing"],
  ["list", "=", [], "PATTERN: "],
])(
  "%s accepts --webapi repeatedly, and does not take the next argument for another gateway",
  async (name, argument, flags, expected) => {
    const gateways = ["--webapi", "http://127.0.0.1:1", "--webapi", "http://127.0.0.1:2"];
    const command = new CommandLine([name, ...gateways, argument, ...flags], { env: { TAHOE_APT_READCAP: "" } });
    expect(await command.ends()).toBe(2);
    expect(command.output).toContain(`tahoe-apt: ${expected}`);
  },
);
