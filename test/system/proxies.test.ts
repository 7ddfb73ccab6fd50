// The examples of reverse proxies, each with the real program and TLS in front of the real server.
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { defaultPingLimits } from "../../src/http/ping-endpoint.ts";
import { AptRoot } from "../support/apt.ts";
import type { Certificate } from "../support/certificates.ts";
import { aCertificate } from "../support/certificates.ts";
import { aDeb, arOf, tarHeader } from "../support/debs.ts";
import { blockOf } from "../support/documents.ts";
import { projectRoot, readProjectFile } from "../support/project-files.ts";
import type { Change, ProxyName } from "../support/proxies.ts";
import { memoryBytes, ReverseProxy } from "../support/proxies.ts";
import { freePort, ServerUnderTest } from "../support/server.ts";
import { aQuickKey } from "../support/signing-key.ts";
import { onceUnchanged } from "../support/unchanged.ts";

const run = promisify(execFile);
const mebibyte = 2 ** 20;
const password = "correct:horse-battery";
const bob = { Authorization: `Basic ${Buffer.from(`bob:${password}`).toString("base64")}` };
const pingsPerMinute = 60;
const suite = "dists/sid";
const directory = `${suite}/main/binary-amd64`;
/** Larger than what any of the programs or the server may take more of memory. */
const largeBytes = 200 * mebibyte;
const maxGrowthBytes = 64 * mebibyte;

const programs: readonly ProxyName[] = ["nginx", "Caddy", "HAProxy", "Varnish"];

const work = mkdtempSync(join(tmpdir(), "proxies-"));
let certificate: Certificate;
let ca: Buffer;
let agent: Agent;
let port: number;
let server: ServerUnderTest;
const proxies = new Map<ProxyName, ReverseProxy>();

beforeAll(async () => {
  certificate = aCertificate(work);
  ca = readFileSync(certificate.caFile);
  agent = new Agent({ keepAlive: true, ca });
  const privateKey = await aQuickKey();
  const secrets = { "key.asc": privateKey, "bob.password": password, "ping.token": token("ping") };
  for (const name of programs) Object.assign(secrets, { [`${name}.token`]: token(name) });
  for (const [name, secret] of Object.entries(secrets)) writeFileSync(join(work, name), secret, { mode: 0o600 });
  await put("debian", "hello_1.0-1_amd64.deb", await aDeb({ architecture: "amd64" }));
  await put("private", "hello_1.0-1_amd64.deb", await aDeb({ architecture: "amd64" }));
  await put("lost", "hello_1.0-1_amd64.deb", await aDeb({ architecture: "amd64" }));
  await putLarge("large_1.0-1_amd64.deb");
  const repository = (name: string, ...lines: readonly string[]) =>
    [
      `[[repository]]\nname = "${name}"\nfolder = "${name}"`,
      'signing_key_file = "key.asc"\nping_token_file = "ping.token"',
      ...lines,
    ].join("\n");
  const builder = (name: string) =>
    `[[repository.builder]]\nname = "${name.toLowerCase()}"\ntoken_file = "${name}.token"\ndirectory = "${directory}/${name}"`;
  const text = [
    "behind_proxy = true",
    "poll_seconds = 3600",
    repository("debian", ...programs.map(builder)),
    repository("private", '[[repository.reader]]\nname = "bob"\npassword_file = "bob.password"'),
    repository("lost"),
    `[limits.http]\nfailed_logins_per_minute = 3\npings_per_minute = ${pingsPerMinute}`,
  ];
  writeFileSync(join(work, "tahoe-apt.toml"), `${text.join("\n")}\n`);
  port = await freePort();
  server = await startServer();
  await Promise.all(programs.map(async (name) => proxies.set(name, await startProxy(name))));
  // At the first request the server puts a package into its own cache; later ones cost the same for each proxy.
  const large = await fetch(server.url + (await poolPath("debian", "large")));
  for await (const _chunk of large.body ?? []);
});

afterAll(async () => {
  agent?.destroy();
  await Promise.all([...proxies.values()].map((proxy) => proxy.end()));
  await server?.end();
  rmSync(work, { recursive: true });
});

const token = (name: string): string => `a-token-of-${name}`.padEnd(40, "-");

const serverFlags: readonly string[] = ["--config", join(work, "tahoe-apt.toml"), "--state", join(work, "state")];

async function startServer(): Promise<ServerUnderTest> {
  const started = await ServerUnderTest.start({ flags: serverFlags, port });
  await started.ready();
  return started;
}

const startProxy = (name: ProxyName, changes: readonly Change[] = []): Promise<ReverseProxy> =>
  ReverseProxy.start(name, {
    upstreamPort: port,
    certificate,
    directory: mkdtempSync(join(work, `${name}-`)),
    changes,
  });

