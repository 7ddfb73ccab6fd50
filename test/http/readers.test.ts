// Private repositories: who may read them, what outsiders see of them, and how fast they can guess.
import { afterEach, expect, test } from "vitest";
import { Secret } from "../../src/base/secret.ts";
import type { AppOptions } from "../../src/http/app.ts";
import { aRepository, aResource, aStatus } from "../support/served-repository.ts";
import type { StartedApp } from "../support/started-app.ts";
import { rawExchange, startApp, thenClose } from "../support/started-app.ts";
import { ask } from "../support/transcript.ts";

const password = "correct horse: battery";
const files = {
  "dists/sid/InRelease": aResource("signed"),
  "pool/SHA256/ab/x.deb": aResource("package", { caching: "immutable" }),
};
const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

/** A server with an open and a private repository, which bob and eve may read. */
async function aServer(options: Partial<AppOptions> = {}): Promise<StartedApp> {
  const ours = aRepository("ours", files);
  const readers = [
    { name: "eve", password: new Secret("another password") },
    { name: "bob", password: new Secret(password) },
  ];
  const app = await startApp([aRepository("open", files), ours], {
    readers: new Map([[ours.name, readers]]),
    ...options,
  });
  stops.push(() => app.stop(0));
  return app;
}

const basic = (credentials: string) => ({ Authorization: `Basic ${Buffer.from(credentials).toString("base64")}` });
const bob = basic(`bob:${password}`);
const get = (app: StartedApp, target: string, headers: { readonly [name: string]: string } = {}) =>
  ask(app.address.port, "GET", target, headers);

const everything = ["", "ours.sources", "ours.yaml", "dists/sid/InRelease", "pool/SHA256/ab/x.deb", "nothing"];

test.each(everything)("/ours/%s requires a reader's password", async (path) => {
  const app = await aServer();
  const outside = await get(app, `/ours/${path}`);
  expect(outside.status).toBe(401);
  expect(outside.headers["www-authenticate"]).toBe('Basic realm="ours", charset="UTF-8"');
  expect(outside.headers["cache-control"]).toBe("no-store");
  for (const wrong of ["bob:", "bob:correct horse", `eve:${password}`, `bob${password}`, "bob"]) {
    expect((await get(app, `/ours/${path}`, basic(wrong))).status, wrong).toBe(401);
  }
  for (const other of ["Bearer x", "Basic", "Basic §", bob.Authorization.replace("Basic", "Digest")]) {
    expect((await get(app, `/ours/${path}`, { Authorization: other })).status, other).toBe(401);
  }
  const inside = await get(app, `/ours/${path}`, bob);
  expect(inside.status).toBe(path === "nothing" ? 404 : 200);
  expect((await get(app, `/open/${path.replace("ours.", "open.")}`)).status).toBe(inside.status);
});

test("no spelling of a path and no method bypasses authentication", async () => {
  const app = await aServer();
  for (const target of [
    "//ours/dists/sid/InRelease",
    "/%6furs/dists/sid/InRelease",
    "/ours/./dists/../dists/sid/InRelease",
  ]) {
    expect((await get(app, target)).status, target).toBe(401);
    expect((await get(app, target, bob)).status, target).toBe(200);
  }
  expect((await get(app, "/open/../ours/dists/sid/InRelease")).status).toBe(400);
  for (const method of ["HEAD", "POST"]) {
    expect((await ask(app.address.port, method, "/ours/dists/sid/InRelease")).status).toBe(401);
  }
});

test("the public keys need no password, and the front page does not list a private repository", async () => {
  const app = await aServer();
  expect((await get(app, "/ours/key.asc")).status).toBe(200);
  expect((await get(app, "/ours/key.gpg")).status).toBe(200);
  const page = (await get(app, "/")).body.toString();
  expect(page).toContain("/open/");
  expect(page).not.toContain("ours");
});

