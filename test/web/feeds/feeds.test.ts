// The feeds of uploads and the badges, over HTTP, of a real folder, as other programs read them.
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { parseSuite } from "../../../src/base/names.ts";
import { Secret } from "../../../src/base/secret.ts";
import type { Upload } from "../../../src/web/data/repository-data.ts";
import { addFeeds } from "../../../src/web/feeds/feed-routes.ts";
import { feedEntries, maxFeedEntries } from "../../../src/web/feeds/uploads.ts";
import { aDeb, runTool } from "../../support/debs.ts";
import { someRepositoryData } from "../../support/repository-data.ts";
import { servedApi } from "../../support/served-api.ts";
import { ServedFolder } from "../../support/served-folder.ts";
import { aRepository } from "../../support/served-repository.ts";
import { startApp } from "../../support/started-app.ts";

const schema = fileURLToPath(new URL("../../support/atom.rng", import.meta.url));

/** @throws if it is not well-formed, or not as the schema of RFC 4287 says */
const validate = (feed: string): string =>
  runTool("xmllint", ["--noout", "--relaxng", schema, "-"], feed, "libxml2-utils").toString();

const parsedForm = z.object({
  bozo: z.union([z.boolean(), z.number()]).transform(Boolean),
  feed: z.object({
    id: z.string(),
    title: z.string(),
    updated: z.string(),
    links: z.array(z.object({ rel: z.string(), href: z.string() })).default([]),
  }),
  entries: z.array(
    z.object({
      id: z.string(),
      title: z.string(),
      updated: z.string(),
      published: z.string(),
      link: z.string(),
      summary: z.string(),
      authors: z.array(z.object({ name: z.string() })).optional(),
    }),
  ),
});

/** What a feed reader sees. */
function read(feed: string) {
  const script =
    "import feedparser,json,sys; d=feedparser.parse(sys.stdin.buffer.read()); " +
    "print(json.dumps({'bozo':d.bozo,'feed':d.feed,'entries':d.entries},default=str))";
  const output = runTool("/usr/bin/python3", ["-c", script], feed, "python3-feedparser");
  return parsedForm.parse(JSON.parse(output.toString()));
}

async function put(
  served: ServedFolder,
  {
    name = "hello",
    version = "1",
    architecture = "amd64",
    suite = "sid",
    atSeconds = 1_700_000_000,
    description = "says hello",
  },
): Promise<void> {
  const fields = { Description: description };
  const bytes = await aDeb({ package: name, version, architecture, fields });
  const directory = `dists/${suite}/main/binary-${architecture}/alice`;
  served.put(`${directory}/${name}_${version.replace(":", "%3a")}_${architecture}.deb`, bytes, atSeconds);
}

const get = async (url: string, headers: Record<string, string> = {}) => {
  const response = await fetch(url, { headers });
  return { status: response.status, headers: response.headers, text: await response.text() };
};

test("a feed has an entry for each upload, the newest first, that a schema and a feed reader accept", async () => {
  const served = new ServedFolder({ configuredSuites: [parseSuite("bookworm/updates")] });
  await put(served, { version: "1", atSeconds: 1_700_000_000 });
  await put(served, { version: "1", architecture: "arm64", atSeconds: 1_700_000_060 });
  await put(served, { version: "2", atSeconds: 1_700_001_000 });
  await put(served, { name: "tool", suite: "bookworm/updates" });
  await served.ping();
  const { base } = await servedApi(served);
  const { status, headers, text } = await get(`${base}/debian/-/feeds/sid.atom`);
  expect([status, headers.get("content-type")]).toEqual([200, "application/atom+xml; charset=utf-8"]);
  validate(text);
  const { bozo, feed, entries } = read(text);
  expect(bozo).toBe(false);
  expect(feed).toMatchObject({ title: "Uploads to sid of debian", updated: "2023-11-14T22:30:00Z" });
  expect(feed.links).toEqual([
    expect.objectContaining({ rel: "self", href: `${base}/debian/-/feeds/sid.atom` }),
    expect.objectContaining({ rel: "alternate", href: `${base}/debian/-/packages?suite=sid&sort=time` }),
  ]);
  expect(entries).toMatchObject([
    { title: "hello 2 (amd64)", summary: "says hello", link: `${base}/debian/-/packages/hello` },
    { title: "hello 1 (amd64, arm64)", published: "2023-11-14T22:13:20Z", updated: "2023-11-14T22:14:20Z" },
  ]);
  expect(entries[0]?.authors?.map(({ name }) => name)).toEqual(["alice"]);
  expect(new Set([feed.id, ...entries.map(({ id }) => id)]).size).toBe(3);
  for (const { id } of entries)
    expect(id).toMatch(/^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);

  const nested = read((await get(`${base}/debian/-/feeds/bookworm/updates.atom`)).text);
  expect(nested.entries.map(({ title }) => title)).toEqual(["tool 1 (amd64)"]);
  const all = read((await get(`${base}/debian/-/feed.atom`)).text);
  expect(all.entries).toHaveLength(3);
});

