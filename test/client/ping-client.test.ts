// What a builder hears while the server does not answer, or answers with something else.
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import { Secret } from "../../src/base/secret.ts";
import { describeToken, pingUntilLive } from "../../src/client/ping-client.ts";
import { tlsProxy } from "../support/tls-proxy.ts";

const { signal } = new AbortController();
const path = parseTreePath("dists/sid/main/binary-amd64/alice");
const servable = { status: "servable", publications: [], added: [], removed: [], rejected: [] };

interface Reply {
  readonly status: number;
  readonly body: string;
}

/** A server that gives these replies one after the other, the last one again and again. */
async function replying(...replies: readonly Reply[]): Promise<{ readonly url: string; readonly token: Secret }> {
  let next = 0;
  const server = createServer((_request, response) => {
    const reply = replies[Math.min(next++, replies.length - 1)];
    response.writeHead(reply?.status ?? 500).end(reply?.body);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/-/ping/debian`, token: new Secret("the-token") };
}

/** An address at which nobody listens any more. */
async function nowhere(): ReturnType<typeof replying> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return { url: `http://127.0.0.1:${port}/-/ping/debian`, token: new Secret("the-token") };
}

test("an unreachable server is told of at once, with its address and the cause, and again only with another cause", async () => {
  const told: string[] = [];
  const waiting = (...words: readonly string[]) => told.push(words.join(": "));
  const ping = await nowhere();
  const answer = await pingUntilLive(ping, path, { patienceMs: 1_500, waiting, signal });
  expect(answer).toEqual({ notLive: `${ping.url}: connection refused` });
  expect(told).toEqual([`${ping.url}: connection refused`]);
});

test("a server whose certificate is of an authority of one's own is told of with what helps", async () => {
  const directory = mkdtempSync(join(tmpdir(), "ping-tls-"));
  const { url, token } = await replying({ status: 200, body: JSON.stringify(servable) });
  const proxy = await tlsProxy(url, directory);
  onTestFinished(async () => {
    await proxy.end();
    rmSync(directory, { recursive: true });
  });
  const ping = { url: `${proxy.url}/-/ping/debian`, token };
  const told = await pingUntilLive(ping, path, { patienceMs: 1, waiting: () => undefined, signal });
  expect(told).toEqual({
    notLive: expect.stringMatching(/certificate is not trusted \(\w+\): .*NODE_EXTRA_CA_CERTS/),
  });
});

test("a server that is busy is asked again until it answers", async () => {
  const told: string[] = [];
  const busy = { status: 503, body: "503 storage/unavailable: the grid is away" };
  const { url, token } = await replying(busy, { status: 200, body: JSON.stringify(servable) });
  const waiting = (...words: readonly string[]) => told.push(words.join(": "));
  expect(await pingUntilLive({ url, token }, path, { patienceMs: 5_000, waiting, signal })).toEqual(servable);
  expect(told).toEqual([`${url}: status 503: ${busy.body}`]);
});

test.each([
  [401, "x", /does not know this bundle's token: the builder was revoked/],
  [403, "403 request/forbidden: this token is for another directory", /status 403: .*another directory/],
  [404, "nothing", /status 404/],
  [200, "<html>a captive portal</html>", /invalid ping response: does ping_url/],
  [200, "{}", /invalid ping response: does ping_url/],
])("status %d with %j is final and says what is wrong", async (status, body, says) => {
  const asked = pingUntilLive(await replying({ status, body }), path, {
    patienceMs: 60_000,
    waiting: () => {},
    signal,
  });
  await expect(asked).rejects.toThrow(says);
});

test("what a token opens is told; a revoked one is refused; a server of an older version or that is away tells nothing", async () => {
  const description = { repository: "debian", directories: [path], suites: [{ suite: "sid", codename: "unstable" }] };
  const told: string[] = [];
  const waiting = (_url: string, why: string) => told.push(why);
  const describe = async (reply: Reply) => await describeToken(await replying(reply), waiting, signal);
  expect(await describe({ status: 200, body: JSON.stringify(description) })).toEqual(description);
  await expect(describe({ status: 401, body: "" })).rejects.toThrow(/revoked/);
  expect(await describe({ status: 405, body: "" })).toBeUndefined();
  expect(told).toEqual([]);
  expect(await describeToken(await nowhere(), waiting, signal)).toBeUndefined();
  expect(told).toEqual(["connection refused"]);
});
