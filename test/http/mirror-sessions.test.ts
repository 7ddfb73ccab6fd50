// Mirrors ask for plain names, request by request, while new publications come: what they get belongs together.
import { Agent, request } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { aDeb } from "../support/debs.ts";
import { ServedFolder, sha256 } from "../support/served-folder.ts";
import type { StartedApp } from "../support/started-app.ts";
import { startApp } from "../support/started-app.ts";
import type { Reply } from "../support/transcript.ts";

const place = "dists/sid/main/binary-amd64";
const suite = "/debian/dists/sid";
const packages = `${suite}/main/binary-amd64/Packages`;

/** A server on loopback whose suite gets a new publication with each package, and whose clock stands still. */
class Mirrored {
  readonly app: StartedApp;
  readonly #served: ServedFolder;
  readonly #pass: (seconds: number) => void;
  #count = 0;

  private constructor(app: StartedApp, served: ServedFolder, pass: (seconds: number) => void) {
    this.app = app;
    this.#served = served;
    this.#pass = pass;
  }

  static async start(options: Parameters<typeof startApp>[1] = {}): Promise<Mirrored> {
    const served = new ServedFolder();
    let nowMs = Date.now();
    const app = await startApp([served.repository], { clock: () => nowMs, ...options });
    onTestFinished(() => app.stop(0));
    const mirrored = new Mirrored(app, served, (seconds) => (nowMs += seconds * 1000));
    await mirrored.publish();
    return mirrored;
  }

  /** Adds a package. @returns its name */
  async publish(): Promise<string> {
    this.#count += 1;
    const name = `package-${this.#count}`;
    this.#served.put(`${place}/${name}.deb`, await aDeb({ package: name, architecture: "amd64" }), this.#count);
    await this.#served.ping();
    return name;
  }

  addArchitecture(name: string): void {
    this.#served.makeDirectory(`dists/sid/main/binary-${name}`);
  }

  pass(seconds: number): void {
    this.#pass(seconds);
  }

  /** A client with one connection that it keeps. */
  client(
    headers: { readonly [name: string]: string } = { "User-Agent": "mirror/1" },
    localAddress = "127.0.0.1",
  ): Client {
    return new Client(this.app.address.port, headers, localAddress);
  }
}

class Client {
  readonly #port: number;
  readonly #headers: { readonly [name: string]: string };
  readonly #localAddress: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(port: number, headers: { readonly [name: string]: string }, localAddress: string) {
    this.#port = port;
    this.#headers = headers;
    this.#localAddress = localAddress;
    onTestFinished(() => this.#agent.destroy());
  }

  ask(path: string, headers: { readonly [name: string]: string } = {}): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const options = {
        host: "127.0.0.1",
        port: this.#port,
        path,
        agent: this.#agent,
        localAddress: this.#localAddress,
      };
      const asking = request({ ...options, headers: { ...this.#headers, ...headers } }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
        );
      });
      asking.on("error", reject);
      asking.end();
    });
  }

  async text(path: string): Promise<string> {
    return (await this.ask(path)).body.toString();
  }

  /** Whether a Release that it got lists what it gets by a plain name now. */
  async belongsTo(release: string): Promise<boolean> {
    const digest = sha256((await this.ask(packages)).body);
    return release.includes(digest);
  }
}

test.each(["Release", "InRelease"])("whoever began with %s gets plain names of the same publication", async (file) => {
  const server = await Mirrored.start();
  const client = server.client();
  const release = await client.text(`${suite}/${file}`);
  await server.publish();
  expect(await client.belongsTo(release)).toBe(true);
  // Other connections of it get the same.
  expect(await server.client().belongsTo(release)).toBe(true);
  await server.publish();
  expect(await client.belongsTo(release)).toBe(true);
});

test("a client without a session, or another client, gets plain names of the newest publication", async () => {
  const server = await Mirrored.start();
  await server.client().text(`${suite}/InRelease`);
  const name = await server.publish();
  expect(await server.client({ "User-Agent": "another/1" }).text(packages)).toContain(name);
  expect(await server.client({ "User-Agent": "mirror/1" }, "127.0.0.5").text(packages)).toContain(name);
});

