// Whatever a client sends, the response is about its request: never a 500, and never an internal name.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { aDeb } from "../support/debs.ts";
import { ServerUnderTest } from "../support/server.ts";
import type { Reply } from "../support/transcript.ts";

const token = "the-token-of-strangers";
const requests = 4000;
const atOnce = 20;

/** A server with a suite and two flat repositories, one of them at the root of a separate tree. */
async function startServer(): Promise<ServerUnderTest> {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-hostile-"));
  const put = (path: string, bytes: Uint8Array | string): void => {
    mkdirSync(dirname(join(work, path)), { recursive: true });
    writeFileSync(join(work, path), bytes);
  };
  put("tree/dists/sid/main/binary-amd64/a.deb", await aDeb({ package: "a", architecture: "amd64" }));
  put("tree/extras/b.deb", await aDeb({ package: "b", architecture: "amd64" }));
  put("tree/extras/bad.deb", "rubbish");
  put("alone/c.deb", await aDeb({ package: "c", architecture: "amd64" }));
  put("token", token);
  const server = await ServerUnderTest.withRepository(work, [
    `folder = ${JSON.stringify(join(work, "tree"))}`,
    'flat = ["extras"]',
    `ping_token_file = ${JSON.stringify(join(work, "token"))}`,
    "[[repository]]",
    'name = "alone"',
    `folder = ${JSON.stringify(join(work, "alone"))}`,
    `ping_token_file = ${JSON.stringify(join(work, "token"))}`,
  ]);
  ends.push(async () => {
    await server.end();
    rmSync(work, { recursive: true, force: true });
  });
  return server;
}

let server: ServerUnderTest;
const ends: (() => Promise<void>)[] = [];
beforeAll(async () => {
  server = await startServer();
});
afterAll(async () => {
  for (const end of ends) await end();
});

function asking() {
  const agent = new Agent({ keepAlive: true, maxSockets: atOnce });
  onTestFinished(() => agent.destroy());
  return (method: string, path: string, headers: { readonly [name: string]: string } = {}): Promise<Reply> =>
    new Promise((resolve, reject) => {
      const sent = request({ host: "127.0.0.1", port: server.port, method, path, headers, agent }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
        );
      });
      sent.on("error", reject);
      sent.end();
    });
}

const bearer = { Authorization: `Bearer ${token}` };

/**
 * Pseudo-random numbers, equal in each run.
 * @see https://github.com/bryc/code/blob/master/jshash/PRNGs.md (mulberry32)
 */
function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296) * below);
  };
}

const names = [
  "debian alone dists sid main binary-amd64 source InRelease Release Release.gpg Packages Packages.xz Packages.diff Index",
  "by-hash SHA256 MD5Sum SHA512 pool snapshots index.json 20261122T134500Z changelogs extras a.deb b.deb bad.deb c.deb",
  "debian.sources debian.yaml key.asc key.gpg metrics healthz readyz - ping ~flat . .. %2e%2e %2F %25 %00 %0a %ff %c3%a4",
  "%F0%9F%90%8D Contents-amd64.gz i18n Translation-en README + ~ ; , : @ $ = & ' ( ) * ! [ ] %7e %2b %3a %253a",
  "packages sources builders rejects diff health files a b hello",
  `${"a".repeat(255)} ${"b".repeat(256)} ${"0".repeat(64)} __proto__ constructor toString hasOwnProperty`,
]
  .join(" ")
  .split(" ");
const pageParameters = "q suite component architecture builder sort cursor from to after".split(" ");
const queryValues =
  "0 1 16.1 1.001 4.35 0.07 -1 1e9 1e-3 NaN Infinity 0x10 999999999 999999999.999 9999999999 %20 %00 %ff true , .5 5. 00"
    .split(" ")
    .concat("", "9".repeat(400));

