// Which packages a pattern selects, and which of them the retention rules remove.
import { expect, test } from "vitest";
import { parentPath, parseArchitecture, parseComponent, parseSuite, parseTreePath } from "../../../src/base/names.ts";
import { Layout, packageDirectoryPathOf, plainLayout } from "../../../src/catalog/layout/repository-layout.ts";
import { expiredPackages, planRemoval } from "../../../src/client/curation/curation-plan.ts";
import type { InventoryPackage } from "../../../src/client/curation/inventory.ts";
import { parsePattern, select, subdirectoriesOf } from "../../../src/client/curation/package-patterns.ts";

interface Recipe {
  readonly name?: string;
  readonly version?: string;
  readonly architecture?: string;
  readonly source?: string;
  readonly linkedAtMs?: number;
  readonly files?: readonly string[];
}

const suite = parseSuite("sid");
const component = parseComponent("main");

function aPackage(recipe: Recipe = {}): InventoryPackage {
  const { name = "hello", version = "1.0-1", architecture = "amd64", linkedAtMs = 0 } = recipe;
  const isSource = architecture === "source";
  const directory = `dists/sid/main/${isSource ? "source" : "binary-amd64"}/alice`;
  const path = parseTreePath(`${directory}/${name}_${version}${isSource ? ".dsc" : `_${architecture}.deb`}`);
  const binary = {
    kind: "binary",
    suite,
    component,
    architecture: parseArchitecture("amd64"),
    forInstaller: false,
  } as const;
  return {
    path,
    location: isSource ? { kind: "source", suite, component } : binary,
    isSound: true,
    name,
    version,
    architecture,
    source: { name: recipe.source ?? name, version },
    files: [...(recipe.files ?? []).map((each) => parseTreePath(`${directory}/${each}`)), path],
    sizeBytes: 1,
    sha256: "00",
    linkedAtMs,
  };
}

const versionsOf = (packages: readonly InventoryPackage[]) =>
  packages.map(({ version, architecture }) => `${version} ${architecture}`).toSorted();

test.each([
  ["hello", "hello 1.0-1", true],
  ["hello", "hello-data 1.0-1", false],
  ["hell?", "hello 1.0-1", true],
  ["*ell*o*", "hello 1.0-1", true],
  ["*ell*a*", "hello 1.0-1", false],
  ["hello=1.*", "hello 1.0-1", true],
  ["hello=1.0", "hello 1.0-1", false],
  ["libstdc++6=1:2~rc1", "libstdc++6 1:2~rc1", true],
  ["h.llo", "hello 1.0-1", false],
  ["", "hello 1.0-1", false],
])("%j matches %s: %s", (pattern, nameAndVersion, isMatching) => {
  const [name = "", version = ""] = nameAndVersion.split(" ");
  if (pattern === "") expect(() => parsePattern(pattern)).toThrow("NAME");
  else expect(parsePattern(pattern).matches(aPackage({ name, version }))).toBe(isMatching);
});

test("src: selects a source package and the packages built from it, and a pattern with a slash selects by path", () => {
  const packages = [
    aPackage({ name: "hello", architecture: "source" }),
    aPackage({ name: "hello-data", source: "hello" }),
    aPackage({ name: "other" }),
  ];
  const selected = (pattern: string) => select(packages, [parsePattern(pattern)], {}).packages.map(({ name }) => name);
  expect(selected("src:hello")).toEqual(["hello-data", "hello"]);
  expect(selected("dists/*/other_*")).toEqual(["other"]);
  expect(select(packages, [parsePattern("src:none")], {}).unmatched).toEqual(["src:none"]);
});

test("a pattern with many stars is matched in linear time", () => {
  const name = "a".repeat(200);
  const startedMs = Date.now();
  expect(parsePattern(`${"*a".repeat(100)}b`).matches(aPackage({ name }))).toBe(false);
  // Backtracking would take forever.
  expect(Date.now() - startedMs).toBeLessThan(20_000);
});

