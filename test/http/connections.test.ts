// One client cannot lock out the others: not by silent connections, slow headers, slow reading or many requests.
import type { Socket } from "node:net";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { networkOf } from "../../src/http/client-address.ts";
import { aRepository, aResource } from "../support/served-repository.ts";
import type { StartedApp } from "../support/started-app.ts";
import { startApp } from "../support/started-app.ts";
import { onceUnchanged } from "../support/unchanged.ts";

const largeBytes = 32 * 1024 * 1024;
/** Without the bounds it takes until connections time out, on however fast a machine. */
const promptMs = 5000;
const patience = { timeout: 30_000 };
const [attacker, honest] = ["127.0.0.2", "127.0.0.9"];

async function* pieces(): AsyncGenerator<Uint8Array> {
  const piece = Buffer.alloc(64 * 1024, "x");
  for (let sent = 0; sent < largeBytes; sent += piece.length) yield piece;
}

interface CountingApp extends StartedApp {
  /** How many replies that never end were begun: small ones that do not come, and large ones. */
  readonly begun: () => number;
}

async function aServer(
  options: Parameters<typeof startApp>[1] = {},
  finished: (stop: () => Promise<void>) => void = onTestFinished,
): Promise<CountingApp> {
  let begun = 0;
  const counted = <T>(reply: T): T => {
    begun += 1;
    return reply;
  };
  const files = {
    "dists/a": aResource("small"),
    "dists/never": aResource("late", { read: () => counted(new Promise(() => {})) }),
    "pool/large.deb": aResource("", { sizeBytes: largeBytes, read: async () => counted(pieces()) }),
  };
  const app = await startApp([aRepository("debian", files)], options);
  finished(() => app.stop(0));
  return { ...app, begun: () => begun };
}

const get = (path: string, field = ""): string => `GET /debian/${path} HTTP/1.1\r\nHost: x\r\n${field}\r\n`;

/** A connection that has begun, and sends something if it is told to. It never reads unless it is told to. */
class Peer {
  readonly socket: Socket;
  readonly beganMs = Date.now();
  closedMs: number | undefined;
  /** All that came, once it reads. */
  read = "";

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("close", () => (this.closedMs = Date.now()));
  }

  static async open(
    app: StartedApp,
    localAddress: string,
    said = "",
    finished: (close: () => void) => void = onTestFinished,
  ): Promise<Peer> {
    const socket = connect({ port: app.address.port, host: "127.0.0.1", localAddress });
    const peer = new Peer(socket);
    finished(() => void socket.destroy());
    await new Promise((resolve) => socket.once("connect", resolve).once("error", resolve));
    if (said !== "") socket.write(said);
    return peer;
  }

  /** Begins to read, which alone tells it that the other end has closed. */
  listen(): this {
    this.socket.setEncoding("latin1").on("data", (text: string) => (this.read += text));
    return this;
  }
}

const many = (count: number, open: () => Promise<Peer>): Promise<Peer[]> =>
  Promise.all(Array.from({ length: count }, open));

/** How long it takes until an address gets its answer on a new connection; throws where it gets none. */
async function answeredInMs(app: StartedApp, address: string): Promise<number> {
  const peer = (await Peer.open(app, address, get("dists/a", "Connection: close\r\n"))).listen();
  await expect.poll(() => peer.closedMs, { ...patience, interval: 5 }).toBeDefined();
  expect(peer.read).toContain("\r\n\r\nsmall");
  return (peer.closedMs ?? 0) - peer.beganMs;
}

/** How many of these stay open, as the server has it. */
async function openOf(peers: readonly Peer[]): Promise<number> {
  for (const peer of peers) peer.listen();
  return await onceUnchanged(() => peers.filter(({ closedMs }) => closedMs === undefined).length);
}

