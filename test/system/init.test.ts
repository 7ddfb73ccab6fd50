// `tahoe-apt init`, `builder` and `suite` with a real grid: a new tree, adding and revoking builders, no secret
// printed.
import { execFile } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { Secret } from "../../src/base/secret.ts";
import type { Bundle } from "../../src/client/bundle.ts";
import { formatBundle, parseBundle } from "../../src/client/bundle.ts";
import { loadConfiguration } from "../../src/config/load-config.ts";
import { WriteCap } from "../../src/storage/tahoe/caps.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import { AptRoot } from "../support/apt.ts";
import type { CommandResult } from "../support/command-line.ts";
import { CommandLine, outputOf, runCommand } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import { blockOf } from "../support/documents.ts";
import { fakeGateway } from "../support/fake-gateway.ts";
import { projectRoot } from "../support/project-files.ts";
import { freePort, ServerUnderTest } from "../support/server.ts";
import { rawExchange } from "../support/started-app.ts";

const { signal } = new AbortController();
const work = mkdtempSync(join(tmpdir(), "tahoe-apt-init-"));
const directory = join(work, "debian");
const at = (...names: readonly string[]): string => join(directory, ...names);
/** The files that alice still has after she was revoked. */
const oldBundle = join(work, "old.bundle");
const gateway = inject("webapiUrl");
const writer = new WebapiWriter(new Webapi(gateway));
let port: number;
let server: ServerUnderTest;

const run = async (...args: readonly string[]): Promise<CommandResult> => await runCommand(args, { cwd: work });
const succeed = async (...args: readonly string[]): Promise<string> => await outputOf(args, { cwd: work });

const initArguments = (): readonly string[] =>
  `init ${directory} --webapi ${gateway} --listen 127.0.0.1:${port} --architecture amd64 arm64 --builder alice bob`.split(
    " ",
  );

const bundleOf = (name: string): Bundle => parseBundle(readFileSync(at("builders", `${name}.bundle`), "utf8"));

function capOf({ directories }: Bundle, path: string): WriteCap {
  const found = directories.find((each) => each.path === path);
  if (found === undefined) throw new Error(`the bundle has nothing at ${path}`);
  return found.cap;
}

async function put(name: string, who: string, ...flags: readonly string[]): Promise<void> {
  const file = join(work, `${name}_1.0-1_amd64.deb`);
  writeFileSync(file, await aDeb({ package: name, architecture: "amd64" }));
  await succeed("put", "--bundle", at("builders", `${who}.bundle`), ...flags, file);
}

async function knownPackages(suite = "sid"): Promise<readonly string[]> {
  const publicKey = await (await fetch(`${server.url}/debian/key.asc`)).text();
  const machine = new AptRoot({ source: { url: `${server.url}/debian`, suite, publicKey } });
  onTestFinished(() => machine.close());
  await machine.update();
  return await machine.packageNames();
}