test("a client that fetches InRelease again gets the newest one, and then its plain names", async () => {
  const server = await Mirrored.start();
  const client = server.client();
  await client.text(`${suite}/InRelease`);
  await client.text(packages);
  const name = await server.publish();
  const release = await client.text(`${suite}/InRelease`);
  expect(await client.text(packages)).toContain(name);
  expect(await client.belongsTo(release)).toBe(true);
  const later = await server.publish();
  expect(await client.text(packages)).not.toContain(later);
  expect(await client.text(`${suite}/InRelease`)).not.toBe(release);
  expect(await client.text(packages)).toContain(later);
});

test("clients with one address and User-Agent each keep the session of their connection", async () => {
  const server = await Mirrored.start();
  const [first, second] = [server.client(), server.client()];
  const older = await first.text(`${suite}/Release`);
  await server.publish();
  const newer = await second.text(`${suite}/Release`);
  await server.publish();
  expect(await first.belongsTo(older)).toBe(true);
  expect(await second.belongsTo(newer)).toBe(true);
});

test("by-hash names are the same for all clients, also those of a newer publication", async () => {
  const server = await Mirrored.start();
  const client = server.client();
  await client.text(`${suite}/InRelease`);
  const before = sha256((await client.ask(packages)).body);
  await server.publish();
  const after = sha256((await server.client({ "User-Agent": "another/1" }).ask(packages)).body);
  expect(after).not.toBe(before);
  for (const digest of [before, after]) {
    const { status, body, headers } = await client.ask(`${suite}/main/binary-amd64/by-hash/SHA256/${digest}`);
    expect([status, sha256(body)]).toEqual([200, digest]);
    expect(headers["cache-control"]).toContain("immutable");
  }
});

test("a session ends after a time without requests, and after a longer time in any case", async () => {
  const server = await Mirrored.start({ limits: { mirrorIdleSeconds: 10, mirrorSessionSeconds: 25 } });
  const client = server.client();
  const release = await client.text(`${suite}/Release`);
  await server.publish();
  for (const seconds of [9, 9]) {
    server.pass(seconds);
    expect(await client.belongsTo(release)).toBe(true);
  }
  server.pass(8);
  expect(await client.belongsTo(release)).toBe(false);

  const another = await client.text(`${suite}/Release`);
  await server.publish();
  server.pass(11);
  expect(await client.belongsTo(another)).toBe(false);
});

test("ETags, dates and preconditions are those of the publication that is sent", async () => {
  const server = await Mirrored.start();
  const client = server.client();
  await client.text(`${suite}/InRelease`);
  const before = (await client.ask(packages)).headers;
  expect(before["cache-control"]).toBe("no-cache");
  await server.publish();
  const after = (await server.client({ "User-Agent": "another/1" }).ask(packages)).headers;
  const held = await client.ask(packages);
  expect(held.headers.etag).toBe(before.etag);
  expect(held.headers["last-modified"]).toBe(before["last-modified"]);
  // No shared cache may give it to others.
  expect(held.headers["cache-control"]).toBe("private, no-cache");
  expect((await client.ask(packages, { "If-None-Match": String(before.etag) })).status).toBe(304);
  expect((await client.ask(packages, { "If-None-Match": String(after.etag) })).status).toBe(200);
  expect((await client.ask(packages, { Range: "bytes=0-1", "If-Range": String(after.etag) })).status).toBe(200);
});

test("Release and InRelease that are fetched one right after the other come from one publication, others do not", async () => {
  const server = await Mirrored.start();
  const client = server.client();
  const release = await client.text(`${suite}/Release`);
  await server.publish();
  // This signer signs nothing: both files have one text.
  expect(await client.text(`${suite}/InRelease`)).toBe(release);
  expect(await client.belongsTo(release)).toBe(true);
  // Asked for again, it is the newest.
  const newest = await client.text(`${suite}/InRelease`);
  expect(newest).not.toBe(release);

  await server.publish();
  await client.text("/healthz");
  expect(await client.text(`${suite}/Release`)).not.toBe(newest);

  const third = await client.text(`${suite}/InRelease`);
  await server.publish();
  server.pass(2);
  expect(await client.text(`${suite}/Release`)).not.toBe(third);

  const fourth = await client.text(`${suite}/Release`);
  await server.publish();
  expect(await server.client().text(`${suite}/InRelease`)).not.toBe(fourth);
});

