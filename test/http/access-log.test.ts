// Request ids and the access log: what is written about a request, and what is not.
import { connect } from "node:net";
import { afterEach, expect, test } from "vitest";
import { parseRepositoryName } from "../../src/base/names.ts";
import { Secret } from "../../src/base/secret.ts";
import { withResolvers } from "../../src/base/with-resolvers.ts";
import type { AppOptions } from "../../src/http/app.ts";
import { HttpError } from "../../src/http/error-responses.ts";
import { inChunks } from "../support/debs.ts";
import { aRepository, aResource } from "../support/served-repository.ts";
import type { StartedApp } from "../support/started-app.ts";
import { rawExchange, startApp } from "../support/started-app.ts";
import { ask } from "../support/transcript.ts";

/** A body that does not go on after its start. */
async function* startOnly(): AsyncIterable<Uint8Array> {
  yield Buffer.from("begun");
  await new Promise(() => undefined);
}

const files = {
  "dists/sid/InRelease": aResource("signed"),
  "pool/slow.deb": aResource("begun", { sizeBytes: 100, read: async () => startOnly() }),
};
const cap = `URI:DIR2-RO:${"a".repeat(26)}:${"b".repeat(52)}`;
const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

interface Line {
  readonly requestId: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly bytes: number;
  readonly client: string;
  readonly userAgent?: string;
  readonly isCut?: boolean;
}

/** A server with an access log. @returns it, and a function that resolves when this number of lines was written */
async function aServer(options: Partial<AppOptions> = {}): Promise<[StartedApp, (count: number) => Promise<Line[]>]> {
  const lines: Line[] = [];
  let changed = withResolvers<void>();
  const record = (context: object) => {
    lines.push(context as Line);
    changed.resolve();
    changed = withResolvers<void>();
  };
  const ignore = () => undefined;
  const app = await startApp([aRepository("debian", files)], {
    accessLog: { info: record, warn: ignore, error: ignore },
    ...options,
  });
  stops.push(() => app.stop(0));
  return [
    app,
    async (count) => {
      while (lines.length < count) await changed.promise;
      return lines;
    },
  ];
}

const get = (app: StartedApp, target: string, headers: { readonly [name: string]: string } = {}) =>
  ask(app.address.port, "GET", target, headers);

test("each response has another request id, and its line in the access log has the same", async () => {
  const [app, logged] = await aServer();
  const replies = [];
  for (const path of ["debian/dists/sid/InRelease", "debian/nothing", "healthz", "%", "debian/key.asc"])
    replies.push(await get(app, `/${path}`, { "User-Agent": "apt" }));
  const ids = replies.map(({ headers }) => String(headers["x-request-id"]));
  expect(new Set(ids).size).toBe(5);
  expect(ids.filter((id) => !/^[0-9a-f]{10}-[0-9a-z]+$/.test(id))).toEqual([]);
  const lines = await logged(5);
  expect(lines.map(({ requestId }) => requestId)).toEqual(ids);
  expect(lines[0]).toMatchObject({
    method: "GET",
    path: "/debian/dists/sid/InRelease",
    status: 200,
    bytes: 6,
    client: "127.0.0.1",
    userAgent: "apt",
  });
  expect(lines.map(({ status }) => status)).toEqual([200, 404, 200, 400, 200]);
  for (const [index, { body }] of replies.entries()) expect(lines[index]?.bytes).toBe(body.length);
});

test("responses without a body, from a cache and with a part of a file have an id and their number of bytes", async () => {
  const [app, logged] = await aServer();
  const first = await get(app, "/debian/dists/sid/InRelease");
  const cached = await get(app, "/debian/dists/sid/InRelease", { "If-None-Match": first.headers.etag ?? "" });
  const part = await get(app, "/debian/dists/sid/InRelease", { Range: "bytes=1-3" });
  const head = await ask(app.address.port, "HEAD", "/debian/dists/sid/InRelease", {});
  const lines = await logged(4);
  expect(lines.map(({ status, bytes }) => [status, bytes])).toEqual([
    [200, 6],
    [304, 0],
    [206, 3],
    [200, 0],
  ]);
  for (const [index, { headers }] of [first, cached, part, head].entries())
    expect(headers["x-request-id"]).toBe(lines[index]?.requestId);
  expect(await rawExchange(app.address.port, "nonsense\r\n\r\n")).toMatch(/^X-Request-Id: \S+\r$/m);
});

