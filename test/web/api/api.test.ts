// The JSON API over HTTP, of a real folder.
import { expect, test } from "vitest";
import { z } from "zod";
import { Secret } from "../../../src/base/secret.ts";
import { resources } from "../../../src/web/api/resources.ts";
import { aDeb } from "../../support/debs.ts";
import { servedApi } from "../../support/served-api.ts";
import { ServedFolder } from "../../support/served-folder.ts";

async function aFolder(): Promise<ServedFolder> {
  const served = new ServedFolder();
  for (const name of ["hello", "hello-doc", "world"]) {
    const fields = { Description: `the ${name}`, Depends: "hello", Maintainer: "Ada <ada@example.org>" };
    const bytes = await aDeb({ package: name, version: "1", architecture: "all", fields });
    served.put(`dists/sid/main/binary-amd64/alice/${name}_1_all.deb`, bytes);
  }
  served.put("dists/sid/main/binary-amd64/bob/broken_1_all.deb", "not a package");
  await served.ping();
  return served;
}

test("lists are paged by cursors, and each entry is on one page", async () => {
  const { own } = await servedApi(await aFolder());
  const pageForm = z.object({
    entries: z.array(z.object({ name: z.string() })),
    total: z.literal(3),
    next: z.string().optional(),
  });
  const first = pageForm.parse(await (await fetch(`${own}/packages?sort=name&limit=2`)).json());
  const second = pageForm.parse(await (await fetch(`${own}/packages?sort=name&limit=2&cursor=${first.next}`)).json());
  expect([...first.entries, ...second.entries].map(({ name }) => name)).toEqual(["hello", "hello-doc", "world"]);
  expect(second.next).toBeUndefined();
});

test("a response has an ETag, with which it is not sent again", async () => {
  const { own } = await servedApi(await aFolder());
  const response = await fetch(`${own}/packages/hello`);
  const etag = response.headers.get("etag") ?? "";
  expect(response.headers.get("access-control-allow-origin")).toBe("*");
  const again = await fetch(`${own}/packages/hello`, { headers: { "If-None-Match": etag } });
  expect([again.status, await again.text()]).toEqual([304, ""]);
  const other = await fetch(`${own}/packages/hello`, { headers: { "If-None-Match": '"other"' } });
  expect(other.status).toBe(200);
});

test.each([
  ["/packages?limit=0", 400],
  ["/packages?limit=2&limit=3", 400],
  ["/packages?cursor=zzz", 400],
  [`/packages?text=${"x".repeat(201)}`, 400],
  ["/packages/absent", 404],
  ["/nothing", 404],
  ["/diff?from=sid&to=absent", 404],
])("%s is a problem with status %i", async (path, status) => {
  const { own } = await servedApi(await aFolder());
  const response = await fetch(`${own}${path}`);
  expect([response.status, response.headers.get("content-type")]).toEqual([status, "application/problem+json"]);
  expect(await response.json()).toMatchObject({
    type: "about:blank",
    status,
    code: expect.stringMatching(/^request\//),
  });
});

test("a private repository is in no list, has no CORS header, and is read by its readers only", async () => {
  const served = await aFolder();
  const { name } = served.repository;
  const { root, own } = await servedApi(served, {
    readers: new Map([[name, [{ name: "ada", password: new Secret("secret") }]]]),
  });
  expect(await (await fetch(`${root}/repositories`)).json()).toEqual({ repositories: [] });
  for (const path of ["", "/packages", "/packages/hello", "/packages/absent", "/health", "/packages?limit=0"]) {
    const refused = await fetch(`${own}${path}`);
    expect([refused.status, refused.headers.get("content-type")]).toEqual([401, "application/problem+json"]);
    expect(refused.headers.get("www-authenticate")).toMatch(/^Basic /);
    expect(await refused.text()).not.toContain("hello");
  }
  const headers = { Authorization: `Basic ${Buffer.from("ada:secret").toString("base64")}` };
  const read = await fetch(`${own}/packages/hello`, { headers });
  expect([read.status, read.headers.get("access-control-allow-origin")]).toEqual([200, null]);
  expect(read.headers.get("cache-control")).toBe("private, no-cache");
});

test("every resource answers as its schema says", async () => {
  const served = await aFolder();
  const { own } = await servedApi(served);
  const queries: Readonly<Record<string, string>> = {
    builder: "?directory=dists/sid/main/binary-amd64/alice",
    diff: "?from=sid&to=sid",
    changelog: "?version=1",
  };
  for (const { path, name, response } of resources) {
    if (name === "changelog" || name === "files") continue;
    const place = path.replace("{package}", "hello").replace("{source}", "hello");
    const answer = await fetch(`${own}${place}${queries[name] ?? ""}`);
    expect([name, answer.status]).toEqual([name, 200]);
    const json: unknown = await answer.json();
    expect(response.parse(json), name).toEqual(json);
  }
  const rejects = await (await fetch(`${own}/rejects`)).json();
  expect(rejects).toMatchObject({ entries: [{ code: "not-a-deb", builder: "dists/sid/main/binary-amd64/bob" }] });
});
