// The commands of the guides that need no machine of their own: run as they are, for a tree that `tahoe-apt init` made.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, inject, onTestFinished, test, vi } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { outputOf } from "../support/command-line.ts";
import { blockOf } from "../support/documents.ts";
import { installedCommand, namedDeb } from "../support/initialized-tree.ts";
import { projectRoot } from "../support/project-files.ts";
import { freePort, ServerUnderTest } from "../support/server.ts";

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-guide-"));
const bin = installedCommand(work);
const config = join(work, "debian/tahoe-apt.toml");
const patienceMs = 30_000;
let server: ServerUnderTest;

/** What differs without systemd, as the guide for operators says. */
const withoutSystemd = {
  "/etc/tahoe-apt/tahoe-apt.toml": "debian/tahoe-apt.toml",
  "/etc/tahoe-apt/credentials": "debian",
  "credential:": "",
  "/var/lib/tahoe-apt": "state",
  "systemctl restart tahoe-apt": "tahoe-apt reload --config debian/tahoe-apt.toml",
};

/** A block of the guides, with the addresses and names of this test. The packages are installed. */
const linesOf = (fence: string, others: Readonly<Record<string, string>> = {}): string =>
  Object.entries({
    ...withoutSystemd,
    "http://127.0.0.1:3456": inject("webapiUrl"),
    "http://127.0.0.1:8380": server.url,
    "https://apt.example.org": server.url,
    "/etc/tahoe-apt.toml": "debian/tahoe-apt.toml",
    ...others,
  }).reduce(
    (text, [there, here]) => text.replaceAll(there, here),
    blockOf(fence).replace(/^apt-get install .*\n/m, ""),
  );

