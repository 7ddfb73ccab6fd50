// Every file below dists is in an index or reported with a reason, and so is a tree that is probably a mistake.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { NameError, parseSuite } from "../../../src/base/names.ts";
import type { Directory, Tree } from "../../../src/storage/tree.ts";
import { aDeb } from "../../support/debs.ts";
import type { ServedFolderOptions } from "../../support/served-folder.ts";
import { packageNames, ServedFolder } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const reasons = async (served: ServedFolder) =>
  Object.fromEntries((await served.ping()).rejected.map(({ path, code, reason }) => [path, `${code}: ${reason}`]));

async function aFolder(paths: readonly string[], options: ServedFolderOptions = {}): Promise<ServedFolder> {
  const served = new ServedFolder(options);
  for (const [n, path] of paths.entries()) {
    const name = `p${n}`;
    served.put(path, await aDeb({ package: name, architecture: "amd64" }), 1_700_000_000 + n);
  }
  return served;
}

test("a package outside of package directories is rejected, and the reason says where packages belong", async () => {
  const served = await aFolder([
    `${amd64}/good.deb`,
    "dists/sid/lost.deb",
    "dists/sid/main/lost.deb",
    "dists/lost.deb",
  ]);
  expect(await reasons(served)).toEqual({
    "dists/sid/lost.deb": expect.stringMatching(/^wrong-place: a package belongs into dists\/SUITE\/COMPONENT/),
    "dists/sid/main/lost.deb": expect.stringMatching(/^wrong-place: /),
  });
  expect(await packageNames(served)).toEqual(["p0 1.0-1"]);
});

test("a directory that is not read is rejected with the reason, except directories of indices", async () => {
  const deep = Array.from({ length: 18 }, (_, n) => `d${n}`);
  const served = await aFolder([
    `${amd64}/good.deb`,
    `${amd64}/${deep.join("/")}/deep.deb`,
    "dists/sid/main/binary-AMD64/x.deb",
    "dists/sid/ma in/binary-amd64/x.deb",
    "dists/sid/a/b/c/d/e/f/binary-amd64/x.deb",
    "dists/sid/main/i18n/x.deb",
    "dists/sid/main/dep11/x.deb",
    `${amd64}/by-hash/x.deb`,
  ]);
  expect(await reasons(served)).toEqual({
    [`${amd64}/${deep.slice(0, 17).join("/")}`]: expect.stringContaining("more than 16 directories below"),
    "dists/sid/main/binary-AMD64": expect.stringContaining(
      '"main/binary-AMD64" is not a component with an architecture',
    ),
    "dists/sid/ma in/binary-amd64": expect.stringContaining('"ma in/binary-amd64" is not a component'),
    "dists/sid/a/b/c/d/e/f": expect.stringContaining("deeper than any"),
  });
});

test("dangling links, pipes and names that no URL can contain are rejected", async () => {
  const served = await aFolder([`${amd64}/good.deb`]);
  const directory = join(served.folder, amd64);
  writeFileSync(join(directory, "two\nlines.deb"), "x");
  writeFileSync(Buffer.concat([Buffer.from(`${directory}/`), Buffer.from([0x66, 0xff, 0x2e, 0x64, 0x65, 0x62])]), "x");
  const { symlinkSync } = await import("node:fs");
  symlinkSync("/etc", join(directory, "outside"));
  expect(await reasons(served)).toEqual({
    [amd64]: expect.stringMatching(/^bad-name: names that hold .*"two\\nlines\.deb"/),
    [`${amd64}/outside`]: expect.stringMatching(/^not-a-file: a symbolic link that leaves the tree/),
  });
  expect((await served.ping()).rejected.find(({ path }) => path === amd64)?.reason).toMatch(/f\ufffd\.deb/u);
});

/** Simulates a gateway that returns an unknown node for the directory of a builder. */
const unknownWhile =
  (isUnknown: () => boolean) =>
  (tree: Tree): Tree => ({
    open: (...asked) => tree.open(...asked),
    async look(path, signal) {
      const unknown = { kind: "other", reason: "the gateway does not know it", mayBeDirectory: true } as const;
      if (isUnknown() && path === `${amd64}/alice`) return unknown;
      const node = await tree.look(path, signal);
      if (!isUnknown() || node?.kind !== "directory" || path !== amd64) return node;
      return { kind: "directory", entries: new Map([...node.entries, ["alice", unknown]]) } satisfies Directory;
    },
  });