test("4,300 silent connections from one address lock out nobody, not even others at that address", {
  timeout: 60_000,
}, async () => {
  const app = await aServer();
  const silent: Peer[] = [];
  for (let count = 0; count < 43; count++) silent.push(...(await many(100, () => Peer.open(app, attacker))));
  expect(await answeredInMs(app, honest)).toBeLessThan(promptMs);
  expect(await answeredInMs(app, attacker)).toBeLessThan(promptMs);
  expect(await openOf(silent)).toBeLessThanOrEqual(256);
  const told = app
    .logged()
    .split("\n")
    .filter((line) => line.includes("limits.http.max_connections_per_address"));
  expect(told.length).toBeGreaterThan(0);
  expect(told.length).toBeLessThan(5);
  expect(told[0]).toContain(`"allowed":256,"address":"${attacker}"`);
});

test("without a limit for each address, one address could use all connections", { timeout: 60_000 }, async () => {
  const app = await aServer({ limits: { maxConnections: 20, maxConnectionsPerAddress: 1000 } });
  // They have requests under way, so that none can be closed for another one.
  await many(20, () => Peer.open(app, attacker, get("dists/never")));
  await expect.poll(app.begun, patience).toBe(20);
  await expect(answeredInMs(app, honest)).rejects.toThrow();
  expect(app.logged()).toContain("limits.http.max_connections");
});

test("if many addresses use all connections, silent ones are closed in favour of new ones", async () => {
  const app = await aServer({ limits: { maxConnections: 20, maxConnectionsPerAddress: 5 } });
  for (const last of [2, 3, 4, 5]) await many(5, () => Peer.open(app, `127.0.0.${last}`));
  for (let count = 0; count < 10; count++) expect(await answeredInMs(app, honest)).toBeLessThan(promptMs);
});

test.concurrent.for([
  ["a byte at a time", "GET /debian/dists/a HTTP/1.1\r\nHost: x\r\nX: ", "y"],
  ["line by line", "GET /debian/dists/a HTTP/1.1\r\nHost: x\r\n", "X: y\r\n"],
  ["not at all, but for empty lines", "", "\r\n"],
  ["never", "", ""],
] as const)(
  "headers that come %s are cut in time, even if the client reads nothing and closes nothing",
  async ([, first, drop], { expect, onTestFinished: finished }) => {
    const app = await aServer({ limits: { headersTimeoutSeconds: 2 } }, finished);
    const peer = await Peer.open(app, attacker, first, finished);
    while (peer.closedMs === undefined && Date.now() - peer.beganMs < 10_000) {
      if (drop !== "") peer.socket.write(drop);
      // A silent client finds out only by reading; that it has not read what came is what counts for the others.
      else if (Date.now() - peer.beganMs > 4500) peer.listen();
      await sleep(50);
    }
    const livedMs = (peer.closedMs ?? Number.POSITIVE_INFINITY) - peer.beganMs;
    expect(livedMs).toBeGreaterThan(1900);
    expect(livedMs).toBeLessThan(5500);
    expect(app.logged()).toContain(`"limit":"limits.http.headers_timeout_seconds","allowed":2,"address":"${attacker}"`);
  },
);

test("empty lines between requests do not keep a connection: it counts as idle and is closed in favour of a new one", async () => {
  const app = await aServer({ limits: { maxConnectionsPerAddress: 1 } });
  const peer = (await Peer.open(app, attacker, get("dists/a"))).listen();
  await expect.poll(() => peer.read, patience).toContain("small");
  for (let count = 0; count < 5; count++) {
    await new Promise((resolve) => peer.socket.write("\r\n", resolve));
  }
  await answeredInMs(app, attacker);
  await expect.poll(() => peer.closedMs, patience).toBeDefined();
});

test("idle connections are closed in favour of new ones of their address, the oldest first", async () => {
  const app = await aServer({ limits: { maxConnectionsPerAddress: 3 } });
  const kept: Peer[] = [];
  for (let count = 0; count < 3; count++) {
    kept.push((await Peer.open(app, attacker, get("dists/a"))).listen());
    await expect.poll(() => kept.at(-1)?.read, patience).toContain("small");
  }
  // The first has just been used: now the second is the oldest.
  kept[0]?.socket.write(get("dists/a"));
  await expect.poll(() => kept[0]?.read.split("small").length, patience).toBe(3);
  await answeredInMs(app, attacker);
  await expect.poll(() => kept.map(({ closedMs }) => closedMs === undefined), patience).toEqual([true, false, true]);
});

