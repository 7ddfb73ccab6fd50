// Uploaders and readers who mean harm: fields as long as they may be, odd names, and what readers of another private
// repository can learn.
import { expect, test } from "vitest";
import { Secret } from "../../src/base/secret.ts";
import { resources } from "../../src/web/api/resources.ts";
import { aDeb } from "../support/debs.ts";
import { servedApi, servedTogether } from "../support/served-api.ts";
import { ServedFolder } from "../support/served-folder.ts";

const directory = "dists/sid/main/binary-amd64/alice";
const maxPageBytes = 60_000;
const asBrowser = { headers: { accept: "text/html" } };

async function put(served: ServedFolder, recipe: Partial<Parameters<typeof aDeb>[0]> & { readonly package: string }) {
  const bytes = await aDeb({ version: "1", architecture: "amd64", ...recipe });
  served.put(`${directory}/${recipe.package}_1_amd64.deb`, bytes);
}

const long = (characters: number): string => "w ".repeat(characters / 2).trim();
/** The longest fields that the indices list: apt fails at more than 65,000 bytes of some. */
const longFields = {
  Maintainer: long(120_000),
  Homepage: `https://example.org/${"h".repeat(60_000)}`,
  Priority: long(60_000),
  Section: long(60_000),
  Source: "s".repeat(60_000),
  Description: `${long(100_000)}\n ${long(100_000)}`,
  Depends: Array.from({ length: 15_000 }, (_, number) => `dependency-${number}`).join(", "),
  Provides: Array.from({ length: 15_000 }, (_, number) => `provided-${number}`).join(", "),
  Breaks: `other (>= ${"9".repeat(60_000)})`,
};

test("however long the fields of packages are, pages and lists stay small, and the packages are found", async () => {
  const served = new ServedFolder();
  for (const [field, text] of Object.entries(longFields))
    await put(served, { package: `long-${field.toLowerCase()}`, fields: { [field]: text } });
  await put(served, { package: "long-version", version: "9".repeat(60_000) });
  await served.ping();
  // The next version of each: snapshots differ.
  await put(served, { package: "long-version", version: `${"9".repeat(60_000)}1` });
  await served.ping();
  expect(served.repository.status().rejected).toEqual([]);
  const { base, own } = await servedApi(served);
  const names = [...Object.keys(longFields).map((field) => `long-${field.toLowerCase()}`), "long-version"];
  const pages = names.flatMap((name) => [
    `packages/${name}`,
    `packages/${name}/relations`,
    `packages/${name}/dependents`,
  ]);
  const others = [
    "packages",
    "packages?q=long",
    "builders",
    "rejects",
    "snapshots",
    "feed.atom",
    "diff?from=sid&to=sid",
  ];
  for (const path of [...pages, ...others]) {
    const response = await fetch(`${base}/debian/-/${path}`, asBrowser);
    expect([path, response.status]).toEqual([path, 200]);
    expect((await response.arrayBuffer()).byteLength, path).toBeLessThan(maxPageBytes);
  }
  for (const path of ["/packages?limit=200", "/uploads?limit=200", "/snapshots?limit=200"]) {
    const json = await (await fetch(`${own}${path}`)).text();
    expect(json.length, path).toBeLessThan(names.length * 4000);
    expect(json).toContain("…");
  }
  const found = await (await fetch(`${own}/packages?text=long&limit=200`)).json();
  expect(found).toMatchObject({ total: names.length });
});

test("the names of packages are also names of pages and of properties, and each has its own page", async () => {
  const served = new ServedFolder();
  const names = ["constructor", "hasownproperty", "dependents", "relations", "files", "a.svg", "a+b", "0", "x.atom"];
  for (const name of names) await put(served, { package: name, fields: { Source: name, Depends: names.join(", ") } });
  await served.ping();
  const { base, own } = await servedApi(served);
  for (const name of names) {
    const encoded = encodeURIComponent(name);
    const page = await (await fetch(`${base}/debian/-/packages/${encoded}`, asBrowser)).text();
    expect(page).toContain(`sudo apt install ${name}`);
    expect(await (await fetch(`${own}/packages/${encoded}`)).json()).toMatchObject({ name });
    expect(await (await fetch(`${own}/sources/${encoded}`)).json()).toMatchObject({ name });
    expect(await (await fetch(`${base}/debian/-/badge/${encoded}.svg`)).text()).toContain(`${name} 1`);
  }
});

