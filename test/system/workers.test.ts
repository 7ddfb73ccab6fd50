// `serve --workers 2`: two processes serve HTTP and one publishes. Clients cannot tell them from one server.
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { Agent, request } from "node:http";
import type { Socket } from "node:net";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, onTestFinished, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { runCommand } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import { blockOf } from "../support/documents.ts";
import { killed } from "../support/killed.ts";
import { slowDownload, underLoad } from "../support/load.ts";
import { projectRoot } from "../support/project-files.ts";
import { freePort, ServerUnderTest } from "../support/server.ts";
import { aQuickKey } from "../support/signing-key.ts";

const token = "a-token-for-the-workers";
const place = "dists/sid/main/binary-amd64";
const suite = "/debian/dists/sid";
/** Larger than what is read as one buffer, and than what sockets hold. */
const large = randomBytes(12 * 2 ** 20);

interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A server with two workers over a folder. */
class Workers {
  readonly work: string;
  readonly config: string;
  server!: ServerUnderTest;
  #packages = 0;

  private constructor() {
    this.work = mkdtempSync(join(tmpdir(), "tahoe-apt-workers-"));
    this.config = join(this.work, "c.toml");
  }

  static async start(
    {
      settings = "",
      tables = "",
      env = {},
    }: {
      readonly settings?: string;
      readonly tables?: string;
      readonly env?: Readonly<Record<string, string>>;
    } = {},
    atEnd: (close: () => Promise<void>) => void = onTestFinished,
  ): Promise<Workers> {
    const workers = new Workers();
    atEnd(async () => {
      await workers.server?.end("SIGKILL");
      rmSync(workers.work, { recursive: true, force: true });
    });
    mkdirSync(join(workers.work, "tree", place), { recursive: true });
    writeFileSync(join(workers.work, "key.asc"), await aQuickKey(), { mode: 0o600 });
    writeFileSync(join(workers.work, "token"), token, { mode: 0o600 });
    writeFileSync(join(workers.work, "password"), "correct:horse", { mode: 0o600 });
    await workers.put("hello");
    workers.configure(settings, tables);
    await workers.run(env);
    return workers;
  }

  async run(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const flags = ["--config", this.config, "--state", join(this.work, "state")];
    const { port } = this.server ?? {};
    this.server = await ServerUnderTest.start({ flags, env, ...(port !== undefined && { port }) });
    await this.server.ready();
    expect(await this.ping()).toBeGreaterThan(0);
  }

  /** @param tables lines after those of the repository */
  configure(settings = "", tables = ""): void {
    const repository = 'name = "debian"\nfolder = "tree"\nsigning_key_file = "key.asc"\nping_token_file = "token"\n';
    const limits = `[limits.http]\npings_per_minute = 10000\n${settings}`;
    // As in the guide for operators, but with as many as this machine has cores.
    const keys = `access_log = true\n${blockOf("toml workers").replace(/\d+/, "2")}`;
    writeFileSync(`${this.config}.new`, `${keys}${limits}[[repository]]\n${repository}${tables}`);
    renameSync(`${this.config}.new`, this.config);
  }

  async put(name: string, files: Readonly<Record<string, Buffer>> = {}): Promise<void> {
    const deb = await aDeb({ package: name, version: "1.0-1", architecture: "amd64", files, compression: "none" });
    const path = join(this.work, "tree", place, `${name}_1.0-1_amd64.deb`);
    writeFileSync(`${path}.new`, deb);
    renameSync(`${path}.new`, path);
  }

  /** Adds a package and pings. @returns the Date that the answer says is served, in seconds since the epoch */
  async publish(): Promise<number> {
    this.#packages += 1;
    await this.put(`package-${this.#packages}`);
    return await this.ping();
  }

  async ping(): Promise<number> {
    const headers = { authorization: `Bearer ${token}` };
    const reply = await fetch(`${this.server.url}/-/ping/debian?wait=60`, { method: "POST", headers });
    expect(reply.status).toBe(200);
    const { publications } = (await reply.json()) as { readonly publications: readonly { dateSeconds: number }[] };
    return publications[0]?.dateSeconds ?? 0;
  }