test("slow readers use only connections of their own address, which then accepts no new one", async () => {
  const app = await aServer({ limits: { maxConnectionsPerAddress: 5 } });
  const slow = await many(5, () => Peer.open(app, attacker, get("pool/large.deb")));
  await expect.poll(app.begun, patience).toBe(5);
  await expect(answeredInMs(app, attacker)).rejects.toThrow();
  expect(await answeredInMs(app, honest)).toBeLessThan(promptMs);
  expect(slow.filter(({ closedMs }) => closedMs !== undefined)).toEqual([]);
});

test("a connection with more queued requests than allowed is cut, and its address is blocked for a while", async () => {
  let nowMs = Date.now();
  const app = await aServer({ clock: () => nowMs });
  const patient = (await Peer.open(app, honest, get("dists/never") + get("dists/a").repeat(200))).listen();
  const besides = (await Peer.open(app, attacker)).listen();
  const greedy = (await Peer.open(app, attacker, get("dists/never") + get("dists/a").repeat(5000))).listen();
  await expect.poll(() => [greedy.closedMs, besides.closedMs], patience).not.toContain(undefined);
  expect(app.logged()).toContain(`"limit":"limits.http.max_pipelined_requests","allowed":256,"address":"${attacker}"`);
  await expect(answeredInMs(app, attacker)).rejects.toThrow();
  expect(await answeredInMs(app, honest)).toBeLessThan(promptMs);
  expect(patient.closedMs).toBeUndefined();
  nowMs += 10_001;
  expect(await answeredInMs(app, attacker)).toBeLessThan(promptMs);
});

test("floods of requests on many connections of one address delay nobody else", async () => {
  const app = await aServer();
  const requests = get("dists/never") + get("dists/a").repeat(2000);
  const floods = await many(200, () => Peer.open(app, attacker, requests));
  expect(await answeredInMs(app, honest)).toBeLessThan(promptMs);
  for (const flood of floods) flood.listen();
  await expect.poll(() => floods.filter(({ closedMs }) => closedMs === undefined), patience).toEqual([]);
});

test("requests queued behind slow ones of an address do not delay the first request of each connection", async () => {
  const app = await aServer();
  // 40 connections with 16 requests each are more than one address may have made ahead.
  await many(40, () => Peer.open(app, attacker, get("dists/never") + get("dists/a").repeat(15)));
  await expect.poll(app.begun, patience).toBe(40);
  expect(await answeredInMs(app, attacker)).toBeLessThan(promptMs);
  const pipelining = (await Peer.open(app, attacker, get("dists/a").repeat(50))).listen();
  await expect.poll(() => pipelining.read.split("small").length - 1, patience).toBe(50);
});

test("behind a trusted proxy, connections are not counted by address", async () => {
  const app = await aServer({ limits: { maxConnectionsPerAddress: 3 }, behindProxy: true });
  const kept = await many(20, () => Peer.open(app, "127.0.0.1", get("dists/a")));
  expect(await openOf(kept)).toBe(20);
  const direct = await aServer({ limits: { maxConnectionsPerAddress: 3 } });
  expect(await openOf(await many(20, () => Peer.open(direct, "127.0.0.1", get("dists/a"))))).toBe(3);
});

test.each([
  ["192.0.2.7", "192.0.2.7"],
  ["::ffff:192.0.2.7", "192.0.2.7"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
  ["2001:DB8:1:2::1", "2001:db8:1:2"],
  ["2001:db8::1", "2001:db8:0:0"],
])("%s counts as %s", (address, network) => {
  expect(networkOf(address)).toBe(network);
});