test("the validators of the test find what is wrong in a feed", () => {
  const feed = (content: string) => `<feed xmlns="http://www.w3.org/2005/Atom">${content}</feed>`;
  const good = "<id>urn:uuid:1</id><title>t</title><updated>2026-11-30T00:00:00Z</updated>";
  expect(() => validate(feed(good))).not.toThrow();
  expect(() => validate(feed(good.replace(/<id>.*<\/id>/, "")))).toThrow();
  expect(() => validate(feed(good.replace("T00", " 00")))).toThrow();
  expect(() => validate(feed(`${good}<entry/>`))).toThrow();
  expect(() => validate(feed(good.replace(">t<", ">\u0001<")))).toThrow();
  expect(read(feed(good.replace(">t<", ">\u0001<"))).bozo).toBe(true);
});

test("an upload keeps its id when another architecture is added, and other bytes have another id", async () => {
  const served = new ServedFolder();
  await put(served, { atSeconds: 1_700_000_000 });
  await served.ping();
  const idsOf = async (path = "feeds/sid.atom") => {
    const { base } = await servedApi(served);
    const ids = read((await get(`${base}/debian/-/${path}`)).text).entries.map(({ id }) => id);
    return ids;
  };
  const before = await idsOf();
  await put(served, { architecture: "all", atSeconds: 1_700_000_500 });
  await served.ping();
  expect(await idsOf()).toEqual(before);
  await put(served, { atSeconds: 1_700_000_900, description: "other bytes" });
  served.remove("dists/sid/main/binary-all/alice/hello_1_all.deb");
  await served.ping();
  const after = await idsOf();
  expect(after).toHaveLength(1);
  expect(after).not.toEqual(before);
});

test("a feed is sent again only after it has changed", async () => {
  const served = new ServedFolder();
  await put(served, {});
  await served.ping();
  const { base } = await servedApi(served);
  const url = `${base}/debian/-/feeds/sid.atom`;
  const { headers } = await get(url);
  expect(headers.get("cache-control")).toBe("no-cache");
  const [etag, date] = [headers.get("etag") ?? "", headers.get("last-modified") ?? ""];
  expect(Date.parse(date)).toBeGreaterThan(0);
  for (const condition of [
    { "If-None-Match": etag },
    { "If-Modified-Since": date },
    { "If-None-Match": `W/${etag}` },
  ]) {
    expect(await get(url, condition)).toMatchObject({ status: 304, text: "" });
  }
  for (const condition of [{ "If-None-Match": '"other"' }, { "If-None-Match": '"other"', "If-Modified-Since": date }]) {
    expect((await get(url, condition)).status).toBe(200);
  }
});

test("there are feeds of suites only", async () => {
  const served = new ServedFolder();
  await put(served, {});
  await served.ping();
  const { base } = await servedApi(served);
  for (const path of ["feeds/absent.atom", "feeds/sid", "feeds/.atom", "feeds/sid.atom/", "feed.atom?suite=absent"])
    expect((await get(`${base}/debian/-/${path}`)).status, path).toBe(404);
});

const anUpload = (changes: Partial<Upload>): Upload => ({
  name: "hello",
  isSource: false,
  suite: "sid",
  component: "main",
  version: "1",
  architecture: "amd64",
  description: "",
  uploadedSeconds: 1_700_000_000,
  builder: undefined,
  sizeBytes: 1,
  sha256: "ab",
  ...changes,
});

/** An app whose repositories have these uploads. */
async function appWith(uploads: readonly Upload[], summary?: { readonly version: string }) {
  const repository = aRepository("debian", {});
  const data = someRepositoryData(repository, {
    uploads: async () => ({ entries: uploads, total: uploads.length, next: undefined }),
    summary: async (name) =>
      summary && {
        name,
        description: "",
        section: undefined,
        source: name,
        suites: [{ suite: "sid", version: summary.version, components: ["main"], architectures: ["amd64"] }],
        uploadedSeconds: undefined,
      },
  });
  const app = await startApp([repository], { furtherRoutes: async () => [addFeeds([data], () => 1_800_000_000)] });
  onTestFinished(() => app.stop(0));
  return app;
}

const hostile = [
  "</title><script>alert(1)</script>",
  "]]> & \" ' < >",
  "\u0000\u0001\u0008\u000b\u001f\u007f\u0085\ufffe\uffff",
  "\u202egnp.exe\u2066",
  "w".repeat(50_000),
];

test("whatever a builder writes, a feed is valid, harmless and short", async () => {
  const uploads = hostile.flatMap((text) => [
    anUpload({
      name: text,
      version: text,
      architecture: text,
      description: text,
      builder: `dists/${text}`,
      sha256: text,
    }),
    anUpload({ name: text, uploadedSeconds: 1e15, suite: text, component: text, isSource: true, sha256: text }),
    anUpload({ name: text, version: "2", uploadedSeconds: undefined, sha256: `${text}2` }),
  ]);
  const { base } = await appWith(uploads);
  const { status, text } = await get(`${base}/debian/-/feed.atom`);
  expect(status).toBe(200);
  validate(text);
  const { bozo, entries } = read(text);
  expect([bozo, entries.length]).toEqual([false, uploads.length]);
  expect(text).not.toMatch(/<script|\u202e/);
  expect(entries.find(({ title }) => title.includes("⟨U+FFFE⟩"))).toBeDefined();
});