  /** The processes that serve HTTP. */
  pids(): readonly number[] {
    return workersOf(this.server.pid);
  }

  /** A kept connection to each of the two processes. */
  async connections(): Promise<readonly Client[]> {
    const found = new Map<string, Client>();
    for (let attempt = 0; found.size < 2; attempt++) {
      if (attempt > 500) throw new Error("all connections went to one process");
      const client = new Client(this.server.port);
      const { headers } = await client.get(`${suite}/InRelease`);
      const process = String(headers["x-request-id"]).replace(/-\d+$/, "");
      if (found.has(process)) client.close();
      else found.set(process, client);
    }
    return [...found.values()];
  }

  async metric(series: string): Promise<number> {
    const text = await (await fetch(`${this.server.url}/metrics`)).text();
    const line = text.split("\n").find((each) => each.startsWith(`${series} `));
    return Number(line?.slice(series.length) ?? Number.NaN);
  }
}

let sharedServer: Promise<Workers> | undefined;

/** One server for tests that only read and publish. */
function shared(): Promise<Workers> {
  sharedServer ??= Workers.start({}, (close) => afterClosing.push(close));
  return sharedServer;
}

const afterClosing: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of afterClosing) await close();
});

/** A client with one connection that it keeps. */
class Client {
  readonly #port: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #headers: Readonly<Record<string, string>>;

  constructor(port: number, headers: Readonly<Record<string, string>> = {}) {
    this.#port = port;
    this.#headers = headers;
  }

  close(): void {
    this.#agent.destroy();
  }

  get(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const options = { host: "127.0.0.1", port: this.#port, path, agent: this.#agent };
      request({ ...options, headers: { ...this.#headers, ...headers } }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.once("error", reject);
        response.once("end", () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
        );
      })
        .once("error", reject)
        .end();
    });
  }

  /** One request on a connection of its own. */
  static async once(port: number, path: string, headers: Readonly<Record<string, string>> = {}): Promise<Reply> {
    const client = new Client(port, headers);
    try {
      return await client.get(path);
    } finally {
      client.close();
    }
  }
}

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
const dateOf = (release: Buffer): number => Date.parse(/^Date: (.+)$/m.exec(release.toString())?.[1] ?? "") / 1000;
const listedSha256 = (release: Buffer, path: string): string =>
  new RegExp(`^ ([0-9a-f]{64}) +\\d+ ${path}$`, "m").exec(release.toString())?.[1] ?? "";

/** The path of a package in the pool. */
async function pooled({ server }: Workers, name: string): Promise<string> {
  // Begins to read the current publication: this address may be in the middle of an earlier one.
  await Client.once(server.port, `${suite}/InRelease`);
  const { body } = await Client.once(server.port, `${suite}/main/binary-amd64/Packages`);
  const path = new RegExp(`^Filename: (.*/${name}_.*)$`, "m").exec(body.toString())?.[1];
  if (path === undefined) throw new Error(`no index lists ${name}`);
  return `/debian/${path}`;
}

/** Whether a process runs. One that nobody waits for is a zombie after its end. */
function isRunning(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8") !== "";
  } catch {
    return false;
  }
}

/** The workers of a server. */
function workersOf(pid: number): readonly number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").match(/\d+/g) ?? [];
  const isWorker = (child: number) => readFileSync(`/proc/${child}/cmdline`, "utf8").includes("http-worker");
  return children.map(Number).filter(isWorker);
}

/** All that a process has written in its memory. */
function memoryOf(pid: number): Buffer {
  const ranges = readFileSync(`/proc/${pid}/maps`, "utf8").matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw.. .*$/gm);
  const memory = openSync(`/proc/${pid}/mem`, "r");
  try {
    const pieces = [...ranges].map(([, from = "", to = ""]) => {
      const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
      const piece = Buffer.alloc(Math.min(end - start, 2 ** 28));
      try {
        return piece.subarray(0, readSync(memory, piece, 0, piece.length, start));
      } catch {
        return Buffer.of();
      }
    });
    return Buffer.concat(pieces);
  } finally {
    closeSync(memory);
  }
}

