// A running server takes over a changed configuration while requests are under way, and nothing of an invalid one.
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { Agent, get } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { withResolvers } from "../../src/base/with-resolvers.ts";
import { createSigningKey } from "../../src/signing/openpgp-signer.ts";
import { AptRoot } from "../support/apt.ts";
import type { CommandResult } from "../support/command-line.ts";
import { CommandLine, runCommand } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import { aSigningKey } from "../support/signing-key.ts";

const amd64 = "dists/sid/main/binary-amd64";
const token = "a-token-for-this-test";
const table = 'name = "debian"\nfolder = "tree"\nsigning_key_file = "key.asc"\nping_token_file = "token"\n';

let work: string;
let config: string;
let base: string;
let server: CommandLine;

beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), "reload-"));
  config = join(work, "it.toml");
  onTestFinished(() => rm(work, { recursive: true, force: true }));
  await write("key.asc", (await aSigningKey()).reveal());
  await write("token", `${token}\n`);
  await put("hello", "1");
  await configure(table);
  server = new CommandLine(["serve", "--config", config]);
  onTestFinished(async () => void (await server.stop("SIGKILL")));
  base = await server.waitForOutput(/"url":"(http:[^"]+)\/debian\/"/);
  expect((await ping()).status).toBe(200);
});

/** Writes a file below the directory of the test in one step. */
async function write(path: string, text: string | Uint8Array): Promise<void> {
  const file = join(work, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.new`, text, { mode: 0o600 });
  await rename(`${file}.new`, file);
}

const put = async (name: string, version: string, files: Record<string, string> = {}) =>
  await write(
    `tree/${amd64}/${name}_${version}_amd64.deb`,
    await aDeb({ package: name, version, architecture: "amd64", files }),
  );

/** @param repository the lines of its table @param server lines before it */
const configure = async (repository: string, server = "") =>
  await write("it.toml", `listen = "127.0.0.1:0"\nstate = "state"\n${server}\n[[repository]]\n${repository}`);

const reload = async (...more: readonly string[]): Promise<CommandResult> =>
  await runCommand(["reload", "--config", config, ...more]);

async function ping(with_ = token, at = ""): Promise<{ readonly status: number; readonly text: string }> {
  const headers = { authorization: `Bearer ${with_}` };
  const reply = await fetch(`${base}/-/ping/debian/${at}?wait=60`, { method: "POST", headers });
  return { status: reply.status, text: await reply.text() };
}

const statusOf = async (path: string, headers: Record<string, string> = {}): Promise<number> => {
  const reply = await fetch(`${base}/${path}`, { headers });
  await reply.arrayBuffer();
  return reply.status;
};

const textOf = async (path: string): Promise<string> => await (await fetch(`${base}/${path}`)).text();

const basic = (name: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}`,
});

/** Sends requests for these paths on several connections, without a pause, until `end`. */
function requesting(paths: readonly string[], headers: Record<string, string> = {}) {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const seen = new Map<string, number>();
  let isEnding = false;
  const one = (path: string): Promise<string> =>
    new Promise((resolve) => {
      get(`${base}/${path}`, { agent, headers }, (reply) => {
        reply.resume();
        reply.once("end", () => resolve(reply.complete ? String(reply.statusCode) : "cut"));
        reply.once("error", () => resolve("cut"));
      }).once("error", (error) => resolve(error.message));
    });
  const loop = async (first: number): Promise<void> => {
    for (let n = first; !isEnding; n += 1) {
      const path = paths[n % paths.length] ?? "";
      const outcome = `${path} ${await one(path)}`;
      seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
    }
  };
  const loops = [0, 1, 2, 3].map(loop);
  return {
    /** @returns each outcome, a path and a status, with its number */
    async end(): Promise<ReadonlyMap<string, number>> {
      isEnding = true;
      await Promise.all(loops);
      agent.destroy();
      return seen;
    },
  };
}

