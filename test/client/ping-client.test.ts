// The ping client: retries while the server is unreachable or busy, and reports permanent errors.
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

interface TestResponse {
  readonly status: number;
  readonly body: string;
}

/** A server that sends these responses in order, and repeats the last one. */
async function serverWith(
  ...responses: readonly TestResponse[]
): Promise<{ readonly url: string; readonly token: Secret }> {
  let next = 0;
  const server = createServer((_request, serverResponse) => {
    const response = responses[Math.min(next++, responses.length - 1)];
    serverResponse.writeHead(response?.status ?? 500).end(response?.body);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/-/ping/debian`, token: new Secret("the-token") };
}

/** An address without a server. */
async function unreachableServer(): ReturnType<typeof serverWith> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return { url: `http://127.0.0.1:${port}/-/ping/debian`, token: new Secret("the-token") };
}

test("an unreachable server is reported at once with its address and the cause, and only once", async () => {
  const reported: string[] = [];
  const waiting = (...texts: readonly string[]) => reported.push(texts.join(": "));
  const ping = await unreachableServer();
  const result = await pingUntilLive(ping, path, { timeoutMs: 1_500, waiting, signal });
  expect(result).toEqual({ notLive: `${ping.url}: connection refused` });
  expect(reported).toEqual([`${ping.url}: connection refused`]);
});

test("an untrusted certificate is reported with a hint at NODE_EXTRA_CA_CERTS", async () => {
  const directory = mkdtempSync(join(tmpdir(), "ping-tls-"));
  const { url, token } = await serverWith({ status: 200, body: JSON.stringify(servable) });
  const proxy = await tlsProxy(url, directory);
  onTestFinished(async () => {
    await proxy.end();
    rmSync(directory, { recursive: true });
  });
  const ping = { url: `${proxy.url}/-/ping/debian`, token };
  const reported = await pingUntilLive(ping, path, { timeoutMs: 1, waiting: () => undefined, signal });
  expect(reported).toEqual({
    notLive: expect.stringMatching(/certificate is not trusted \(\w+\): .*NODE_EXTRA_CA_CERTS/),
  });
});

test("a ping to a busy server is repeated until it succeeds", async () => {
  const reported: string[] = [];
  const busy = { status: 503, body: "503 storage/unavailable: the grid is away" };
  const { url, token } = await serverWith(busy, { status: 200, body: JSON.stringify(servable) });
  const waiting = (...texts: readonly string[]) => reported.push(texts.join(": "));
  expect(await pingUntilLive({ url, token }, path, { timeoutMs: 5_000, waiting, signal })).toEqual(servable);
  expect(reported).toEqual([`${url}: status 503: ${busy.body}`]);
});

test.each([
  [401, "x", /does not know this bundle's token: the builder was revoked/],
  [403, "403 request/forbidden: this token is for another directory", /status 403: .*another directory/],
  [404, "nothing", /status 404/],
  [200, "<html>a captive portal</html>", /invalid ping response: does ping_url/],
  [200, "{}", /invalid ping response: does ping_url/],
])("status %d with %j is a permanent error with an explanation", async (status, body, message) => {
  const ping = pingUntilLive(await serverWith({ status, body }), path, {
    timeoutMs: 60_000,
    waiting: () => {},
    signal,
  });
  await expect(ping).rejects.toThrow(message);
});

test("describeToken rejects a revoked token, and returns undefined for an old or unreachable server", async () => {
  const description = { repository: "debian", directories: [path], suites: [{ suite: "sid", codename: "unstable" }] };
  const reported: string[] = [];
  const waiting = (_url: string, reason: string) => reported.push(reason);
  const describe = async (response: TestResponse) => await describeToken(await serverWith(response), waiting, signal);
  expect(await describe({ status: 200, body: JSON.stringify(description) })).toEqual(description);
  await expect(describe({ status: 401, body: "" })).rejects.toThrow(/revoked/);
  expect(await describe({ status: 405, body: "" })).toBeUndefined();
  expect(reported).toEqual([]);
  expect(await describeToken(await unreachableServer(), waiting, signal)).toBeUndefined();
  expect(reported).toEqual(["connection refused"]);
});