/** Runs a client again and again until it is stopped. @returns a function that stops it and returns how often it ran */
function repeating(client: () => Promise<void>): () => Promise<number> {
  let isOver = false;
  const running = (async () => {
    let runs = 0;
    for (; !isOver; runs++) await client();
    return runs;
  })();
  // It is awaited at the end.
  running.catch(() => undefined);
  return async () => {
    isOver = true;
    return await running;
  };
}

test("only the owner of the state directory can connect to the socket for workers", async () => {
  const { work } = await shared();
  const state = join(work, "state");
  expect([state, join(state, "workers")].map((path) => statSync(path).mode & 0o777)).toEqual([0o700, 0o600]);
});

test("apt updates and installs through two processes, from the cache too", async () => {
  const workers = await shared();
  await workers.put("large", { "./usr/share/large": large });
  await workers.ping();
  const { url, port } = workers.server;
  const publicKey = (await Client.once(port, "/debian/key.asc")).body.toString();
  for (let round = 0; round < 2; round++) {
    const root = new AptRoot({ source: { url: `${url}/debian`, suite: "sid", publicKey } });
    onTestFinished(() => root.close());
    await root.update();
    expect(await root.installDownloadOnly("hello", "large")).toHaveLength(2);
  }
  // The second time, the processes read them from the cache, and the server learns that they were used.
  await expect.poll(() => workers.metric("tahoe_apt_cache_hits_total")).toBeGreaterThanOrEqual(2);
  expect(await workers.metric("tahoe_apt_http_workers")).toBe(2);
  const counted = await workers.metric('tahoe_apt_http_requests_total{class="index",status="2xx"}');
  for (const client of await workers.connections()) client.close();
  await expect
    .poll(() => workers.metric('tahoe_apt_http_requests_total{class="index",status="2xx"}'))
    .toBeGreaterThanOrEqual(counted + 2);
});

test("after the answer to a ping, every process serves the change; no client sees Date go back or files that do not fit", async () => {
  const workers = await shared();
  const { port } = workers.server;
  const both = await workers.connections();
  const readers = Array.from({ length: 6 }, (_, index) => {
    const client = new Client(port);
    let last = 0;
    return repeating(async () => {
      const { body: release } = await client.get(`${suite}/InRelease`);
      expect(dateOf(release)).toBeGreaterThanOrEqual(last);
      last = dateOf(release);
      const digest = listedSha256(release, "main/binary-amd64/Packages.gz");
      const byHash = await client.get(`${suite}/main/binary-amd64/by-hash/SHA256/${digest}`);
      expect([byHash.status, sha256(byHash.body)]).toEqual([200, digest]);
      if (index % 2 === 0) await sleep(1);
    });
  });
  // These use plain names, and a connection for each request.
  const mirrors = Array.from({ length: 4 }, (_, index) => {
    const headers = { "user-agent": `mirror/${index}` };
    return repeating(async () => {
      const { body: release } = await Client.once(port, `${suite}/InRelease`, headers);
      for (const name of ["Packages", "Packages.gz", "Packages.xz"]) {
        const index = await Client.once(port, `${suite}/main/binary-amd64/${name}`, headers);
        expect(sha256(index.body)).toBe(listedSha256(release, `main/binary-amd64/${name}`));
      }
    });
  });
  for (let count = 0; count < 40; count++) {
    const dateSeconds = await workers.publish();
    for (const client of both) {
      const { body } = await client.get(`${suite}/InRelease`);
      expect(dateOf(body)).toBeGreaterThanOrEqual(dateSeconds);
      expect(body.toString()).toContain("Acquire-By-Hash: yes");
    }
  }
  for (const stop of [...readers, ...mirrors]) expect(await stop()).toBeGreaterThan(10);
});