test("while everything is changed that can be, no request fails and no package is missing", async () => {
  await put("large", "1", { "./srv/large": "x".repeat(64) });
  expect((await ping()).status).toBe(200);
  const pool = /^Filename: (.*)$/m.exec(await textOf(`debian/${amd64}/Packages`))?.[1] ?? "";
  const byPath = `debian/${amd64}/hello_1_amd64.deb`;
  const paths = ["debian/dists/sid/InRelease", `debian/${amd64}/Packages.xz`, `debian/${pool}`, byPath, "debian/"];
  const requests = requesting(paths);
  await write("other.asc", (await createSigningKey({ name: "Other", now: Date.now })).reveal());
  const both = table.replace('"key.asc"', '["key.asc", "other.asc"]');
  for (const [repository, ofServer] of [
    [both, ""],
    [`${both}[repository.suite.sid]\nvalid_for_seconds = 86400\n`, ""],
    [`${both}[repository.suite.sid.view]\nnewest = 1\n`, 'public_url = "http://127.0.0.1:1"'],
    [`${both}digests = ["sha512"]\n`, "[limits.inspection]\nmax_fields = 200\n[limits.http]\npings_per_minute = 1000"],
    [table, ""],
  ] as const) {
    await configure(repository, ofServer);
    const { exitCode, output } = await reload();
    expect(output).toContain("debian: published with the new settings");
    expect(exitCode).toBe(0);
  }
  const outcomes = await requests.end();
  expect([...outcomes.keys()].toSorted()).toEqual(paths.map((path) => `${path} 200`).toSorted());
  expect(outcomes.get(`${byPath} 200`)).toBeGreaterThan(20);
}, 120_000);

test("a package that a slow client is downloading arrives completely, whatever is reloaded meanwhile", async () => {
  const noise = randomBytes(4 * 2 ** 20).toString("base64");
  await put("large", "1", { "./srv/large": noise });
  expect((await ping()).status).toBe(200);
  const packages = await textOf(`debian/${amd64}/Packages`);
  const path = /^Package: large\n(?:.+\n)*?Filename: (.*)$/m.exec(packages)?.[1];
  const { promise: begun, resolve: begin } = withResolvers<IncomingMessage>();
  get(`${base}/debian/${path}`, (reply) => reply.once("readable", () => begin(reply)));
  const reply = await begun;
  await configure(`${table}origin = "Other"\n`);
  expect((await reload("--accept-identity-change")).output).toContain("repository.debian.origin");
  let received = 0;
  for await (const chunk of reply) received += (chunk as Buffer).length;
  expect(received).toBe(Number(reply.headers["content-length"]));
  expect(received).toBeGreaterThan(4 * 2 ** 20);
});

