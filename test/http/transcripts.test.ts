// What a client sees, request by request, on the started server.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Suite } from "../../src/base/names.ts";
import { parseSuite, parseTreePath } from "../../src/base/names.ts";
import { ContentMismatch } from "../../src/publishing/serve/verified-stream.ts";
import { secondsOfMoment } from "../../src/publishing/store/publication.ts";
import { ContentGone, StorageUnavailable } from "../../src/storage/tree.ts";
import { aRepository, aResource, aStatus } from "../support/served-repository.ts";
import type { StartedApp } from "../support/started-app.ts";
import { startApp } from "../support/started-app.ts";
import { ask, playTranscript } from "../support/transcript.ts";

const cap = "URI:DIR2-RO:secretsecret:morecap";
const gateway = "http://10.1.2.3:3456";
const path = parseTreePath("pool/x.deb");
const inRelease = aResource("0123456789");
const failing = (thrown: Error) => aResource("xyz", { caching: "immutable", read: () => Promise.reject(thrown) });

async function* deadStream(): AsyncGenerator<Uint8Array> {
  yield await Promise.reject(new StorageUnavailable(path, "refused", { transient: true }));
}

const debian = aRepository(
  "debian",
  {
    "dists/sid/InRelease": inRelease,
    "dists/sid/empty": aResource(""),
    "keys.txt": aResource("mutable", { lastModifiedSeconds: undefined }),
    "pool/SHA256/ab/a+b~1.deb": aResource("package", { caching: "immutable" }),
    "pool/SHA256/ab/1%3a2.deb": aResource("epoch", { caching: "immutable" }),
    "pool/SHA256/unavailable.deb": failing(
      new StorageUnavailable(path, `GET /uri/${cap} refused`, { transient: true }),
    ),
    "pool/SHA256/mismatch.deb": failing(new ContentMismatch("ab", "their digest differs")),
    "pool/SHA256/gone.deb": failing(new ContentGone(path)),
    "pool/SHA256/bug.deb": failing(new TypeError(`request to http://x/uri/${encodeURIComponent(cap)} failed`)),
    "pool/SHA256/dead-stream.deb": aResource("xyz", { read: async () => deadStream() }),
  },
  {
    status: () =>
      aStatus({
        rejected: [{ path: parseTreePath("<img src=x>.deb"), code: "not-a-deb", reason: "it is <b>bad</b>" }],
        suites: aStatus().suites.map((suite) => ({ ...suite, rolledBackTo: "19941105T000000Z" })),
        pending: [{ path: parseTreePath("late.dsc"), missing: Array.from({ length: 12 }, (_, n) => `<${n}>.tar.xz`) }],
      }),
    *snapshots() {
      yield { ...kept(sid, "19941106T084937Z"), isCurrent: true };
      yield kept(sid, "19941105T000000Z", "release-1", "good");
      for (let n = 99; n > 0; n--)
        yield kept(sid, `1994110${Math.floor(n / 60)}T00${String(n % 60).padStart(2, "0")}00Z`);
      yield kept(sid, "19930101T000000Z", "first");
      yield kept(old, "19930101T000000Z");
    },
  },
);
const [sid, old] = [parseSuite("sid"), parseSuite("old")];
/** As it is with an upload that is served at once: its Date, and so its id, lags behind by a minute. */
const kept = (suite: Suite, id: string, ...pins: readonly string[]) => ({
  suite,
  id,
  servedSeconds: secondsOfMoment(id) + 60,
  isCurrent: false,
  pins,
});
const fresh = aRepository(
  "fresh",
  {},
  {
    status: () =>
      aStatus({
        suites: [],
        notReady: `cannot read ${cap} from ${gateway} yet`,
        rejected: [
          {
            path: parseTreePath("a.deb"),
            code: "unreadable",
            reason: `${gateway} and http://[fd00::1]:3456 did not respond`,
          },
        ],
      }),
  },
);