test("a feed has at most a hundred entries, and none is newer than now", async () => {
  const all = Array.from({ length: 1000 }, (_, index) =>
    anUpload({ name: `p${index}`, sha256: `${index}`, uploadedSeconds: 1_700_000_000 - index }),
  );
  const future = anUpload({ name: "future", uploadedSeconds: 4_000_000_000, sha256: "f" });
  const uploads = async ({ cursor = "0" }: { readonly cursor?: string | undefined }) => ({
    entries: [...(cursor === "0" ? [future] : []), ...all.slice(Number(cursor), Number(cursor) + 200)],
    total: 1001,
    next: String(Number(cursor) + 200),
  });
  const now = { nowSeconds: 1_800_000_000, signal: new AbortController().signal };
  const entries = await feedEntries({ uploads }, undefined, now);
  expect(entries).toHaveLength(maxFeedEntries);
  expect(entries[0]?.name).toBe("p0");
  expect(entries.map(({ name }) => name)).not.toContain("future");
});

test("the feed and the badges of a private repository are for its readers", async () => {
  const served = new ServedFolder();
  await put(served, {});
  await served.ping();
  const readers = new Map([[served.repository.name, [{ name: "bob", password: new Secret("a-long-password") }]]]);
  const { base } = await servedApi(served, { readers });
  const basic = { authorization: `Basic ${Buffer.from("bob:a-long-password").toString("base64")}` };
  for (const path of ["feeds/sid.atom", "feed.atom", "feeds/absent.atom", "badge/hello.svg", "badge/absent.svg"]) {
    const denied = await get(`${base}/debian/-/${path}`);
    expect([denied.status, denied.text.includes("hello")], path).toEqual([401, false]);
  }
  for (const path of ["feeds/sid.atom", "badge/hello.svg"]) {
    const allowed = await get(`${base}/debian/-/${path}`, basic);
    expect([allowed.status, allowed.headers.get("cache-control")]).toEqual([200, "private, no-cache"]);
    expect(allowed.headers.get("access-control-allow-origin")).toBeNull();
  }
});

test("a badge shows the newest version by Debian's order, of all suites or of one", async () => {
  const served = new ServedFolder();
  for (const version of ["1.9", "1.10", "1.10~rc1"]) await put(served, { version });
  await put(served, { version: "1:0.1", suite: "trixie" });
  await served.ping();
  const { base } = await servedApi(served);
  const titleOf = async (path: string) => {
    const { status, text } = await get(`${base}/debian/-/badge/${path}`);
    if (status !== 200) return [status];
    runTool("xmllint", ["--noout", "-"], text, "libxml2-utils");
    return [status, /<title id="title">(.*)<\/title>/.exec(text)?.[1]];
  };
  expect(await titleOf("hello.svg")).toEqual([200, "hello 1:0.1 in debian"]);
  expect(await titleOf("hello.svg?suite=sid")).toEqual([200, "hello 1.10 in sid of debian"]);
  expect(await titleOf("hello.svg?suite=absent")).toEqual([200, "hello is not found in absent of debian"]);
  expect(await titleOf("absent.svg")).toEqual([200, "absent is not found in debian"]);
  expect(await titleOf("hello")).toEqual([404]);
});

test("pages of other sites can show a badge, which is checked again each time", async () => {
  const { base } = await appWith([], { version: "1.0-1" });
  const url = `${base}/debian/-/badge/hello.svg`;
  const { headers, text } = await get(url);
  expect(headers.get("content-type")).toBe("image/svg+xml; charset=utf-8");
  expect(headers.get("cross-origin-resource-policy")).toBe("cross-origin");
  expect(headers.get("content-security-policy")).toContain("default-src 'none'");
  expect(headers.get("cache-control")).toBe("no-cache");
  expect(text).toContain('role="img" aria-labelledby="title"');
  // The policy would forbid styles and scripts.
  expect(text).not.toMatch(/style|script|href|url\(/);
  expect((await get(url, { "If-None-Match": headers.get("etag") ?? "" })).status).toBe(304);
});

test.each(hostile)("whatever a package is called, its badge is an image of bounded width (%#)", async (text) => {
  const { base } = await appWith([], { version: text });
  const name = text.slice(0, 200).replaceAll(/[\u0000-\u001f\u007f/]/g, "x");
  const badge = await get(`${base}/debian/-/badge/${encodeURIComponent(name)}.svg?suite=sid`);
  expect(badge.status).toBe(200);
  runTool("xmllint", ["--noout", "-"], badge.text, "libxml2-utils");
  expect(Number(/ width="(\d+)"/.exec(badge.text)?.[1])).toBeLessThan(1000);
  expect(badge.text).not.toMatch(/<script|\u202e/);
  expect(badge.text.length).toBeLessThan(5000);
});
