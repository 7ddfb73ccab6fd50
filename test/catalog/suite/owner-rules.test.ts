// Builders' lists of packages: the names that they own, the builder of a directory, and moving a name between lists.
import { expect, test } from "vitest";
import { parseSuite, parseTreePath } from "../../../src/base/names.ts";
import { Layout } from "../../../src/catalog/layout/repository-layout.ts";
import type { BuilderNames } from "../../../src/catalog/suite/owner-rules.ts";
import {
  AllowedPackages,
  listsWithOwner,
  NameOwners,
  operator,
  parsePackagePattern,
} from "../../../src/catalog/suite/owner-rules.ts";

const amd64 = "dists/sid/main/binary-amd64";
const rulesWith = (builders: readonly BuilderNames[]) => new NameOwners({ policy: "any", builders, reserved: [] });
const builder = (name: string, directory: string, packages?: readonly string[]): BuilderNames => ({
  name,
  directory: parseTreePath(directory),
  packages,
});

test.each(["hello", "libhello*", "?ello", "!apt", "*", "libstdc++6", "!lib*-dev", "0ad"])("%s is a pattern", (raw) => {
  expect(parsePackagePattern(raw)).toBe(raw);
});

test.each(["", "!", "two words", "src:hello", "a/b", "-x", "a\n", "x".repeat(300), "hello=1"])(
  "%j is not a pattern",
  (raw) => {
    expect(() => parsePackagePattern(raw)).toThrow("is not a package's name");
  },
);

test("a list owns the names that its patterns match, except for excluded ones, and a single star owns none", () => {
  const list = new AllowedPackages(["hello", "lib*", "!libc*", "*"]);
  expect(["hello", "libhello1", "libc6", "apt"].map((name) => list.owns(name))).toEqual([true, true, false, false]);
  expect(["hello", "libhello1", "libc6", "apt"].map((name) => list.allows(name))).toEqual([true, true, false, true]);
  expect(new AllowedPackages(["hello"]).allows("apt")).toBe(false);
  expect(new AllowedPackages([]).allows("apt")).toBe(false);
});

test("a directory's files belong to its configured builder, else to the directory's name, else to the operator", () => {
  const rules = rulesWith([
    builder("all", ""),
    builder("suite-token", "dists/sid"),
    builder("Alice", `${amd64}/a`),
    builder("inner", `${amd64}/a/special`),
    builder("whole", "dists/sid/contrib"),
  ]);
  const owners = [`${amd64}/a`, `${amd64}/a/x`, `${amd64}/a/special/y`, `${amd64}/bob/deep/er`, amd64];
  expect(owners.map((each) => rules.ownerOf(parseTreePath(each)))).toEqual([
    "Alice",
    "Alice",
    "inner",
    "bob",
    operator,
  ]);
  expect(rules.ownerOf(parseTreePath("dists/sid/contrib/source/carol"))).toBe("whole");
  expect(rules.ownerOf(parseTreePath("dists/trixie/contrib/source/carol"))).toBe("carol");
});

test("the directories of one builder share its lists, even if only one of them has a list", () => {
  const rules = rulesWith([builder("a", `${amd64}/a`, ["x"]), builder("a", "dists/sid/main/source/a", ["y*"])]);
  expect([rules.owners("x"), rules.owners("y1"), rules.owners("z")]).toEqual([["a"], ["a"], []]);
});

test("with ten thousand names in lists, each package costs one lookup", () => {
  const builders = Array.from({ length: 1000 }, (_, n) =>
    builder(
      `b${n}`,
      `${amd64}/b${n}`,
      Array.from({ length: 10 }, (__, m) => `package-${n}-${m}`),
    ),
  );
  const rules = rulesWith(builders);
  const startedMs = performance.now();
  let owned = 0;
  for (let n = 0; n < 60_000; n++) owned += rules.owners(`package-${n % 1000}-3`).length;
  expect(performance.now() - startedMs).toBeLessThan(5000);
  expect(owned).toBe(60_000);
});

test.each<[string, Readonly<Record<string, readonly string[]>>, Readonly<Record<string, readonly string[]>>]>([
  ["a builder without a list stays unconfined", {}, { bob: ["*", "hello"] }],
  ["a list gets the name", { bob: ["world"] }, { bob: ["world", "hello"] }],
  ["another's list loses the name", { alice: ["hello", "x"], bob: [] }, { alice: ["x"], bob: ["hello"] }],
  ["another's pattern excludes it", { alice: ["hel*"] }, { alice: ["hel*", "!hello"], bob: ["*", "hello"] }],
  ["a name comes back", { alice: ["x", "hello"], bob: ["hel*", "!hello"] }, { alice: ["x"], bob: ["hel*"] }],
  ["what is its owner's already stays", { bob: ["hel*"], alice: ["world"] }, {}],
])("a name that is moved: %s", (_, before, changed) => {
  const lists = new Map(Object.entries(before));
  expect(Object.fromEntries(listsWithOwner(lists, "hello", "bob"))).toEqual(changed);
  const after = new Map([...lists, ...Object.entries(changed)]);
  const rules = rulesWith([...after].map(([name, packages]) => builder(name, `${amd64}/${name}`, packages)));
  expect(rules.owners("hello")).toEqual(["bob"]);
});

test("a name is not moved to an owner whose list excludes it by a pattern", () => {
  expect(() => listsWithOwner(new Map([["bob", ["*", "!hel*"]]]), "hello", "bob")).toThrow(
    '"!hel*", which excludes hello',
  );
});

test("whoever may ping a whole suite with a slash in its name is its operator", () => {
  const builders = [builder("suite-token", "dists/bookworm/updates")];
  const layout = new Layout([parseSuite("bookworm/updates")]);
  const owners = new NameOwners({ policy: "any", builders, reserved: [], layout });
  const place = "dists/bookworm/updates/main/binary-amd64";
  expect([place, `${place}/alice`].map((each) => owners.ownerOf(parseTreePath(each)))).toEqual([operator, "alice"]);
});
