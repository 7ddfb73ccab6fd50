// What can be asked about a repository, over a real folder.
import { expect, test } from "vitest";
import { Publications } from "../../../src/web/data/publications.ts";
import { PublishedData } from "../../../src/web/data/published-data.ts";
import type { RepositoryData } from "../../../src/web/data/repository-data.ts";
import { aDeb } from "../../support/debs.ts";
import { ScannedIndex } from "../../support/scanned-index.ts";
import { ServedFolder } from "../../support/served-folder.ts";

const noSignal = new AbortController().signal;

function dataOf({ repository }: ServedFolder): RepositoryData {
  const publications = new Publications([{ repository }]);
  return new PublishedData({ repository, publications, index: new ScannedIndex(publications), keys: [] });
}

test("a package is described with its versions in Debian's order, its relations and its dependents", async () => {
  const served = new ServedFolder();
  const put = async (name: string, version: string, fields: Record<string, string>) => {
    const bytes = await aDeb({ package: name, version, architecture: "amd64", fields });
    served.put(`dists/sid/main/binary-amd64/alice/${name}_${version}_amd64.deb`, bytes);
  };
  await put("hello", "1.9", { Description: "says hello\n To everybody.\n .\n  as is" });
  await put("hello", "1.10", { Depends: "libhello (>= 1), mail-agent | nowhere", Homepage: "javascript:alert(1)" });
  await put("libhello", "1", { Description: "a library" });
  await put("postfix", "3", { Provides: "mail-agent", Description: "sends mail" });
  await served.ping();
  const data = dataOf(served);

  const found = await data.packages({ text: "hello" }, noSignal);
  expect(found.entries.map(({ name }) => name)).toEqual(["hello", "libhello"]);
  const hello = await data.package("hello", noSignal);
  expect(hello?.suites[0]?.versions.map(({ version }) => version)).toEqual(["1.10", "1.9"]);
  expect(hello?.newest?.homepage).toBeUndefined();
  expect(hello?.newest?.relations[0]?.groups).toEqual([
    [{ name: "libhello", qualifier: undefined, restriction: "(>= 1)", resolved: "package", providers: [] }],
    [
      { name: "mail-agent", qualifier: undefined, restriction: "", resolved: "provided", providers: ["postfix"] },
      { name: "nowhere", qualifier: undefined, restriction: "", resolved: "unknown", providers: [] },
    ],
  ]);
  expect(hello?.newest?.files[0]).toMatchObject({
    builder: "dists/sid/main/binary-amd64/alice",
    uploadedSeconds: 1_700_000_000,
  });
  expect(hello?.suites[0]?.versions[1]?.description).toEqual({
    short: "says hello",
    paragraphs: [
      { kind: "text", text: "To everybody." },
      { kind: "verbatim", text: " as is" },
    ],
  });
  expect((await data.package("postfix", noSignal))?.dependents.entries).toMatchObject([
    { name: "hello", on: "mail-agent" },
  ]);
  expect(await data.package("absent", noSignal)).toBeUndefined();
});

/** A package of alice, unless another directory is given. */
async function put(served: ServedFolder, name: string, version: string, fields = {}, builder = "alice") {
  const bytes = await aDeb({ package: name, version, architecture: "amd64", fields });
  served.put(`dists/sid/main/binary-amd64/${builder}/${name}_${version}_amd64.deb`, bytes);
}

test("a package that a view hides and one that is rejected are named with the reason", async () => {
  const served = new ServedFolder({ view: { newest: 1 } });
  await put(served, "hello", "1");
  await put(served, "hello", "2");
  served.put("dists/sid/main/binary-amd64/bob/hello_3_amd64.deb", "not a package");
  await served.ping();
  const data = dataOf(served);
  const hello = await data.package("hello", noSignal);
  expect(hello?.newest?.version).toBe("2");
  expect(hello?.hidden.entries).toMatchObject([
    { version: "1", architecture: "amd64", reason: { kind: "view" } },
    { version: "3", reason: { kind: "rejected", code: "not-a-deb", advice: expect.stringMatching(/^Build/) } },
  ]);
  // Only the rejected file has this name.
  served.put("dists/sid/main/binary-amd64/bob/ghost_1_amd64.deb", "not a package");
  await served.ping();
  expect(await data.package("ghost", noSignal)).toMatchObject({ suites: [], hidden: { total: 1 } });
});