/** All secrets in the owner's files: caps, tokens. */
function secrets(): readonly string[] {
  const files = [
    "master.bundle",
    "master.token",
    "tree.readcap",
    ...readdirSync(at("builders")).map((name) => join("builders", name)),
  ];
  const texts = files.map((name) => readFileSync(at(name), "utf8"));
  return texts.flatMap((text) => text.match(/URI:[^"\s]+|(?<=ping_token = ")[^"]+|^[\w-]{20,}$/gm) ?? []);
}

let output: string;
beforeAll(async () => {
  port = await freePort();
  output = await succeed(...initArguments());
  server = await ServerUnderTest.start({ flags: ["--config", at("tahoe-apt.toml")], port });
  await server.ready();
});

afterAll(async () => {
  await server?.end();
  rmSync(work, { recursive: true, force: true });
});

test("every secret is in a file that only its owner can read, and none is printed unless requested", async () => {
  expect(new Set(secrets()).size).toBeGreaterThan(12);
  for (const name of ["master.bundle", "master.token", "tree.readcap", "builders/alice.bundle", "builders/alice.token"])
    expect(statSync(at(name)).mode & 0o777, name).toBe(0o600);
  for (const secret of secrets()) expect(output).not.toContain(secret);
  expect(output).not.toContain("URI");
  for (const name of ["builders.toml", "tahoe-apt.toml"])
    for (const secret of secrets()) expect(readFileSync(at(name), "utf8")).not.toContain(secret);
  const shown = await succeed(...initArguments(), "--show-caps");
  for (const secret of secrets()) expect(shown).toContain(secret);
});

test("a second init changes neither the secrets nor the configuration", async () => {
  const before = secrets();
  writeFileSync(at("tahoe-apt.toml"), `${readFileSync(at("tahoe-apt.toml"), "utf8")}# mine\n`);
  await succeed(...initArguments());
  expect(secrets()).toEqual(before);
  expect(readFileSync(at("tahoe-apt.toml"), "utf8")).toContain("# mine");
});

test("a builder uploads with its bundle, and apt finds the package, without more set-up than init", async () => {
  await put("from-alice", "alice");
  await put("from-bob", "bob");
  expect(await knownPackages()).toEqual(["from-alice", "from-bob"]);
});

test("a builder's caps open only its own directories", async () => {
  const alice = bundleOf("alice");
  const mine = new Set<string>();
  for (const { cap } of alice.directories) {
    const manifest = await (
      await fetch(`${gateway}/uri/${encodeURIComponent(cap.reveal())}?t=stream-manifest`, { method: "POST" })
    ).text();
    for (const line of manifest.trim().split("\n")) {
      const { verifycap } = JSON.parse(line) as { readonly verifycap?: string };
      if (verifycap) mine.add(verifycap);
    }
  }
  expect(mine.size).toBeGreaterThan(alice.directories.length);
  const { directories: others } = bundleOf("bob");
  const [root] = parseBundle(readFileSync(at("master.bundle"), "utf8")).directories;
  for (const { cap } of [root!, ...others]) {
    const text = await (await fetch(`${gateway}/uri/${encodeURIComponent(cap.reveal())}?t=json`)).text();
    const [, { verify_uri }] = JSON.parse(text) as [string, { readonly verify_uri: string }];
    expect(mine).not.toContain(verify_uri);
  }
});

test.each(["../bob", "..%2Fbob", "%2E%2E/bob", "./../../source/bob", "alice/../../bob"])(
  "a path with dots below a builder's cap (%s) leads to no other builder",
  async (path) => {
    const caps = ["binary-amd64", "source"].map((index) => capOf(bundleOf("bob"), `dists/sid/main/${index}/bob`));
    const listings = () => Promise.all(caps.map(async (cap) => [...(await writer.list(cap, signal)).keys()]));
    const before = await listings();
    const cap = encodeURIComponent(capOf(bundleOf("alice"), "dists/sid/main/binary-amd64/alice").reveal());
    // Sent unchanged, because a client's URL parser would remove the dots.
    const response = await rawExchange(
      Number(new URL(gateway).port),
      `PUT /uri/${cap}/${path}/evil.deb HTTP/1.1\r\nHost: it\r\nContent-Length: 4\r\nConnection: close\r\n\r\nevil`,
    );
    expect(response).toMatch(/^HTTP\/1\.1 \d{3} /);
    expect(await listings()).toEqual(before);
  },
);

test("the tree's read cap cannot change anything, and a builder's token cannot ping for another builder's directory", async () => {
  const readCap = readFileSync(at("tree.readcap"), "utf8").trim();
  const path = "dists/sid/main/binary-amd64/bob/evil_1_amd64.deb";
  const response = await fetch(`${gateway}/uri/${encodeURIComponent(readCap)}/${path}`, {
    method: "PUT",
    body: "evil",
  });
  expect(response.status).toBeGreaterThanOrEqual(400);
  const { ping } = bundleOf("alice");
  const statuses = await Promise.all(
    ["alice", "bob"].map(async (name) => {
      const target = `${ping!.url}/dists/sid/main/binary-amd64/${name}`;
      const headers = { authorization: `Bearer ${ping!.token.reveal()}` };
      return (await fetch(target, { method: "POST", headers })).status;
    }),
  );
  expect(statuses).toEqual([202, 403]);
});

test("put rejects a package that fits into none of the bundle's directories, and changes nothing", async () => {
  await succeed("builder", "add", "carol", "--dir", directory, "--architecture", "arm64", "--no-source");
  expect(bundleOf("carol").directories.map(({ path }) => path)).toEqual([
    "dists/sid/main/binary-all/carol",
    "dists/sid/main/binary-arm64/carol",
  ]);
  const file = join(work, "stray_1.0-1_amd64.deb");
  writeFileSync(file, await aDeb({ package: "stray", architecture: "amd64" }));
  const { exitCode, output } = await run("put", "--bundle", at("builders/carol.bundle"), file);
  expect([exitCode, output]).toEqual([
    3,
    expect.stringMatching(/a package for amd64 does not fit into[\s\S]*nothing was changed/),
  ]);
});

test("a new suite is served, and accepts packages of a builder that was added to it", async () => {
  await succeed("suite", "add", "trixie", "--dir", directory);
  await succeed("builder", "add", "bob", "--dir", directory, "--suite", "trixie");
  const file = join(work, "newer_1.0-1_arm64.deb");
  writeFileSync(file, await aDeb({ package: "newer", architecture: "all" }));
  const ambiguous = await run("put", "--bundle", at("builders/bob.bundle"), file);
  expect([ambiguous.exitCode, ambiguous.output]).toEqual([3, expect.stringContaining("choose by --suite")]);
  const unknown = await run("put", "--bundle", at("builders/bob.bundle"), "--suite", "nope", file);
  expect([unknown.exitCode, unknown.output]).toEqual([2, expect.stringContaining('no "nope"; it has sid, trixie')]);
  const misnamed = await run("suite", "add", "a b", "--dir", directory);
  expect([misnamed.exitCode, misnamed.output]).toEqual([
    2,
    expect.stringContaining("dists/a b/main/source contains a name"),
  ]);
  await succeed("put", "--bundle", at("builders/bob.bundle"), "--suite", "trixie", file);
  expect(await knownPackages("trixie")).toEqual(["newer"]);
});

/** Runs a command on a terminal on which somebody types lines. @returns what the terminal shows */
async function onTerminal(args: readonly string[], typed: string): Promise<string> {
  const command = [process.execPath, join(projectRoot, "dist/cli.js"), ...args].join(" ");
  const child = execFile("script", ["--quiet", "--return", "--command", command, "/dev/null"], { cwd: work });
  let shown = "";
  child.stdout?.on("data", (chunk: string) => {
    if (shown === "") child.stdin?.write(typed);
    shown += chunk;
  });
  await once(child, "close");
  return shown;
}

const pingUrlIn = (tree: string): string | undefined =>
  parseBundle(readFileSync(join(work, tree, "builders/alice.bundle"), "utf8")).ping?.url;

test("on a terminal, init asks for the public URL, and both the server and the builders get it", async () => {
  const args = (tree: string) => ["init", tree, "--webapi", gateway, "--builder", "alice"];
  expect(await onTerminal(args("asked"), "https://apt.example.org/\n")).toContain(
    "The server's URL for builders and users",
  );
  expect(loadConfiguration({ config: join(work, "asked/tahoe-apt.toml") }, {}).publicUrl).toBe(
    "https://apt.example.org",
  );
  expect(pingUrlIn("asked")).toBe("https://apt.example.org/-/ping/debian");

  expect(await onTerminal(args("asked"), ""), "the configuration exists").not.toContain("The server's URL");
  expect(await onTerminal([...args("named"), "--public-url", "https://apt.example.org"], "")).not.toContain(
    "The server's URL",
  );
  expect(pingUrlIn("named")).toBe(pingUrlIn("asked"));
  expect(await onTerminal(args("wrong"), "apt.example.org\n")).toContain(
    "--public-url: is not an http:// or https:// URL",
  );
  expect(existsSync(join(work, "wrong"))).toBe(false);
});

test("without an answer, the configuration names the key for the public URL", async () => {
  await succeed("init", "unasked", "--webapi", gateway, "--builder", "alice");
  await onTerminal(["init", "empty", "--webapi", gateway, "--builder", "alice"], "\n");
  for (const tree of ["unasked", "empty"]) {
    const text = readFileSync(join(work, tree, "tahoe-apt.toml"), "utf8");
    expect(text).toContain('\n# public_url = "https://apt.example.org"\n');
    const uncommented = text.replace("# public_url", "public_url");
    writeFileSync(join(work, tree, "tahoe-apt.toml"), uncommented);
    const configuration = loadConfiguration({ config: join(work, tree, "tahoe-apt.toml") }, {});
    expect(configuration.publicUrl).toBe("https://apt.example.org");
    expect(pingUrlIn(tree)).toBe("http://127.0.0.1:8380/-/ping/debian");
  }
});

test("the commands of the guide for a new tree work", async () => {
  const elsewhere = mkdtempSync(join(work, "guide-"));
  const lines = blockOf("sh owner")
    .split("\n")
    .filter((line) => line !== "" && !line.includes("serve"));
  expect(lines).toHaveLength(7);
  for (const line of lines) {
    const [args = ""] = line.replace("tahoe-apt ", "").replace("http://127.0.0.1:3456", gateway).split(/ +#/);
    const command = new CommandLine(args.split(" "), { cwd: elsewhere });
    expect(await command.ends(), command.output).toBe(0);
  }
  expect(readdirSync(join(elsewhere, "debian/builders"))).toEqual(["bob.bundle", "bob.token"]);
  loadConfiguration({ config: join(elsewhere, "debian/tahoe-apt.toml") }, {});
});

test("a revoked builder can no longer change anything, and its packages stay", async () => {
  const alice = bundleOf("alice");
  const cap = capOf(alice, "dists/sid/main/binary-amd64/alice");
  // A directory below her own: its cap is in the one that she holds.
  const below = new WriteCap(
    await (
      await fetch(`${gateway}/uri/${encodeURIComponent(cap.reveal())}?t=mkdir&name=below`, { method: "POST" })
    ).text(),
  );
  const deb = await aDeb({ package: "from-below", architecture: "amd64" });
  await writer.link(
    below,
    new Map([["from-below.deb", { content: await writer.upload(deb, signal), metadata: {} }]]),
    signal,
  );
  await fetch(`${gateway}/uri/${encodeURIComponent(cap.reveal())}/mutable.deb?format=SDMF`, {
    method: "PUT",
    body: deb,
  });

  copyFileSync(at("builders", "alice.bundle"), oldBundle);
  const output = await succeed("builder", "revoke", "alice", "--dir", directory);
  expect(output).toContain("not kept, because its bytes can be changed: dists/sid/main/binary-amd64/alice/mutable.deb");
  expect(readdirSync(at("builders")).filter((name) => name.startsWith("alice"))).toEqual([]);
  const evil = await aDeb({ package: "evil", architecture: "amd64" });
  for (const each of [cap, below])
    await writer.link(
      each,
      new Map([["evil.deb", { content: await writer.upload(evil, signal), metadata: {} }]]),
      signal,
    );
  await put("after", "bob", "--suite", "sid");
  expect(await knownPackages()).toEqual(["after", "from-alice", "from-below", "from-bob"]);
  const headers = { authorization: `Bearer ${alice.ping!.token.reveal()}` };
  expect((await fetch(`${alice.ping!.url}/${alice.directories[0]!.path}`, { method: "POST", headers })).status).toBe(
    401,
  );
});

test("every command reports the revocation to a revoked builder, and changes nothing", async () => {
  const cap = capOf(parseBundle(readFileSync(oldBundle, "utf8")), "dists/sid/main/binary-amd64/alice");
  const names = async () => [...(await writer.list(cap, signal)).keys()];
  const before = await names();
  const late = join(work, "too-late_1.0-1_amd64.deb");
  writeFileSync(late, await aDeb({ package: "too-late", architecture: "amd64" }));
  for (const command of [
    ["list"],
    ["remove", "from-alice"],
    ["remove", "--dry-run", "from-alice"],
    ["prune", "--keep", "1"],
    ["promote", "--from", "sid", "--to", "sid", "--to-builder", "bob", "from-alice"],
    ["put", "--suite", "sid", late],
  ]) {
    const { exitCode, output } = await run(...command, "--bundle", oldBundle);
    expect([exitCode, output], command.join(" ")).toEqual([1, expect.stringContaining("the builder was revoked")]);
  }
  expect(await names()).toEqual(before);
});

test("put and remove report that links may no longer be in the tree if they notice the revocation late", async () => {
  const server = await fakeGateway(({ method }, response) => {
    response.writeHead(method === "GET" ? 503 : 401).end("x");
  });
  onTestFinished(() => server.end());
  const bundle = parseBundle(readFileSync(oldBundle, "utf8"));
  const ping = { url: `${server.url}/-/ping/debian`, token: new Secret("x") };
  const file = join(work, "late.bundle");
  writeFileSync(file, formatBundle({ ...bundle, ping }).reveal(), { mode: 0o600 });
  const late = join(work, "later_1.0-1_amd64.deb");
  writeFileSync(late, await aDeb({ package: "later", architecture: "amd64" }));
  for (const command of [
    ["put", "--suite", "sid", late],
    ["remove", "--suite", "sid", "later"],
  ]) {
    const { exitCode, printed } = await run(...command, "--bundle", file, "--json");
    expect(exitCode, command.join(" ")).toBe(1);
    expect(JSON.parse(printed)).toEqual({
      status: "failed",
      exitCode: 1,
      linked: "all",
      code: "builder/ping-refused",
      errors: [
        expect.stringMatching(/the builder was revoked.*only in the bundle's directories.*no longer in the tree/),
      ],
    });
  }
});

test("revoking a builder with --drop removes its packages and no others", async () => {
  await succeed("builder", "revoke", "bob", "--drop", "--dir", directory);
  expect(await knownPackages()).toEqual(["from-alice", "from-below"]);
  const again = await run("builder", "revoke", "bob", "--dir", directory);
  expect([again.exitCode, again.output]).toEqual([2, expect.stringContaining("there is no builder bob")]);
  expect(existsSync(at("master.bundle"))).toBe(true);
});