test("if the gateway no longer knows the directory of a builder, its packages stay and a reject is reported", async () => {
  let isUnknown = false;
  const served = await aFolder([`${amd64}/alice/a.deb`, `${amd64}/bob/b.deb`], { wrap: unknownWhile(() => isUnknown) });
  await served.ping();
  isUnknown = true;
  expect(await reasons(served)).toEqual({
    [`${amd64}/alice`]: "unreadable: the gateway does not know it",
  });
  expect(await packageNames(served)).toEqual(["p0 1.0-1", "p1 1.0-1"]);
  isUnknown = false;
  expect(await reasons(served)).toEqual({});
});

test("a skipped file is reported until it is removed, also after pings of other directories", async () => {
  const served = await aFolder([`${amd64}/alice/a.deb`, "dists/sid/lost.deb"]);
  await served.ping();
  await served.ping(`${amd64}/alice`);
  expect(served.repository.status().rejected.map(({ path }) => path)).toEqual(["dists/sid/lost.deb"]);
  served.remove("dists/sid/lost.deb");
  await served.ping();
  expect(served.repository.status().rejected).toEqual([]);
});

test("rejected files are not counted as added", async () => {
  const served = await aFolder([`${amd64}/good.deb`]);
  served.put(`${amd64}/bad.deb`, "no package", 1_700_000_001);
  served.put(`${amd64}/twin.deb`, await aDeb({ package: "p0", architecture: "amd64", fields: { Bugs: "other" } }), 1);
  const { added, rejected } = await served.ping();
  expect(added).toEqual([`${amd64}/good.deb`]);
  expect(rejected.map(({ path }) => path)).toEqual([`${amd64}/bad.deb`, `${amd64}/twin.deb`]);
});

test("a component may contain a slash, as apt allows", async () => {
  const served = await aFolder([
    "dists/bookworm/updates/main/binary-amd64/a.deb",
    "dists/bookworm/main/debug/binary-amd64/alice/b.deb",
    "dists/bookworm/main/binary-amd64/c.deb",
  ]);
  expect((await served.ping()).rejected).toEqual([]);
  expect(await served.text("dists/bookworm/Release")).toMatch(/^Components: main main\/debug updates\/main$/m);
  expect(await packageNames(served, "dists/bookworm/updates/main/binary-amd64/Packages")).toEqual(["p0 1.0-1"]);
  expect(await packageNames(served, "dists/bookworm/main/debug/binary-amd64/Packages")).toEqual(["p1 1.0-1"]);
  expect(await packageNames(served, "dists/bookworm/main/binary-amd64/Packages")).toEqual(["p2 1.0-1"]);
});

test("a configured suite may contain a slash, and may be inside the directory of another suite", async () => {
  const nested = parseSuite("bookworm/updates");
  const served = await aFolder(
    ["dists/bookworm/updates/main/binary-amd64/alice/a.deb", "dists/bookworm/main/binary-amd64/b.deb"],
    { configuredSuites: [nested, parseSuite("bookworm")], contents: true, pdiffs: true },
  );
  const { publications, rejected, notices } = await served.ping();
  expect([publications.map(({ suite }) => suite).toSorted(), rejected, notices]).toEqual([
    ["bookworm", "bookworm/updates"],
    [],
    [],
  ]);
  const release = await served.text("dists/bookworm/updates/Release");
  expect(release).toMatch(/^Suite: bookworm\/updates$/m);
  expect(release).toMatch(/^Components: main$/m);
  expect(await packageNames(served, "dists/bookworm/updates/main/binary-amd64/Packages")).toEqual(["p0 1.0-1"]);
  expect(await packageNames(served, "dists/bookworm/main/binary-amd64/Packages")).toEqual(["p1 1.0-1"]);
  expect(await served.text("dists/bookworm/Release")).toMatch(/^Components: main$/m);

  served.put(
    "dists/bookworm/updates/main/binary-amd64/alice/c.deb",
    await aDeb({ package: "c", architecture: "amd64" }),
  );
  const pinged = await served.ping("dists/bookworm/updates/main/binary-amd64/alice");
  expect(pinged.publications.map(({ suite }) => suite)).toEqual(["bookworm/updates"]);
  await served.deferredGenerated();
  expect(await served.text("dists/bookworm/updates/main/Contents-amd64")).toContain("p0");
  expect(await served.text("dists/bookworm/main/Contents-amd64")).not.toContain("p0");
  const hash = /^ ([0-9a-f]{64}) +\d+ main\/binary-amd64\/Packages.xz$/m.exec(
    await served.text("dists/bookworm/updates/Release"),
  )?.[1];
  expect(await served.bytes(`dists/bookworm/updates/main/binary-amd64/by-hash/SHA256/${hash}`)).toBeDefined();
  const snapshots = [...served.repository.snapshots()].filter(({ suite }) => suite === nested);
  expect(snapshots.length).toBeGreaterThan(1);
  const [snapshot] = snapshots;
  expect(await served.text(`snapshots/${snapshot?.id}/dists/bookworm/updates/Release`)).toContain("bookworm/updates");

  await served.restart();
  expect(await packageNames(served, "dists/bookworm/updates/main/binary-amd64/Packages")).toEqual([
    "p0 1.0-1",
    "c 1.0-1",
  ]);
  served.remove("dists/bookworm/updates");
  await served.ping();
  expect(await served.bytes("dists/bookworm/updates/Release")).toBeUndefined();
  expect(await packageNames(served, "dists/bookworm/main/binary-amd64/Packages")).toEqual(["p1 1.0-1"]);
});

