// A builder's directory takes no more of a suite's indices than its budget, and which packages these are does not depend
// on what was looked at when.
import fc from "fast-check";
import { expect, test } from "vitest";
import { ContentId } from "../../../src/base/content-id.ts";
import { parentPath, parseTreePath } from "../../../src/base/names.ts";
import { runSteps, runStepsAtOnce } from "../../../src/base/steps.ts";
import { yieldToEventLoop } from "../../../src/base/yield-to-event-loop.ts";
import type { FileChange } from "../../../src/catalog/catalog.ts";
import type { CatalogFile } from "../../../src/catalog/files/catalog-file.ts";
import { findingOf } from "../../../src/catalog/files/finding.ts";
import { plainLayout } from "../../../src/catalog/layout/repository-layout.ts";
import type { DirectoryLimits } from "../../../src/catalog/suite/directory-budget.ts";
import type { PackageBudget } from "../../../src/catalog/suite/package-list.ts";
import { PackageList } from "../../../src/catalog/suite/package-list.ts";
import { cases } from "../../support/cases.ts";
import { longestBlockMs } from "../../support/event-loop-block.ts";

const packageDirectory = "dists/sid/main/binary-amd64";

interface Recipe {
  readonly builder: string;
  readonly n: number;
  readonly linkedAtMs: number;
  /** The additional length of its stanza. */
  readonly longer?: number;
  readonly variant?: string | undefined;
  readonly version?: string;
}

function aPackage({ builder, n, linkedAtMs, longer = 0, variant, version = "1" }: Recipe): CatalogFile {
  const path = parseTreePath(`${packageDirectory}/${builder}/p${n}.deb`);
  const control = [
    ["Package", `${builder}-p${n}`],
    ["Version", version],
    ["Architecture", "amd64"],
    ["X-Long", "x".repeat(longer)],
    ...(variant === undefined ? [] : [["Architecture-Variant", variant] as const]),
  ] as const;
  const digests = { sha256: n.toString(16).padStart(64, "0") };
  return {
    path,
    entry: {
      kind: "file",
      sizeBytes: 1,
      content: new ContentId(path),
      linkedAtMs,
      relinkedAtMs: linkedAtMs,
      metadata: undefined,
    },
    claimed: false,
    metadataKey: undefined,
    finding: findingOf({ kind: "binary", sizeBytes: 1, builtAtSeconds: 0, digests, control }),
  };
}

const wide = { maxDirectoryPackages: 100, maxDirectoryIndexBytes: 2 ** 30, maxDirectoryVariants: 100 };
const unlimited = { maxStanzaBytes: 2 ** 30, maxSourceStanzaBytes: 2 ** 30 };
const budgetOf = (directory: DirectoryLimits, stanzas = unlimited): PackageBudget => ({
  directory,
  stanzas,
  builderOf: (each) => plainLayout.builderDirectoryOf(each),
});

/** A package list and the files that were applied to it. */
class BudgetedList {
  readonly files = new Map<string, CatalogFile>();
  readonly packageList: PackageList;
  constructor(budget: PackageBudget) {
    this.packageList = new PackageList(undefined, budget);
  }
  change(...files: readonly (CatalogFile | string)[]): void {
    const changes = files.map((file): FileChange => {
      const path = parseTreePath(typeof file === "string" ? file : file.path);
      const before = this.files.get(path);
      const after = typeof file === "string" ? undefined : file;
      if (after === undefined) this.files.delete(path);
      else this.files.set(path, after);
      return { path, before, after };
    });
    this.packageList.apply(changes, (path) => this.files.get(path));
  }
  get names(): string[] {
    return [...this.packageList.entries()].map((entry) => entry.package).toSorted();
  }
  get rejections(): string[] {
    return [...this.packageList.rejections()].map(([path, { code, text }]) => `${path} ${code} ${text}`).toSorted();
  }
}

test("beyond the number of packages the newest links are rejected, with the key of the limit", () => {
  const list = new BudgetedList(budgetOf({ ...wide, maxDirectoryPackages: 2 }));
  list.change(...[3, 1, 2].map((n) => aPackage({ builder: "mallory", n, linkedAtMs: n })));
  list.change(aPackage({ builder: "alice", n: 9, linkedAtMs: 9 }));
  expect(list.names).toEqual(["alice-p9", "mallory-p1", "mallory-p2"]);
  expect(list.rejections).toEqual([
    `${packageDirectory}/mallory/p3.deb limit the number of packages in ${packageDirectory}/mallory is beyond max_directory_packages = 2`,
  ]);
});