async function put(repository: string, name: string, content: Uint8Array): Promise<void> {
  const path = join(work, repository, directory, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, content);
  renameSync(`${path}.new`, path);
}

/** A package with one file of zeros, which occupies no disk. */
async function putLarge(name: string): Promise<void> {
  const small = await aDeb({ package: "large", architecture: "amd64", members: (usual) => usual.slice(0, 2) });
  const header = arOf([{ name: "data.tar", content: "" }]).toString("latin1", 8);
  const sized = header.replace(/0 {9}`/, `${String(largeBytes).padEnd(10)}\``);
  const path = join(work, "debian", directory, name);
  const file = openSync(path, "w");
  writeSync(file, Buffer.concat([small, Buffer.from(sized, "latin1"), tarHeader("./zeros", largeBytes - 512 - 1024)]));
  truncateSync(path, small.length + sized.length + largeBytes);
}

interface Asked {
  readonly method?: string;
  readonly headers?: { readonly [name: string]: string };
  /** The client's address on the loopback interface. */
  readonly from?: string;
}

interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/**
 * Sends a request, with an address on a connection of its own. Resolves when the headers of the response are there. A
 * connection that was used before may close at any time; as any client, this repeats a GET then (RFC 9112, 9.3.1).
 */
function open(proxy: { readonly port: number }, path: string, asked: Asked = {}): Promise<IncomingMessage> {
  const { method = "GET", headers = {}, from } = asked;
  const connection = from === undefined ? { agent } : { agent: false, ca, localAddress: from };
  return new Promise((resolve, reject) => {
    const sent = request(
      { host: "localhost", family: 4, port: proxy.port, path, method, headers, ...connection },
      resolve,
    );
    sent.on("error", (error: NodeJS.ErrnoException) => {
      const hasClosed = sent.reusedSocket && error.code === "ECONNRESET" && method === "GET";
      if (hasClosed) resolve(open(proxy, path, asked));
      else reject(error);
    });
    sent.end();
  });
}

async function ask(proxy: ReverseProxy, path: string, asked: Asked = {}): Promise<Reply> {
  const response = await open(proxy, path, asked);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) };
}

/** A download that stops after its first bytes until it is ended. */
class SlowDownload {
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #hash = createHash("sha256");

  private constructor(response: IncomingMessage) {
    this.#chunks = response[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  static async begin(...args: Parameters<typeof open>): Promise<SlowDownload> {
    const download = new SlowDownload(await open(...args));
    download.#hash.update((await download.#chunks.next()).value as Buffer);
    return download;
  }

  /** Downloads the rest. @returns the SHA-256 of the whole */
  async end(): Promise<string> {
    for await (const chunk of { [Symbol.asyncIterator]: () => this.#chunks }) this.#hash.update(chunk);
    return this.#hash.digest("hex");
  }
}

/** The bytes that a process has written to files and connections. */
const writtenBytes = (pid: number): number =>
  Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1]);

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const curl = async (proxy: ReverseProxy, path: string, ...args: readonly string[]): Promise<string> =>
  (await run("curl", ["-sS", "--cacert", certificate.caFile, ...args, proxy.url + path])).stdout;

/** The path of a package in the pool, by the start of its file name. */
async function poolPath(repository: string, start: string): Promise<string> {
  const packages = await (
    await fetch(`${server.url}/${repository}/${suite}/main/binary-amd64/Packages`, { headers: bob })
  ).text();
  const [, path] = new RegExp(`^Filename: (pool/\\S+/${start}_\\S+)$`, "m").exec(packages) ?? [];
  if (path === undefined) throw new Error(`${repository} has no ${start}`);
  return `/${repository}/${path}`;
}

/** The path by hash of an index that a repository has now. */
async function byHashPath(repository: string): Promise<string> {
  const release = await (await fetch(`${server.url}/${repository}/${suite}/InRelease`, { headers: bob })).text();
  const [, hash] = /^ ([0-9a-f]{64}) \d+ main\/binary-amd64\/Packages\.gz$/m.exec(release) ?? [];
  return `/${repository}/${suite}/main/binary-amd64/by-hash/SHA256/${hash}`;
}

/** How many requests of a class the server has answered, with any status or this one. */
async function reached(requestClass: "index" | "by-hash" | "package" | "ping", status = "..."): Promise<number> {
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  const pattern = new RegExp(
    `^tahoe_apt_http_requests_total\\{class="${requestClass}",status="${status}"\\} (\\d+)$`,
    "gm",
  );
  return [...metrics.matchAll(pattern)].reduce((sum, [, count]) => sum + Number(count), 0);
}