test("the page says where apt reads the password from", async () => {
  const app = await aServer();
  const page = (await get(app, "/ours/", bob)).body.toString();
  expect(page).toContain("curl -fsS -u READER http://");
  expect(page).toMatch(/machine http:\/\/127\.0\.0\.1:\d+\/ours login READER password PASSWORD/);
  expect((await get(app, "/open/")).body.toString()).not.toMatch(/READER|auth\.conf/);
});

test("responses of a private repository are not for shared caches", async () => {
  const app = await aServer();
  const cacheControl = async (path: string, headers = {}) => (await get(app, path, headers)).headers["cache-control"];
  expect(await cacheControl("/ours/pool/SHA256/ab/x.deb", bob)).toBe("private, max-age=31536000, immutable");
  expect(await cacheControl("/ours/dists/sid/InRelease", bob)).toBe("private, no-cache");
  expect(await cacheControl("/ours/", bob)).toBe("private, no-cache");
  expect(await cacheControl("/open/pool/SHA256/ab/x.deb", bob)).toBe("public, max-age=31536000, immutable");
});

test("after too many wrong passwords all requests from that address are rejected, even with the right one", async () => {
  const app = await aServer({ limits: { failedLoginsPerMinute: 3 }, behindProxy: true });
  const from = (address: string, headers = bob) =>
    get(app, "/ours/dists/sid/InRelease", { ...headers, "X-Forwarded-For": `10.0.0.1, ${address}` });
  for (let count = 0; count < 3; count++) expect((await from("192.0.2.1", basic("bob:guess"))).status).toBe(401);
  const refused = await from("192.0.2.1");
  expect(refused.status).toBe(429);
  expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
  expect(Number(refused.headers["retry-after"])).toBeLessThanOrEqual(60);
  expect((await from("192.0.2.2")).status).toBe(200);
  expect(app.logged()).toContain("192.0.2.1");
  expect(app.logged()).not.toMatch(/guess|horse/);
  // One IPv6 network is one guesser.
  for (const host of ["::1", "0:0:1::7", "ffff:1:2:3"]) {
    expect((await from(`2001:db8:1:2:${host.replace(/^::/, ":")}`, basic("bob:guess"))).status).toBe(401);
  }
  expect((await from("2001:db8:1:2::99")).status).toBe(429);
  expect((await from("2001:db8:1:3::99")).status).toBe(200);
});

test("simultaneous failed logins are all counted", async () => {
  const app = await aServer({ limits: { failedLoginsPerMinute: 3 } });
  const guess = (credentials: string) =>
    `GET /ours/dists/sid/InRelease HTTP/1.1\r\nHost: a\r\nAuthorization: ${basic(credentials).Authorization}\r\n\r\n`;
  const guesses = Array.from({ length: 20 }, (_none, at) => guess(`bob:${at}`)).join("");
  const answers = await rawExchange(app.address.port, thenClose(guesses + guess(`bob:${password}`)));
  const statuses = [...answers.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => status);
  expect(statuses).toEqual([...Array.from({ length: 3 }, () => "401"), ...Array.from({ length: 18 }, () => "429")]);
});

test("readiness without a password gives the number of private repositories that are not ready, not their names", async () => {
  const status = () => aStatus({ notReady: "cannot read dists/secret-project yet" });
  const ours = aRepository("ours", files, { status });
  const reader = { name: "bob", password: new Secret(password) };
  const app = await startApp([aRepository("open", files, { status }), ours], {
    readers: new Map([[ours.name, [reader]]]),
  });
  stops.push(() => app.stop(0));
  const { status: code, body } = await get(app, "/readyz");
  expect(code).toBe(503);
  expect(body.toString()).toBe(
    "503 server/not-ready: open: cannot read dists/secret-project yet; 1 private repository\n",
  );
});