test("a query with very many parameters, or very long ones, is answered at once", async () => {
  const served = new ServedFolder();
  await put(served, { package: "hello" });
  await served.ping();
  const { base, own } = await servedApi(served);
  const page = async (query: string) => (await fetch(`${base}/debian/-/packages?${query}`, asBrowser)).status;
  expect(await page("a=1&".repeat(10_000))).toBe(431);
  expect(await page("a=1&".repeat(3000))).toBe(414);
  expect(await page("q=hello&".repeat(200))).toBe(200);
  expect(await page(`q=${"hello+".repeat(1000)}`)).toBe(200);
  expect(await page("q=%00%ff%22*&suite=%27%20OR%201&builder=..%2F..&sort=__proto__&cursor=")).toBe(200);
  expect((await fetch(`${own}/packages?${"text=a&".repeat(200)}`)).status).toBe(400);
  expect((await fetch(`${own}/packages?text=${"a".repeat(201)}`)).status).toBe(400);
});

test("a reader of one private repository learns nothing of another one", async () => {
  const [ours, theirs] = ["ours", "theirs"].map((name) => new ServedFolder({ name }));
  if (ours === undefined || theirs === undefined) throw new Error("both are there");
  await put(ours, { package: "our-package" });
  await put(theirs, {
    package: "their-package",
    version: "9.8.7-6",
    fields: { Source: "their-source", Depends: "our-package", Description: "confidential" },
  });
  for (const served of [ours, theirs]) await served.ping();
  const reader = (served: ServedFolder) => [{ name: served.repository.name, password: new Secret("correct horse") }];
  const readers = new Map([ours, theirs].map((served) => [served.repository.name, reader(served)]));
  const { base } = await servedTogether([ours, theirs], {
    readers,
    // Otherwise the first attempts would make the server refuse all.
    limits: { failedLoginsPerMinute: 1000 },
  });
  const authorization = `Basic ${Buffer.from("ours:correct horse").toString("base64")}`;
  const ask = async (path: string, accept: string) => {
    const response = await fetch(`${base}${path}`, { headers: { authorization, accept } });
    return { status: response.status, text: await response.text() };
  };
  const listed = await fetch(`${base}/theirs/-/packages`, {
    headers: { authorization: `Basic ${Buffer.from("theirs:correct horse").toString("base64")}`, accept: "text/html" },
  });
  expect(await listed.text()).toContain("confidential");

  // An error page repeats what it was asked for.
  const secrets = /9\.8\.7-6|confidential/;
  const places = (name: string) => name.replace("{package}", "their-package").replace("{source}", "their-source");
  const api = resources.map(({ path }) => `/-/api/v1/repositories/theirs${places(path)}`);
  const pages = [
    "",
    "-/packages",
    "-/packages?q=their",
    "-/packages/their-package",
    "-/sources/their-source",
    "-/health",
    "-/builders",
    "-/rejects",
    "-/snapshots",
    "-/diff?from=sid&to=sid",
    "-/files",
    "-/feed.atom",
    "-/feeds/sid.atom",
    "-/badge/their-package.svg",
    "snapshots/",
    "snapshots/index.json",
    "theirs.sources",
    "theirs.yaml",
    "dists/",
  ].map((path) => `/theirs/${path}`);
  const sneaked = [
    "/%74heirs/-/packages",
    "/ours/-/../../theirs/-/packages",
    "/ours/..%2ftheirs/-/packages",
    "/-/api/v1/repositories/%74heirs/packages",
    "/-/api/v1/repositories/ours/../theirs/packages",
    "/-/api/v1/repositories/ours%2F..%2Ftheirs/packages",
    "//theirs/-/packages",
    "/theirs//-/packages",
    "/THEIRS/-/packages",
    "/-/api/v1/repositories/THEIRS/packages",
    "/-/API/v1/repositories/theirs/packages",
  ];
  for (const path of [...api, ...pages, ...sneaked]) {
    for (const accept of ["text/html", "*/*"]) {
      const { status, text } = await ask(path, accept);
      expect([path, status >= 400]).toEqual([path, true]);
      expect(text, path).not.toMatch(secrets);
    }
  }
  const queries = [
    "/",
    "/-/api/v1/repositories",
    "/ours/-/packages",
    "/ours/-/packages?q=their",
    "/ours/-/packages?suite=theirs",
    "/ours/-/packages?builder=%25",
    "/ours/-/packages/our-package",
    "/ours/-/packages/our-package/dependents",
    "/ours/-/packages/their-package",
    "/ours/-/diff?from=sid&to=theirs/sid",
    "/ours/-/diff?from=sid&to=../theirs/sid",
    "/ours/-/feed.atom",
    "/-/api/v1/repositories/ours/packages?text=their",
    "/-/api/v1/repositories/ours/packages?text=*",
    "/-/api/v1/repositories/ours/packages/our-package/dependents",
    "/-/api/v1/repositories/ours/sources/their-source",
    "/-/api/v1/repositories/ours/uploads",
  ];
  for (const path of queries) expect((await ask(path, "*/*")).text, path).not.toMatch(secrets);
  expect((await ask("/ours/-/packages", "text/html")).text).toContain("our-package");
});