let published = 1;

/** Puts another version of hello into the repository and pings through the proxy. @returns the version */
async function publish(proxy: ReverseProxy, repository = "debian"): Promise<string> {
  published += 1;
  const version = `${published}.0-1`;
  await put(repository, `hello_${version}_amd64.deb`, await aDeb({ version, architecture: "amd64" }));
  const { status, body } = await ping(proxy, `${repository}/${directory}?wait=60`);
  expect([status, body.toString()]).toEqual([200, expect.stringContaining('"status":"servable"')]);
  return version;
}

const ping = (proxy: ReverseProxy, path: string, name = "ping"): Promise<Reply> =>
  ask(proxy, `/-/ping/${path}`, { method: "POST", headers: { Authorization: `Bearer ${token(name)}` } });

/** apt with a repository behind a proxy. It is deleted after the test. */
async function anAptRoot(
  proxy: ReverseProxy,
  repository: string,
  options: { readonly [name: string]: string } = {},
): Promise<AptRoot> {
  const publicKey = await (await fetch(`${server.url}/${repository}/key.asc`)).text();
  const root = new AptRoot({
    source: { url: `${proxy.url}/${repository}`, suite: "sid", publicKey },
    options: { "Acquire::https::CaInfo": certificate.caFile, "Acquire::https::Proxy": "DIRECT", ...options },
  });
  onTestFinished(() => root.close());
  return root;
}

// Each of these is true of every example, and rejects for an example without the rule that it needs.

