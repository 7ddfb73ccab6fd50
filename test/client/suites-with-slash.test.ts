// What a builder takes for a suite with a slash in its name, and where its packages go then.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parseSuite, parseTreePath, rootPath } from "../../src/base/names.ts";
import { defaultInspectLimits as limits } from "../../src/catalog/inspection/inspect-limits.ts";
import { plainLayout } from "../../src/catalog/layout/repository-layout.ts";
import type { Bundle } from "../../src/client/bundle.ts";
import { expired, planPromotion } from "../../src/client/curation/curation-plan.ts";
import { hasSuite, readInventory } from "../../src/client/curation/inventory.ts";
import { select } from "../../src/client/curation/package-patterns.ts";
import type { TokenDescription } from "../../src/client/ping-client.ts";
import { layoutFor, whyNoSuite } from "../../src/client/suites-with-slash.ts";
import { assign } from "../../src/client/upload/assign-directories.ts";
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

test("a suite with a slash is told by the server, else by the bundle, a suite that is served, or whoever names it", () => {
  const known = (...[bundle, told, named]: Parameters<typeof layoutFor>) => layoutFor(bundle, told, named).nestedSuites;
  const bundle = { suitesWithSlash: [parseSuite("bookworm/backports")] };
  expect(known({}, undefined, ["sid", "no suite/at all"])).toEqual([]);
  expect(known({}, undefined, [updates, "sid"])).toEqual([updates]);
  expect(known(bundle, described(undefined, updates, "sid"), [])).toEqual(["bookworm/backports", updates]);
  expect(known(bundle, described([updates]), ["bookworm/else"])).toEqual([updates]);
  expect(known(bundle, described([]), [updates])).toEqual([]);
});

test("a suite that the server takes for a part of another is refused, with what the operator has to do", () => {
  expect(whyNoSuite(updates, described([]))).toContain('[repository.suite."bookworm/updates"]');
  for (const told of [undefined, described(), described([updates])]) expect(whyNoSuite(updates, told)).toBeUndefined();
  expect(whyNoSuite("sid", described([]))).toBeUndefined();
});

const cap = parseWriteCap("URI:DIR2:aaaaaaaaaaaaaaaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
const [around, within] = ["dists/bookworm/main/binary-amd64", "dists/bookworm/updates/main/binary-amd64"];
const bundle: Bundle = {
  name: "alice",
  gateways: ["http://127.0.0.1:1"],
  directories: [around, within].map((path) => ({ path: parseTreePath(`${path}/alice`), cap })),
  ping: undefined,
};

/** The directories that a package goes to, and what speaks against it. */
async function assigned(distribution: string | undefined, suite?: string, knows = true) {
  const folder = mkdtempSync(join(tmpdir(), "tahoe-apt-slashes-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const deb = await aDeb({ package: "hello", architecture: "amd64" });
  writeFileSync(join(folder, "hello.deb"), deb);
  const gathered = await collectLocalFiles([join(folder, "hello.deb")], limits, signal);
  const distributions = new Map(distribution === undefined ? [] : [["hello.changes", [distribution]]]);
  const named = knows ? [updates] : [];
  const { destinations, problems } = assign(
    bundle,
    { ...gathered, distributions },
    { suite },
    new Map([["bookworm-fixes", updates]]),
    layoutFor({}, undefined, named),
  );
  return [...[...destinations.keys()].map(({ path }) => path), ...problems.map(({ reason }) => reason)];
}

test("a package goes to the suite with a slash that --suite, or a .changes by name or codename, is for", async () => {
  for (const [distribution, suite, place] of [
    [updates, undefined, within],
    ["bookworm-fixes", undefined, within],
    [undefined, updates, within],
    ["bookworm", undefined, around],
    [updates, "bookworm", around],
  ] as const) {
    expect(await assigned(distribution, suite)).toEqual([`${place}/alice`]);
  }
  expect(await assigned(undefined)).toEqual([expect.stringContaining("choose by --suite")]);
  expect(await assigned(updates, undefined, false)).toEqual([expect.stringContaining("is no suite here")]);
  expect(await assigned(undefined, updates, false)).toEqual([expect.stringContaining("has no place")]);
});

/** A tree with a package `hello` of each version in each place. */
async function aTree(...packages: readonly (readonly [place: string, version: string])[]): Promise<Tree> {
  const folder = await folderSubject();
  onTestFinished(() => folder.end());
  for (const [place, version] of packages) {
    const path = parseTreePath(`dists/${place}/binary-amd64/alice/hello_${version}.deb`);
    await folder.put(path, await aDeb({ package: "hello", version, architecture: "amd64" }));
  }
  return folder.tree;
}

test("stock, selection, promotion and retention know a suite with a slash from the suite around it", async () => {
  const tree = await aTree(["bookworm/main", "1"], ["bookworm/updates/main", "2"], ["bookworm/updates/main", "3"]);
  const layout = layoutFor({}, undefined, [updates]);
  const stock = await readInventory(tree, [rootPath], 0, signal, layout);
  const versions = (suite: string, from = stock) =>
    select(from.packages.values(), [], { suite }).packages.map(({ version, place }) => `${version} ${place.component}`);
  expect([versions("bookworm"), versions(updates)]).toEqual([["1 main"], ["2 main", "3 main"]]);
  expect([hasSuite(stock, "bookworm"), hasSuite(stock, updates)]).toEqual([true, true]);
  const alone = await readInventory(tree, [parseTreePath("dists/bookworm")], 0, signal, layout);
  expect([versions("bookworm", alone), hasSuite(alone, updates)]).toEqual([["1 main"], false]);
  const unknowing = await readInventory(tree, [rootPath], 0, signal, plainLayout);
  expect(versions("bookworm", unknowing)).toEqual(["1 main", "2 updates/main", "3 updates/main"]);

  const { packages } = select(stock.packages.values(), [], { suite: "bookworm" });
  const to = { suite: parseSuite(updates), component: undefined, builder: undefined };
  const plan = planPromotion(stock, packages, to, { mayReplace: false, nowMs: 0 });
  expect(plan.directories.map((each) => each.directory)).toEqual([`${within}/alice`]);
  expect(plan.changes.map(({ suite, index, added }) => [suite, index, added.map((one) => one.version)])).toEqual([
    [updates, "main/binary-amd64", ["1"]],
  ]);
  const all = [...stock.packages.values()];
  expect(
    expired(all, all, { keep: 1, linkedBeforeMs: Number.POSITIVE_INFINITY }).map(({ version }) => version),
  ).toEqual(["2"]);
});

test("a package is promoted out of a component with a slash into another component as a whole", async () => {
  const stock = await readInventory(await aTree(["sid/main/debug", "1"]), [rootPath], 0, signal);
  const to = { suite: parseSuite("sid"), component: "extra" as never, builder: undefined };
  const plan = planPromotion(stock, [...stock.packages.values()], to, { mayReplace: false, nowMs: 0 });
  expect(plan.directories.map((each) => each.directory)).toEqual(["dists/sid/extra/binary-amd64/alice"]);
});
