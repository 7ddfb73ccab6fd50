// The server that `tahoe-apt verify` reads from: whatever it sends, every read ends.
import type { RequestListener } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { RemoteServer } from "../../src/upstream/remote-server.ts";

const { signal } = new AbortController();

/** A server that sends chunk after chunk, each in a separate write. @param pieces undefined for an endless response */
async function slowServer(piece: string, pieces = Number.POSITIVE_INFINITY): Promise<string> {
  return await serverOf((_request, response) => {
    let sent = 0;
    const drip = () => {
      if (response.destroyed) return;
      if (sent++ < pieces) response.write(piece, () => setImmediate(drip));
      else response.end();
    };
    drip();
  });
}

async function serverOf(respond: RequestListener): Promise<string> {
  const server = createServer(respond);
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** The clock advances by this time whenever it is read. */
const clockOf = (stepMs: number) => {
  let nowMs = 0;
  return () => (nowMs += stepMs);
};

test("a response that is too slow is aborted, with its URL, even if it never stalls", async () => {
  const url = await slowServer("x");
  const reading = new RemoteServer(url, signal, clockOf(10_000)).measure("pool/a b.deb", 2 ** 40);
  await expect(reading).rejects.toThrow(`${url}/pool/a%20b.deb is slower than 4096 bytes per second`);
});

test("a large response that takes long is read to its end", async () => {
  const url = await slowServer("x".repeat(100_000), 50);
  const read = await new RemoteServer(url, signal, clockOf(2_000)).measure("slow", 2 ** 23);
  expect(read?.sizeBytes).toBe(5_000_000);
});

test("an endless response is cut when enough is known, and is an error where a limit applies", async () => {
  const url = await slowServer("0123456789");
  const server = new RemoteServer(url, signal, () => 0);
  expect((await server.readStart("index", 25))?.toString()).toBe("0123456789012345678901234");
  expect((await server.measure("index", 25))?.sizeBytes).toBe(25);
  await expect(server.read("index", 25)).rejects.toThrow(`${url}/index is longer than 25 bytes`);
});

test("a .gz file that is sent with a Content-Encoding is read in the form that digests refer to", async () => {
  const bytes = gzipSync("an index");
  const url = await serverOf((_request, response) => {
    response.writeHead(200, { "Content-Encoding": "gzip" }).end(bytes);
  });
  const read = await new RemoteServer(url, signal, () => 0).readStart("Packages.gz", 1000);
  expect(read).toEqual(bytes);
});

test.each(["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher:x"])(
  "a redirect to %s is not followed",
  async (location) => {
    const url = await serverOf((_request, response) => {
      response.writeHead(302, { Location: location }).end();
    });
    const reading = new RemoteServer(url, signal, () => 0).readStart("InRelease", 1000);
    await expect(reading).rejects.toMatchObject({ code: "verify/site-unavailable" });
  },
);

test("redirects in a circle end", async () => {
  const url = await serverOf((_request, response) => {
    response.writeHead(302, { Location: "/again" }).end();
  });
  const reading = new RemoteServer(url, signal, () => 0).readStart("InRelease", 1000);
  await expect(reading).rejects.toThrow(/redirect/);
});
