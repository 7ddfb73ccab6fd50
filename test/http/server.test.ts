// The port: what is refused before it is a request, and how the server ends.
import { once } from "node:events";
import type { RequestListener, ServerResponse } from "node:http";
import { connect } from "node:net";
import { buffer, text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { withResolvers } from "../../src/base/with-resolvers.ts";
import { maxHeaderBytes, startServer } from "../../src/http/server.ts";
import { aRepository, aResource } from "../support/served-repository.ts";
import { rawExchange, startApp } from "../support/started-app.ts";
import { ask } from "../support/transcript.ts";

/** A file that comes when it is let go, and what tells that somebody has begun to read it. */
function heldBack() {
  const [begun, released] = [withResolvers<void>(), withResolvers<void>()];
  const file = aResource("late", {
    read: async () => {
      begun.resolve();
      await released.promise;
      return Buffer.from("late");
    },
  });
  return { file, begun: begun.promise, release: () => released.resolve() };
}

test.each([
  ["what is not HTTP", "EHLO mail.example\r\n\r\n", 400, "request/malformed"],
  ["a header without a colon", "GET / HTTP/1.1\r\nHost: x\r\nbroken\r\n\r\n", 400, "request/malformed"],
  [
    "headers beyond the limit",
    `GET / HTTP/1.1\r\nHost: x\r\nX: ${"y".repeat(maxHeaderBytes)}\r\n\r\n`,
    431,
    "request/headers-too-large",
  ],
])("%s is refused with a text and the connection's end", async (_what, request, status, code) => {
  const app = await startApp([]);
  const reply = await rawExchange(app.address.port, request);
  await app.stop(0);
  expect(reply).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  expect(reply).toMatch(new RegExp(`\r\n\r\n${status} ${code}: .+\n$`));
});

test.each([
  ["two Host fields", "Host: a\r\nHost: b\r\n"],
  ["the same Host twice", "Host: a\r\nX: y\r\nhost: a\r\n"],
  ["a Host that is not a host", "Host: a/b\r\n"],
  ["a Host with a blank in it", "Host: a b\r\n"],
])("%s is refused, whatever is asked for", async (_what, fields) => {
  const app = await startApp([aRepository("debian", { "dists/a": aResource("x") })]);
  for (const target of ["/debian/dists/a", "/debian/", "/healthz", "http://c/debian/dists/a"]) {
    const reply = await rawExchange(app.address.port, `GET ${target} HTTP/1.1\r\n${fields}Connection: close\r\n\r\n`);
    expect(reply).toMatch(/^HTTP\/1\.1 400 /);
    expect(reply).toMatch(/\r\n\r\n400 request\/malformed: .*Host header/);
  }
  await app.stop(0);
});

test.each(["Host: apt.example.org", "Host: [::1]:8380", "Host: a_b.example:", "Host:"])(
  "%s is answered",
  async (field) => {
    const app = await startApp([aRepository("debian", { "dists/a": aResource("x") })]);
    const request = `GET /debian/dists/a HTTP/1.1\r\n${field}\r\nConnection: close\r\n\r\n`;
    expect(await rawExchange(app.address.port, request)).toMatch(/^HTTP\/1\.1 200 /);
    await app.stop(0);
  },
);

test("an error about bytes that are not HTTP is not mixed into the response before it", async () => {
  const { file } = heldBack();
  const app = await startApp([aRepository("debian", { "dists/a": file })]);
  const sent = "GET /debian/dists/a HTTP/1.1\r\nHost: x\r\n\r\nrubbish\r\n\r\n";
  expect(await rawExchange(app.address.port, sent)).not.toContain("400");
  await app.stop(0);
});

/** Longer than anything here takes, on however slow a machine: only what waits for its end comes to see it. */
const graceMs = 20_000;

test("stopping finishes requests in progress, accepts no new ones, and does not wait for idle connections", async () => {
  const { file, begun, release } = heldBack();
  const app = await startApp([aRepository("debian", { "dists/a": file })]);
  const idle = connect(app.address.port, "127.0.0.1");
  idle.on("error", () => {});
  const asking = ask(app.address.port, "GET", "/debian/dists/a");
  await begun;
  const begunMs = Date.now();
  const stopping = app.stop(graceMs);
  await expect(ask(app.address.port, "GET", "/healthz")).rejects.toThrow();
  release();
  const { body, headers } = await asking;
  expect(body.toString()).toBe("late");
  expect(headers.connection).toBe("close");
  await stopping;
  expect(Date.now() - begunMs).toBeLessThan(graceMs);
});

test("stopping sends a finished response completely, even if the client has not read it yet", async () => {
  const bytes = Buffer.alloc(32 * 2 ** 20, "x");
  const ended = withResolvers<void>();
  const server = await startServer((_request, response) => ended.resolve(void response.end(bytes)), {
    host: "127.0.0.1",
    port: 0,
  });
  const client = connect(server.address.port, "127.0.0.1");
  client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await ended.promise;
  const stopping = server.stop(graceMs);
  expect((await buffer(client)).length).toBeGreaterThan(bytes.length);
  await stopping;
});

test("stopping closes a kept-alive connection as soon as its response is sent", async () => {
  const begun = withResolvers<ServerResponse>();
  const listener: RequestListener = (_request, response) => {
    response.writeHead(200).write("begun, ");
    begun.resolve(response);
  };
  const server = await startServer(listener, { host: "127.0.0.1", port: 0 });
  const client = connect(server.address.port, "127.0.0.1");
  client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const response = await begun.promise;
  const begunMs = Date.now();
  const stopping = server.stop(graceMs);
  response.end("ended");
  expect(await text(client)).toContain("ended");
  await stopping;
  expect(Date.now() - begunMs).toBeLessThan(graceMs);
});

test("stopping answers all requests that a connection sent before", async () => {
  const waiting: ServerResponse[] = [];
  const begun = withResolvers<void>();
  const listener: RequestListener = (_request, response) => {
    if (waiting.push(response) === 2) begun.resolve();
  };
  const server = await startServer(listener, { host: "127.0.0.1", port: 0 });
  const client = connect(server.address.port, "127.0.0.1");
  client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2));
  await begun.promise;
  const stopping = server.stop(graceMs);
  for (const response of waiting) response.end("answered");
  const received = await text(client);
  await stopping;
  expect(received.match(/answered/g)).toHaveLength(2);
  // The first response does not end the connection.
  expect(received.match(/Connection: [a-z-]+/g)).toEqual(["Connection: keep-alive", "Connection: close"]);
});

