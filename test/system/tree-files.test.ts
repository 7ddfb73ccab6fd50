// Other files of a tree on a real grid, over HTTP: immutable and mutable ones, and requests for missing files.
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { aDeb } from "../support/debs.ts";
import { ServedGrid } from "../support/served-grid.ts";

let grid: ServedGrid;
beforeAll(async () => {
  grid = await ServedGrid.start(inject("webapiUrl"));
  await grid.put("dists/sid/main/binary-amd64", new Map([["it.deb", await aDeb({ architecture: "amd64" })]]));
});
afterAll(() => grid?.end());

const get = (path: string, headers: Record<string, string> = {}) => fetch(`${grid.url}/${path}`, { headers });
const large = Buffer.alloc(300_000, "an installer's image\n");

test("an immutable file has its own ETag and date, and ranges of it can be downloaded", async () => {
  await grid.put("dists/sid/main/installer-amd64", new Map([["mini.iso", large]]));
  await grid.ping();
  const whole = await get("dists/sid/main/installer-amd64/mini.iso");
  expect([whole.status, whole.headers.get("cache-control")]).toEqual([200, "no-cache"]);
  expect(Buffer.from(await whole.arrayBuffer()).equals(large)).toBe(true);
  const etag = whole.headers.get("etag") ?? "";
  expect(etag).toMatch(/^"[A-Za-z0-9_-]{43}"$/);
  const age = Date.now() - Date.parse(whole.headers.get("last-modified") ?? "");
  expect(age).toBeLessThan(120_000);
  const part = await get("dists/sid/main/installer-amd64/mini.iso", { Range: "bytes=299990-", "If-Range": etag });
  expect([part.status, await part.text()]).toEqual([206, large.subarray(299_990).toString()]);
  expect((await get("dists/sid/main/installer-amd64/mini.iso", { "If-None-Match": etag })).status).toBe(304);
});

test("a mutable file has no date, and its new bytes are served after a ping", async () => {
  await grid.putMutable("keys.txt", "the first\n");
  await grid.ping();
  const first = await get("keys.txt");
  expect(await first.text()).toBe("the first\n");
  expect(first.headers.get("last-modified")).toBeNull();
  await grid.putMutable("keys.txt", "the second\n");
  await grid.ping();
  const etag = first.headers.get("etag") ?? "";
  const second = await get("keys.txt", { "If-None-Match": etag, "If-Modified-Since": new Date().toUTCString() });
  expect([second.status, await second.text()]).toEqual([200, "the second\n"]);
});

test("many requests for missing files get 404 and cost only a few listings", async () => {
  const looks = async (): Promise<number> => {
    const scrape = await (await fetch(`${grid.server.url}/metrics`)).text();
    return Number(/^tahoe_apt_tree_look_duration_seconds_count\{[^}]*\} (\d+)$/m.exec(scrape)?.[1]);
  };
  const before = await looks();
  const parents = ["", "dists/sid/main/", "dists/sid/main/installer-amd64/", "dists/sid/main/binary-amd64/", "a/b/"];
  for (const parent of parents) {
    const statuses = Array.from({ length: 100 }, async (_, n) => (await get(`${parent}random-${n}/x`)).status);
    expect(new Set(await Promise.all(statuses))).toEqual(new Set([404]));
  }
  expect((await looks()) - before).toBeLessThan(10);
  expect(grid.server.output).not.toMatch(/URI:|URI%3A/);
});
