// Suites with a slash in their names: how the client recognizes them, and where it puts their packages.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parseSuite, parseTreePath, rootPath } from "../../src/base/names.ts";
import { defaultInspectLimits as limits } from "../../src/catalog/inspection/inspect-limits.ts";
import { plainLayout } from "../../src/catalog/layout/repository-layout.ts";
import type { Bundle } from "../../src/client/bundle.ts";
import { expiredPackages, planPromotion } from "../../src/client/curation/curation-plan.ts";
import { hasSuite, readInventory } from "../../src/client/curation/inventory.ts";
import { select } from "../../src/client/curation/package-patterns.ts";
import type { TokenDescription } from "../../src/client/ping-client.ts";
import { layoutFor, reasonNotSuite } from "../../src/client/suites-with-slash.ts";
import { assignDirectories } from "../../src/client/upload/assign-directories.ts";
import { collectLocalFiles } from "../../src/client/upload/local-files.ts";
import { parseWriteCap } from "../../src/storage/tahoe/caps.ts";
import type { Tree } from "../../src/storage/tree.ts";
import { aDeb } from "../support/debs.ts";
import { folderSubject } from "../support/folder-subject.ts";

const updates = "bookworm/updates";
const { signal } = new AbortController();
const described = (suitesWithSlash?: readonly string[], ...suites: readonly string[]): TokenDescription => ({
  repository: "debian",
  directories: [],
  suites: suites.map((suite) => ({ suite })),
  ...(suitesWithSlash && { suitesWithSlash: [...suitesWithSlash] }),
});

test("suites with a slash are those of the server's list, else of bundle, served suites and command line", () => {
  const suitesWithSlash = (...parameters: Parameters<typeof layoutFor>) => layoutFor(...parameters).nestedSuites;
  const bundle = { suitesWithSlash: [parseSuite("bookworm/backports")] };
  expect(suitesWithSlash({}, undefined, ["sid", "no suite/at all"])).toEqual([]);
  expect(suitesWithSlash({}, undefined, [updates, "sid"])).toEqual([updates]);
  expect(suitesWithSlash(bundle, described(undefined, updates, "sid"), [])).toEqual(["bookworm/backports", updates]);
  expect(suitesWithSlash(bundle, described([updates]), ["bookworm/else"])).toEqual([updates]);
  expect(suitesWithSlash(bundle, described([]), [updates])).toEqual([]);
});

test("a suite that the server treats as a part of another is refused, with instructions for the operator", () => {
  expect(reasonNotSuite(updates, described([]))).toContain('[repository.suite."bookworm/updates"]');
  for (const description of [undefined, described(), described([updates])])
    expect(reasonNotSuite(updates, description)).toBeUndefined();
  expect(reasonNotSuite("sid", described([]))).toBeUndefined();
});