test("readiness is answered without the lists of all rejected and pending files", async () => {
  const notReady = "the tree is being read for the first time";
  const status = () => {
    throw new Error("it lists all files");
  };
  const waiting = await startApp([aRepository("open", files, { status, notReady })]);
  const ready = await startApp([aRepository("open", files, { status, notReady: undefined })]);
  stops.push(
    () => waiting.stop(0),
    () => ready.stop(0),
  );
  expect((await get(waiting, "/readyz")).body.toString()).toBe(`503 server/not-ready: open: ${notReady}\n`);
  expect((await get(ready, "/readyz")).status).toBe(200);
});

test("neither a request without a password nor one with the right password counts as a failed login", async () => {
  const app = await aServer({ limits: { failedLoginsPerMinute: 2 } });
  for (let count = 0; count < 5; count++) {
    expect((await get(app, "/ours/dists/sid/InRelease")).status).toBe(401);
    expect((await get(app, "/ours/dists/sid/InRelease", bob)).status).toBe(200);
  }
});

test("without a proxy a client cannot choose its address by a header", async () => {
  const app = await aServer({ limits: { failedLoginsPerMinute: 2 } });
  const statuses: number[] = [];
  for (const address of ["192.0.2.1", "192.0.2.2", "192.0.2.3"]) {
    const headers = { ...basic("bob:guess"), "X-Forwarded-For": address };
    statuses.push((await get(app, "/ours/dists/sid/InRelease", headers)).status);
  }
  expect(statuses).toEqual([401, 401, 429]);
});

test("metrics contain private repositories only for requests with the token", async () => {
  const series = (name: string) => `rejects_total{repository="${name}",code="not-a-deb"} 1\n`;
  const text = `# TYPE rejects_total counter\n${series("open")}${series("ours")}up 1\n`;
  const metrics = { contentType: "text/plain", render: async () => text };
  const app = await aServer({ metrics });
  const shown = (await get(app, "/metrics")).body.toString();
  expect(shown).not.toContain("ours");
  expect(shown).toContain(`# TYPE rejects_total counter\n${series("open")}up 1\n# 1 private repository is left out`);
  expect((await get(app, "/metrics", bob)).body.toString()).not.toContain("ours");

  const guarded = await aServer({ metrics, metricsToken: new Secret("a-token-for-metrics") });
  const all = await get(guarded, "/metrics", { Authorization: "Bearer a-token-for-metrics" });
  expect(all.body.toString()).toBe(text);
  expect((await get(guarded, "/metrics")).body.toString()).not.toContain("ours");
});

test("metrics can have a token of their own, and a reader's password is not accepted for it", async () => {
  const app = await aServer({ metricsToken: new Secret("a-token-for-metrics") });
  const refused = await get(app, "/metrics", bob);
  expect([refused.status, refused.headers["www-authenticate"]]).toEqual([401, 'Bearer realm="metrics"']);
  expect((await get(app, "/metrics", { Authorization: "Bearer a-token-for-metrics" })).status).toBe(200);
});

test("a reader's password gives no access to another repository and cannot ping", async () => {
  const mount = (name: string, reader: string) => {
    const repository = aRepository(name, files);
    return { repository, readers: [{ name: reader, password: new Secret(`${reader}: ${password}`) }] };
  };
  const both = [mount("ours", "bob"), mount("theirs", "eve")];
  const app = await startApp(
    both.map(({ repository }) => repository),
    { readers: new Map(both.map(({ repository, readers }) => [repository.name, readers])) },
  );
  stops.push(() => app.stop(0));
  const asBob = basic(`bob:bob: ${password}`);
  expect((await get(app, "/ours/dists/sid/InRelease", asBob)).status).toBe(200);
  for (const path of ["", "dists/sid/InRelease", "pool/SHA256/ab/x.deb"])
    expect((await get(app, `/theirs/${path}`, asBob)).status).toBe(401);
  for (const name of ["ours", "theirs"]) {
    for (const authorization of [asBob.Authorization, `Bearer bob: ${password}`]) {
      const pinged = await ask(app.address.port, "POST", `/-/ping/${name}`, { Authorization: authorization });
      expect(pinged.status).toBe(401);
    }
  }
});