test("versions of snapshots, their changes and the difference between them are known", async () => {
  const served = new ServedFolder();
  await put(served, "hello", "1");
  await put(served, "stays", "1");
  await served.ping();
  served.remove("dists/sid/main/binary-amd64/alice/hello_1_amd64.deb");
  await put(served, "hello", "2");
  await put(served, "new", "1");
  await served.ping();
  const data = dataOf(served);

  const snapshots = await data.snapshots({}, noSignal);
  expect(snapshots.entries).toMatchObject([
    { isCurrent: true, changes: { added: { total: 2 }, removed: { entries: [{ name: "hello", version: "1" }] } } },
    { isCurrent: false, changes: undefined },
  ]);
  expect((await data.package("hello", noSignal))?.earlier.entries).toMatchObject([
    { version: "1", snapshot: snapshots.entries[1]?.id },
  ]);
  const diff = await data.diff({ from: `sid@${snapshots.entries[1]?.id}`, to: "sid" }, noSignal);
  expect(diff?.counts).toEqual({ added: 1, removed: 0, changed: 1 });
  expect(diff?.entries).toMatchObject([
    { kind: "changed", name: "hello", before: ["1"], after: ["2"] },
    { kind: "added", name: "new", before: [], after: ["1"] },
  ]);
  expect(await data.diff({ from: "sid@20000101T000000Z", to: "sid" }, noSignal)).toBeUndefined();
  await expect(data.diff({ from: "sid@1@2", to: "sid" }, noSignal)).rejects.toThrow("SUITE");
});

test("a builder has its uploads, rejects and what it uses of its budget", async () => {
  const served = new ServedFolder();
  await put(served, "hello", "1");
  await put(served, "other", "1", {}, "bob");
  served.put("dists/sid/main/binary-amd64/alice/broken_1_amd64.deb", "not a package");
  await served.ping();
  const data = dataOf(served);
  const directory = "dists/sid/main/binary-amd64/alice";
  expect((await data.builders(noSignal)).map((one) => [one.directory, one.packages, one.rejects])).toEqual([
    [directory, 1, 1],
    ["dists/sid/main/binary-amd64/bob", 1, 0],
  ]);
  const alice = await data.builder(directory, noSignal);
  expect(alice?.uploads.entries.map(({ name }) => name)).toEqual(["hello"]);
  expect(alice?.rejected.entries.map(({ code }) => code)).toEqual(["not-a-deb"]);
  expect(alice?.budgets[0]).toEqual({ limitKey: "max_directory_packages", used: 1, limit: 100_000 });
  expect(await data.builder("dists/sid", noSignal)).toBeUndefined();
});

test("long descriptions come from Translation-en if Packages has only the first lines", async () => {
  const served = new ServedFolder({ translations: true });
  await put(served, "hello", "1", { Description: "says hello\n To everybody." });
  await put(served, "other", "1", { Description: "another\n Of another text." });
  await served.ping();
  expect((await dataOf(served).package("other", noSignal))?.newest?.description).toEqual({
    short: "another",
    paragraphs: [{ kind: "text", text: "Of another text." }],
  });
});

test("hostile fields are data: other URLs are no links, and persons, relations and descriptions have no odd form", async () => {
  const served = new ServedFolder();
  await put(served, "evil", "1", {
    Maintainer: "<script>alert(1)</script> <javascript:alert(1)@x>",
    Homepage: "java\tscript:alert(1)",
    Depends: "a, b | c",
    Description: `${"x".repeat(5000)}\n <img src=x onerror=alert(1)>`,
  });
  await served.ping();
  const evil = await dataOf(served).package("evil", noSignal);
  expect(evil?.newest?.homepage).toBeUndefined();
  expect(evil?.newest?.description?.paragraphs).toEqual([{ kind: "text", text: "<img src=x onerror=alert(1)>" }]);
  expect(evil?.newest?.relations[0]?.groups.map((group) => group.map(({ name }) => name))).toEqual([["a"], ["b", "c"]]);
});