const cap = parseWriteCap("URI:DIR2:aaaaaaaaaaaaaaaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
const [outer, nested] = ["dists/bookworm/main/binary-amd64", "dists/bookworm/updates/main/binary-amd64"];
const bundle: Bundle = {
  name: "alice",
  gateways: ["http://127.0.0.1:1"],
  directories: [outer, nested].map((path) => ({ path: parseTreePath(`${path}/alice`), cap })),
  ping: undefined,
};

/** Returns the directories that a package is assigned to, and the problems. */
async function assigned(distribution: string | undefined, suite?: string, knows = true) {
  const folder = mkdtempSync(join(tmpdir(), "tahoe-apt-slashes-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const deb = await aDeb({ package: "hello", architecture: "amd64" });
  writeFileSync(join(folder, "hello.deb"), deb);
  const collected = await collectLocalFiles([join(folder, "hello.deb")], limits, signal);
  const distributions = new Map(distribution === undefined ? [] : [["hello.changes", [distribution]]]);
  const named = knows ? [updates] : [];
  const { destinations, problems } = assignDirectories(
    bundle,
    { ...collected, distributions },
    { suite },
    new Map([["bookworm-fixes", updates]]),
    layoutFor({}, undefined, named),
  );
  return [...[...destinations.keys()].map(({ path }) => path), ...problems.map(({ reason }) => reason)];
}

test("a package is assigned to the suite with a slash of --suite or, by name or codename, of a .changes", async () => {
  for (const [distribution, suite, expected] of [
    [updates, undefined, nested],
    ["bookworm-fixes", undefined, nested],
    [undefined, updates, nested],
    ["bookworm", undefined, outer],
    [updates, "bookworm", outer],
  ] as const) {
    expect(await assigned(distribution, suite)).toEqual([`${expected}/alice`]);
  }
  expect(await assigned(undefined)).toEqual([expect.stringContaining("choose by --suite")]);
  expect(await assigned(updates, undefined, false)).toEqual([expect.stringContaining("is not a suite here")]);
  expect(await assigned(undefined, updates, false)).toEqual([expect.stringContaining("does not fit into")]);
});

/** Creates a tree with a package `hello` for each component directory and version. */
async function aTree(...packages: readonly (readonly [component: string, version: string])[]): Promise<Tree> {
  const folder = await folderSubject();
  onTestFinished(() => folder.end());
  for (const [component, version] of packages) {
    const path = parseTreePath(`dists/${component}/binary-amd64/alice/hello_${version}.deb`);
    await folder.put(path, await aDeb({ package: "hello", version, architecture: "amd64" }));
  }
  return folder.tree;
}

test("inventory, selection, promotion and prune distinguish a suite with a slash from the outer suite", async () => {
  const tree = await aTree(["bookworm/main", "1"], ["bookworm/updates/main", "2"], ["bookworm/updates/main", "3"]);
  const layout = layoutFor({}, undefined, [updates]);
  const inventory = await readInventory(tree, [rootPath], 0, signal, layout);
  const versions = (suite: string, from = inventory) =>
    select(from.packages.values(), [], { suite }).packages.map(
      ({ version, location }) => `${version} ${location.component}`,
    );
  expect([versions("bookworm"), versions(updates)]).toEqual([["1 main"], ["2 main", "3 main"]]);
  expect([hasSuite(inventory, "bookworm"), hasSuite(inventory, updates)]).toEqual([true, true]);
  const alone = await readInventory(tree, [parseTreePath("dists/bookworm")], 0, signal, layout);
  expect([versions("bookworm", alone), hasSuite(alone, updates)]).toEqual([["1 main"], false]);
  const withoutLayout = await readInventory(tree, [rootPath], 0, signal, plainLayout);
  expect(versions("bookworm", withoutLayout)).toEqual(["1 main", "2 updates/main", "3 updates/main"]);

  const { packages } = select(inventory.packages.values(), [], { suite: "bookworm" });
  const to = { suite: parseSuite(updates), component: undefined, builder: undefined };
  const plan = planPromotion(inventory, packages, to, { mayReplace: false, nowMs: 0 });
  expect(plan.directories.map((each) => each.directory)).toEqual([`${nested}/alice`]);
  expect(plan.changes.map(({ suite, index, added }) => [suite, index, added.map((one) => one.version)])).toEqual([
    [updates, "main/binary-amd64", ["1"]],
  ]);
  const all = [...inventory.packages.values()];
  expect(
    expiredPackages(all, all, { keep: 1, linkedBeforeMs: Number.POSITIVE_INFINITY }).map(({ version }) => version),
  ).toEqual(["2"]);
});

test("promotion to another component replaces a component with a slash completely", async () => {
  const inventory = await readInventory(await aTree(["sid/main/debug", "1"]), [rootPath], 0, signal);
  const to = { suite: parseSuite("sid"), component: "extra" as never, builder: undefined };
  const plan = planPromotion(inventory, [...inventory.packages.values()], to, { mayReplace: false, nowMs: 0 });
  expect(plan.directories.map((each) => each.directory)).toEqual(["dists/sid/extra/binary-amd64/alice"]);
});
