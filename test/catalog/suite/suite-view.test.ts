// A view shows what its rules say after any history, and reports each change.
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseArchitecture, parseComponent, parseTreePath } from "../../../src/base/names.ts";
import type { IndexEntry } from "../../../src/catalog/suite/index-entry.ts";
import { entryIdentityOf } from "../../../src/catalog/suite/index-entry.ts";
import type { ViewRules } from "../../../src/catalog/suite/suite-view.ts";
import { View, viewDifference } from "../../../src/catalog/suite/suite-view.ts";
import { compareVersions } from "../../../src/debian/version.ts";

const component = parseComponent("main");

interface Recipe {
  readonly package?: string;
  readonly version?: string;
  readonly architecture?: string;
  readonly linkedAtMs?: number;
}

/** A new entry object each time, as package lists make them. */
function anEntry({
  package: name = "hello",
  version = "1",
  architecture = "amd64",
  linkedAtMs = 0,
}: Recipe): IndexEntry {
  const path = parseTreePath(`${name}_${version}_${architecture}`);
  const shared = {
    path,
    linkedAtMs,
    identity: entryIdentityOf(path),
    component,
    package: name,
    version,
    entry: {
      kind: "file",
      sizeBytes: 1,
      linkedAtMs,
      relinkedAtMs: linkedAtMs,
      content: undefined,
      metadata: undefined,
    },
    inspectionKey: path,
    sizeBytes: 1,
    sha256: "",
    stanzaKey: "",
    stanzaBytes: 1,
  } as const;
  if (architecture === "source") return { ...shared, kind: "source", parts: [] };
  return {
    ...shared,
    kind: "binary",
    architecture: parseArchitecture(architecture),
    variant: undefined,
    builtAtSeconds: 0,
    descriptionKey: undefined,
    source: undefined,
    forInstaller: false,
  };
}

const namesOf = (items: Iterable<IndexEntry>): string[] => [...items].map(({ path }) => String(path)).toSorted();

function shownBy(rules: ViewRules, recipes: readonly Recipe[], nowMs = 0): string[] {
  const view = new View(rules);
  view.apply({ removed: [], added: recipes.map(anEntry) }, nowMs);
  return namesOf(view.entries());
}

test("the newest versions are chosen in Debian's order, for each architecture and for sources separately", () => {
  const versions = ["1.9", "1.10", "1.10~rc1", "1:0.1"];
  const recipes = ["amd64", "all", "source"].flatMap((architecture) =>
    versions.map((version) => ({ version, architecture })),
  );
  expect(shownBy({ newest: 2 }, recipes)).toEqual(
    ["1.10", "1:0.1"].flatMap((version) => ["all", "amd64", "source"].map((each) => `hello_${version}_${each}`)),
  );
});

test("patterns match whole names: a dot or a plus sign is literal", () => {
  const recipes = ["libc++", "libc++-dbgsym", "libc6", "g.a", "gxa"].map((name) => ({ package: name }));
  const shown = (rules: ViewRules) => shownBy(rules, recipes).map((name) => name.split("_")[0]);
  expect(shown({ show: ["libc++*"] })).toEqual(["libc++-dbgsym", "libc++"]);
  expect(shown({ show: ["libc++*"], hide: ["*-dbgsym"] })).toEqual(["libc++"]);
  expect(shown({ hide: ["g.a", "libc?"] })).toEqual(["gxa", "libc++-dbgsym", "libc++"]);
});

test("packages hidden by their age do not count among the newest", () => {
  const recipes = [
    { version: "3", linkedAtMs: 0 },
    { version: "2", linkedAtMs: 5000 },
    { version: "1", linkedAtMs: 6000 },
  ];
  const rules = { newest: 1, maxAgeSeconds: 10 };
  expect(shownBy(rules, recipes, 9999)).toEqual(["hello_3_amd64"]);
  expect(shownBy(rules, recipes, 10_000)).toEqual(["hello_2_amd64"]);
  expect(shownBy(rules, recipes, 15_000)).toEqual(["hello_1_amd64"]);
  expect(shownBy(rules, recipes, 16_000)).toEqual([]);
});

