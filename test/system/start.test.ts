// `npm start`: its services, its output, the guides, and the state after its end, with the real tools.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadConfiguration } from "../../src/config/load-config.ts";
import { AptRoot } from "../support/apt.ts";
import { CommandLine } from "../support/command-line.ts";
import { blockOf } from "../support/documents.ts";
import { projectRoot } from "../support/project-files.ts";
import { freePort } from "../support/server.ts";

const setUpPatienceMs = 240_000;
const addressInGuides = "http://127.0.0.1:8380";

const checkout = mkdtempSync(join(tmpdir(), "start-"));
const local = (...names: readonly string[]): string => join(checkout, ".tahoe-apt", ...names);

let started: CommandLine;
let url = "";

/** Runs shell lines in the checkout with this run's server; they must succeed. */
async function shell(text: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const script = `set -eu\n${text.replaceAll(addressInGuides, url)}`;
  const options = { cwd: checkout, env: { ...process.env, ...env } };
  return (await promisify(execFile)("bash", ["-c", script], options)).stdout;
}

async function start(...flags: readonly string[]): Promise<void> {
  started = new CommandLine(["start", ...flags], { cwd: checkout });
  url = await started.waitForOutput(/^ {2}(http:\S+)\/debian\/$/m, setUpPatienceMs);
  await started.waitForOutput(/Ctrl-C stops everything/);
}

/** The command lines of all processes that belong to this checkout. */
function processes(): readonly string[] {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const commandLine = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").join(" ");
      return commandLine.includes(checkout) ? [commandLine] : [];
    } catch {
      return [];
    }
  });
}

const capsOf = (): readonly string[] =>
  readdirSync(local("caps")).map((name) => readFileSync(local("caps", name), "utf8").trim().replace(/^.* /, ""));

beforeAll(async () => {
  // As an earlier start has chosen: another test may be about to use the usual address.
  mkdirSync(local());
  writeFileSync(local("listen"), `127.0.0.1:${await freePort()}\n`);
  await start();
}, setUpPatienceMs);

afterAll(async () => {
  await started.stop("SIGINT");
  rmSync(checkout, { recursive: true, force: true });
});

test("caps and the token are in files for their owner only, and neither printed nor in a process list", () => {
  expect(capsOf().length).toBeGreaterThanOrEqual(6);
  for (const name of readdirSync(local("caps"))) expect(statSync(local("caps", name)).mode & 0o777, name).toBe(0o600);
  const log = readFileSync(local("server.log"), "utf8");
  for (const cap of capsOf()) {
    expect(started.output).not.toContain(cap);
    expect(log).not.toContain(cap);
    expect(processes().join("\n")).not.toContain(cap);
  }
});

test("the printed lines for a builder are those of the guide", () => {
  const plain = (text: string): string => text.replaceAll(`${checkout}/`, "").replaceAll(url, addressInGuides);
  const unbroken = blockOf("sh builder").replaceAll("\\\n ", "").replaceAll(/ +/g, " ");
  for (const line of unbroken.trim().split("\n")) expect(plain(started.output)).toContain(line);
});

test("the lines for a builder upload a package and publish it, with only the builder's own write cap", async () => {
  const answer = await shell(blockOf("sh builder"));
  expect(answer).toContain('"added":["dists/sid/main/binary-amd64/builder/tahoe-apt-hello_2.0_all.deb"]');
  const aliases = readFileSync(local("grid/node/private/aliases"), "utf8");
  expect(aliases).not.toContain(readFileSync(local("caps/root.writecap"), "utf8").trim());
});

test("the line for put has the path of the program, and reports that everything is uploaded already", async () => {
  const line = blockOf("sh put")
    .trim()
    .replace(/^tahoe-apt /, `${join(projectRoot, "dist/cli.js")} `);
  expect(started.output.replaceAll(`${checkout}/`, "")).toContain(`  ${line}\n`);
  expect(await shell(line)).toBe("live: tahoe-apt-hello 2.0 all in sid main\n");
});

test("the lines for an APT user install it", async () => {
  const root = new AptRoot({ source: "", options: { "APT::Get::Download-Only": "true" } });
  try {
    const lines = blockOf("sh apt-user").replace(
      "/etc/apt/sources.list.d/debian-tahoe.sources",
      `${root.directory}/etc/sources.list.d/it.sources`,
    );
    expect(lines).toContain(root.directory);
    await shell(lines, { APT_CONFIG: join(root.directory, "apt.conf") });
    expect(readdirSync(join(root.directory, "cache/archives"))).toContain("tahoe-apt-hello_2.0_all.deb");
  } finally {
    root.close();
  }
});

