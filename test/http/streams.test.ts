// Bodies on their way: back-pressure, clients that go away, sources that fail, and connections that are used well.
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { withResolvers } from "../../src/base/with-resolvers.ts";
import type { HttpLimits } from "../../src/http/app.ts";
import type { Resource } from "../../src/publishing/resource.ts";
import { aRepository, aResource } from "../support/served-repository.ts";
import type { StartedApp } from "../support/started-app.ts";
import { rawExchange, startApp, thenClose } from "../support/started-app.ts";
import { ask } from "../support/transcript.ts";
import { onceUnchanged } from "../support/unchanged.ts";

const chunkBytes = 64 * 1024;
const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

async function aServer(files: { [path: string]: Resource }, limits: Partial<HttpLimits> = {}): Promise<StartedApp> {
  const app = await startApp([aRepository("debian", files)], { limits });
  stops.push(() => app.stop(0));
  return app;
}

/** A stream of so many chunks that tells how far it got and how it ended. */
function aStream(chunks: number, options: { failAfter?: number; claimedBytes?: number; stallAfter?: number } = {}) {
  const seen = { given: 0, closed: false, aborted: false };
  async function* give(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    signal.addEventListener("abort", () => {
      seen.aborted = true;
    });
    try {
      for (let chunk = 0; chunk < chunks; chunk += 1) {
        if (chunk === options.failAfter) throw new Error("the grid went down");
        if (chunk === options.stallAfter) await new Promise(() => {});
        seen.given += 1;
        yield Buffer.alloc(chunkBytes, chunk);
      }
    } finally {
      seen.closed = true;
    }
  }
  const sizeBytes = options.claimedBytes ?? chunks * chunkBytes;
  const resource = aResource("", { sizeBytes, caching: "immutable", read: async (_range, signal) => give(signal) });
  return { seen, resource };
}

async function until(condition: () => boolean): Promise<void> {
  await expect.poll(condition, { timeout: 20_000 }).toBe(true);
}

test("a stream arrives completely, with its length", async () => {
  const { resource } = aStream(20);
  const app = await aServer({ "pool/a.deb": resource });
  const { headers, body } = await ask(app.address.port, "GET", "/debian/pool/a.deb");
  expect(headers["content-length"]).toBe(String(20 * chunkBytes));
  expect(headers["transfer-encoding"]).toBeUndefined();
  expect(body.equals(Buffer.concat(Array.from({ length: 20 }, (_, at) => Buffer.alloc(chunkBytes, at))))).toBe(true);
});

test("HEAD of a stream reads nothing", async () => {
  const { resource, seen } = aStream(20);
  const app = await aServer({ "pool/a.deb": resource });
  const { headers } = await ask(app.address.port, "HEAD", "/debian/pool/a.deb");
  expect(headers["content-length"]).toBe(String(20 * chunkBytes));
  expect(seen.given).toBe(0);
});

test("a client that reads nothing pauses its source, and ends it by disconnecting", async () => {
  const { resource, seen } = aStream(2000);
  const app = await aServer({ "pool/a.deb": resource });
  const socket = connect(app.address.port, "127.0.0.1");
  socket.pause();
  socket.write("GET /debian/pool/a.deb HTTP/1.1\r\nHost: x\r\n\r\n");
  await until(() => seen.given > 0);
  await onceUnchanged(() => seen.given);
  // What the kernel's buffers on both ends of a loopback connection may hold, in chunks.
  expect(seen.given).toBeLessThan(400);
  socket.destroy();
  await until(() => seen.aborted && seen.closed);
  await until(() => app.answered.length === 1);
  expect(app.answered).toEqual([{ requestClass: "package", status: "cut" }]);
});

test("a source can reuse one buffer, however slowly the client reads", async () => {
  const [pieces, pieceBytes] = [4000, 4096];
  const asked: unknown[] = [];
  let given = 0;
  async function* refilled(): AsyncGenerator<Uint8Array> {
    const buffer = Buffer.alloc(pieceBytes);
    for (; given < pieces; given += 1) yield buffer.fill(given % 251);
  }
  const read: Resource["read"] = async (_range, _signal, how) => {
    asked.push(how);
    return refilled();
  };
  const app = await aServer({ "pool/a.deb": aResource("", { sizeBytes: pieces * pieceBytes, read }) });
  const socket = connect(app.address.port, "127.0.0.1");
  socket.pause();
  socket.write("GET /debian/pool/a.deb HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  await until(() => given > 0);
  await onceUnchanged(() => given);
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks).subarray(-pieces * pieceBytes);
  const wrong = Array.from({ length: pieces }, (_, piece) => piece).find((piece) => {
    const part = body.subarray(piece * pieceBytes, (piece + 1) * pieceBytes);
    return !part.equals(Buffer.alloc(pieceBytes, piece % 251));
  });
  expect(wrong).toBeUndefined();
  expect(asked).toEqual(["fleeting"]);
});

