// The public server that `tahoe-apt verify` asks: whatever it does, its answer has an end.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { RemoteServer } from "../../src/verify/remote-server.ts";

const { signal } = new AbortController();

/** A server that sends piece after piece, each in a write of its own. @param pieces no number: without end */
async function dripping(piece: string, pieces = Number.POSITIVE_INFINITY): Promise<string> {
  const server = createServer((_request, response) => {
    let sent = 0;
    const drip = () => {
      if (response.destroyed) return;
      if (sent++ < pieces) response.write(piece, () => setImmediate(drip));
      else response.end();
    };
    drip();
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** So much time goes by whenever somebody looks at the clock. */
const clockOf = (stepMs: number) => {
  let nowMs = 0;
  return () => (nowMs += stepMs);
};

test("an answer that comes in drops is given up, with its URL, though it never falls silent", async () => {
  const url = await dripping("x");
  const reading = new RemoteServer(url, signal, clockOf(10_000)).measure("pool/a b.deb", 2 ** 40);
  await expect(reading).rejects.toThrow(`${url}/pool/a%20b.deb is slower than 4096 bytes per second`);
});

test("an answer that takes long for its size, but comes, is read to its end", async () => {
  const url = await dripping("x".repeat(100_000), 50);
  const read = await new RemoteServer(url, signal, clockOf(2_000)).measure("slow", 2 ** 23);
  expect(read?.sizeBytes).toBe(5_000_000);
});

test("an answer without end is cut where enough is known, and what ought to be short is an error", async () => {
  const url = await dripping("0123456789");
  const site = new RemoteServer(url, signal, () => 0);
  expect((await site.readStart("index", 25))?.toString()).toBe("0123456789012345678901234");
  expect((await site.measure("index", 25))?.sizeBytes).toBe(25);
  await expect(site.read("index", 25)).rejects.toThrow(`${url}/index is longer than 25 bytes`);
});
