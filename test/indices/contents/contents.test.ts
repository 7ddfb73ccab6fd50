// Contents in the format of dak, and segments that do not depend on earlier changes.
import { execFileSync } from "node:child_process";
import { buffer } from "node:stream/consumers";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { ContentsCut, ContentsEntry, ContentsSegment } from "../../../src/indices/contents/contents.ts";
import {
  ContentsCutter,
  entriesOf,
  entryOf,
  locationOf,
  pathOf,
  recut,
  textOf,
} from "../../../src/indices/contents/contents.ts";
import { mergeRuns } from "../../../src/indices/contents/merge-sorted-runs.ts";

const cut: ContentsCut = { leastBytes: 300, oneIn: 4, mostBytes: 2000 };
const nothing = Buffer.of();

function cutOf(entries: Iterable<ContentsEntry>): readonly ContentsSegment[] {
  const cutter = new ContentsCutter(cut);
  cutter.add(textOf([...entries].sort()));
  const { ended, rest } = cutter.finish();
  return rest === undefined ? ended : [...ended, rest];
}

const text = (segments: readonly ContentsSegment[]): string =>
  Buffer.concat(segments.map(({ plain }) => plain)).toString("latin1");

/** Cuts changed segments again, one by one, as publishing does. */
async function applied(
  segments: readonly ContentsSegment[],
  removed: readonly ContentsEntry[],
  added: readonly ContentsEntry[],
): Promise<readonly ContentsSegment[]> {
  const indexOf = (entry: ContentsEntry) =>
    Math.max(
      0,
      segments.findLastIndex(({ first }) => first <= pathOf(entry)),
    );
  const touched = new Set([...removed, ...added].map(indexOf));
  if (touched.size === 0) return segments;
  const result: ContentsSegment[] = [];
  let open: ContentsSegment | undefined;
  const olds = segments.length === 0 ? [{ first: "", plain: nothing }] : segments;
  for (const [index, old] of olds.entries()) {
    if (open === undefined && !touched.has(index)) {
      result.push(old);
      continue;
    }
    const isHere = (entry: ContentsEntry) => indexOf(entry) === index;
    const edits = { removed: removed.filter(isHere), added: added.filter(isHere) };
    const { ended, rest } = await recut(open?.plain ?? nothing, old.plain, edits, cut);
    result.push(...ended);
    open = rest;
  }
  return open === undefined ? result : [...result, open];
}

test("a line has the path, padded as by dak, and all packages with it, in the order of their names", () => {
  const entries = [
    entryOf("usr/bin/x", "utils/b"),
    entryOf("usr/bin/x", "admin/z"),
    entryOf("usr/bin/x", "utils/b"),
    entryOf("usr/bin/a b", "utils/b"),
    entryOf(Buffer.from("usr/bin/é").toString("latin1"), "utils/b"),
    entryOf(`usr/share/${"x".repeat(60)}`, "doc"),
  ];
  expect(Buffer.from(text(cutOf(entries)), "latin1").toString()).toBe(
    `usr/bin/a b                                             utils/b
usr/bin/x                                               utils/b,admin/z
usr/bin/é                                               utils/b
usr/share/${"x".repeat(60)} doc
`,
  );
});

test("a section that is not one word is omitted", () => {
  expect(locationOf("x", "contrib/utils")).toBe("contrib/utils/x");
  for (const section of [undefined, "", "a b", "a,b", "é", "-", "x".repeat(101)]) {
    expect(locationOf("x", section)).toBe("x");
  }
});

const path = fc
  .stringMatching(/^(usr|etc|Zed)\/[a-e\u00a0\u00e9 ]{0,6}[a-e\u00a0\u00e9]$/)
  .map((plain) => Buffer.from(plain).toString("latin1"));
const entry = fc
  .tuple(path, fc.constantFrom("utils/a", "utils/b", "c", "libs/d"))
  .map(([at, location]) => entryOf(at, location));