async function passesConditionalRequests(proxy: ReverseProxy): Promise<void> {
  const later = { "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT" };
  for (const path of [`/debian/${suite}/InRelease`, await byHashPath("debian"), await poolPath("debian", "hello")]) {
    // The second time from the cache, where there is one.
    for (let time = 1; time <= 2; time++) {
      const direct = await fetch(server.url + path);
      const { headers, status, body } = await ask(proxy, path, { headers: { "Accept-Encoding": "gzip, zstd, br" } });
      expect([status, sha256(body), headers.etag, headers["last-modified"], headers["content-encoding"]]).toEqual([
        200,
        sha256(Buffer.from(await direct.arrayBuffer())),
        direct.headers.get("etag"),
        direct.headers.get("last-modified") ?? undefined,
        undefined,
      ]);
      expect(headers.etag).toMatch(/^"/);
      expect((await ask(proxy, path, { headers: { "If-None-Match": headers.etag ?? "" } })).status).toBe(304);
      expect((await ask(proxy, path, { headers: { "If-None-Match": '"another"' } })).status).toBe(200);
      const date = headers["last-modified"];
      if (date !== undefined)
        expect((await ask(proxy, path, { headers: { "If-Modified-Since": date } })).status).toBe(304);
    }
  }
  // After a rollback the file is another one with an older date.
  expect((await ask(proxy, `/debian/${suite}/InRelease`, { headers: later })).status).toBe(200);
}

async function passesRanges(proxy: ReverseProxy): Promise<void> {
  for (const path of [`/debian/${suite}/InRelease`, await byHashPath("debian"), await poolPath("debian", "hello")]) {
    const whole = await ask(proxy, path);
    const etag = whole.headers.etag ?? "";
    const size = whole.body.length;
    for (const [headers, status, body] of [
      [{ Range: "bytes=2-" }, 206, whole.body.subarray(2)],
      [{ Range: "bytes=-5" }, 206, whole.body.subarray(-5)],
      [{ Range: "bytes=2-5", "If-Range": etag }, 206, whole.body.subarray(2, 6)],
      [{ Range: "bytes=2-5", "If-Range": '"another"' }, 200, whole.body],
    ] as const) {
      const part = await ask(proxy, path, { headers });
      expect(part.status, JSON.stringify(headers)).toBe(status);
      expect(part.body.equals(body), JSON.stringify(headers)).toBe(true);
      if (status === 206) expect(part.headers["content-range"]).toMatch(new RegExp(`^bytes \\d+-\\d+/${size}$`));
    }
    expect((await ask(proxy, path, { headers: { Range: `bytes=${size}-` } })).status).toBe(416);
    const head = await ask(proxy, path, { method: "HEAD" });
    expect([head.status, head.headers.etag, head.headers["content-length"], head.body.length]).toEqual([
      200,
      etag,
      String(size),
      0,
    ]);
  }
}

async function keepsPasswords(proxy: ReverseProxy): Promise<void> {
  for (const path of [
    await poolPath("private", "hello"),
    await byHashPath("private"),
    `/private/${suite}/InRelease`,
    "/private/",
  ]) {
    for (const method of ["GET", "HEAD"]) {
      for (let time = 1; time <= 2; time++) expect((await ask(proxy, path, { method, headers: bob })).status).toBe(200);
      const { status, headers, body } = await ask(proxy, path, { method });
      expect(status, path).toBe(401);
      expect(headers["www-authenticate"]).toBe('Basic realm="private", charset="UTF-8"');
      if (method === "GET") expect(body.toString()).toMatch(/^401 request\/unauthorized: /);
    }
  }
  expect((await ask(proxy, "/private/key.asc")).body.toString()).toContain("BEGIN PGP PUBLIC KEY BLOCK");
  expect((await ask(proxy, "/private/key.gpg")).status).toBe(200);
}

async function showsPublicationsAtOnce(proxy: ReverseProxy): Promise<void> {
  for (let time = 1; time <= 3; time++) {
    const version = await publish(proxy);
    const release = (await ask(proxy, `/debian/${suite}/InRelease`)).body;
    expect(release.toString()).toBe(await (await fetch(`${server.url}/debian/${suite}/InRelease`)).text());
    const plain = await ask(proxy, `/debian/${suite}/main/binary-amd64/Packages`);
    expect(plain.body.toString()).toContain(`Version: ${version}\n`);
    expect(release.toString()).toContain(sha256(plain.body));
  }
}

async function keepsMirrorsConsistent(proxy: ReverseProxy): Promise<void> {
  const headers = { "User-Agent": "debmirror" };
  const release = (await ask(proxy, `/debian/${suite}/Release`, { headers })).body.toString();
  await publish(proxy);
  await ask(proxy, `/debian/${suite}/InRelease`, { from: "127.0.2.1" });
  const plain = await ask(proxy, `/debian/${suite}/main/binary-amd64/Packages`, { headers });
  expect(release).toContain(sha256(plain.body));
}

async function showsHttps(proxy: ReverseProxy): Promise<void> {
  const hostile = {
    "X-Forwarded-Proto": "javascript",
    "X-Forwarded-Host": "evil.example.org",
    Forwarded: "proto=http",
  };
  for (const headers of [{}, hostile]) {
    for (const path of ["/debian/", "/debian/debian.sources", "/debian/debian.yaml"]) {
      const { status, body } = await ask(proxy, path, { headers });
      expect(status).toBe(200);
      expect(body.toString()).toContain(`${proxy.url}/debian`);
      expect(body.toString()).not.toMatch(/http:\/\/localhost|evil/);
    }
  }
}

let client = 1;

/** Fails if clients share a limit, or one can use up another's. */
async function tellsClientsApart(proxy: ReverseProxy): Promise<void> {
  client += 3;
  const [guesser, victim, spoofed] = [`127.0.1.${client}`, `127.0.1.${client + 1}`, `127.0.1.${client + 2}`];
  const path = `/private/${suite}/InRelease`;
  const guess = { Authorization: `Basic ${Buffer.from("bob:guess").toString("base64")}` };
  for (let time = 1; time <= 4; time++) {
    const headers = { ...guess, "X-Forwarded-For": time % 2 === 0 ? spoofed : `${spoofed}, ${victim}` };
    expect((await ask(proxy, path, { headers, from: guesser })).status).toBe(time <= 3 ? 401 : 429);
  }
  const others = { ...bob, "X-Forwarded-For": victim };
  const refused = await ask(proxy, path, { headers: others, from: guesser });
  expect([refused.status, refused.headers["retry-after"]]).toEqual([429, expect.stringMatching(/^\d+$/)]);
  for (const from of [victim, spoofed]) expect((await ask(proxy, path, { headers: bob, from })).status).toBe(200);
  await expect.poll(() => server.output).toContain(`"address":"${guesser}"`);
}

/** The server does not respond for a while, as to a ping that waits. */
async function waitsForPings(proxy: ReverseProxy, pauseMs: number): Promise<void> {
  process.kill(server.pid, "SIGSTOP");
  const resume = setTimeout(() => process.kill(server.pid, "SIGCONT"), pauseMs);
  try {
    const { status, body, headers } = await ping(proxy, `debian/${directory}?wait=60`);
    expect([status, body.toString()]).toEqual([200, expect.stringContaining('"status":"servable"')]);
    expect(headers["content-type"]).toBe("application/json; charset=utf-8");
  } finally {
    clearTimeout(resume);
    process.kill(server.pid, "SIGCONT");
  }
}

describe.each(programs)("%s", (name) => {
  let proxy: ReverseProxy;
  beforeAll(() => {
    const started = proxies.get(name);
    if (started === undefined) throw new Error(`${name} was not started`);
    proxy = started;
  });

  test("speaks HTTP/2 and HTTP/1.1", async () => {
    const version = ["-o", "/dev/null", "-w", "%{http_version} %{http_code}"];
    expect(await curl(proxy, `/debian/${suite}/InRelease`, "--http2", ...version)).toBe("2 200");
    expect(await curl(proxy, `/debian/${suite}/InRelease`, "--http1.1", ...version)).toBe("1.1 200");
  });

  test("passes conditional requests and ETags on, and encodes nothing", async () => {
    await passesConditionalRequests(proxy);
  });

  test("passes the checks of the guide", async () => {
    const lines = blockOf("sh proxy-check").trimEnd().split("\n");
    expect(lines.length).toBeGreaterThan(5);
    for (const line of lines) {
      const [, command = "", expected = ""] = /^(.+?) +# (.+)$/.exec(line) ?? [];
      const here = (text: string) => text.replaceAll("https://apt.example.org", proxy.url);
      const env = { ...process.env, CURL_CA_BUNDLE: certificate.caFile };
      const { stdout } = await run("bash", ["-c", here(command)], { env, cwd: work });
      expect(stdout.trimEnd(), line).toContain(here(expected).replace(/…$/, ""));
    }
  });

  test("passes ranges and HEAD on", async () => {
    await passesRanges(proxy);
  });

  test("caches what is immutable as far as it can, and nothing else", async () => {
    const caches = { nginx: true, Caddy: false, HAProxy: true, Varnish: true }[name];
    const version = await publish(proxy);
    for (const [requestClass, path] of [
      ["by-hash", await byHashPath("debian")],
      ["package", await poolPath("debian", `hello_${version}`)],
    ] as const) {
      const before = await reached(requestClass);
      for (let time = 1; time <= 3; time++) expect((await ask(proxy, path)).status).toBe(200);
      await expect.poll(() => reached(requestClass)).toBe(before + (caches ? 1 : 3));
    }
    const before = await reached("index");
    for (let time = 1; time <= 3; time++) expect((await ask(proxy, `/debian/${suite}/InRelease`)).status).toBe(200);
    await expect.poll(() => reached("index")).toBe(before + 3);
  });

  test("does not keep that a file is absent", async () => {
    const absent = `/debian/${suite}/main/binary-amd64/by-hash/SHA256/${"0".repeat(64)}`;
    const before = await reached("by-hash", "4xx");
    for (let time = 1; time <= 2; time++) {
      const { status, body } = await ask(proxy, absent);
      expect([status, body.toString()]).toEqual([404, expect.stringContaining("404 request/not-found")]);
    }
    await expect.poll(() => reached("by-hash", "4xx")).toBe(before + 2);
  });

  test("shows a publication at once after the response to its ping", async () => {
    await showsPublicationsAtOnce(proxy);
  });

  test("asks for passwords, and gives nobody what it passed to a reader", async () => {
    await keepsPasswords(proxy);
  });

  test("makes the server show https addresses, whatever the client sends", async () => {
    await showsHttps(proxy);
  });

  test("passes the client's address on, which no client can choose", async () => {
    await tellsClientsApart(proxy);
  });

  test("waits for the response to a ping", async () => {
    await waitsForPings(proxy, 500);
  });

  test("passes responses to pings on unchanged, and sends no ping twice", async () => {
    const [unknown, accepted] = [await reached("ping", "4xx"), await reached("ping", "2xx")];
    expect((await ping(proxy, "debian", "nobody")).headers["www-authenticate"]).toBe(
      'Bearer realm="ping", error="invalid_token"',
    );
    expect((await ping(proxy, `debian/${directory}`)).status).toBe(202);
    await expect
      .poll(async () => [await reached("ping", "4xx"), await reached("ping", "2xx")])
      .toEqual([unknown + 1, accepted + 1]);

    const own = `debian/${directory}/${name}`;
    const headers = { Authorization: `Bearer ${token(name)}` };
    for (let count = 0; count < pingsPerMinute; count++) await fetch(`${server.url}/-/ping/debian`, { headers });
    const before = await reached("ping", "4xx");
    const { status, headers: limited, body } = await ping(proxy, own, name);
    expect([status, body.toString()]).toEqual([429, expect.stringContaining("429 request/rate: more than")]);
    expect(limited["retry-after"]).toMatch(/^\d+$/);
    await expect.poll(() => reached("ping", "4xx")).toBe(before + 1);

    renameSync(join(work, "lost"), join(work, "away"));
    onTestFinished(() => renameSync(join(work, "away"), join(work, "lost")));
    const unavailable = await reached("ping", "5xx");
    const lost = await ping(proxy, `lost/${directory}?wait=60`);
    expect([lost.status, lost.body.toString()]).toEqual([503, expect.stringContaining("503 storage/unavailable")]);
    expect(lost.headers["retry-after"]).toBe("5");
    await expect.poll(() => reached("ping", "5xx")).toBe(unavailable + 1);
  });

  test("does not offer the metrics", async () => {
    for (const path of ["/metrics", "/metrics?x"]) expect((await ask(proxy, path)).status).toBe(403);
  });

  test("requests only the rest of a large package that was cut off", async () => {
    const path = await poolPath("debian", "large");
    const beforeBytes = await onceUnchanged(() => writtenBytes(server.pid));
    const { status, headers, body } = await ask(proxy, path, { headers: { Range: `bytes=${largeBytes - 1000}-` } });
    expect([status, body.equals(Buffer.alloc(body.length))]).toEqual([206, true]);
    const etag = headers.etag ?? "";
    const suffix = await ask(proxy, path, { headers: { Range: "bytes=-1000", "If-Range": etag } });
    expect([suffix.status, suffix.body.length]).toEqual([206, 1000]);
    expect((await onceUnchanged(() => writtenBytes(server.pid))) - beforeBytes).toBeLessThan(mebibyte);
  });

  test("streams large packages to slow clients within bounded memory, and others meanwhile", async () => {
    const path = await poolPath("debian", "large");
    const before = { proxy: proxy.memoryBytes(), server: memoryBytes(server.pid) };
    const growth = () => ({
      proxy: proxy.memoryBytes() - before.proxy,
      server: memoryBytes(server.pid) - before.server,
    });
    // The second one is not for the cache.
    const downloads = await Promise.all([{}, bob].map((headers) => SlowDownload.begin(proxy, path, { headers })));
    await onceUnchanged(() => growth().proxy + growth().server);
    expect(growth().proxy).toBeLessThan(maxGrowthBytes);
    expect(growth().server).toBeLessThan(maxGrowthBytes);
    expect((await ask(proxy, `/debian/${suite}/InRelease`)).status).toBe(200);
    for (const hash of await Promise.all(downloads.map((download) => download.end()))) expect(path).toContain(hash);
    expect(growth().proxy).toBeLessThan(maxGrowthBytes);
    expect(growth().server).toBeLessThan(maxGrowthBytes);
  });

  test("gives a mirror files that belong together, also by plain names", async () => {
    await keepsMirrorsConsistent(proxy);
  });

  test("lets debmirror make a mirror", async () => {
    const keyring = join(work, "keyring.gpg");
    writeFileSync(keyring, Buffer.from(await (await fetch(`${server.url}/lost/key.gpg`)).arrayBuffer()));
    const target = join(work, `${name}-mirror`);
    const repository = `--method=https --host=localhost:${proxy.port} --root=lost --dist=sid --section=main --arch=amd64`;
    const args = `${repository} --nosource --rsync-extra=none --diff=none --checksums --keyring=${keyring} ${target}`;
    const env = { ...process.env, GNUPGHOME: work, PERL_LWP_SSL_CA_FILE: certificate.caFile };
    await run("debmirror", args.split(" "), { env });
    const packages = await run("find", [target, "-name", "*.deb"]);
    expect(packages.stdout).toContain("hello_1.0-1_amd64.deb");
  });

  test("lets apt update and install over https, also as a reader of a private repository", async () => {
    const root = await anAptRoot(proxy, "debian");
    await root.update();
    expect(await root.installDownloadOnly("hello")).toEqual([`hello_${published}.0-1_amd64.deb`]);
    const reader = await anAptRoot(proxy, "private");
    expect(await reader.failToUpdate()).toMatch(/401 +Unauthorized/);
    const login = `machine localhost:${proxy.port}/private login bob password ${password}\n`;
    writeFileSync(join(reader.directory, "etc/auth.conf"), login, { mode: 0o600 });
    await reader.update();
    expect(await reader.download("hello")).toEqual(await aDeb({ architecture: "amd64" }));
    const stranger = await anAptRoot(proxy, "debian", {
      "Acquire::https::CaInfo": "/etc/ssl/certs/ca-certificates.crt",
      "Acquire::Retries": "0",
    });
    expect(await stranger.failToUpdate()).toMatch(/certificate/i);
  });
});

/** Keeps a listening socket open and starts a command with it, again and again, as systemd does for a service. */
const socketManager = `
import os, socket, subprocess, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(512)
os.dup2(listener.fileno(), 3)
while True:
    subprocess.run(["sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "sh", *sys.argv[2:]], pass_fds=[3])
`;

// With one server for all three: test/system/cluster.test.ts has replicas, and everything that happens to them.
test("HAProxy before replicas passes everything on as the others do", async () => {
  const proxy = await ReverseProxy.start("HAProxy before replicas", {
    upstreamPort: port,
    replicaPorts: [port, port, port],
    certificate,
    directory: mkdtempSync(join(work, "replicas-")),
  });
  try {
    await passesConditionalRequests(proxy);
    await passesRanges(proxy);
    await keepsPasswords(proxy);
    await showsHttps(proxy);
    await showsPublicationsAtOnce(proxy);
    await keepsMirrorsConsistent(proxy);
    await tellsClientsApart(proxy);
  } finally {
    await proxy.end();
  }
});

test("the rules of the guide for a firewall are valid, and a mistake in them is found", async () => {
  const check = async (rules: string): Promise<void> => {
    writeFileSync(join(work, "rules.nft"), rules);
    await run("unshare", ["--net", "nft", "--check", "--file", join(work, "rules.nft")]);
  };
  await check(blockOf("nft connections"));
  await expect(check(blockOf("nft connections").replace("ct count", "ct counts"))).rejects.toThrow(/rules\.nft/);
});

describe("while the server restarts", () => {
  test("apt sees no error, HAProxy and Caddy hold requests, and caches answer", async () => {
    const cached = await byHashPath("debian");
    const all = [...proxies.values()];
    const kept = await Promise.all(all.map((proxy) => ask(proxy, cached)));
    const roots = await Promise.all(all.map((proxy) => anAptRoot(proxy, "debian")));
    await server.end();
    const updates = Promise.all(roots.map((root) => root.update()));
    const held = Promise.all(
      all.map(async (proxy) => [proxy.name, (await ask(proxy, `/debian/${suite}/InRelease`)).status] as const),
    );
    for (const [index, proxy] of all.entries()) {
      if (proxy.name !== "Caddy") expect((await ask(proxy, cached)).body).toEqual(kept[index]?.body);
    }
    server = await startServer();
    expect(Object.fromEntries(await held)).toEqual({ nginx: 502, Caddy: 200, HAProxy: 200, Varnish: 503 });
    await updates;
    for (const root of roots) expect(await root.candidate("hello")).toBe(`${published}.0-1`);
  });

  test("no request fails if the listening socket stays open, as with systemd's sockets", async () => {
    await server.end();
    const manager = spawn(
      "python3",
      ["-c", socketManager, String(port), join(projectRoot, "dist/cli.js"), "serve", ...serverFlags],
      {
        stdio: "ignore",
        detached: true,
      },
    );
    const { pid: managerPid } = manager;
    if (managerPid === undefined) throw new Error("this test needs python3");
    const pid = () => Number(readFileSync(`/proc/${managerPid}/task/${managerPid}/children`, "utf8"));
    const outcomes = new Set<string>();
    let isRestarting = true;
    const requestUntilRestarted = async (proxy: ReverseProxy): Promise<void> => {
      while (isRestarting) {
        const outcome = await ask(proxy, `/debian/${suite}/InRelease`).then(({ status }) => status, String);
        outcomes.add(`${proxy.name}: ${outcome}`);
      }
    };
    try {
      await Promise.all([...proxies.values()].map((proxy) => ask(proxy, `/debian/${suite}/InRelease`)));
      const load = Promise.all([...proxies.values()].map(requestUntilRestarted));
      const first = pid();
      process.kill(first, "SIGTERM");
      await expect.poll(pid, { timeout: 30_000 }).not.toBe(first);
      await Promise.all([...proxies.values()].map((proxy) => ask(proxy, `/debian/${suite}/Release`)));
      isRestarting = false;
      await load;
    } finally {
      isRestarting = false;
      process.kill(-managerPid, "SIGKILL");
      server = await startServer();
    }
    expect([...outcomes].toSorted()).toEqual(["Caddy: 200", "HAProxy: 200", "Varnish: 200", "nginx: 200"]);
  });
});

/** Changes that take the rules out of the examples, or break them as people do. */
const faults: { readonly [name in ProxyName]: readonly Change[] } = {
  nginx: [
    // Caches InRelease, and what readers got.
    ["(by-hash|pool)/", "(by-hash|pool|dists)/"],
    ["proxy_cache_lock on;", "proxy_ignore_headers Cache-Control; proxy_cache_valid 1h;"],
    ["proxy_cache_bypass $http_authorization;", ""],
    ["proxy_no_cache $http_authorization;", ""],
    ["proxy_set_header X-Forwarded-Proto $scheme;", ""],
    ["$proxy_add_x_forwarded_for", "$http_x_forwarded_for"],
    ["proxy_read_timeout 330s;", "proxy_read_timeout 10s;"],
    ["addresses 256;", "addresses 2;"],
  ],
  Caddy: [
    [
      "transport http {",
      `header_up Authorization "${bob.Authorization}"
header_up X-Forwarded-Proto http
header_up X-Forwarded-For {header.X-Forwarded-For}
transport http {
response_header_timeout 10s`,
    ],
  ],
  HAProxy: [
    // After the line for the cache, so that it is still used.
    [
      "http-response cache-store",
      `http-request set-header Authorization "${bob.Authorization}"\n    http-response cache-store`,
    ],
    [" unless { req.hdr(Range) -m found }", ""],
    ["http-request set-header X-Forwarded-Proto https", ""],
    ["option forwardfor", ""],
    ["timeout server 330s", "timeout server 10s"],
    ["sc0_conn_cur gt 256", "sc0_conn_cur gt 2"],
  ],
  Varnish: [
    ["/(by-hash|pool)/", "/(by-hash|pool|dists)/"],
    [" || req.http.Authorization) {\n    return (pass);\n  }", ") {\n    return (pass);\n  }\n  return (hash);"],
    ["sub vcl_backend_response {", "sub vcl_backend_response {\n  set beresp.ttl = 1h;\n  return (deliver);"],
    ['set req.http.X-Forwarded-Proto = "https";', 'set req.http.X-Forwarded-For = "192.0.2.1";'],
    [".first_byte_timeout = 330s;", ".first_byte_timeout = 10s;"],
  ],
};

describe("without its rules", () => {
  const faulty = new Map<ProxyName, ReverseProxy>();
  const faultyProxy = (name: ProxyName): ReverseProxy => {
    const proxy = faulty.get(name);
    if (proxy === undefined) throw new Error(`${name} was not started`);
    return proxy;
  };
  beforeAll(async () => {
    await Promise.all(programs.map(async (name) => faulty.set(name, await startProxy(name, faults[name]))));
  });
  afterAll(async () => {
    await Promise.all([...faulty.values()].map((proxy) => proxy.end()));
  });

  test.each(programs)("%s gives strangers what it passed to a reader, which is noticed", async (name) => {
    await expect(keepsPasswords(faultyProxy(name))).rejects.toThrow(/200/);
  });

  test.each(programs)("%s lets pages show http addresses, which is noticed", async (name) => {
    await expect(showsHttps(faultyProxy(name))).rejects.toThrow(/https/);
  });

  test.each(programs)("%s lets clients choose or share addresses, which is noticed", async (name) => {
    await expect(tellsClientsApart(faultyProxy(name))).rejects.toThrow(/401|429/);
  });

  test.each(["nginx", "Varnish"] as const)("%s hides a publication, which is noticed", async (name) => {
    await expect(showsPublicationsAtOnce(faultyProxy(name))).rejects.toThrow(/InRelease|Version|SIGNED/);
  });

  test("HAProxy answers with the whole when asked for a part, which is noticed", async () => {
    await expect(passesRanges(faultyProxy("HAProxy"))).rejects.toThrow(/206/);
  });

  test.each(programs)("%s cuts pings that wait for longer than its time limit, which is noticed", async (name) => {
    await expect(waitsForPings(faultyProxy(name), 12_000)).rejects.toThrow(/504|503/);
  });

  // As in the examples, with another number.
  test.each(["nginx", "HAProxy"] as const)("%s limits the connections of each address", async (name) => {
    const proxy = faultyProxy(name);
    const path = await poolPath("debian", "large");
    const responses = await Promise.all([1, 2].map(() => open(proxy, path, { from: "127.0.2.1" })));
    const third = await ask(proxy, path, { method: "HEAD", from: "127.0.2.1" }).then(
      ({ status }) => status,
      () => "closed",
    );
    expect(third).toBeOneOf([503, "closed"]);
    expect((await ask(proxy, path, { method: "HEAD", from: "127.0.2.2" })).status).toBe(200);
    for (const response of responses) response.destroy();
  });
});

test.each([
  ["nginx.conf", /proxy_read_timeout (\d+)s;/],
  ["haproxy.cfg", /timeout server (\d+)s/],
  ["haproxy-replicas.cfg", /backend pings\n(?: {4}.*\n)*? {4}timeout server (\d+)s/],
  ["varnish.vcl", /\.first_byte_timeout = (\d+)s;/],
])("the time limit of %s is longer than any ping waits", (file, pattern) => {
  const [, seconds] = pattern.exec(readProjectFile(`docs/examples/proxies/${file}`)) ?? [];
  expect(Number(seconds)).toBeGreaterThanOrEqual(defaultPingLimits.maxWaitSeconds + 10);
});
