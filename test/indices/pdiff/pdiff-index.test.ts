// The list of the patches of an index, and the selection of older versions that get a patch.
import { expect, test } from "vitest";
import type { PublishedState } from "../../../src/indices/pdiff/pdiff-index.ts";
import { renderPatchIndex, statesToPatch } from "../../../src/indices/pdiff/pdiff-index.ts";

const aPatch = (name: string, n: number) => ({
  name,
  from: { sha256: `from${n}`, sizeBytes: n },
  plain: { sha256: `plain${n}`, sizeBytes: 10 + n },
  gz: { sha256: `gz${n}`, sizeBytes: 20 + n },
});

test("the list of patches has the fields that apt reads, and says that one patch is enough", () => {
  expect(renderPatchIndex({ sha256: "now", sizeBytes: 5 }, [aPatch("T-c-F-a", 1), aPatch("T-c-F-b", 2)])).toBe(
    `SHA256-Current: now 5
SHA256-History:
 from1 1 T-c-F-a
 from2 2 T-c-F-b
SHA256-Patches:
 plain1 11 T-c-F-a
 plain2 12 T-c-F-b
SHA256-Download:
 gz1 21 T-c-F-a.gz
 gz2 22 T-c-F-b.gz
X-Patch-Precedence: merged
`,
  );
});

test("if the SHA1 of the index is known, everything is listed by SHA1 too", () => {
  const withSha1 = (patch: ReturnType<typeof aPatch>) => ({
    ...patch,
    from: { ...patch.from, sha1: "f" },
    plain: { ...patch.plain, sha1: "p" },
    gz: { ...patch.gz, sha1: "g" },
  });
  const text = renderPatchIndex({ sha256: "now", sha1: "n", sizeBytes: 5 }, [withSha1(aPatch("a", 1))]);
  expect(text).toContain(
    "SHA1-Current: n 5\nSHA1-History:\n f 1 a\nSHA1-Patches:\n p 11 a\nSHA1-Download:\n g 21 a.gz\nSHA256-Current: now 5\n",
  );
});

test("the name of a patch cannot forge a line or leave its directory", () => {
  for (const name of ["", "a b", "a\nb", "../a"]) {
    expect(() => renderPatchIndex({ sha256: "", sizeBytes: 0 }, [aPatch(name, 1)])).toThrow("not the name of a patch");
  }
});

/** Versions, the newest first; each is `[name, its Date]`. */
const statesOf = (...states: readonly (readonly [string, number])[]): PublishedState[] =>
  states.map(([sha256, dateSeconds]) => ({
    publication: `${sha256}@${dateSeconds}`,
    dateSeconds,
    sha256,
    sizeBytes: 1,
  }));
const chosen = (states: readonly PublishedState[]) => statesToPatch(states).map(({ publication }) => publication);

test("publications with an unchanged index count as one version, and no version occurs twice", () => {
  expect(chosen(statesOf(["c", 60], ["c", 50], ["b", 40], ["b", 30], ["a", 20], ["b", 10]))).toEqual(["b@30", "a@20"]);
  expect(chosen(statesOf(["a", 30], ["b", 20], ["a", 10]))).toEqual(["b@20"]);
  expect(chosen(statesOf(["a", 30]))).toEqual([]);
  expect(chosen([])).toEqual([]);
});

const day = 86_400;

test("the newest versions get a patch, and ever fewer older ones, 16 at most", () => {
  const everyTenMinutes = statesOf(
    ...Array.from({ length: 30 * 144 }, (_, n) => [`s${n}`, 100 * day - n * 600] as const),
  );
  const ages = statesToPatch(everyTenMinutes).map(({ dateSeconds }) => 100 * day - dateSeconds);
  expect(ages).toHaveLength(16);
  expect(ages.slice(0, 6)).toEqual([1, 2, 3, 4, 5, 6].map((n) => n * 600));
  expect(ages).toEqual(ages.toSorted((a, b) => a - b));
  const steps = ages.slice(7).map((age, n) => age / ages[6 + n]!);
  for (const step of steps) expect(step).toBeGreaterThan(1);
  expect(ages.at(-1)).toBeGreaterThan(7 * day);
});

test("among older versions of similar age, the one that was served longest gets the patch", () => {
  const newest = Array.from({ length: 7 }, (_, n) => [`n${n}`, 10 * day - n] as const);
  const long = ["long", 9 * day - 5000] as const;
  const states = statesOf(...newest, ["day", 9 * day], ["short", 9 * day - 10], long, ["brief", 9 * day - 5010]);
  expect(chosen(states).slice(6)).toEqual(["day@777600", "long@772600"]);
});