test("a process that is killed under load costs only its own connections, and is started again", async () => {
  const workers = await Workers.start();
  const { server } = workers;
  const before = workers.pids();
  const urls = [`${server.url}${suite}/InRelease`, `${server.url}${await pooled(workers, "hello")}`];
  const { requests, failures } = await underLoad(urls, async () => {
    process.kill(before[0] ?? 0, "SIGKILL");
    await expect.poll(() => workers.pids().filter((pid) => !before.includes(pid)), { timeout: 10_000 }).toHaveLength(1);
  });
  expect(requests).toBeGreaterThan(50);
  // Each of the nine clients has one connection.
  expect(failures.length).toBeLessThanOrEqual(9);
  for (const failure of failures) expect(failure).toMatch(/ECONNRESET|socket hang up|truncated|EPIPE|aborted/);
  await workers.connections();
  expect(await workers.metric("tahoe_apt_http_worker_restarts_total")).toBe(1);
  expect(server.output).toContain("a worker ended: another one is started");
});

test("a process that hangs does not stop publishing, and is replaced", async () => {
  const workers = await Workers.start();
  const [hanging = 0, other = 0] = workers.pids();
  process.kill(hanging, "SIGSTOP");
  onTestFinished(() => {
    try {
      process.kill(hanging, "SIGKILL");
    } catch {
      // It was ended.
    }
  });
  // Connections that the kernel gives to the process before it is ended would wait for that.
  const ask = new Client(workers.server.port);
  await workers.put("more");
  const polled = expect.poll(() => workers.pids(), { timeout: 60_000, interval: 200 });
  await polled.not.toContain(hanging);
  await expect.poll(() => workers.pids()).toHaveLength(2);
  expect(workers.pids()).toContain(other);
  expect((await ask.get(`${suite}/InRelease`)).status).toBe(200);
  ask.close();
  expect(workers.server.output).toContain("a worker hangs: it is ended");
});

test("if the server is killed, all processes end, and the next one serves what it has published", async () => {
  const workers = await Workers.start();
  const dateSeconds = await workers.publish();
  const pids = workers.pids();
  expect(pids).toHaveLength(2);
  await workers.server.end("SIGKILL");
  await expect.poll(() => pids.filter(isRunning), { timeout: 10_000 }).toEqual([]);
  await workers.run();
  const { body } = await Client.once(workers.server.port, `${suite}/InRelease`);
  expect(dateOf(body)).toBeGreaterThanOrEqual(dateSeconds);
});

test("SIGTERM to all processes lets downloads end, from the cache and through the server", async () => {
  const workers = await Workers.start();
  await workers.put("large", { "./usr/share/large": large });
  await workers.put("larger", { "./usr/share/large": Buffer.concat([large, large]) });
  await workers.ping();
  const { port, url } = workers.server;
  const paths = [await pooled(workers, "large"), await pooled(workers, "larger")];
  expect((await Client.once(port, paths[0] ?? "")).status).toBe(200);
  const downloads = await Promise.all(paths.map((path) => slowDownload(url + path, 5)));
  for (const pid of workers.pids()) process.kill(pid, "SIGTERM");
  expect(await workers.server.end()).toBe(0);
  for (const [index, { digest }] of downloads.entries()) expect(paths[index]).toContain(await digest);
});

test("flat repositories are served by the workers too", async () => {
  const workers = await Workers.start({ tables: 'flat = ["extras"]\n' });
  mkdirSync(join(workers.work, "tree/extras"));
  const deb = await aDeb({ package: "extra", version: "1.0-1", architecture: "amd64" });
  writeFileSync(join(workers.work, "tree/extras/extra_1.0-1_amd64.deb"), deb);
  await workers.ping();
  const { url, port, pid } = workers.server;
  const publicKey = (await Client.once(port, "/debian/key.asc")).body.toString();
  const key = publicKey.trimEnd().replace(/^$/gm, ".").replace(/^/gm, " ");
  const source = `Types: deb\nURIs: ${url}/debian/extras\nSuites: ./\nSigned-By:\n${key}\n`;
  const root = new AptRoot({ source });
  onTestFinished(() => root.close());
  await root.update();
  expect(await root.download("extra")).toEqual(deb);
  const ofServer = workers.server.output.split("\n").filter((line) => line.includes(`"pid":${pid}`));
  expect(workers.server.output).toContain("/debian/extras/InRelease");
  expect(ofServer.join("\n")).not.toContain("/debian/extras/InRelease");
});