test("the same is true of the bytes of stanzas, and a removed package admits the next one", () => {
  const list = new BudgetedList(budgetOf({ ...wide, maxDirectoryIndexBytes: 30_000 }));
  const files = [1, 2, 3, 4].map((n) => aPackage({ builder: "mallory", n, linkedAtMs: n, longer: 12_000 }));
  list.change(...files);
  expect(list.names).toEqual(["mallory-p1", "mallory-p2"]);
  expect(list.rejections).toHaveLength(2);
  expect(list.rejections[0]).toMatch(/ limit .*mallory.* max_directory_index_bytes = 30000$/);
  list.change(files[0]!.path);
  expect(list.names).toEqual(["mallory-p2", "mallory-p3"]);
  list.change(files[1]!.path, files[2]!.path, files[3]!.path);
  expect([list.names, list.rejections]).toEqual([[], []]);
});

test.each([
  ["gone", undefined],
  ["another version of it", "2"],
] as const)(
  "a package that no longer fits the budget leaves the index, even if its file is %s by then",
  (_, version) => {
    const list = new BudgetedList(budgetOf({ ...wide, maxDirectoryPackages: 1 }));
    const later = aPackage({ builder: "a", n: 2, linkedAtMs: 2 });
    list.change(later);
    // The catalog is ahead: this change is applied later.
    if (version === undefined) list.files.delete(later.path);
    else list.files.set(later.path, aPackage({ builder: "a", n: 2, linkedAtMs: 2, version }));
    list.change(aPackage({ builder: "a", n: 1, linkedAtMs: 1 }));
    expect(list.names).toEqual(["a-p1"]);
    expect(list.rejections).toEqual([expect.stringMatching(/p2\.deb limit /)]);
  },
);

test("a file with an earlier or unknown link time is inserted in the order, not added at the end", () => {
  const list = new BudgetedList(budgetOf({ ...wide, maxDirectoryPackages: 2 }));
  list.change(...[5, 6].map((n) => aPackage({ builder: "a", n, linkedAtMs: n })));
  list.change(aPackage({ builder: "a", n: 7, linkedAtMs: 1 }));
  expect(list.names).toEqual(["a-p5", "a-p7"]);
  list.change(aPackage({ builder: "a", n: 8, linkedAtMs: 0 }));
  expect(list.names).toEqual(["a-p5", "a-p7"]);
});

test("a package that was inspected under a higher limit is rejected under the current one", () => {
  const list = new BudgetedList(budgetOf(wide, { ...unlimited, maxStanzaBytes: 5000 }));
  list.change(
    aPackage({ builder: "a", n: 1, linkedAtMs: 1, longer: 6000 }),
    aPackage({ builder: "a", n: 2, linkedAtMs: 1, longer: 3000 }),
  );
  expect(list.names).toEqual(["a-p2"]);
  expect(list.rejections[0]).toMatch(/ limit .* max_stanza_bytes = 5000$/);
});

test("beyond the number of variants their builds are rejected, but builds for every machine are not", () => {
  const list = new BudgetedList(budgetOf({ ...wide, maxDirectoryVariants: 2 }));
  const files = ["amd64v2", "amd64v3", "amd64v4", "amd64v2", undefined].map((variant, n) =>
    aPackage({ builder: "mallory", n, linkedAtMs: n + 1, variant }),
  );
  list.change(...files);
  list.change(aPackage({ builder: "alice", n: 9, linkedAtMs: 9, variant: "amd64v4" }));
  expect(list.names).toEqual(["alice-p9", "mallory-p0", "mallory-p1", "mallory-p3", "mallory-p4"]);
  expect(list.rejections).toEqual([
    `${packageDirectory}/mallory/p2.deb limit the number of architecture variants in ${packageDirectory}/mallory is beyond max_directory_variants = 2`,
  ]);
  list.change(files[1]!.path);
  expect([list.names, list.rejections]).toEqual([
    ["alice-p9", "mallory-p0", "mallory-p2", "mallory-p3", "mallory-p4"],
    [],
  ]);
});

