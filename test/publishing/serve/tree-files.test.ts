// Other files of a tree: served unchanged, and requests for missing files cost the storage almost nothing.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Tree } from "../../../src/storage/tree.ts";
import { StorageUnavailable } from "../../../src/storage/tree.ts";
import { aDeb } from "../../support/debs.ts";
import { collect } from "../../support/package-source.ts";
import { ServedFolder, sha256, unlistedWhile } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const { signal } = new AbortController();

/** A decorator that counts the listings of a tree, by path. */
const counting =
  (looks: Map<string, number>) =>
  (tree: Tree): Tree => ({
    look: (path, lookSignal) => {
      looks.set(path, (looks.get(path) ?? 0) + 1);
      return tree.look(path, lookSignal);
    },
    open: (file, range, openSignal) => tree.open(file, range, openSignal),
  });

async function aServedFolder(options: ConstructorParameters<typeof ServedFolder>[0] = {}): Promise<ServedFolder> {
  const served = new ServedFolder(options);
  served.put(`${amd64}/one/it.deb`, await aDeb({ package: "it", architecture: "amd64" }));
  return served;
}

test("files that no index lists are served from any place in the tree, with the time of their link", async () => {
  const served = await aServedFolder();
  const files = [
    "README",
    "project/keys/archive-key.asc",
    "dists/README",
    "dists/sid/ChangeLog",
    "dists/sid/main/i18n/Translation-de.xz",
    "dists/sid/main/installer-amd64/current/images/netboot/mini.iso",
    `${amd64}/NOTES`,
    `${amd64}/one/it.buildinfo`,
    "pool/main/i/it/it_2.0_arm64.deb",
    "pool/SHA256SUMS",
    "with a blank+and~more%41",
  ];
  for (const [n, path] of files.entries()) served.put(path, `the bytes of ${path}\n`, 1_700_000_000 + n);
  await served.ping();
  for (const [n, path] of files.entries()) {
    expect(await served.text(path)).toBe(`the bytes of ${path}\n`);
    const resource = await served.repository.find(path, { signal });
    expect(resource).toMatchObject({ caching: "revalidate", lastModifiedSeconds: 1_700_000_000 + n });
    expect((await collect((await resource?.read({ start: 4, end: 9 }, signal)) ?? Buffer.of())).toString()).toBe(
      "bytes",
    );
  }
  expect((await served.repository.find("project/keys/archive-key.asc", { signal }))?.contentType).toMatch(
    /^text\/plain/,
  );
});

test("a page or script in the tree is sent as plain bytes, which no browser executes", async () => {
  const served = await aServedFolder();
  const names = [
    "index.html",
    "x.HTM",
    "x.xhtml",
    "x.svg",
    "x.js",
    "x.mjs",
    "x.xml",
    "x.css",
    "x.pdf",
    "html",
    "x.html;",
  ];
  for (const name of names) served.put(`${amd64}/one/${name}`, "<script>alert(1)</script>");
  served.put(`${amd64}/one/notes.txt`, "text");
  await served.ping();
  const typeOf = async (name: string) =>
    (await served.repository.find(`${amd64}/one/${name}`, { signal }))?.contentType;
  expect(new Set(await Promise.all(names.map(typeOf)))).toEqual(new Set(["application/octet-stream"]));
  expect(await typeOf("notes.txt")).toBe("text/plain; charset=utf-8");
});

test("generated files are never served from the tree, nor are directories or paths below a file", async () => {
  const served = await aServedFolder();
  const stale = [
    "dists/sid/InRelease",
    "dists/sid/Release.gpg",
    `${amd64}/Packages.bz2`,
    `${amd64}/Release`,
    `${amd64}/Packages.diff/Index`,
    `${amd64}/by-hash/SHA256/${sha256("stale")}`,
    "dists/sid/Contents-amd64.gz",
    `pool/SHA256/${sha256("stale")}/stale.deb`,
  ];
  for (const path of stale) served.put(path, "stale");
  served.put("README", "it");
  await served.ping();
  for (const path of stale) expect((await served.bytes(path))?.toString()).not.toBe("stale");
  for (const path of ["dists", "dists/sid/main", amd64, "README/x", "no/such/file", ""]) {
    expect(await served.bytes(path), path).toBeUndefined();
  }
});

test("changed bytes have another ETag at once after a ping", async () => {
  const served = await aServedFolder();
  served.put("keys/key.asc", "old");
  await served.ping();
  const before = await served.repository.find("keys/key.asc", { signal });
  served.put("keys/key.asc", "new", 1_700_000_100);
  served.put("keys/other.asc", "other");
  await served.ping();
  const after = await served.repository.find("keys/key.asc", { signal });
  expect(after?.etag).not.toBe(before?.etag);
  expect(await served.text("keys/key.asc")).toBe("new");
  expect(await served.text("keys/other.asc")).toBe("other");
});

test("a file that was replaced after the listing gives a temporary error and not 404", async () => {
  const served = await aServedFolder();
  served.put("keys/key.asc", "old");
  await served.ping();
  const before = await served.repository.find("keys/key.asc", { signal });
  rmSync(join(served.folder, "keys/key.asc"));
  served.put("keys/key.asc", "another", 1_700_000_100);
  const reading = async () => collect((await before?.read({ start: 0, end: 3 }, signal)) ?? Buffer.of());
  await expect(reading()).rejects.toThrow(StorageUnavailable);
  expect(await served.text("keys/key.asc")).toBe("another");
});

test("a thousand missing paths cost one listing for each existing directory", async () => {
  const looks = new Map<string, number>();
  const served = await aServedFolder({ wrap: counting(looks) });
  served.put("keys/key.asc", "it");
  served.put("dists/sid/main/i18n/Translation-de", "it");
  await served.ping();
  looks.clear();
  const names = Array.from({ length: 200 }, (_, n) => `random-${n}`);
  const parents = ["", "keys/", "no/such/", "dists/sid/main/i18n/", `${amd64}/one/`, `${amd64}/random/`];
  for (const parent of parents) {
    const found = await Promise.all(names.map((name) => served.bytes(`${parent}${name}/${name}`)));
    expect(found.every((bytes) => bytes === undefined)).toBe(true);
    for (const name of names) expect(await served.bytes(`${parent}${name}`)).toBeUndefined();
  }
  // The catalog answers for the rest: directories of packages are never listed for a request.
  expect([...looks].toSorted(([a], [b]) => a.localeCompare(b))).toEqual([
    ["", 1],
    ["dists/sid/main", 1],
    ["dists/sid/main/i18n", 1],
    ["keys", 1],
  ]);
});

test("while the storage is down, the response is not 404, and files of the catalog and the cache are served", async () => {
  let down = false;
  const served = await aServedFolder({ wrap: unlistedWhile(() => down) });
  served.put(`${amd64}/NOTES`, "it");
  served.put("keys/key.asc", "it");
  await served.ping();
  expect(await served.text(`${amd64}/NOTES`)).toBe("it");
  down = true;
  expect(await served.text(`${amd64}/NOTES`)).toBe("it");
  await expect(served.bytes("keys/key.asc")).rejects.toThrow(StorageUnavailable);
  down = false;
  expect(await served.text("keys/key.asc")).toBe("it");
});