test("if a client leaves, the server does not go on sending what was passed on", async () => {
  const workers = await shared();
  await workers.put("huge", { "./usr/share/huge": Buffer.concat(Array.from({ length: 4 }, () => large)) });
  await workers.ping();
  const { port } = workers.server;
  const path = await pooled(workers, "huge");
  await new Promise<void>((resolve, reject) => {
    const asked = request({ host: "127.0.0.1", port, path, agent: new Agent() }, (response) =>
      response.once("data", () => {
        asked.destroy();
        resolve();
      }),
    );
    asked.once("error", reject).end();
  });
  const cut = () => workers.server.output.split("\n").filter((line) => line.includes('"isCut":true'));
  await expect.poll(cut).toHaveLength(1);
  expect(JSON.parse(cut()[0] ?? "")).toMatchObject({ pid: workers.server.pid, path, client: "127.0.0.1" });
});

test("a client that does not read makes no process read on, and gets the whole file later", async () => {
  const workers = await shared();
  const file = Buffer.concat(Array.from({ length: 8 }, () => large));
  await workers.put("slow", { "./usr/share/slow": file });
  await workers.ping();
  const { port, pid } = workers.server;
  const path = await pooled(workers, "slow");
  const processes = [pid, ...workersOf(pid)];
  /** The bytes that all of them have read so far. */
  const read = () => processes.map(readBytesOf).reduce((sum, each) => sum + each, 0);
  const before = read();
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request({ host: "127.0.0.1", port, path, agent: new Agent() }, resolve).once("error", reject).end();
  });
  await sleep(1500);
  const whileWaiting = read() - before;
  // The server reads the file, and a worker reads what that sends.
  expect(whileWaiting).toBeLessThan(file.length / 2);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  expect(Buffer.concat(chunks).includes(file)).toBe(true);
  expect(read() - before).toBeGreaterThan(2 * file.length);
});

/** The bytes that a process has read so far, also from sockets. @see proc_pid_io(5), rchar */
const readBytesOf = (pid: number): number =>
  Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1]);

/** Starts a command with two sockets that listen, as systemd does. */
const withSockets = `
import os, socket, sys
listeners = [socket.socket(), socket.socket()]
for fd, (listener, port) in enumerate(zip(listeners, sys.argv[1:3]), 3):
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(port)))
    listener.listen(512)
    os.dup2(listener.fileno(), fd)
    os.set_inheritable(fd, True)
os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[3], sys.argv[3:])
`;

test("several sockets of a service manager are served by the workers", async () => {
  const { work, config } = await shared();
  const ports = [await freePort(), await freePort()];
  const command = [process.execPath, join(projectRoot, "dist/cli.js"), "serve", "--config", config];
  const args = ["-c", withSockets, ...ports.map(String), ...command, "--state", join(work, "other-state")];
  const child = spawn("/usr/bin/python3", args, { stdio: "ignore" });
  onTestFinished(() => killed(child));
  const ended = once(child, "exit");
  const statusAt = (port: number) => Client.once(port, "/healthz").then(({ status }) => status, String);
  for (const port of ports) await expect.poll(() => statusAt(port), { timeout: 20_000 }).toBe(200);
  expect(workersOf(child.pid ?? 0)).toHaveLength(2);
  child.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
});

test("a private repository stays private, and failed logins are counted for the whole server", async () => {
  const reader = '[[repository.reader]]\nname = "bob"\npassword_file = "password"\n';
  const workers = await Workers.start({ settings: "failed_logins_per_minute = 5\n", tables: reader });
  const { port } = workers.server;
  const basic = (password: string) => ({ authorization: `Basic ${Buffer.from(`bob:${password}`).toString("base64")}` });
  const statusOf = async (headers: Readonly<Record<string, string>>): Promise<number> =>
    (await Client.once(port, `${suite}/InRelease`, headers)).status;
  expect(await statusOf({})).toBe(401);
  expect(await statusOf(basic("correct:horse"))).toBe(200);
  for (let count = 0; count < 5; count++) expect(await statusOf(basic(`guess ${count}`))).toBe(401);
  expect(await statusOf(basic("correct:horse"))).toBe(429);
  // Nobody can speak for another address.
  expect(await statusOf({ ...basic("correct:horse"), "tahoe-apt-client": "192.0.2.1" })).toBe(429);
  expect(workers.server.output).toMatch(/"status":401.*"client":"127\.0\.0\.1"/);
});