test("apt accepts the repository with the new key after the reload, and no longer with the old one", async () => {
  const old = await textOf("debian/key.asc");
  const source = (publicKey: string) => ({ url: `${base}/debian`, suite: "sid", publicKey });
  const before = new AptRoot({ source: source(old) });
  onTestFinished(() => before.close());
  await before.update();
  await write("other.asc", (await createSigningKey({ name: "Other", now: Date.now })).reveal());
  await configure(table.replace("key.asc", "other.asc"));
  expect((await reload()).output).toContain("in effect: repository.debian.signing_key_file\n");
  const fresh = await textOf("debian/key.asc");
  expect(fresh).not.toBe(old);
  expect(await textOf("debian/debian.sources")).toContain(fresh.split("\n")[3]);
  const after = new AptRoot({ source: source(fresh) });
  onTestFinished(() => after.close());
  await after.update();
  await expect(before.update()).rejects.toThrow(/NO_PUBKEY|not signed|couldn't be verified/);
});

test("a key file that was replaced under the same name is taken over", async () => {
  const old = await textOf("debian/key.asc");
  await write("key.asc", (await createSigningKey({ name: "Other", now: Date.now })).reveal());
  expect((await reload()).output).toContain("signing_key_file");
  expect(await textOf("debian/key.asc")).not.toBe(old);
});

test("tokens and readers are in effect when the command ends", async () => {
  await write("token", "another-token-for-this-test\n");
  await write("bob", "the-password-of-bob\n");
  await write("metrics", "the-token-of-the-metrics\n");
  await configure(
    `${table}[[repository.reader]]\nname = "bob"\npassword_file = "bob"\n`,
    'metrics_token_file = "metrics"',
  );
  const { output, exitCode } = await reload();
  expect(output).toBe("in effect: metrics_token_file, repository.debian.reader, repository.debian.builder\n");
  expect(exitCode).toBe(0);
  expect((await ping()).status).toBe(401);
  expect((await ping("another-token-for-this-test")).status).toBe(200);
  const release = "debian/dists/sid/InRelease";
  expect(await statusOf(release)).toBe(401);
  expect(await statusOf(release, basic("bob", "the-password-of-bob"))).toBe(200);
  expect(await statusOf(release, basic("bob", "the-password-of-eve"))).toBe(401);
  expect(await statusOf("metrics")).toBe(401);
  await configure(table);
  expect((await reload()).exitCode).toBe(0);
  expect(await statusOf(release)).toBe(200);
  expect(await statusOf("metrics")).toBe(200);
});

test("repositories are added and removed", async () => {
  await write(`more/${amd64}/more_1_amd64.deb`, await aDeb({ package: "more", architecture: "amd64" }));
  await configure(`${table}[[repository]]\nname = "more"\nfolder = "more"\n`);
  expect((await reload()).output).toBe("in effect: repository.more\nmore: published with the new settings\n");
  expect(await textOf(`more/${amd64}/Packages`)).toContain("Package: more\n");
  expect(await textOf("metrics")).toContain('repository="more"');
  await configure(table);
  expect((await reload()).output).toBe("in effect: repository.more\n");
  expect(await textOf("metrics")).not.toContain('repository="more"');
  expect(await statusOf(`more/${amd64}/Packages`)).toBe(404);
  expect(await statusOf(`debian/${amd64}/Packages`)).toBe(200);
});

test("of an invalid configuration nothing is in effect, and every mistake is named", async () => {
  await write("token", "another-token-for-this-test\n");
  await write("weak.asc", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n");
  await configure(table, "behind_proxy = 1\npoll_secs = 5");
  const wrong = await reload();
  expect(wrong.exitCode).toBe(2);
  expect(wrong.output).toContain("behind_proxy: ");
  expect(wrong.output).toContain("poll_secs: is not a known key");
  await configure(`${table.replace("key.asc", "weak.asc")}[repository.suite.sid.view]\nnewest = 1\n`);
  const unfit = await reload("--json");
  expect(unfit.exitCode).toBe(2);
  expect(JSON.parse(unfit.printed)).toMatchObject({ status: "failed", code: "configuration/invalid" });
  expect(unfit.output).toContain("weak.asc: this is not an armoured OpenPGP private key");
  expect((await ping()).status).toBe(200);
  expect(server.output).toContain("could not be reloaded: the previous one stays in effect");
  // What clients know of a suite is only changed on request.
  await configure(`${table}origin = "Other"\n`);
  expect((await reload()).output).toMatch(/repository\.debian: .*Origin.*--accept-identity-change/s);
  expect(await textOf("debian/dists/sid/Release")).toContain("Origin: debian\n");
});

test("what needs a restart is named by the command and in the log, and everything else is in effect", async () => {
  await write(
    "it.toml",
    `listen = "127.0.0.1:1"\nstate = "state"\ncache_bytes = 1000000\nmetrics_token_file = "token"\n[[repository]]\n${table}`,
  );
  const { exitCode, output } = await reload();
  expect(output).toBe("in effect: metrics_token_file\nneeds a restart: listen, cache_bytes\n");
  expect(exitCode).toBe(3);
  expect(await statusOf("metrics")).toBe(401);
  expect(server.output).toContain('"keys":["listen","cache_bytes"]');
  expect((await reload()).exitCode).toBe(3);
});

test("SIGHUP reloads, and neither it nor the command changes anything if the configuration is the same", async () => {
  await write("bob", "the-password-of-bob\n");
  await configure(`${table}[[repository.reader]]\nname = "bob"\npassword_file = "bob"\n`);
  server.child.kill("SIGHUP");
  await server.waitForOutput(/"changed":\["repository\.debian\.reader"\].*configuration reloaded/);
  expect(await statusOf("debian/dists/sid/InRelease")).toBe(401);
  expect((await reload()).output).toBe("the configuration has not changed\n");
  await writeFile(config, "no = [");
  server.child.kill("SIGHUP");
  await server.waitForOutput(/could not be reloaded/);
  expect(await statusOf("debian/key.asc")).toBe(200);
  expect(await server.stop()).toBe(0);
});

test("pings that wait during a reload are answered with what they wait for", async () => {
  const pings: Promise<{ readonly status: number; readonly text: string }>[] = [];
  for (let n = 0; n < 5; n += 1) {
    await put("hello", `1.${n}`);
    pings.push(ping(token, amd64));
    await configure(`${table}[repository.suite.sid]\nvalid_for_seconds = ${86_400 + n}\n`);
    pings.push(ping(token, amd64));
    expect((await reload()).exitCode).toBe(0);
  }
  for (const { status, text } of await Promise.all(pings)) expect(status, text).toBe(200);
  expect(await textOf(`debian/${amd64}/Packages`)).toContain("Version: 1.4\n");
  expect(server.output).not.toContain('"level":"error"');
});

test("without a server, and for a server that was told everything by flags, the command says so", async () => {
  await write("token", "another-token-for-this-test\n");
  const state = join(work, "flags");
  const flags = ["--folder", join(work, "tree"), "--listen", "127.0.0.1:0", "--state", state];
  const other = new CommandLine(["serve", ...flags, "--ping-token-file", join(work, "token")]);
  onTestFinished(async () => void (await other.stop("SIGKILL")));
  base = await other.waitForOutput(/"url":"(http:[^"]+)\/debian\/"/);
  await write("token", "a-third-token-for-this-test\n");
  expect((await runCommand(["reload", "--state", state])).output).toBe("in effect: repository.debian.builder\n");
  expect((await ping("a-third-token-for-this-test")).status).toBe(200);
  await other.stop();
  const { exitCode, output } = await runCommand(["reload", "--state", state]);
  expect(output).toMatch(/^tahoe-apt: no server uses .*: there is nothing to reload\n$/);
  expect(exitCode).toBe(1);
});

test("counts of failed logins and of pings go on after a reload", async () => {
  await write("bob", "the-password-of-bob\n");
  const limits = "[limits.http]\npings_per_minute = 3\nfailed_logins_per_minute = 2";
  const reader = `${table}[[repository.reader]]\nname = "bob"\npassword_file = "bob"\n`;
  await configure(reader, limits);
  expect((await reload()).exitCode).toBe(0);
  const release = "debian/dists/sid/InRelease";
  const wrong = basic("bob", "the-password-of-eve");
  // One ping was sent before each test.
  expect((await ping()).status).toBe(200);
  expect(await statusOf(release, wrong)).toBe(401);
  await configure(`${reader}[repository.suite.sid]\nvalid_for_seconds = 86400\n`, limits);
  expect((await reload()).output).toContain("published with the new settings");
  expect((await ping()).status).toBe(200);
  expect((await ping()).status).toBe(429);
  expect(await statusOf(release, wrong)).toBe(401);
  expect(await statusOf(release, wrong)).toBe(429);
});
