// Every route of the reference answers as it says, and there is no other route.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Router from "@koa/router";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { webRoutes } from "../../src/server/web-routes.ts";
import { aDeb } from "../support/debs.ts";
import { readProjectFile } from "../support/project-files.ts";
import { someRepositoryData } from "../support/repository-data.ts";
import { aRepository } from "../support/served-repository.ts";
import { freePort, ServerUnderTest } from "../support/server.ts";
import { aQuickKey } from "../support/signing-key.ts";
import { startApp } from "../support/started-app.ts";
import type { Example, Route } from "./http-routes.ts";
import { apiResources, routes } from "./http-routes.ts";

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-routes-"));
const reader = `Basic ${Buffer.from("bob:a password for tests").toString("base64")}`;
const token = "Bearer a-token-for-pings-in-tests";
const metricsToken = "Bearer a-token-for-metrics";
let server: ServerUnderTest;
let examples: { readonly public: Example; readonly private: Example };

/** The credentials that a route needs in a private repository. */
const credentials = {
  everybody: undefined,
  readers: reader,
  builders: token,
  monitoring: metricsToken,
} as const satisfies Record<Route["who"], string | undefined>;

const fetched = async (path: string, headers: Readonly<Record<string, string>> = {}, method = "GET") =>
  await fetch(`${server.url}${path}`, { method, headers, redirect: "manual" });

async function readText(path: string): Promise<string> {
  const response = await fetched(path, { Authorization: reader });
  expect(response.status, path).toBe(200);
  return await response.text();
}

async function exampleOf(name: string): Promise<Example> {
  const packages = await readText(`/${name}/dists/sid/main/binary-all/Packages`);
  const release = await readText(`/${name}/dists/sid/Release`);
  const snapshots = await readText(`/${name}/snapshots/index.json`);
  const [, hash = ""] = /^ ([0-9a-f]{64}) +\d+ main\/binary-all\/Packages\.xz$/m.exec(release) ?? [];
  const [, pooled = ""] = /^Filename: pool\/(.+)$/m.exec(packages) ?? [];
  const [snapshot = ""] = /\d{8}T\d{6}Z/.exec(snapshots) ?? [];
  return { name, snapshot, pooled, byHash: `main/binary-all/by-hash/SHA256/${hash}` };
}

beforeAll(async () => {
  const files: Readonly<Record<string, string | Uint8Array>> = {
    "tree/dists/sid/main/binary-all/hello_1.0-1_all.deb": await aDeb({
      files: { "./usr/share/doc/hello/changelog.Debian": "hello (1.0-1) sid; urgency=low\n" },
    }),
    "tree/README": "read me\n",
    "key.asc": await aQuickKey(),
    password: "a password for tests",
    token: "a-token-for-pings-in-tests",
    "metrics-token": "a-token-for-metrics",
  };
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(work, name, ".."), { recursive: true });
    writeFileSync(join(work, name), content, { mode: 0o600 });
  }
  const port = await freePort();
  const repository = (name: string) =>
    [
      "[[repository]]",
      `name = "${name}"`,
      'folder = "tree"',
      'signing_key_file = "key.asc"',
      'ping_token_file = "token"',
    ].join("\n");
  const lines = [
    `public_url = "http://127.0.0.1:${port}"`,
    'metrics_token_file = "metrics-token"',
    repository("debian"),
    repository("private"),
    '[[repository.reader]]\nname = "bob"\npassword_file = "password"',
  ];
  writeFileSync(join(work, "tahoe-apt.toml"), `${lines.join("\n")}\n`);
  const flags = ["--config", join(work, "tahoe-apt.toml"), "--state", join(work, "state")];
  server = await ServerUnderTest.start({ flags, port });
  await server.ready();
  examples = { public: await exampleOf("debian"), private: await exampleOf("private") };
  // Until the index of packages is built, its pages are not ready.
  for (const { name } of Object.values(examples)) {
    await vi.waitFor(
      async () => expect((await fetched(`/${name}/-/packages/hello`, { Authorization: reader })).status).toBe(200),
      { timeout: 30_000 },
    );
  }
});

afterAll(async () => {
  await server.end();
  rmSync(work, { recursive: true, force: true });
});

function request({ who, method, isForBrowsers = false, example }: Route, of: Example, isAllowed = true) {
  const authorization = isAllowed ? credentials[who] : undefined;
  const headers = {
    ...(authorization !== undefined && { Authorization: authorization }),
    ...(isForBrowsers && { Accept: "text/html" }),
  };
  return fetched(example(of), headers, method);
}