test("a reload has its effect on all processes when it has ended, and no request is lost", async () => {
  const workers = await Workers.start();
  const { server } = workers;
  const both = await workers.connections();
  const { failures } = await underLoad([`${server.url}/healthz`], async () => {
    workers.configure("", '[[repository.reader]]\nname = "bob"\npassword_file = "password"\n');
    const state = join(workers.work, "state");
    expect(await runCommand(["reload", "--state", state])).toMatchObject({ exitCode: 0 });
    for (const client of both) expect((await client.get(`${suite}/InRelease`)).status).toBe(401);
    workers.configure();
    expect(await runCommand(["reload", "--state", state])).toMatchObject({ exitCode: 0 });
    for (const client of both) expect((await client.get(`${suite}/InRelease`)).status).toBe(200);
  });
  expect(failures).toEqual([]);
  expect(workers.pids()).toHaveLength(2);
});

test("the limit of connections holds for the whole server", async () => {
  const workers = await Workers.start({ settings: "max_connections = 8\n" });
  const open = new Set<Socket>();
  onTestFinished(() => {
    for (const socket of open) socket.destroy();
  });
  for (let count = 0; count < 40; count++) {
    const socket = connect(workers.server.port, "127.0.0.1");
    open.add(socket);
    socket.on("error", () => undefined).once("close", () => open.delete(socket));
    await sleep(5);
  }
  await expect.poll(() => open.size).toBeLessThanOrEqual(8);
  expect(open.size).toBeGreaterThan(0);
});

test("packages whose files in the cache were damaged are fetched again", async () => {
  const workers = await Workers.start();
  await workers.put("large", { "./usr/share/large": large });
  await workers.ping();
  const paths = [await pooled(workers, "hello"), await pooled(workers, "large")];
  const get = (path: string): Promise<Reply> => Client.once(workers.server.port, path);
  for (const path of paths) expect((await get(path)).status).toBe(200);
  await workers.server.end("SIGKILL");
  const packages = join(workers.work, "state/packages");
  for (const file of readdirSync(packages)) {
    const bytes = readFileSync(join(packages, file));
    bytes[bytes.length - 100] = (bytes.at(-100) ?? 0) ^ 1;
    writeFileSync(join(packages, file), bytes);
  }
  await workers.run();
  const [small = "", long = ""] = paths;
  // Small ones are checked before the first byte.
  for (let count = 0; count < 4; count++) expect(small).toContain(sha256((await get(small)).body));
  // A long response is cut before its end; then another one is right.
  await expect
    .poll(async () => sha256((await get(long).catch(() => ({ body: Buffer.of() }))).body))
    .toSatisfy((digest: string) => long.includes(digest));
  expect(workers.server.output).toContain("a file of the package cache is damaged: it is fetched again");
});

test("workers are given no secret of the configuration", async () => {
  const ours = '[[repository]]\nname = "ours"\nfolder = "tree"\nsigning_key_file = "key.asc"\n';
  const reader = '[[repository.reader]]\nname = "bob"\npassword_file = "password"\n';
  const env = { TAHOE_APT_PING_TOKEN: "a-token-in-the-environment" };
  const workers = await Workers.start({ tables: ours + reader, env });
  const key = readFileSync(join(workers.work, "key.asc"), "utf8").split("\n")[4] ?? "";
  const isKnownTo = (pid: number, secret: string): boolean => memoryOf(pid).includes(secret);
  // The server has them, so this is a way to find them.
  expect(isKnownTo(workers.server.pid, key)).toBe(true);
  for (const pid of workers.pids()) {
    for (const secret of [key, "correct:horse", "a-token-in-the-environment"]) {
      expect(isKnownTo(pid, secret)).toBe(false);
    }
  }
});