test("a repository with ready-made indices that would be served empty causes a notice that says what to do", async () => {
  const served = await aFolder(["pool/main/h/hello/hello_1_amd64.deb", "pool/main/h/hello/hello_2_amd64.deb"]);
  served.put(`${amd64}/Packages`, "Package: hello\n\n");
  served.put(`${amd64}/Packages.gz`, "x");
  served.put("dists/sid/Release", "Suite: sid\n");
  const { notices } = await served.ping();
  expect(notices).toEqual([
    expect.stringMatching(
      /^dists\/sid has ready-made indices and no package in its places; 2 packages lie in pool\/: .*prebuilt/,
    ),
  ]);
  expect(served.repository.status().notices).toEqual(notices);
  expect((await served.ping(`${amd64}/alice`)).notices).toEqual(notices);
  served.put(`${amd64}/mine.deb`, await aDeb({ package: "mine", architecture: "amd64" }));
  expect((await served.ping()).notices).toEqual([]);
});

test("the notice about a suite disappears when the suite is removed", async () => {
  const served = await aFolder([`${amd64}/a.deb`]);
  served.put("dists/old/main/binary-amd64/Packages.gz", "x");
  expect((await served.ping()).notices).toEqual([expect.stringContaining("dists/old has ready-made indices")]);
  rmSync(join(served.folder, "dists/old"), { recursive: true });
  expect((await served.ping()).notices).toEqual([]);
});

test("files directly in dists that belong to no suite cause a notice", async () => {
  const served = await aFolder([`${amd64}/a.deb`, "dists/lost.deb", "dists/my suite/main/binary-amd64/b.deb"]);
  served.put("dists/README", "of no interest");
  expect((await served.ping()).notices).toEqual([
    'dists holds what belongs to no suite, and is not served: "lost.deb", "my suite"',
  ]);
});

test("a ping of the whole tree lists dists once", async () => {
  const looks: string[] = [];
  const wrap = (tree: Tree): Tree => ({
    look: (path, signal) => {
      looks.push(path);
      return tree.look(path, signal);
    },
    open: (...asked) => tree.open(...asked),
  });
  const served = await aFolder([`${amd64}/good.deb`, "dists/lost.deb"], { wrap });
  expect((await served.ping()).notices).toEqual([expect.stringContaining('"lost.deb"')]);
  expect(looks.filter((path) => path === "dists")).toEqual(["dists"]);
});

test("a directory with the internal name of flat repositories is no suite and causes a notice", async () => {
  const served = await aFolder([`${amd64}/a.deb`, "dists/~flat/main/binary-any/b.deb", "dists/~flat/Release"]);
  const { publications, notices } = await served.ping();
  expect(publications.map(({ suite }) => suite)).toEqual(["sid"]);
  expect(notices).toEqual(['dists holds what belongs to no suite, and is not served: "~flat"']);
  expect((await served.ping("dists/~flat/main/binary-any")).publications).toEqual([]);
  expect(await served.bytes("dists/~flat/InRelease")).toBeUndefined();
  expect(() => parseSuite("~flat"), "nor may a configuration or a command name it").toThrow(NameError);
});

test("the root of a tahoe backup is recognised and explained", async () => {
  const served = new ServedFolder();
  for (const name of ["Archives", "Latest"]) mkdirSync(join(served.folder, name));
  expect((await served.ping()).notices).toEqual([expect.stringContaining("root of a `tahoe backup`")]);
});

test("a configured suite that is not in the tree causes a notice until it exists", async () => {
  const served = await aFolder([`${amd64}/a.deb`], { configuredSuites: ["sid", "trixe"].map(parseSuite) });
  expect((await served.ping()).notices).toEqual([
    "the configuration has a table for the suite trixe, which the tree does not have: it has sid",
  ]);
  mkdirSync(join(served.folder, "dists/trixe/main/binary-amd64"), { recursive: true });
  expect((await served.ping()).notices).toEqual([]);
});