test("requests that do not finish within the grace period are cut", async () => {
  const { file, begun } = heldBack();
  const app = await startApp([aRepository("debian", { "dists/a": file })]);
  const asking = expect(ask(app.address.port, "GET", "/debian/dists/a")).rejects.toThrow("hang up");
  await begun;
  const begunMs = Date.now();
  await app.stop(200);
  await asking;
  const tookMs = Date.now() - begunMs;
  expect(tookMs).toBeGreaterThanOrEqual(190);
  expect(tookMs).toBeLessThan(graceMs);
});

test("an address that is in use is an error, not a crash", async () => {
  const app = await startApp([]);
  const again = startServer(() => {}, { host: "127.0.0.1", port: app.address.port });
  await expect(again).rejects.toMatchObject({ code: "EADDRINUSE" });
  await app.stop(0);
});

test("with a minimum idle time, a request on a kept connection is answered while stopping, and ends the connection", async () => {
  const server = await startServer((_request, response) => response.end("answered"), {
    host: "127.0.0.1",
    port: 0,
    minIdleMs: graceMs,
  });
  const client = connect(server.address.port, "127.0.0.1");
  client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const received = text(client);
  await once(client, "data");
  const stopping = server.stop(graceMs);
  client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  expect((await received).match(/Connection: [a-z-]+/g)).toEqual(["Connection: keep-alive", "Connection: close"]);
  await stopping;
});

test("with a minimum idle time, a connection that sends nothing more is closed after it, long before the grace period", async () => {
  const minIdleMs = 300;
  const server = await startServer((_request, response) => response.end("answered"), {
    host: "127.0.0.1",
    port: 0,
    minIdleMs,
  });
  const client = connect(server.address.port, "127.0.0.1");
  client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const received = text(client);
  await once(client, "data");
  const begunMs = Date.now();
  await server.stop(graceMs);
  await received;
  // Timers count from a time that is rounded down.
  expect(Date.now() - begunMs).toBeGreaterThanOrEqual(minIdleMs - 50);
  expect(Date.now() - begunMs).toBeLessThan(graceMs);
});
