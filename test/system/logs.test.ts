// The log of the real server: what people and machines read in it when all is well, when the grid is away, and when the
// server cannot start.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import type { Grid } from "../../src/local/grid/grid.ts";
import { startGrid } from "../../src/local/grid/grid.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import { CommandLine, runCommand } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import { killed } from "../support/killed.ts";
import { projectRoot } from "../support/project-files.ts";

const amd64 = "dists/sid/main/binary-amd64";
const token = "a-token-for-this-test";
const work = mkdtempSync(join(tmpdir(), "logs-"));
const tree = join(work, "tree");
const served = ["serve", "--folder", tree, "--listen", "127.0.0.1:0"];
const aStackTrace = /^\s+at |\\n\s+at |"stack"|node:internal/m;
let states = 0;

/** The path of a file with these bytes. */
const write = (name: string, text: string | Uint8Array): string => {
  writeFileSync(join(work, name), text, { mode: 0o600 });
  return join(work, name);
};

const newState = (): string[] => {
  states += 1;
  return ["--state", join(work, `state-${states}`)];
};

function started(args: readonly string[], env: Readonly<Record<string, string>> = {}): CommandLine {
  const command = new CommandLine(args, { env });
  onTestFinished(async () => void (await command.stop("SIGKILL")));
  return command;
}