test("no path, query, method or header causes a 500, and no response contains an internal name", {
  timeout: 240_000,
}, async () => {
  const ask = asking();
  const below = seeded(14);
  const one = (of: readonly string[]): string => of[below(of.length)] ?? "";
  const aPath = (): string => {
    const prefix = one([
      "",
      "",
      "/debian",
      "/debian/dists/sid",
      "/debian/extras",
      "/alone",
      "/debian/-",
      "/debian/-/packages",
      "/alone/-",
      "/-/ping/debian",
      "/-/ping/alone",
    ]);
    const deep = below(20) === 0 ? below(40) : below(6);
    const path = prefix + Array.from({ length: deep }, () => `/${one(names)}`).join("") + one(["", "", "/"]);
    return path === "" ? "/" : path;
  };
  const aQuery = (): string =>
    one([
      "",
      "",
      `?wait=${one(queryValues)}`,
      `?wait=${one(queryValues)}&wait=${one(queryValues)}`,
      `?${one(names)}`,
      `?${one(pageParameters)}=${one(queryValues)}&${one(pageParameters)}=${one(names)}`,
      "?wait",
      "??",
      "?wait=%zz",
    ]);
  const aHeader = (): { readonly [name: string]: string } => {
    const value = one([
      "*",
      '"',
      '""',
      'W/""',
      "bytes=0-",
      "bytes=-0",
      "bytes=5-1",
      "bytes=99999999999999999999-",
      "bytes=0-0,2-2",
      "text/html",
    ]);
    const name = one([
      "If-None-Match",
      "If-Match",
      "Range",
      "If-Range",
      "If-Modified-Since",
      "Accept",
      "X-Forwarded-For",
    ]);
    return { [name]: below(2) === 0 ? value : one(names) };
  };
  const methods = ["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"];
  const failures: string[] = [];
  let left = requests;
  const client = async (): Promise<void> => {
    while (left-- > 0) {
      const [path, query] = [aPath(), aQuery()];
      // A valid ping does not wait here, because its change is already published.
      const method = path.startsWith("/-/") ? "POST" : one(methods);
      const { status, body } = await ask(method, path + query, { ...bearer, ...aHeader() });
      const text = body.toString();
      // A client may get its own text back.
      const isInternal =
        /~flat|binary-any|debian\/\.(?!\w)/.test(text) && !path.includes("~flat") && !path.includes("/.");
      if (status === 500 || isInternal) failures.push(`${method} ${path}${query}: ${status} ${text.slice(0, 200)}`);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, client));
  expect(failures).toEqual([]);
  expect(server.output).not.toContain("request failed");
});

test("a wait can be any decimal number of seconds", { timeout: 60_000 }, async () => {
  const ask = asking();
  for (const wait of ["16", "16.1", "1.001", "4.35", "0.07", "999999999.999"]) {
    const { status, body } = await ask("POST", `/-/ping/debian/dists/sid?wait=${wait}`, bearer);
    expect([wait, status, body.toString()]).toEqual([wait, 200, expect.stringContaining('"status":"servable"')]);
  }
});

test("a path that is too long for a flat repository is malformed, and the response contains it as it was requested", {
  timeout: 60_000,
}, async () => {
  const ask = asking();
  const fits = `extras${`/${"a".repeat(96)}`.repeat(20)}`;
  expect((await ask("POST", `/-/ping/debian/${fits}?wait=5`, bearer)).status).toBe(200);
  const tooLong = `extras${`/${"a".repeat(96)}`.repeat(21)}`;
  const { status, body } = await ask("POST", `/-/ping/debian/${tooLong}?wait=5`, bearer);
  expect(status).toBe(400);
  expect(body.toString()).toMatch(/^400 name\/malformed: "extras\/a+"… is too long for a path of a flat repository\n$/);
});

test("flat repositories have the same names in pings, on the page, in metrics and in the log as in a source", {
  timeout: 60_000,
}, async () => {
  const ask = asking();
  const namesIn = async (repository: string): Promise<unknown> => {
    const { body } = await ask("POST", `/-/ping/${repository}?wait=30`, bearer);
    const { publications } = JSON.parse(body.toString()) as { publications: { suite: string }[] };
    return publications.map(({ suite }) => suite).toSorted();
  };
  expect(await namesIn("debian")).toEqual(["./extras/", "sid"]);
  expect(await namesIn("alone")).toEqual(["./"]);
  const texts: string[] = [];
  for (const path of [
    "/debian/",
    "/alone/",
    "/metrics",
    "/debian/nothing",
    "/alone/by-hash/SHA256/00",
    "/alone/snapshots/",
    "/debian/-/rejects",
    "/debian/-/packages",
    "/debian/-/health",
    "/alone/-/files",
    "/alone/-/builders",
  ]) {
    texts.push((await ask("GET", path)).body.toString());
  }
  expect(texts[0]).toMatch(/<th scope="row"><a [^>]*>\.\/extras\/<\/a>/);
  expect(texts[1]).toMatch(/<th scope="row"><a [^>]*>\.\/<\/a>/);
  // Long paths may break after each slash.
  expect(texts[6]?.replaceAll("<wbr>", "")).toContain('<td class="path">extras/bad.deb</td>');
  expect(texts[8]).toContain("./extras/");
  for (const name of ["InRelease", "Packages.xz", "c.deb", "pool/"]) expect(texts[9]).toContain(`>${name}</a>`);
  const extras = (await ask("GET", "/debian/extras/", { accept: "text/html" })).body.toString();
  for (const name of ["InRelease", "Packages.xz", "b.deb", "bad.deb"]) expect(extras).toContain(`>${name}</a>`);
  texts.push(extras);
  expect(texts[2]).toContain('tahoe_apt_publication_age_seconds{repository="debian",suite="./extras/"}');
  expect(texts[2]).toContain('tahoe_apt_publication_age_seconds{repository="debian",suite="sid"}');
  expect(texts[2]).toContain('tahoe_apt_publication_age_seconds{repository="alone",suite="./"}');
  for (const text of [...texts, server.output])
    expect(text).not.toMatch(/~flat|binary-any|(debian|alone)\/(\.|extras)"/);
  expect(server.output).toContain('"suite":"./extras/"');
});