/** Runs a block as a user would. @returns both outputs @throws if a command fails */
async function run(fence: string, others?: Readonly<Record<string, string>>): Promise<string> {
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}`, GNUPGHOME: join(work, "gnupg") };
  const script = `exec 2>&1; set -e\n${linesOf(fence, others)}`;
  return (await promisify(execFile)("bash", ["-c", script], { cwd: work, env })).stdout;
}

async function put(...versions: readonly string[]): Promise<void> {
  for (const version of versions) {
    const [file, bytes] = await namedDeb({ package: "hello", version });
    writeFileSync(join(work, file), bytes);
    await outputOf(["put", "--bundle", "debian/builders/alice.bundle", "--suite", "sid", file], { cwd: work });
  }
}

const versions = async (): Promise<readonly string[]> => {
  const suite = `${server.url}/debian/dists/sid`;
  // The server gives an index by its plain name from the publication whose InRelease this address downloaded last.
  await (await fetch(`${suite}/InRelease`)).arrayBuffer();
  const text = await (await fetch(`${suite}/main/binary-amd64/Packages`)).text();
  return [...text.matchAll(/^Version: (.*)$/gm)].map(([, version = ""]) => version).toSorted();
};

/** Appends lines to the table of the repository. */
const configure = (lines: string): void => appendFileSync(config, lines);

beforeAll(async () => {
  mkdirSync(join(work, "gnupg"), { mode: 0o700 });
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const args = `init debian --webapi ${inject("webapiUrl")} --suite sid --architecture amd64 --builder alice`;
  await outputOf([...args.split(" "), "--listen", `127.0.0.1:${port}`, "--public-url", url], { cwd: work });
  await outputOf(["suite", "add", "trixie", "--dir", "debian"], { cwd: work });
  server = await ServerUnderTest.start({ flags: ["--config", config], port });
  await server.ready();
  await put("1.0-1", "2.0-1");
});

afterAll(async () => {
  await server?.end();
  rmSync(work, { recursive: true, force: true });
});

test("the command to serve a tree by its read cap starts a server", async () => {
  const port = await freePort();
  const directory = mkdtempSync(join(work, "serve-"));
  writeFileSync(join(directory, "debian.readcap"), readFileSync(join(work, "debian/tree.readcap")), { mode: 0o600 });
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
  const line = `exec ${linesOf("sh operator", { "127.0.0.1:8380": `127.0.0.1:${port}` })}`;
  const served = spawn("sh", ["-ec", line], { cwd: directory, env, stdio: "ignore" });
  const ended = once(served, "exit");
  await vi.waitFor(async () => expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200), patienceMs);
  served.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
});

test("a configuration is checked and taken over", async () => {
  expect(await run("sh check-reload")).toBe("debian/tahoe-apt.toml is valid\nthe configuration has not changed\n");
});

test("overrides and phases are set, listed and served", async () => {
  expect(await run("sh overrides", { "src:hello=2.0'": "src:hello=2.0-1'" })).toContain("libhello*");
});

test("snapshots are listed, rolled back to, resumed and pinned", async () => {
  const text = await outputOf(["snapshot", "list", "--config", config, "--suite", "sid", "--json"]);
  const { snapshots } = JSON.parse(text) as { readonly snapshots: readonly { readonly id: string }[] };
  const id = snapshots.at(-1)?.id ?? "";
  expect(
    await run("sh snapshot", {
      "20261122T134500Z": `${id} --suite sid`,
      "list --config": "list --suite sid --config",
      resume: "resume --suite sid",
    }),
  ).toContain(id);
  expect((await fetch(`${server.url}/debian/snapshots/release-1/dists/sid/InRelease`)).status).toBe(200);
});

test("a server is verified with nothing but the read cap", async () => {
  writeFileSync(join(work, "debian.readcap"), readFileSync(join(work, "debian/tree.readcap")), { mode: 0o600 });
  await run("sh verify");
});

test("packages are listed, promoted, removed and pruned", async () => {
  expect(await versions()).toEqual(["1.0-1", "2.0-1"]);
  const output = await run("sh curation");
  expect(output).toContain("+ hello 2.0-1 amd64");
  await vi.waitFor(async () => expect(await versions()).toEqual(["2.0-1"]), patienceMs);
});

test("a signing key is replaced, and its expiry extended", async () => {
  await run("sh new-key");
  expect(statSync(join(work, "debian/new.asc")).mode & 0o777).toBe(0o600);
  configure(linesOf("toml two-keys"));
  expect((await run("sh take-over-keys")).match(/^pub /gm)).toHaveLength(2);
  await run("sh extend-key");
  expect(await (await fetch(`${server.url}/debian/key.asc`)).text()).toContain("BEGIN PGP");
});

test("a webhook's secret is made, and the receiver of the guide accepts what the server sends", async () => {
  await run("sh hook-secret");
  const secret = readFileSync(join(work, "debian/hook.secret"), "utf8").trim();
  const port = await freePort();
  // Beside the modules of the project.
  const directory = mkdtempSync(join(projectRoot, ".tahoe-apt/receiver-"));
  writeFileSync(join(directory, "receiver.mjs"), blockOf("js receiver").replace("8080", String(port)));
  const receiver = spawn(process.execPath, [join(directory, "receiver.mjs")], {
    env: { ...process.env, HOOK_SECRET: secret },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let printed = "";
  receiver.stdout.on("data", (chunk) => (printed += String(chunk)));
  onTestFinished(() => {
    receiver.kill();
    rmSync(directory, { recursive: true });
  });
  configure(`\n${linesOf("toml webhook", { "https://ci.example.org/hooks/apt": `http://127.0.0.1:${port}/` })}`);
  expect(await run("sh hook-restart")).toContain("debian/tahoe-apt.toml is valid\n");
  await put("3.0-1");
  await vi.waitFor(() => expect(printed).toMatch(/^sid [\s\S]*\] \[\]$/m), patienceMs);
  // Beside 2.0-1: it is added, and has the keys of the example.
  const example = JSON.parse(blockOf("json event")) as {
    readonly data: { readonly changes: { readonly added: { readonly entries: ReadonlyArray<object> } } };
  };
  const keys = Object.keys(example.data.changes.added.entries[0] ?? {});
  expect([...printed.matchAll(/^ +(\w+): /gm)].map(([, key]) => key)).toEqual(keys);
});

// Last, because then every other request needs the password.
test("a repository becomes private, and its reader adds it to APT as the guide says", async () => {
  await run("sh reader-password");
  configure(`\n${linesOf("toml reader")}`);
  expect(await run("sh reader-restart")).toMatch(/^401$/m);
  const password = readFileSync(join(work, "debian/bob.password"), "utf8").trim();
  const apt = new AptRoot({ source: "" });
  onTestFinished(() => apt.close());
  mkdirSync(join(apt.directory, "etc/auth.conf.d"), { recursive: true });
  const lines = linesOf("sh private-client", {
    "/etc/apt/": `${apt.directory}/etc/`,
    PASSWORD: password,
    // curl would ask on a terminal.
    "-u bob": `-u bob:${password}`,
  });
  const env = { ...process.env, APT_CONFIG: join(apt.directory, "apt.conf") };
  const { stdout } = await promisify(execFile)("bash", ["-ec", `exec 2>&1\n${lines}`], { env });
  expect(stdout).not.toMatch(/^[WE]:/m);
  expect(await apt.candidate("hello")).toBe("3.0-1");
});
