// The file index: files are found by path, directory and digest, and can be removed.
import fc from "fast-check";
import { expect, test } from "vitest";
import { parentPath, parseTreePath } from "../../../src/base/names.ts";
import type { CatalogFile } from "../../../src/catalog/files/catalog-file.ts";
import { digestOf } from "../../../src/catalog/files/catalog-file.ts";
import { FileIndex } from "../../../src/catalog/files/file-index.ts";
import { findingOf } from "../../../src/catalog/files/finding.ts";

function aFile(path: string, sha256: string): CatalogFile {
  const control = [
    ["Package", "hello"],
    ["Version", "1"],
    ["Architecture", "amd64"],
  ] as const;
  return {
    path: parseTreePath(path),
    entry: { kind: "other", reason: "a test" },
    claimed: false,
    metadataKey: undefined,
    finding: findingOf({ kind: "binary", sizeBytes: 1, builtAtSeconds: 0, digests: { sha256 }, control }),
  };
}

/** Digests, some of which have the same first 31 bits. */
const digest = fc.constantFrom("0", "1", "2").map((last) => `${"a".repeat(63)}${last}`);
const directory = fc.constantFrom(
  "dists/sid/main/binary-amd64",
  "dists/sid/main/binary-amd64/a",
  "dists/sid/main/binary-amd64/a/b/c",
  "dists/sid/main/binary-amd64/ab",
  "dists/sid/main/source",
  "dists/trixie/main/binary-all/a",
);
const step = fc.oneof(
  fc.record({ set: fc.tuple(directory, fc.nat(2), digest) }),
  fc.record({ remove: fc.tuple(directory, fc.nat(2)) }),
  fc.record({ add: directory }),
  fc.record({ forget: directory }),
);

test("after any history queries return exactly the current files", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const known = new FileIndex();
      const model = new Map<string, Map<string, CatalogFile>>();
      for (const each of steps) {
        if ("set" in each) {
          const [at, n, sha256] = each.set;
          const file = aFile(`${at}/${n}.deb`, sha256);
          known.set(file);
          model.set(at, (model.get(at) ?? new Map<string, CatalogFile>()).set(file.path, file));
        } else if ("remove" in each) {
          const path = parseTreePath(`${each.remove[0]}/${each.remove[1]}.deb`);
          known.remove(path);
          model.get(parentPath(path))?.delete(path);
        } else if ("add" in each) {
          known.addDirectory(parseTreePath(each.add));
          if (!model.has(each.add)) model.set(each.add, new Map());
        } else {
          known.removeDirectory(parseTreePath(each.forget));
          model.delete(each.forget);
        }
      }
      const files = [...model.values()].flatMap((each) => [...each.values()]);
      for (const file of files) expect(known.get(file.path)).toBe(file);
      for (const at of ["", "dists", "dists/sid", "dists/sid/main/binary-amd64", "dists/sid/main/binary-amd64/a"]) {
        const within = [...model.keys()].filter((each) => at === "" || each === at || each.startsWith(`${at}/`));
        expect([...known.directoriesWithin(parseTreePath(at))].toSorted()).toEqual(within.toSorted());
        const found = within.flatMap((each) => [...(known.in(parseTreePath(each)) ?? [])]);
        expect(found).toHaveLength(files.filter(({ path }) => within.includes(parentPath(path))).length);
      }
      for (const last of ["0", "1", "2"]) {
        const sha256 = `${"a".repeat(63)}${last}`;
        const paths = (some: Iterable<CatalogFile>) => [...some].map(({ path }) => String(path)).toSorted();
        expect(paths(known.withDigest(sha256))).toEqual(paths(files.filter((file) => digestOf(file) === sha256)));
      }
      const places = ["dists/sid/main/binary-amd64", "dists/sid/main/source"].filter((each) => model.has(each));
      expect([...known.packageDirectoriesWithin(parseTreePath("dists/sid"))].toSorted()).toEqual(places);
    }),
    { numRuns: 500 },
  );
});