const anyStep = fc.record({
  builder: fc.constantFrom("a", "b"),
  n: fc.nat(9),
  linkedAtMs: fc.nat(4),
  longer: fc.constantFrom(0, 500, 3000),
  variant: fc.constantFrom(undefined, "amd64v2", "amd64v3", "amd64v4"),
  isRemoved: fc.boolean(),
});

test("after any history of pings a server lists the same as one that has just started", () => {
  const limits = fc.record({
    maxDirectoryPackages: fc.integer({ min: 1, max: 6 }),
    maxDirectoryIndexBytes: fc.integer({ min: 1000, max: 9000 }),
    maxDirectoryVariants: fc.integer({ min: 1, max: 3 }),
  });
  fc.assert(
    fc.property(limits, fc.array(fc.array(anyStep, { maxLength: 6 }), { maxLength: 12 }), (directory, pings) => {
      const list = new BudgetedList(budgetOf(directory));
      for (const ping of pings) {
        list.change(
          ...ping.map((each) =>
            each.isRemoved ? `${packageDirectory}/${each.builder}/p${each.n}.deb` : aPackage(each),
          ),
        );
        const fresh = new BudgetedList(budgetOf(directory));
        fresh.change(...list.files.values());
        expect(list.names).toEqual(fresh.names);
        expect(list.rejections).toEqual(fresh.rejections);
        for (const builder of ["a", "b"]) {
          const listed = list.names.filter((name) => name.startsWith(`${builder}-`));
          expect(listed.length).toBeLessThanOrEqual(directory.maxDirectoryPackages);
          const rejected = list.rejections.filter((each) => each.includes(`/${builder}/`));
          const all = [...list.files.values()].filter(({ path }) => parentPath(path).endsWith(`/${builder}`));
          expect(listed.length + rejected.length).toBe(all.length);
        }
      }
    }),
    { numRuns: cases(300) },
  );
});

test("one more package beyond the budget costs about the same in a directory of 20,000 as in a small one", () => {
  const list = new BudgetedList(budgetOf({ ...wide, maxDirectoryPackages: 19_000 }));
  list.change(...Array.from({ length: 20_000 }, (_, n) => aPackage({ builder: "m", n, linkedAtMs: n })));
  expect(list.names).toHaveLength(19_000);
  const started = process.cpuUsage();
  for (let n = 0; n < 50; n++) list.change(aPackage({ builder: "m", n: 30_000 + n, linkedAtMs: 30_000 + n }));
  // Sorting all of them would take about 20 ms.
  expect(process.cpuUsage(started).user / 1000 / 50).toBeLessThan(15);
});

test("many packages of one name and version are processed in steps, in time proportional to their number", async () => {
  const same = (count: number) =>
    Array.from({ length: count }, (_, n): FileChange => {
      const file = aPackage({ builder: `b${n}`, n: 1, linkedAtMs: n });
      const control = [
        ["Package", "same"],
        ["Version", "1"],
        ["Architecture", "amd64"],
        ["X", String(n)],
      ] as const;
      const digests = { sha256: n.toString(16).padStart(64, "0") };
      const finding = findingOf({ kind: "binary", sizeBytes: 1, builtAtSeconds: 0, digests, control });
      return { path: file.path, before: undefined, after: { ...file, finding } };
    });
  const changes = same(20_000);
  const snapshot = new PackageList();
  const startedMs = performance.now();
  const stoodStillMs = await longestBlockMs(() =>
    runSteps(
      snapshot.applying(changes, () => undefined),
      yieldToEventLoop(),
    ),
  );
  expect(stoodStillMs).toBeLessThan((performance.now() - startedMs) / 2);
  expect([...snapshot.entries()]).toHaveLength(1);
  expect(snapshot.rejections().size).toBe(19_999);
  const started = process.cpuUsage();
  runStepsAtOnce(new PackageList().applying(same(2000), () => undefined));
  const few = process.cpuUsage(started).user;
  const again = process.cpuUsage();
  runStepsAtOnce(new PackageList().applying(changes, () => undefined));
  expect(process.cpuUsage(again).user / few).toBeLessThan(40);
});