test("Ctrl-C ends every process, and the next start uses the same address and data", async () => {
  const [urlBefore, capsBefore] = [url, capsOf()];
  const release = await (await fetch(`${url}/debian/dists/sid/InRelease`)).text();
  expect(processes()).not.toEqual([]);
  expect(await started.stop("SIGINT")).toBe(0);
  expect(processes()).toEqual([]);
  await start();
  expect(url).toBe(urlBefore);
  expect(capsOf()).toEqual(capsBefore);
  expect(await (await fetch(`${url}/debian/dists/sid/InRelease`)).text()).toBe(release);
  expect(await shell(".tahoe-apt/venv/bin/tahoe -d .tahoe-apt/grid/node ls builder:")).toBe(
    "tahoe-apt-hello_1.0_all.deb\ntahoe-apt-hello_2.0_all.deb\n",
  );
});

test("beside a running one, caps and instructions are printed on request, and another start says so", async () => {
  const beside = new CommandLine(["start", "--show-caps"], { cwd: checkout });
  expect(await beside.ends(), beside.output).toBe(0);
  expect(beside.output).toContain(started.output.slice(started.output.indexOf("The page of the repository:")));
  for (const cap of capsOf().filter((each) => each.startsWith("URI:"))) expect(beside.output).toContain(cap);
  // npm tells its scripts which one it runs.
  for (const [script, named] of [
    ["start", "npm start -- --show-caps"],
    ["test", "/dist/cli.js start --show-caps"],
  ] as const) {
    const another = new CommandLine(["start"], { cwd: checkout, env: { npm_lifecycle_event: script } });
    expect(await another.ends()).toBe(1);
    expect(another.output).toMatch(/^tahoe-apt: it is running already, .*\n$/);
    expect(another.output).toContain(named);
  }
  expect((await fetch(`${url}/debian/`)).status, "the first one goes on").toBe(200);
});

test("caps are printed on request", async () => {
  expect(await started.stop("SIGINT")).toBe(0);
  await start("--show-caps");
  await started.waitForOutput(new RegExp(`root.readcap: ${readFileSync(local("caps/root.readcap"), "utf8").trim()}`));
});

test("without Python, the error names the packages to install and an alternative", async () => {
  const elsewhere = mkdtempSync(join(tmpdir(), "start-"));
  // In a separate mount namespace, Debian's Python is not executable, and PATH leads to no other one.
  const script = 'mount --bind /dev/null /usr/bin/python3; PATH=/nowhere exec "$0" "$@"';
  const namespace = ["--map-root-user", "--mount", "bash", "-c", script];
  const command = [process.execPath, join(projectRoot, "dist/cli.js"), "start"];
  const outcome = promisify(execFile)("unshare", [...namespace, ...command], { cwd: elsewhere, timeout: 30_000 });
  const stderr = expect.stringMatching(/python3-venv[\s\S]*\/dist\/cli\.js start --folder DIR/) as string;
  await expect(outcome).rejects.toMatchObject({ code: 1, stderr });
});

test("the configurations in the guides are valid", () => {
  const directory = mkdtempSync(join(tmpdir(), "start-"));
  const write = (name: string, text: string) => writeFileSync(join(directory, name), text, { mode: 0o600 });
  write("debian.readcap", readFileSync(local("caps/root.readcap"), "utf8"));
  write("debian.asc", "a key, which is not read here");
  write("alice.token", "a-token-that-is-long-enough");
  write("hook.secret", `whsec_${Buffer.alloc(32, "secret").toString("base64")}`);
  const whole = blockOf("toml whole");
  const configurations = [
    whole,
    blockOf("toml credentials"),
    `${blockOf("toml credentials")}${blockOf("toml webhook")}`,
    whole.replace(/^[^[]*/, `${blockOf("toml proxy")}\n`),
  ];
  for (const text of configurations) {
    write("c.toml", text);
    const environment = { CREDENTIALS_DIRECTORY: directory };
    const { repositories, warnings } = loadConfiguration({ config: "c.toml" }, environment, directory);
    expect([repositories.length, warnings], text).toEqual([1, []]);
  }
});
