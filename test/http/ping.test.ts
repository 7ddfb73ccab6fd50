// Pings: who may, how often, and what they are told.
import { afterEach, expect, test } from "vitest";
import { LimitExceeded } from "../../src/base/errors.ts";
import type { TreePath } from "../../src/base/names.ts";
import { parseTreePath, rootPath } from "../../src/base/names.ts";
import { Secret } from "../../src/base/secret.ts";
import type { HttpLimits } from "../../src/http/app.ts";
import type { PingOutcome, ServedRepository } from "../../src/publishing/served-repository.ts";
import { StorageUnavailable } from "../../src/storage/tree.ts";
import { anOutcome, aRepository, novemberSeconds } from "../support/served-repository.ts";
import type { StartedApp } from "../support/started-app.ts";
import { startApp } from "../support/started-app.ts";
import { ask } from "../support/transcript.ts";

const alicesToken = "alices-token-1";
const operatorsToken = "operators-token-2";
const alice = parseTreePath("dists/sid/main/binary-amd64/alice");
const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

async function aServer(ping: ServedRepository["ping"], limits: Partial<HttpLimits> = {}): Promise<StartedApp> {
  const debian = aRepository("debian", {}, { ping });
  const tokens = [
    { token: new Secret(alicesToken), scope: alice },
    { token: new Secret(operatorsToken), scope: rootPath },
  ];
  const app = await startApp([debian], { tokens: new Map([[debian.name, () => tokens]]), limits });
  stops.push(() => app.stop(0));
  return app;
}

const post = (app: StartedApp, target: string, token?: string) =>
  ask(app.address.port, "POST", target, token === undefined ? {} : { Authorization: `Bearer ${token}` });

test("a ping is accepted at once and its path, decoded once, is looked at", async () => {
  const seen: TreePath[] = [];
  let finish: (outcome: PingOutcome) => void = () => {};
  const app = await aServer((path) => {
    seen.push(path);
    return new Promise((resolve) => {
      finish = resolve;
    });
  });
  const reply = await post(app, `/-/ping/debian/${alice}/x%2b1%253a.deb`, alicesToken);
  expect([reply.status, JSON.parse(reply.body.toString())]).toEqual([202, { status: "accepted" }]);
  expect(reply.headers["content-type"]).toBe("application/json; charset=utf-8");
  expect(seen).toEqual([`${alice}/x+1%3a.deb`]);
  finish(anOutcome);
});

test("a GET with a token returns its directories and the suites, without looking at the tree", async () => {
  const app = await aServer(() => Promise.reject(new Error("nobody pinged")));
  const get = (token?: string) =>
    ask(app.address.port, "GET", "/-/ping/debian", token === undefined ? {} : { Authorization: `Bearer ${token}` });
  const told = await get(alicesToken);
  expect([told.status, JSON.parse(told.body.toString())]).toEqual([
    200,
    { repository: "debian", directories: [alice], suites: [{ suite: "sid" }], suitesWithSlash: [] },
  ]);
  expect([(await get("another")).status, (await get()).status]).toEqual([401, 401]);
});

test.each(["/-/ping/debian", "/-/ping/debian/", "/-/ping//debian/./"])("%s pings the root", async (target) => {
  const seen: TreePath[] = [];
  const app = await aServer(async (path) => {
    seen.push(path);
    return anOutcome;
  });
  expect((await post(app, target, operatorsToken)).status).toBe(202);
  expect(seen).toEqual([""]);
});

test("a ping that waits returns what is servable now", async () => {
  const outcome: PingOutcome = {
    publications: [{ suite: "sid" as never, id: "7", dateSeconds: novemberSeconds }],
    added: [parseTreePath(`${alice}/a.deb`)],
    removed: [],
    rejected: [{ path: parseTreePath(`${alice}/b.deb`), code: "not-a-deb", reason: "no ar archive" }],
    pending: [{ path: parseTreePath(`${alice}/c.dsc`), missing: ["c.tar.xz"] }],
    notices: ["dists/sid is not what it looks like"],
  };
  const app = await aServer(async () => outcome);
  const reply = await post(app, `/-/ping/debian/${alice}?wait=5`, alicesToken);
  expect(reply.status).toBe(200);
  expect(JSON.parse(reply.body.toString())).toEqual({ status: "servable", ...outcome });
});

test("after the wait a ping returns that work continues, and the wait is limited", async () => {
  const app = await aServer(
    (_path, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      }),
    { maxWaitSeconds: 0.2 },
  );
  for (const wait of ["0.05", "9999"]) {
    const reply = await post(app, `/-/ping/debian?wait=${wait}`, operatorsToken);
    expect([reply.status, JSON.parse(reply.body.toString())]).toEqual([202, { status: "accepted" }]);
  }
});