const entries = fc.uniqueArray(entry, { maxLength: 150 });

test("written entries are read back, whatever bytes the paths have", () => {
  fc.assert(
    fc.property(entries, (some) => {
      expect([...entriesOf(Buffer.concat(cutOf(some).map(({ plain }) => plain)))]).toEqual([...some].sort());
    }),
  );
});

test("paths with many blanks are read as fast as others", () => {
  const some = [entryOf(`usr/${" ".repeat(200_000)}x`, "utils/a")];
  const begunMs = performance.now();
  expect([...entriesOf(cutOf(some)[0]!.plain)]).toEqual(some);
  expect(performance.now() - begunMs).toBeLessThan(2000);
});

test("lines have the order of LC_ALL=C sort", () => {
  fc.assert(
    fc.property(entries, (some) => {
      const lines = text(cutOf(some));
      const paths = lines.replace(/ +\S+$/gm, "");
      const sorted = execFileSync("sort", { input: Buffer.from(paths, "latin1"), env: { LC_ALL: "C" } });
      expect(paths).toBe(sorted.toString("latin1"));
    }),
    { numRuns: 30 },
  );
});

test("any sequence of changes gives the same segments as a new build", async () => {
  const change = fc.record({ removed: fc.array(fc.nat(), { maxLength: 20 }), added: entries });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 6 }), async (changes) => {
      const held = new Set<ContentsEntry>();
      let segments: readonly ContentsSegment[] = [];
      for (const { removed: chosen, added } of changes) {
        const all = [...held];
        const removed = all.length === 0 ? [] : chosen.map((number) => all[number % all.length]!);
        for (const gone of removed) held.delete(gone);
        for (const fresh of added) held.add(fresh);
        segments = await applied(segments, removed, added);
        expect(segments).toEqual(cutOf(held));
      }
    }),
    { numRuns: 300 },
  );
});

test("an added or removed file changes few of many segments", async () => {
  const many = Array.from({ length: 2000 }, (_none, n) => entryOf(`usr/share/doc/${n * 7919}/copyright`, `misc/p${n}`));
  const segments = cutOf(many);
  expect(segments.length).toBeGreaterThan(50);
  for (const at of [0, 1000, 1999]) {
    const without = await applied(segments, [many[at]!], []);
    expect(without).toEqual(cutOf(many.filter((one) => one !== many[at])));
    expect(without.filter((segment) => !segments.includes(segment)).length).toBeLessThanOrEqual(5);
    expect(await applied(without, [], [many[at]!])).toEqual(segments);
  }
});

test("no segment is longer than the maximum and one line", () => {
  const many = Array.from({ length: 3000 }, (_none, n) => entryOf(`f${n}`, "x"));
  const never = { leastBytes: 100, oneIn: 2 ** 31, mostBytes: 1000 };
  const cutter = new ContentsCutter(never);
  cutter.add(textOf(many.sort()));
  for (const { plain } of cutter.finish().ended) expect(plain.length).toBeLessThan(1100);
});

test("runs are merged in order, whatever their chunks are", async () => {
  const line = fc.stringMatching(/^[\u0001-\u0009a-c]{1,4}$/);
  const run = fc.tuple(fc.array(line, { maxLength: 60 }), fc.integer({ min: 1, max: 10 }));
  await fc.assert(
    fc.asyncProperty(fc.array(run, { maxLength: 6 }), async (runs) => {
      async function* chunks(lines: readonly string[], size: number): AsyncGenerator<Uint8Array> {
        const sorted = [...lines].sort();
        for (let at = 0; at < sorted.length; at += size) {
          yield textOf(sorted.slice(at, at + size));
        }
      }
      const merged = await buffer(mergeRuns(runs.map(([lines, size]) => chunks(lines, size))));
      expect(merged).toEqual(textOf(runs.flatMap(([lines]) => lines).sort()));
    }),
  );
});