const sources = aRepository(
  "sources",
  {},
  {
    status: () =>
      aStatus({ suites: aStatus().suites.map((suite) => ({ ...suite, architectures: [], binaryPackages: 0 })) }),
  },
);

let app: StartedApp;
let appBehindProxy: StartedApp;
beforeAll(async () => {
  app = await startApp([debian, fresh, sources]);
  appBehindProxy = await startApp([debian], { behindProxy: true });
});
afterAll(async () => {
  await app.stop(0);
  await appBehindProxy.stop(0);
});

describe("a repository", () => {
  const variables = { etag: inRelease.etag, long: "x".repeat(9000) };
  playTranscript(new URL("repository.http", import.meta.url), () => app.address, variables);
});

describe("pages", () => {
  playTranscript(new URL("pages.http", import.meta.url), () => app.address);
});

describe("pages behind a trusted proxy", () => {
  playTranscript(new URL("behind-proxy.http", import.meta.url), () => appBehindProxy.address);
});

test("no response and no log line contains a cap", async () => {
  const targets = ["pool/SHA256/unavailable.deb", "pool/SHA256/bug.deb", "", "fresh.sources"];
  const replies = [
    ...(await Promise.all(targets.map((target) => ask(app.address.port, "GET", `/debian/${target}`)))),
    await ask(app.address.port, "GET", "/fresh/"),
    await ask(app.address.port, "GET", "/readyz"),
  ];
  const texts = replies.map(({ headers, body }) => JSON.stringify(headers) + body.toString());
  expect(texts.join("\n")).toContain("storage/unavailable");
  expect(app.logged()).toContain("request failed");
  for (const text of [...texts, app.logged()]) expect(text).not.toMatch(/secretsecret|morecap/);
});

test("a page is sent again only if it has changed", async () => {
  const first = await ask(app.address.port, "GET", "/debian/-/rejects");
  const etag = first.headers.etag ?? "";
  const again = await ask(app.address.port, "GET", "/debian/-/rejects", { "If-None-Match": etag });
  expect([again.status, again.body.length, again.headers.etag]).toEqual([304, 0, etag]);
  const other = await ask(app.address.port, "GET", "/debian/", { "If-None-Match": etag });
  expect(other.status).toBe(200);
});

test("a browser gets errors as pages that reveal no cap and run nothing", async () => {
  const accept = { Accept: "text/html" };
  for (const [target, status] of [
    ["/debian/pool/SHA256/unavailable.deb", 503],
    ["/debian/%3Cscript%3Ealert(1)%3C/script%3E", 404],
    ["/%zz", 400],
    ["/debian/pool/SHA256/bug.deb", 500],
  ] as const) {
    const { status: actual, headers, body } = await ask(app.address.port, "GET", target, accept);
    expect([target, actual]).toEqual([target, status]);
    expect(headers["content-type"]).toBe("text/html; charset=utf-8");
    expect(headers["content-security-policy"]).toContain("default-src 'none'");
    expect(headers["cache-control"]).toBe("no-store");
    expect(body.toString()).not.toMatch(/secretsecret|morecap|10\.1\.2\.3|<script>alert/);
  }
});

test("requests are counted by class", async () => {
  app.answered.splice(0);
  const targets = [
    ["/debian/dists/sid/InRelease", "index"],
    ["/debian/dists/sid/main/binary-amd64/by-hash/SHA256/00", "by-hash"],
    ["/debian/pool/SHA256/ab/a+b~1.deb", "package"],
    ["/debian/", "page"],
    ["/debian/-/packages", "page"],
    ["/debian/dists/", "page"],
    ["/-/ping/debian", "ping"],
    ["/metrics", "other"],
    ["/%zz", "other"],
  ] as const;
  for (const [target] of targets) await ask(app.address.port, "GET", target);
  expect(app.answered.map(({ requestClass }) => requestClass)).toEqual(targets.map(([, requestClass]) => requestClass));
});
