// A package list after any history of changes, some of them applied twice, equals a new list of the same files.
import fc from "fast-check";
import { expect, test } from "vitest";
import { ContentId } from "../../../src/base/content-id.ts";
import { parentPath, parseTreePath } from "../../../src/base/names.ts";
import type { FileChange } from "../../../src/catalog/catalog.ts";
import type { CatalogFile } from "../../../src/catalog/files/catalog-file.ts";
import { findingOf } from "../../../src/catalog/files/finding.ts";
import type { OwnerRules } from "../../../src/catalog/suite/owner-rules.ts";
import { PackageList } from "../../../src/catalog/suite/package-list.ts";

/** No recorded owners, for policies that do not depend on the first use. */
const held = { get: () => undefined, set: () => undefined };

interface Recipe {
  readonly builder: number;
  /** Undefined if the file is removed. */
  readonly version: number | undefined;
  readonly bytes: number;
  readonly linkedAtMs: number;
}

const recipe: fc.Arbitrary<Recipe> = fc.record({
  builder: fc.nat(3),
  version: fc.option(fc.nat(2), { nil: undefined }),
  bytes: fc.nat(2),
  linkedAtMs: fc.nat(3),
});

/** The architecture of a package that is rejected in a directory of another architecture. */
function aFile({ builder, version, bytes, linkedAtMs }: Recipe): CatalogFile | undefined {
  if (version === undefined) return undefined;
  const sha256 = String(bytes).repeat(64);
  const architecture = bytes === 2 && builder === 3 ? "i386" : "amd64";
  const control = [
    ["Package", "hello"],
    ["Version", String(version)],
    ["Architecture", architecture],
  ] as const;
  return {
    path: pathOf(builder),
    entry: {
      kind: "file",
      sizeBytes: 1,
      content: new ContentId(sha256),
      linkedAtMs,
      relinkedAtMs: linkedAtMs,
      metadata: undefined,
    },
    claimed: false,
    metadataKey: undefined,
    finding: findingOf({ kind: "binary", sizeBytes: 1, builtAtSeconds: 0, digests: { sha256 }, control }),
  };
}

const pathOf = (builder: number) => parseTreePath(`dists/sid/main/binary-amd64/builder-${builder}/hello.deb`);

/** The whole state of a package list, sorted. */
const stateOf = (list: PackageList) => ({
  items: [...list.entries()]
    .map(({ path, version, sha256, linkedAtMs }) => `${path} ${version} ${sha256} ${linkedAtMs}`)
    .toSorted(),
  rejections: [...list.rejections()].map(([path, { code, text }]) => `${path} ${code} ${text}`).toSorted(),
  hollow: [...list.emptyPackageDirectories()].toSorted(),
});

/** Builder 0 has a list in each of these, and the others have none, or none with its name. */
const someRules: readonly (OwnerRules | undefined)[] = [
  undefined,
  ...(["any", "listed"] as const).flatMap((policy) =>
    [[["hello"]], [["other"], ["*"]], [["*", "hel*"], ["hello"]]].map((lists) => ({
      policy,
      builders: lists.map((packages, n) => ({ name: `b${n}`, directory: parentPath(pathOf(n)), packages })),
      reserved: [],
    })),
  ),
];

test("each change reports exactly the new rejections", () => {
  fc.assert(
    fc.property(fc.array(recipe, { maxLength: 30 }), (history) => {
      const files = new Map<string, CatalogFile>();
      const list = new PackageList();
      for (const step of history) {
        const path = pathOf(step.builder);
        const change = { path, before: files.get(path), after: aFile(step) };
        if (change.after === undefined) files.delete(path);
        else files.set(path, change.after);
        const before = new Map([...list.rejections()].map(([at, { text }]) => [at, text]));
        const { rejected, rejectionsChanged } = list.apply([change], (at) => files.get(at));
        const now = new Map([...list.rejections()].map(([at, { text }]) => [at, text]));
        const fresh = [...now].filter(([at, text]) => before.get(at) !== text).map(([at]) => at);
        expect(rejected.map(([at]) => at).toSorted()).toEqual(fresh.toSorted());
        if (!rejectionsChanged) expect(now).toEqual(before);
      }
    }),
    { numRuns: 300 },
  );
});

test("after any history a package list equals a new one, also if changes are applied twice", () => {
  const rulesFor = fc.nat(someRules.length - 1);
  const histories = fc.array(fc.tuple(recipe, fc.boolean(), rulesFor), { maxLength: 30 });
  fc.assert(
    fc.property(histories, (history) => {
      const files = new Map<string, CatalogFile>();
      let rules: OwnerRules | undefined;
      const ownership = { rules: () => rules, firstOwners: held, startedMs: 0, now: () => 0 };
      const list = new PackageList(ownership);
      const shown = new Map<string, string>();
      let unpublished: FileChange[] = [];
      for (const [step, isLost, ruleNumber] of history) {
        rules = someRules[ruleNumber];
        const path = pathOf(step.builder);
        const after = aFile(step);
        unpublished.push({ path, before: files.get(path), after });
        if (after === undefined) files.delete(path);
        else files.set(path, after);
        const { removed, added } = list.apply(unpublished, (at) => files.get(at));
        for (const { path: at } of removed) shown.delete(at);
        for (const entry of added) shown.set(entry.path, entry.sha256);
        // Changes that could not be published are applied again, with later ones.
        if (!isLost) unpublished = [];
      }
      const fresh = new PackageList(ownership);
      const all = [...files.values()].map((after) => ({ path: after.path, before: undefined, after }));
      fresh.apply(all, (at) => files.get(at));
      expect(stateOf(list)).toEqual(stateOf(fresh));
      const hasRejectionsOnly = list.rejections().size > 0 && [...list.entries()].length === 0;
      expect(stateOf(list).hollow).toEqual(hasRejectionsOnly ? ["dists/sid/main/binary-amd64"] : []);
      expect(new Map([...list.entries()].map(({ path, sha256 }) => [path, sha256]))).toEqual(shown);
    }),
  );
});