test("the difference to other rules contains what these would hide and show", () => {
  const all = ["1", "2", "3"].map((version) => anEntry({ version }));
  const visible = all.slice(1);
  const versions = (packages: readonly { readonly version: string }[]) => packages.map(({ version }) => version);
  const narrow = viewDifference(all, visible, { newest: 1 }, 0);
  expect([versions(narrow.hides), versions(narrow.shows), narrow.stays]).toEqual([["2"], [], 1]);
  const none = viewDifference(all, visible, undefined, 0);
  expect([versions(none.hides), versions(none.shows), none.stays]).toEqual([[], ["1"], 2]);
});

const recipe = fc.record({
  package: fc.constantFrom("a", "ab", "b"),
  version: fc.constantFrom("1", "1.0", "2", "10", "1~1"),
  architecture: fc.constantFrom("amd64", "all", "source"),
  linkedAtMs: fc.nat(40).map((seconds) => seconds * 1000),
});
const rules: fc.Arbitrary<ViewRules> = fc.record({
  newest: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
  maxAgeSeconds: fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }),
  show: fc.option(fc.constant(["a*"]), { nil: undefined }),
  hide: fc.option(fc.constant(["?b"]), { nil: undefined }),
});

/** A simple implementation of the rules, for all entries. */
function expected(
  all: readonly IndexEntry[],
  { newest = 99, maxAgeSeconds = 1e9, show, hide }: ViewRules,
  nowMs: number,
) {
  const candidates = all.filter(
    (entry) =>
      (show === undefined || entry.package.startsWith("a")) &&
      (hide === undefined || entry.package !== "ab") &&
      entry.linkedAtMs + maxAgeSeconds * 1000 > nowMs,
  );
  const groupOf = (entry: IndexEntry) => `${entry.package} ${entry.kind === "binary" ? entry.architecture : "source"}`;
  return namesOf(
    candidates.filter((entry) => {
      const isAhead = (other: IndexEntry) => {
        const order = compareVersions(other.version, entry.version);
        return groupOf(other) === groupOf(entry) && (order > 0 || (order === 0 && other.path < entry.path));
      };
      return candidates.filter(isAhead).length < newest;
    }),
  );
}

test("after any history, a view shows what its rules say, and the sum of its changes is the same", () => {
  const step = fc.record({
    put: fc.array(recipe, { maxLength: 4 }),
    drop: fc.array(recipe, { maxLength: 2 }),
    waitMs: fc.nat(5000),
  });
  fc.assert(
    fc.property(rules, fc.array(step, { maxLength: 12 }), (wanted, history) => {
      const view = new View(wanted);
      const there = new Map<string, IndexEntry>();
      const told = new Map<string, IndexEntry>();
      let nowMs = 0;
      for (const { put, drop, waitMs } of history) {
        nowMs += waitMs;
        const before = new Map(there);
        for (const entry of drop.map(anEntry)) there.delete(entry.path);
        for (const entry of put.map(anEntry)) there.set(entry.path, entry);
        const removed = [...before.values()].filter((entry) => there.get(entry.path) !== entry);
        const added = [...there.values()].filter((entry) => before.get(entry.path) !== entry);
        // A package list may have a copy of the entry that it reported.
        const change = view.apply({ removed: removed.map((entry) => ({ ...entry })), added }, nowMs);
        for (const entry of change.removed) expect(told.delete(entry.path)).toBe(true);
        for (const entry of change.added) {
          expect(told.has(entry.path)).toBe(false);
          told.set(entry.path, entry);
        }
        expect(namesOf(view.entries())).toEqual(expected([...there.values()], wanted, nowMs));
        expect(new Set(view.entries())).toEqual(new Set(told.values()));
        expect(view.isDue(nowMs)).toBe(false);
      }
    }),
    { numRuns: 300 },
  );
});

test("a name made to slow down a pattern with many stars is matched at once", () => {
  const startedMs = performance.now();
  const rules = { hide: ["*-*-*-*-*-*-*-*-*-dbgsym"] };
  expect(shownBy(rules, [{ package: `a${"-a".repeat(99)}` }])).toHaveLength(1);
  expect(performance.now() - startedMs).toBeLessThan(1000);
});