const urlOf = (command: CommandLine): Promise<string> => command.waitForOutput(/url"?[=:]"?(http:[^" ]+)\/debian\//);

const linesOf = (output: string): readonly Record<string, unknown>[] =>
  output
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

beforeAll(async () => {
  mkdirSync(join(tree, amd64), { recursive: true });
  writeFileSync(join(tree, amd64, "hello_1_amd64.deb"), await aDeb({ package: "hello", version: "1" }));
  write("token", `${token}\n`);
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

describe("the format", () => {
  const textLine =
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO {2}serving debian url=http:\/\/127\.0\.0\.1:\d+\/debian\//m;

  /** The output of a server on a terminal, up to the line that it serves. */
  async function onTerminal(...flags: readonly string[]): Promise<string> {
    const args = [process.execPath, join(projectRoot, "dist/cli.js"), ...served, ...newState(), ...flags];
    // The command of util-linux, which runs another one on a terminal of its own.
    const child = spawn(
      "script",
      ["--quiet", "--flush", "--return", "--command", `exec ${args.join(" ")}`, "/dev/null"],
      {
        stdio: ["pipe", "pipe", "inherit"],
      },
    );
    onTestFinished(() => killed(child));
    let output = "";
    let isInterrupted = false;
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      output += chunk.toString();
      if (!/serving debian[^\n]*\n/.test(output)) continue;
      // Ctrl-C
      if (!isInterrupted) child.stdin.write("\u0003");
      isInterrupted = true;
      if (/stopping[^\n]*\n/.test(output)) break;
    }
    child.kill("SIGKILL");
    return output.replaceAll("\r\n", "\n").replace("^C", "");
  }

  test("is text on a terminal, in lines without colours, and JSON if that is asked for", async () => {
    const output = await onTerminal();
    expect(output).toMatch(textLine);
    expect(output).toMatch(/^\S+Z INFO {2}stopping$/m);
    expect(output).not.toMatch(/\u001b|[{}]"/);
    for (const line of linesOf(await onTerminal("--log-format", "json"))) expect(line).toHaveProperty("level", "info");
  });

  test("is JSON otherwise, with names of levels and ISO times, and text if that is asked for", async () => {
    const command = started([...served, ...newState()]);
    await urlOf(command);
    await command.stop();
    for (const { level, time } of linesOf(command.output)) {
      expect(level).toBe("info");
      expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    }
    const text = started([...served, ...newState(), "--log-format", "text"]);
    await urlOf(text);
    expect(text.output).toMatch(textLine);
    const { exitCode, output } = await runCommand([...served, "--log-format", "xml"]);
    expect(output).toMatch(/^tahoe-apt: .*--log-format.*text/);
    expect(exitCode).toBe(2);
  });

  test("lines below the level are left out, and no others", async () => {
    write("open-token", token);
    rmSync(join(work, "open-token"));
    writeFileSync(join(work, "open-token"), token, { mode: 0o644 });
    const args = [...served, "--ping-token-file", join(work, "open-token")];
    const quiet = started([...args, ...newState(), "--log-level", "warn"]);
    await quiet.waitForOutput(/others may read this secret.*\n/);
    await quiet.stop();
    expect(linesOf(quiet.output).map(({ level }) => level)).toEqual(["warn"]);
    const silent = started([...args, ...newState(), "--log-level", "error"]);
    // Neither its address nor the warning appears: the control socket tells that it runs.
    await expect
      .poll(async () => (await runCommand(["reload", ...silent.child.spawnargs.slice(-4, -2)])).exitCode, {
        timeout: 30_000,
      })
      .toBe(0);
    await silent.stop();
    expect(silent.output).toBe("");
  });
});

test("each request has a line in the access log, with the id that its response has, and none without that log", async () => {
  const command = started([...served, ...newState(), "--access-log"]);
  const base = await urlOf(command);
  const ids = new Map<string, string | null>();
  for (const path of [
    "/debian/dists/sid/InRelease",
    "/debian/no-such-file",
    "/debian/",
    "/healthz",
    "/-/ping/debian/",
  ]) {
    const reply = await fetch(base + path, { headers: { "user-agent": "a\u001b[31mclient" } }).catch(() => undefined);
    const other = reply ?? (await fetch(base + path));
    await other.text();
    ids.set(path, other.headers.get("x-request-id"));
  }
  const lines = await expect
    .poll(
      () => linesOf(command.output.slice(0, command.output.lastIndexOf("\n"))).filter(({ msg }) => msg === "request"),
      {
        timeout: 10_000,
      },
    )
    .toHaveLength(ids.size)
    .then(() => linesOf(command.output.trimEnd()).filter(({ msg }) => msg === "request"));
  expect(new Set(ids.values()).size).toBe(ids.size);
  for (const [path, id] of ids) expect(lines).toContainEqual(expect.objectContaining({ requestId: id, path }));
  const quiet = started([...served, ...newState()]);
  const reply = await fetch(`${await urlOf(quiet)}/debian/dists/sid/InRelease`);
  expect(reply.headers.get("x-request-id")).toMatch(/^\S+$/);
  await reply.text();
  await quiet.stop();
  expect(quiet.output).not.toContain('"msg":"request"');
});

test("an unhandled rejection that can happen in operation is one line, and that of a bug has a stack trace", async () => {
  // No such rejection is known, so the test adds two to the process.
  const preload = write(
    "reject.cjs",
    `if (require("node:worker_threads").isMainThread) {
       process.on("SIGUSR2", () => {
         Promise.reject(Object.assign(new Error("write failed"), { code: "ENOSPC" }));
         setImmediate(() => Promise.reject(new TypeError("a bug")));
       });
     }`,
  );
  const command = started([...served, ...newState()], { NODE_OPTIONS: `--require=${preload}` });
  const base = await urlOf(command);
  command.child.kill("SIGUSR2");
  await command.waitForOutput(/a bug.*\n/);
  const rejections = linesOf(command.output).filter(({ msg }) => msg === "unhandled promise rejection");
  expect(rejections.map(({ err }) => err)).toEqual([
    { message: "write failed", code: "ENOSPC" },
    { message: "a bug", stack: expect.stringContaining("reject.cjs") },
  ]);
  expect((await fetch(`${base}/healthz`)).status).toBe(200);
});

describe("a server that cannot start prints one line without a stack trace", () => {
  const config = (name: string, text: string): string[] => [
    "serve",
    "--config",
    write(`${name}.toml`, `listen = "127.0.0.1:0"\nstate = "state-of-${name}"\n${text}`),
  ];
  const table = `[[repository]]\nname = "debian"\nfolder = "tree"\n`;

  const cases: readonly (readonly [name: string, exitCode: number, message: RegExp, args: () => Promise<string[]>])[] =
    [
      [
        "if its port is in use",
        1,
        /cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/,
        async () => {
          const other = createServer().listen(0, "127.0.0.1");
          await once(other, "listening");
          onTestFinished(() => void other.close());
          const address = other.address();
          const port = typeof address === "object" ? address?.port : undefined;
          return ["serve", "--folder", tree, "--listen", `127.0.0.1:${port}`, ...newState()];
        },
      ],
      [
        "if it cannot read its signing key",
        2,
        /signing_key_file\S*: .*no-key\.asc: no such file/,
        async () => config("unread", `${table}signing_key_file = "no-key.asc"\n`),
      ],
      [
        "if its signing key is none",
        1,
        /bad-key\.asc: this is not an armoured OpenPGP private key/,
        async () => config("no-key", `${table}signing_key_file = ${JSON.stringify(write("bad-key.asc", "no key"))}\n`),
      ],
      [
        "without a read cap",
        2,
        /--readcap-file: is missing.*TAHOE_APT_READCAP/,
        async () => ["serve", "--webapi", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", ...newState()],
      ],
      [
        "if another server uses the state directory",
        1,
        /another server uses the state directory .*state-\d+$/,
        async () => {
          const state = newState();
          await urlOf(started([...served, ...state]));
          return [...served, ...state];
        },
      ],
      [
        "if its configuration is no TOML",
        2,
        /line 3 is not valid TOML/,
        async () => config("broken", "folder = tree\n"),
      ],
      [
        "if its configuration does not exist",
        2,
        /no\.toml: no such file/,
        async () => ["serve", "--config", "no.toml"],
      ],
    ];
  test.each(cases)("%s", async (_name, exitCode, message, argsOf) => {
    const args = await argsOf();
    const result = await runCommand(args);
    const told = result.output.replace(result.printed, "").trimEnd().split("\n");
    expect(told).toEqual([expect.stringMatching(message)]);
    expect(told[0]).toMatch(/^tahoe-apt: /);
    expect(result.output).not.toMatch(aStackTrace);
    expect(result.exitCode).toBe(exitCode);
  });

  test("if the disk is full", async () => {
    const state = join(work, "full");
    mkdirSync(state);
    // A file system of its own, which is smaller than an empty database.
    const script = 'mount -t tmpfs -o size=16k tmpfs "$1"; shift; exec "$@"';
    const args = [process.execPath, join(projectRoot, "dist/cli.js"), ...served, "--state", state];
    const child = spawn("unshare", ["--mount", "sh", "-euc", script, "sh", state, ...args]);
    onTestFinished(() => killed(child));
    let output = "";
    let told = "";
    child.stdout.on("data", (chunk) => (output += String(chunk)));
    child.stderr.on("data", (chunk) => (told += String(chunk)));
    const [exitCode] = (await once(child, "close")) as [number | null];
    expect(told).toMatch(/^tahoe-apt: .*(ENOSPC|[Nn]o space left).*\n$/);
    expect(told + output).not.toMatch(aStackTrace);
    expect(exitCode).toBe(1);
  });
});

describe("while the grid is away", () => {
  const { signal } = new AbortController();
  let grid: Grid;
  const start = async (): Promise<Grid> =>
    await startGrid({
      directory: join(work, "grid"),
      tahoe: { executable: inject("tahoe") },
      progress: () => {},
      signal,
    });
  beforeAll(async () => {
    grid = await start();
  });
  afterAll(() => grid.stop());

  /** The lines of a repository's table, whose tree has a package, a flat repository and another file. */
  async function aRepository(name: string): Promise<string> {
    const writer = new WebapiWriter(new Webapi(grid.webapiUrl));
    const root = await writer.createDirectory(signal);
    const files = new Map<string, Uint8Array>([
      [`${amd64}/${name}_1_amd64.deb`, await aDeb({ package: name, version: "1", architecture: "amd64" })],
      ["extras/flat_1_amd64.deb", await aDeb({ package: "flat", version: "1", architecture: "amd64" })],
      ["extras/README", Buffer.from("a file")],
    ]);
    for (const [path, bytes] of files) {
      const at = parseTreePath(path);
      const directory = await writer.makeDirectory(root, parseTreePath(path.replace(/\/[^/]*$/, "")), signal);
      const link = { content: await writer.upload(bytes, signal), metadata: {} };
      await writer.link(directory, new Map([[at.split("/").at(-1) ?? "", link]]), signal);
    }
    write(`${name}.readcap`, (await writer.readCapOf(root, signal)).reveal());
    return `[[repository]]\nname = "${name}"\nwebapi = "${grid.webapiUrl}"\nreadcap_file = "${name}.readcap"\nping_token_file = "token"\n`;
  }

  test("that and its return are one line for each repository, whatever polls, requests, pings and reloads fail", async () => {
    const repositories = [await aRepository("debian"), await aRepository("other")];
    const settings = `listen = "127.0.0.1:0"\nstate = "state-of-outage"\npoll_seconds = 1\n`;
    const configure = (ofDebian: string) => {
      const [debian = "", other = ""] = repositories;
      return write("outage.toml", `${settings}${debian}${ofDebian}${other}`);
    };
    const config = configure('flat = ["extras"]\n');
    const command = started(["serve", "--config", config]);
    const base = await urlOf(command);
    const get = async (path: string): Promise<{ readonly status: number; readonly text: string }> => {
      const reply = await fetch(`${base}/${path}`, { headers: path.endsWith("/") ? { accept: "text/html" } : {} });
      return { status: reply.status, text: await reply.text() };
    };
    const failures = async (): Promise<number> =>
      (await get("metrics")).text
        .split("\n")
        .filter((line) => line.startsWith("tahoe_apt_refresh_errors_total{"))
        .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
    const lines = (msg: RegExp) => linesOf(command.output).filter((line) => msg.test(String(line.msg)));
    for (const name of ["debian", "other"])
      await expect
        .poll(async () => (await get(`${name}/${amd64}/Packages`)).text, { timeout: 60_000 })
        .toContain("Package");
    await expect
      .poll(async () => (await get("debian/extras/Packages")).text, { timeout: 30_000 })
      .toContain("Package: flat");
    expect((await get(`debian/${amd64}/`)).text).toContain("debian_1_amd64.deb");
    const pool = /^Filename: (.*)$/m.exec((await get(`other/${amd64}/Packages`)).text)?.[1] ?? "";

    await grid.stop();
    await expect.poll(() => lines(/the tree is away/).length, { timeout: 60_000 }).toBe(2);
    const failing = async (): Promise<void> => {
      const before = await failures();
      const ping = { method: "POST", headers: { authorization: `Bearer ${token}` } };
      for (const name of ["debian", "other"]) {
        expect((await fetch(`${base}/-/ping/${name}/${amd64}?wait=30`, ping)).status).toBe(503);
        expect((await get(`${name}/dists/sid/InRelease`)).status).toBe(200);
        expect((await get(`${name}/${amd64}/`)).text).toContain(`${name}_1_amd64.deb`);
        expect((await get(`${name}/no-such-file`)).status).toBe(503);
      }
      await expect.poll(failures, { timeout: 60_000 }).toBeGreaterThan(before + 3);
    };
    await failing();
    // Without the flat repository, which cannot come back any more.
    configure('digests = ["sha512"]\n');
    expect((await runCommand(["reload", "--config", config])).output).toContain("debian: ");
    await failing();
    expect((await get(`debian/${amd64}/`)).text).toContain("debian_1_amd64.deb");

    grid = await start();
    await expect.poll(() => lines(/the tree is back/).length, { timeout: 60_000 }).toBe(2);
    const now = await fetch(`${base}/-/ping/debian?wait=60`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}` },
    });
    expect(now.status).toBe(200);
    expect((await get(`other/${pool}`)).status).toBe(200);
    expect(await command.stop()).toBe(0);

    for (const msg of [/the tree is away/, /the tree is back/])
      expect(
        lines(msg)
          .map(({ repository }) => String(repository))
          .toSorted((a, b) => (a < b ? -1 : 1)),
      ).toEqual(["debian", "other"]);
    expect(command.output).not.toMatch(aStackTrace);
    const others = linesOf(command.output).filter(
      ({ level, msg }) => level !== "info" && !/the tree is away/.test(String(msg)),
    );
    expect(others).toEqual([]);
  }, 240_000);
});