test("a client that disconnects also ends its queued pipelined requests", async () => {
  const first = aStream(2000);
  // Small enough to be begun ahead of its turn.
  const second = aStream(4);
  const app = await aServer({ "pool/a.deb": first.resource, "pool/b.deb": second.resource });
  const socket = connect(app.address.port, "127.0.0.1");
  socket.pause();
  socket.write("GET /debian/pool/a.deb HTTP/1.1\r\nHost: x\r\n\r\nGET /debian/pool/b.deb HTTP/1.1\r\nHost: x\r\n\r\n");
  await until(() => first.seen.given > 0 && second.seen.given > 0);
  expect(await onceUnchanged(() => second.seen.given)).toBeLessThan(4);
  socket.destroy();
  await until(() => first.seen.closed && second.seen.closed);
});

test.each([
  ["fails on the way", { failAfter: 10 }],
  ["ends short", { claimedBytes: 21 * chunkBytes }],
  ["goes on too long", { claimedBytes: 20 * chunkBytes - 1 }],
])("a stream that %s is cut, so that nobody takes it for whole", async (_what, options) => {
  const { resource, seen } = aStream(20, options);
  const app = await aServer({ "pool/a.deb": resource });
  await expect(ask(app.address.port, "GET", "/debian/pool/a.deb")).rejects.toThrow(/aborted|hang up|Parse/);
  expect(seen.closed).toBe(true);
});

test("a source without a first byte in time is a 503, even if it ignores its signal", async () => {
  const { resource } = aStream(20, { stallAfter: 0 });
  const stuck = aResource("xyz", { read: () => new Promise(() => {}) });
  const app = await aServer({ "pool/a.deb": resource, "pool/b.deb": stuck }, { firstByteTimeoutMs: 50 });
  for (const name of ["a", "b"]) {
    const { status, headers, body } = await ask(app.address.port, "GET", `/debian/pool/${name}.deb`);
    expect([status, headers["retry-after"]]).toEqual([503, "5"]);
    expect(body.toString()).toMatch(/^503 server\/slow-source: /);
  }
});

test("a slow body is not cut once it has begun", async () => {
  const resource = aResource("", {
    sizeBytes: 4,
    read: async () =>
      (async function* () {
        for (const letter of "slow") {
          yield Buffer.from(letter);
          await sleep(300);
        }
      })(),
  });
  const app = await aServer({ "pool/a.deb": resource }, { firstByteTimeoutMs: 1000 });
  expect((await ask(app.address.port, "GET", "/debian/pool/a.deb")).body.toString()).toBe("slow");
});

test("ten pipelined requests get ten replies in order, whichever is ready first", async () => {
  const reads = Array.from({ length: 10 }, () => withResolvers<void>());
  const files = Object.fromEntries(
    Array.from({ length: 10 }, (_, at) => {
      // Each one is ready after the one behind it.
      const read = async () => {
        await reads[at + 1]?.promise;
        reads[at]?.resolve();
        return Buffer.from(`<${at}>`);
      };
      return [`dists/${at}`, aResource(`<${at}>`, { read })];
    }),
  );
  const app = await aServer(files);
  const asked = Array.from({ length: 10 }, (_, at) => `GET /debian/dists/${at} HTTP/1.1\r\nHost: x\r\n\r\n`);
  const text = await rawExchange(app.address.port, thenClose(asked.join("")));
  expect(text.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(10);
  expect(text.match(/<\d>/g)).toEqual(Array.from({ length: 10 }, (_, at) => `<${at}>`));
});

test("an error among pipelined requests affects neither the others nor the connection", async () => {
  const app = await aServer({ "dists/a": aResource("AAA"), "dists/b": aResource("BBB") });
  const asked = ["a", "nothing", "%zz", "b"].map((name) => `GET /debian/dists/${name} HTTP/1.1\r\nHost: x\r\n\r\n`);
  const text = await rawExchange(app.address.port, thenClose(asked.join("")));
  expect(text.match(/HTTP\/1\.1 \d+/g)?.map((line) => line.slice(9))).toEqual(["200", "404", "400", "200"]);
  expect(text).toContain("BBB");
});

test("an HTTP/1.0 client gets its response, and the connection is closed", async () => {
  const app = await aServer({ "dists/a": aResource("AAA") });
  const text = await rawExchange(app.address.port, "GET /debian/dists/a HTTP/1.0\r\n\r\n");
  expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  expect(text).toContain("\r\nConnection: close\r\n");
  expect(text.endsWith("\r\n\r\nAAA")).toBe(true);
});
