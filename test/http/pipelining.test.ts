// Many requests on one connection: answered in their order, and a client that reads no reply takes little memory.
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { aRepository, aResource } from "../support/served-repository.ts";
import { rawExchange, startApp, thenClose } from "../support/started-app.ts";
import { onceUnchanged } from "../support/unchanged.ts";

const requests = 100;
const largeBytes = 1024 * 1024;

/** A repository of one file that tells how often it was read. */
function aFile(sizeBytes: number, ready: () => Promise<void> = async () => {}) {
  const bytes = Buffer.alloc(sizeBytes, "x");
  const seen = { reads: 0 };
  const resource = aResource(bytes, {
    read: async ({ start, end }) => {
      seen.reads += 1;
      await ready();
      return Buffer.from(bytes.subarray(start, end));
    },
  });
  return { seen, repository: aRepository("debian", { "pool/a.deb": resource }) };
}

const asked = "GET /debian/pool/a.deb HTTP/1.1\r\nHost: x\r\n\r\n".repeat(requests);

/** Sends the requests, reads nothing, and goes away once as many are worked on as ever will be. */
async function askWithoutReading(port: number, seen: { readonly reads: number }, expected: number): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.pause();
  socket.write(asked);
  await expect.poll(() => seen.reads, { timeout: 20_000 }).toBeGreaterThanOrEqual(expected);
  await onceUnchanged(() => seen.reads);
  socket.destroy();
}

test("if a client reads nothing, one large body of its connection at a time is in memory", async () => {
  const { seen, repository } = aFile(32 * largeBytes);
  const app = await startApp([repository]);
  await askWithoutReading(app.address.port, seen, 1);
  expect(seen.reads).toBe(1);
  const cut = () => app.answered.filter(({ status }) => status === "cut").length;
  await expect.poll(cut, { timeout: 20_000 }).toBeGreaterThanOrEqual(15);
  expect(seen.reads).toBe(1);
  expect(app.logged()).toBe("");
  await app.stop(0);
});

test("if a client waits for slow responses, a few requests of its connection are processed at a time", async () => {
  const { seen, repository } = aFile(10, () => new Promise(() => {}));
  const app = await startApp([repository]);
  await askWithoutReading(app.address.port, seen, 10);
  expect(seen.reads).toBeLessThanOrEqual(16);
  await app.stop(0);
});

test.each([10, largeBytes])("all pipelined requests are answered, with %i bytes each", async (sizeBytes) => {
  const { seen, repository } = aFile(sizeBytes, () => sleep(1));
  const app = await startApp([repository]);
  const got = await rawExchange(app.address.port, thenClose(asked));
  expect(seen.reads).toBe(requests);
  expect(got.split("HTTP/1.1 200 OK").length - 1).toBe(requests);
  await app.stop(0);
});

test("a response that is queued longer than the first-byte timeout does not fail", async () => {
  const { repository } = aFile(largeBytes, () => sleep(150));
  const app = await startApp([repository], { limits: { firstByteTimeoutMs: 400 } });
  const got = await rawExchange(app.address.port, thenClose(asked.slice(0, asked.length / 10)));
  expect(got.split("HTTP/1.1 200 OK").length - 1).toBe(10);
  await app.stop(0);
});