test("a wait can be longer than the timeout for repository files", async () => {
  const slow = () => new Promise<PingOutcome>((resolve) => setTimeout(() => resolve(anOutcome), 300));
  const app = await aServer(slow, { firstByteTimeoutMs: 50 });
  expect((await post(app, "/-/ping/debian?wait=5", operatorsToken)).status).toBe(200);
});

test("an unreadable tree is reported to a ping that waits, and logged by the repository, not for each ping", async () => {
  const app = await aServer((path) => Promise.reject(new StorageUnavailable(path, "refused", { transient: true })));
  const reply = await post(app, "/-/ping/debian?wait=5", operatorsToken);
  expect([reply.status, reply.headers["retry-after"]]).toEqual([503, "5"]);
  expect((await post(app, "/-/ping/debian", operatorsToken)).status).toBe(202);
  expect(app.logged()).toBe("");
});

test("another failure of a ping that does not wait is logged, with the id of its request", async () => {
  const app = await aServer(() => Promise.reject(new LimitExceeded("maxEntries", 1, "the directory")));
  const reply = await post(app, "/-/ping/debian", operatorsToken);
  expect(reply.status).toBe(202);
  expect(app.logged()).toContain("ping failed");
  expect(app.logged()).toContain(`"requestId":"${String(reply.headers["x-request-id"])}"`);
});

test.each([
  ["no token", undefined, `Bearer realm="ping"`],
  ["an unknown token", "guess", `Bearer realm="ping", error="invalid_token"`],
  ["a prefix of a token", alicesToken.slice(0, -1), `Bearer realm="ping", error="invalid_token"`],
])("%s is 401 with a challenge", async (_what, token, challenge) => {
  const app = await aServer(() => Promise.reject(new Error("must not be asked")));
  const reply = await post(app, "/-/ping/debian", token);
  expect([reply.status, reply.headers["www-authenticate"]]).toEqual([401, challenge]);
  expect(reply.body.toString()).toMatch(/^401 request\/unauthorized: .+\n$/);
});

test.each([
  "",
  "/dists/sid/main/binary-amd64",
  "/dists/sid/main/binary-amd64/alice2",
  "/dists/sid/main/binary-amd64/alice/../bob",
  "/dists/sid/main/binary-amd64/alice/%2e%2e/bob",
])("a token for one directory is 403 for debian%s", async (path) => {
  const app = await aServer(() => Promise.reject(new Error("must not be asked")));
  const reply = await post(app, `/-/ping/debian${path}`, alicesToken);
  expect(reply.status).toBe(403);
  expect(reply.body.toString()).toMatch(/^403 request\/forbidden: .+\n$/);
});

test.each(["?wait=soon", "?wait=-1", "?wait=", "?wait=1e3", `/${"x".repeat(300)}`])("%s is 400", async (rest) => {
  const app = await aServer(async () => anOutcome);
  expect((await post(app, `/-/ping/debian${rest}`, operatorsToken)).status).toBe(400);
});

test("too many pings of one token are 429 with Retry-After, and leave the other token alone", async () => {
  const app = await aServer(async () => anOutcome, { pingsPerMinute: 2 });
  const target = `/-/ping/debian/${alice}`;
  expect((await post(app, target, alicesToken)).status).toBe(202);
  expect((await post(app, target, alicesToken)).status).toBe(202);
  const refused = await post(app, target, alicesToken);
  expect(refused.status).toBe(429);
  expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
  expect(Number(refused.headers["retry-after"])).toBeLessThanOrEqual(60);
  expect(refused.body.toString()).toMatch(/^429 request\/rate: .+\n$/);
  expect((await post(app, target, operatorsToken)).status).toBe(202);
});

test("no response and no log line contains a token", async () => {
  const app = await aServer(() => Promise.reject(new TypeError("something broke")), { pingsPerMinute: 2 });
  const targets = ["/-/ping/debian?wait=1", "/-/ping/debian", `/-/ping/debian/${alice}`, "/-/ping/debian?wait=x"];
  for (const target of targets) {
    for (const token of [alicesToken, operatorsToken]) {
      const { headers, body } = await post(app, target, token);
      expect(JSON.stringify(headers) + body.toString()).not.toContain("token-");
    }
  }
  expect(app.logged()).toContain("request failed");
  expect(app.logged()).not.toContain("token-");
});