test("a path is split into package directory and subdirectories, also for debian-installer", () => {
  const below = (raw: string, suites: readonly string[] = []) => {
    const path = parseTreePath(raw);
    const location = new Layout(suites.map(parseSuite)).packageDirectoryOf(parentPath(path));
    if (location === undefined) throw new Error(`${raw} is in no package directory`);
    return [packageDirectoryPathOf(location), subdirectoriesOf({ path, location })];
  };
  expect(below("dists/sid/main/binary-amd64/alice/deep/x.deb")).toEqual([
    "dists/sid/main/binary-amd64",
    ["alice", "deep"],
  ]);
  expect(below("dists/sid/main/debian-installer/binary-amd64/x.udeb")).toEqual([
    "dists/sid/main/debian-installer/binary-amd64",
    [],
  ]);
  expect(below("dists/bookworm/updates/main/debug/source/alice/x.dsc", ["bookworm/updates"])).toEqual([
    "dists/bookworm/updates/main/debug/source",
    ["alice"],
  ]);
});

test("prune keeps the newest versions in Debian's order", () => {
  const packages = ["1.0-1", "1.9-1", "1.10-1", "1.10~rc1-1", "1:0.1-1"].map((version) => aPackage({ version }));
  const removed = expiredPackages(packages, packages, { keep: 2, linkedBeforeMs: 1 });
  expect(versionsOf(removed)).toEqual(["1.0-1 amd64", "1.10~rc1-1 amd64", "1.9-1 amd64"]);
});

test("recently linked packages are kept, even old versions", () => {
  const packages = [
    aPackage({ version: "1", linkedAtMs: 500 }),
    aPackage({ version: "2" }),
    aPackage({ version: "3" }),
  ];
  expect(versionsOf(expiredPackages(packages, packages, { keep: 1, linkedBeforeMs: 100 }))).toEqual(["2 amd64"]);
});

test("a source is kept while a package built from it is kept, and architectures are counted separately", () => {
  const packages = [
    ...["1", "2", "3"].map((version) => aPackage({ version, architecture: "source" })),
    ...["1", "3"].map((version) => aPackage({ version })),
    aPackage({ version: "2", name: "hello-doc", architecture: "all", source: "hello" }),
  ];
  expect(versionsOf(expiredPackages(packages, packages, { keep: 1, linkedBeforeMs: 1 }))).toEqual([
    "1 amd64",
    "1 source",
  ]);
});

test("a file that two source packages list is removed with the second one", () => {
  const one = aPackage({
    version: "1-1",
    architecture: "source",
    files: ["hello_1.orig.tar.gz", "hello_1-1.debian.tar.xz"],
  });
  const two = aPackage({
    version: "1-2",
    architecture: "source",
    files: ["hello_1.orig.tar.gz", "hello_1-2.debian.tar.xz"],
  });
  const inventory = {
    layout: plainLayout,
    directories: new Set<never>(),
    files: new Map(),
    packages: new Map([one, two].map((each) => [each.path, each])),
    rejections: [],
  };
  const namesOf = (...removed: readonly InventoryPackage[]) =>
    planRemoval(inventory, removed, "remove").directories.flatMap(({ unlinks }) => [...unlinks.keys()]);
  expect(namesOf(one)).toEqual(["hello_1-1.debian.tar.xz", "hello_1-1.dsc"]);
  expect(namesOf(one, two)).toHaveLength(5);
});

test("rejected packages do not count as versions, and are removed only if they are older than all kept ones", () => {
  const packages = ["1", "2", "3", "99"].map((version) => aPackage({ version }));
  const rejecting =
    (...versions: readonly string[]) =>
    ({ version }: { readonly version: string }) =>
      !versions.includes(version);
  const removed = (keep: number, ...rejected: readonly string[]) =>
    versionsOf(expiredPackages(packages, packages, { keep, linkedBeforeMs: 1, isAccepted: rejecting(...rejected) }));
  expect(removed(1)).toEqual(["1 amd64", "2 amd64", "3 amd64"]);
  expect(removed(1, "99")).toEqual(["1 amd64", "2 amd64"]);
  expect(removed(1, "1", "99")).toEqual(["1 amd64", "2 amd64"]);
  expect(removed(2, "1", "2", "99")).toEqual([]);
  expect(removed(1, "1", "2", "3", "99")).toEqual([]);
});