test("simultaneous requests for one file have an id each, whether its bytes are at hand, must be waited for, or stream", async () => {
  const waited = async () => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    return Buffer.from("signed");
  };
  const streamed = async () => inChunks(await waited());
  const [app, logged] = await aServer({
    repositories: new Map([
      [
        parseRepositoryName("debian"),
        aRepository("debian", {
          now: aResource("signed", { bytesNow: () => Buffer.from("signed") }),
          waited: aResource("signed", { read: waited }),
          streamed: aResource("signed", { read: streamed }),
        }),
      ],
    ]),
  });
  const replies = await Promise.all(
    ["now", "waited", "streamed"].flatMap((name) => [1, 2, 3].map(() => get(app, `/debian/${name}`))),
  );
  const ids = replies.map(({ headers }) => String(headers["x-request-id"]));
  expect(replies.map(({ status, body }) => `${status} ${body.toString()}`)).toEqual(ids.map(() => "200 signed"));
  const lines = await logged(9);
  expect(lines.map(({ requestId }) => requestId).toSorted()).toEqual(ids.toSorted());
  expect(new Set(ids).size).toBe(9);
});

test("only from a trusted proxy an id is taken over, and only one that is sane", async () => {
  const given = { "X-Request-Id": "0a1b-from.the:proxy" };
  const [open] = await aServer();
  expect((await get(open, "/healthz", given)).headers["x-request-id"]).not.toContain("proxy");
  const [behind, logged] = await aServer({ behindProxy: true });
  const forwarded = { "X-Forwarded-For": "192.0.2.7, 2001:db8::1" };
  expect((await get(behind, "/healthz", { ...given, ...forwarded })).headers["x-request-id"]).toBe(
    "0a1b-from.the:proxy",
  );
  expect((await logged(1))[0]).toMatchObject({ requestId: "0a1b-from.the:proxy", client: "2001:db8::1" });
  for (const strange of ["a b", 'x"', "a,b", "x".repeat(129), "é"])
    expect((await get(behind, "/healthz", { "X-Request-Id": strange })).headers["x-request-id"]).toMatch(
      /^[0-9a-f]{10}-/,
    );
});

test("queries, passwords, tokens and caps are not written", async () => {
  const [app, logged] = await aServer({
    metricsToken: new Secret("the-token-of-the-metrics"),
  });
  const port = app.address.port;
  await get(app, "/debian/?token=hidden", { Authorization: "Bearer hidden" });
  await get(app, `/debian/${cap}`, { "User-Agent": `curl ${cap}` });
  await get(app, `/debian/${encodeURIComponent(cap)}`);
  await rawExchange(port, "GET http://bob:hidden@127.0.0.1/% HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  await get(app, "/metrics", { Authorization: "Bearer the-token-of-the-metrics" });
  const text = JSON.stringify(await logged(5));
  expect(text).toContain('"path":"/metrics"');
  expect(text).not.toMatch(/hidden|the-token|aaaa/);
});

test("a response that a client does not wait for is marked as cut", async () => {
  const [app, logged] = await aServer();
  const socket = connect(app.address.port, "127.0.0.1", () =>
    socket.write("GET /debian/pool/slow.deb HTTP/1.1\r\nHost: x\r\n\r\n"),
  );
  socket.once("data", () => socket.destroy());
  expect((await logged(1))[0]).toMatchObject({ status: 200, isCut: true, client: "127.0.0.1" });
});

test("without an access log, nothing is written about a request that succeeds", async () => {
  const [app] = await aServer({ accessLog: undefined });
  expect((await get(app, "/debian/dists/sid/InRelease")).status).toBe(200);
  expect(app.logged()).toBe("");
});

test("the line about an unexpected error has the id of the request", async () => {
  const broken = { ...aRepository("broken", {}), find: () => Promise.reject(new TypeError("a bug")) };
  const app = await startApp([broken]);
  stops.push(() => app.stop(0));
  const { headers, status } = await get(app, "/broken/dists/sid/InRelease");
  expect(status).toBe(500);
  expect(app.logged()).toContain(`"requestId":"${String(headers["x-request-id"])}"`);
});

test("an unexpected error that the server repairs by itself is answered with the error that it gives instead", async () => {
  const broken = { ...aRepository("broken", {}), find: () => Promise.reject(new Error("MDB_CORRUPTED")) };
  const met: unknown[] = [];
  const unexpected = (thrown: unknown) => {
    met.push(thrown);
    return new HttpError("server/not-ready", "it starts again");
  };
  const app = await startApp([broken], { unexpected });
  stops.push(() => app.stop(0));
  const { headers, status, body } = await get(app, "/broken/dists/sid/InRelease");
  expect(status).toBe(503);
  expect(headers["retry-after"]).toBeDefined();
  expect(String(body)).toContain("server/not-ready: it starts again");
  expect(met).toMatchObject([{ message: "MDB_CORRUPTED" }]);
});
