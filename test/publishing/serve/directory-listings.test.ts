// Directories of a repository, with everything that can be requested there, for people who browse.
import { expect, test } from "vitest";
import type { DirectoryListing } from "../../../src/publishing/served-repository.ts";
import { aDeb } from "../../support/debs.ts";
import { ServedFolder, unlistedWhile } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const { signal } = new AbortController();
const range = { after: "", limit: 1000 };

async function aServedFolder(options: ConstructorParameters<typeof ServedFolder>[0] = {}): Promise<ServedFolder> {
  const served = new ServedFolder(options);
  served.put(`${amd64}/one/it_1_amd64.deb`, await aDeb({ package: "it", version: "1", architecture: "amd64" }));
  served.put("README.txt", "read me");
  served.put("project/keys/old.asc", "a key");
  await served.ping();
  return served;
}

const names = (listing: DirectoryListing | undefined): readonly string[] | undefined =>
  listing?.entries.map(({ name, kind }) => (kind === "directory" ? `${name}/` : name));

test("the root has the suites, the pool, the snapshots and the other files of the tree", async () => {
  const { repository } = await aServedFolder();
  expect(names(await repository.list("", range, signal))).toEqual([
    "README.txt",
    "dists/",
    "pool/",
    "project/",
    "snapshots/",
  ]);
});

test("a suite has its Release files and indices beside the directories of the tree", async () => {
  const { repository } = await aServedFolder();
  expect(names(await repository.list("dists", range, signal))).toEqual(["sid/"]);
  expect(names(await repository.list("dists/sid", range, signal))).toEqual([
    "InRelease",
    "Release",
    "Release.gpg",
    "main/",
  ]);
  expect(names(await repository.list(amd64, range, signal))).toEqual([
    "Packages",
    "Packages.gz",
    "Packages.xz",
    "Release",
    "by-hash/",
    "one/",
  ]);
  expect(names(await repository.list(`${amd64}/by-hash/SHA256`, range, signal))?.[0]).toMatch(/^[0-9a-f]{64}$/);
});

test("every listed file can be requested, and has the listed size", async () => {
  const { repository } = await aServedFolder();
  let files = 0;
  const visit = async (path: string): Promise<void> => {
    const listing = await repository.list(path, range, signal);
    for (const { name, kind, sizeBytes } of listing?.entries ?? []) {
      const child = path === "" ? name : `${path}/${name}`;
      if (kind === "directory") await visit(child);
      else {
        const resource = await repository.find(child, { signal });
        expect(resource, child).toBeDefined();
        if (sizeBytes !== undefined) expect(resource?.sizeBytes, child).toBe(sizeBytes);
        files += 1;
      }
    }
  };
  for (const path of ["dists", "pool", "project"]) await visit(path);
  expect(files).toBeGreaterThan(12);
});

test("a file of the tree with the path of a generated file is listed as that", async () => {
  const served = await aServedFolder();
  served.put("dists/sid/Release.gpg", "an old signature");
  served.put("dists/sid/ChangeLog", "served");
  await served.ping();
  expect(names(await served.repository.list("dists/sid", range, signal))).toEqual([
    "ChangeLog",
    "InRelease",
    "Release",
    "Release.gpg",
    "main/",
  ]);
});

test("the pool is listed in parts, with the files in each directory", async () => {
  const served = await aServedFolder();
  for (const version of ["2", "3", "4"])
    served.put(`${amd64}/one/it_${version}_amd64.deb`, await aDeb({ package: "it", version, architecture: "amd64" }));
  await served.ping();
  const { repository } = served;
  const first = await repository.list("pool/SHA256", { after: "", limit: 3 }, signal);
  expect(first?.entries).toHaveLength(3);
  expect(first?.hasMore).toBe(true);
  const rest = await repository.list("pool/SHA256", { after: first?.entries.at(-1)?.name ?? "", limit: 3 }, signal);
  expect(rest?.entries).toHaveLength(1);
  expect(rest?.hasMore).toBe(false);
  const all = [...(first?.entries ?? []), ...(rest?.entries ?? [])];
  expect(all.flatMap(({ holds = [] }) => holds).toSorted()).toEqual(
    ["1", "2", "3", "4"].map((version) => `it_${version}_amd64.deb`),
  );
  const [one] = all;
  expect(names(await repository.list(`pool/SHA256/${one?.name}`, range, signal))).toEqual(one?.holds);
});

test("a part begins after a name, also where the tree and generated files are mixed", async () => {
  const { repository } = await aServedFolder();
  const part = await repository.list(amd64, { after: "Packages.gz", limit: 2 }, signal);
  expect(names(part)).toEqual(["Packages.xz", "Release"]);
  expect(part?.hasMore).toBe(true);
});

test("a snapshot has the suites of its time", async () => {
  const { repository } = await aServedFolder();
  const [kept] = repository.snapshots();
  const at = `snapshots/${kept?.id}`;
  expect(names(await repository.list(at, range, signal))).toEqual(["dists/"]);
  expect(names(await repository.list(`${at}/dists/sid/main/binary-amd64`, range, signal))).toContain("Packages.xz");
});

test.each([
  "nothing",
  "dists/nothing",
  "dists/sid/InRelease",
  "README.txt",
  `pool/SHA256/${"0".repeat(64)}`,
  "pool/MD5",
  "../x",
  "snapshots/19930101T000000Z",
])("%s is no directory", async (path) => {
  const { repository } = await aServedFolder();
  expect(await repository.list(path, range, signal)).toBeUndefined();
});

test("package directories and generated files are listed while the storage is unavailable, other directories not", async () => {
  let isDown = false;
  const served = await aServedFolder({ wrap: unlistedWhile(() => isDown) });
  isDown = true;
  const { repository } = served;
  expect(names(await repository.list(`${amd64}/one`, range, signal))).toEqual(["it_1_amd64.deb"]);
  expect(names(await repository.list("dists/sid", range, signal))).toContain("InRelease");
  await served.restart();
  const afterStart = await served.repository.list(amd64, range, signal);
  expect(names(afterStart)).toEqual(["Packages", "Packages.gz", "Packages.xz", "Release", "by-hash/"]);
  expect(afterStart?.isIncomplete).toBe(true);
  await expect(served.repository.list("project/keys", range, signal)).rejects.toThrow("the grid is down");
});