test("behind a proxy clients are identified by its header, not by its connections", async () => {
  for (const behindProxy of [true, false]) {
    const server = await Mirrored.start({ behindProxy });
    const proxy = server.client({ "User-Agent": "mirror/1", Via: "1.1 proxy" });
    const as = (address: string) => ({ "X-Forwarded-For": address });
    const older = (await proxy.ask(`${suite}/Release`, as("192.0.2.1"))).body.toString();
    const name = await server.publish();
    const newer = (await proxy.ask(`${suite}/Release`, as("192.0.2.2"))).body.toString();
    await server.publish();
    const first = (await proxy.ask(packages, as("192.0.2.1"))).body;
    const second = (await proxy.ask(packages, as("192.0.2.2"))).body;
    expect([older.includes(sha256(first)), newer.includes(sha256(second))]).toEqual([true, true]);
    expect(second.toString()).toContain(name);
  }
});

test("also behind a proxy, Release and InRelease that are fetched at one moment come from one publication, once", async () => {
  const server = await Mirrored.start();
  const mirror = { "User-Agent": "mirror/1", "X-Forwarded-For": "192.0.2.1" };
  const release = await server.client(mirror).text(`${suite}/Release`);
  await server.publish();
  expect(await server.client(mirror).text(`${suite}/InRelease`)).toBe(release);
  expect(await server.client(mirror).belongsTo(release)).toBe(true);
  const newest = await server.client(mirror).text(`${suite}/InRelease`);
  expect(newest).not.toBe(release);
  expect(await server.client(mirror).belongsTo(newest)).toBe(true);
  await server.publish();
  server.pass(2);
  expect(await server.client(mirror).text(`${suite}/Release`)).not.toBe(newest);
});

test("behind a trusted proxy a client cannot take another one's address by sending the header itself", async () => {
  const server = await Mirrored.start({ behindProxy: true });
  const proxy = server.client();
  const release = (await proxy.ask(`${suite}/Release`, { "X-Forwarded-For": "192.0.2.1" })).body.toString();
  await server.publish();
  await proxy.ask(`${suite}/Release`, { "X-Forwarded-For": "192.0.2.1, 198.51.100.9" });
  const { body } = await proxy.ask(packages, { "X-Forwarded-For": "192.0.2.1" });
  expect(release).toContain(sha256(body));
});

test.each([
  ["a proxy that tells of no client", { Via: "1.1 cache" }, false],
  ["a proxy of ours that tells of no client", {}, true],
])("behind %s everybody gets the newest publication", async (_what, headers, behindProxy) => {
  const server = await Mirrored.start({ behindProxy });
  const proxy = server.client({ "User-Agent": "mirror/1", ...headers });
  await proxy.text(`${suite}/Release`);
  const name = await server.publish();
  expect(await proxy.text(packages)).toContain(name);
});

test("the number of sessions is limited", async () => {
  const server = await Mirrored.start({ limits: { maxMirrorSessions: 2 } });
  const agents = ["one", "two", "three"].map((agent) => ({ "User-Agent": agent }));
  const releases: string[] = [];
  for (const headers of agents) releases.push(await server.client(headers).text(`${suite}/Release`));
  await server.publish();
  const belong: boolean[] = [];
  for (const [at, headers] of agents.entries()) belong.push(await server.client(headers).belongsTo(releases[at] ?? ""));
  expect(belong).toEqual([false, true, true]);
});

test("a file that the session's publication lacks comes from the newest one", async () => {
  const server = await Mirrored.start();
  const client = server.client();
  await client.text(`${suite}/Release`);
  expect((await client.ask(`${suite}/main/binary-arm64/Packages`)).status).toBe(404);
  server.addArchitecture("arm64");
  await server.publish();
  expect((await client.ask(`${suite}/main/binary-arm64/Packages`)).status).toBe(200);
});