const named = routes.map((route) => [`${route.method ?? "GET"} ${route.path}`, route] as const);

test.each(named)("%s answers with the status, type and caching of the reference", async (_name, route) => {
  const response = await request(route, examples.public);
  expect(response.status).toBe(route.status);
  expect(response.headers.get("Content-Type")?.toLowerCase()).toBe(route.type);
  expect(response.headers.get("Cache-Control") ?? undefined).toBe(route.caching);
  expect(response.headers.get("X-Request-Id")).not.toBeNull();
});

test.each(named.filter(([, { path }]) => path.startsWith("/NAME")))(
  "%s of a private repository is for those whom the reference names, and for no shared cache",
  async (_name, route) => {
    const response = await request(route, examples.private);
    expect(response.status).toBe(route.status);
    expect(response.headers.get("Cache-Control")).toMatch(/^private, /);
    const stranger = await request(route, examples.private, false);
    expect(stranger.status).toBe(route.who === "everybody" ? route.status : 401);
  },
);

test.each(named.filter(([, { who }]) => who === "builders" || who === "monitoring"))(
  "%s needs a token",
  async (_name, route) => {
    expect((await request(route, examples.public, false)).status).toBe(401);
  },
);

test.each(named.filter(([, { method }]) => method === undefined))("%s allows no DELETE", async (_name, route) => {
  const response = await fetched(route.example(examples.public), { Accept: "*/*" }, "DELETE");
  expect(response.status).toBe(405);
  expect(response.headers.get("Allow")).toMatch(/\bGET\b/);
});

test.each(named.filter(([, { method }]) => method === undefined))(
  "%s has an ETag if the reference says so, and with it a client does not get the same again",
  async (_name, route) => {
    const etag = (await request(route, examples.public)).headers.get("ETag");
    expect(etag !== null).toBe(route.hasEtag ?? false);
    if (etag === null) return;
    const headers = { "If-None-Match": etag, ...(route.isForBrowsers === true && { Accept: "text/html" }) };
    expect((await fetched(route.example(examples.public), headers)).status).toBe(304);
  },
);

test.each(named.filter(([, { routed, path }]) => routed === undefined && path.startsWith("/NAME")))(
  "%s is sent in parts too",
  async (_name, route) => {
    const part = await fetched(route.example(examples.public), { Range: "bytes=0-3" });
    expect([part.status, (await part.arrayBuffer()).byteLength]).toEqual([206, 4]);
    expect((await fetched(route.example(examples.public), { Range: "bytes=9999999-" })).status).toBe(416);
  },
);

test("every path of the API answers with JSON", async () => {
  const paths = ["/-/api/v1/openapi.json", ...apiResources().map(([path]) => path.replace("{repository}", "debian"))];
  for (const path of paths.filter((one) => !one.includes("{"))) {
    const response = await fetched(path);
    // Some need a parameter.
    expect([200, 400], path).toContain(response.status);
    expect(response.headers.get("Content-Type"), path).toMatch(/^application\/(problem\+)?json/);
  }
});

test("the reference has every page of a repository", () => {
  const source = readProjectFile("src/web/pages/repository-pages.ts");
  const names = [...source.matchAll(/^ +case "(\w+)":/gm)].map(([, page]) => page ?? "");
  expect(names.length).toBeGreaterThan(6);
  const documented = new Set(routes.map(({ path }) => /^\/NAME\/-\/(\w+)/.exec(path)?.[1]));
  expect(names.filter((name) => !documented.has(name))).toEqual([]);
});

test("the reference has every path of the routers, and no other", async () => {
  const register = vi.spyOn(Router.prototype, "register");
  const repository = aRepository("debian", {});
  const data = someRepositoryData(repository);
  const app = await startApp([repository], { furtherRoutes: async () => webRoutes([{ repository, data }]) });
  await fetch(`${app.base}/nothing`);
  await app.stop(0);
  const registered = new Set(register.mock.calls.flatMap(([path]) => [path].flat().map(String)));
  const ofApi = [
    "/-/api/v1/openapi.json",
    "/-/api/v1/{*path}",
    ...apiResources().map(([path]) => path.replaceAll(/\{(\w+)\}/g, ":$1")),
  ];
  const documented = routes.flatMap(({ routed }) =>
    routed === undefined ? [] : [routed.replaceAll("NAME", "debian")],
  );
  expect([...registered].toSorted()).toEqual([...new Set([...ofApi, ...documented])].toSorted());
});
