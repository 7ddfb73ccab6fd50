// Segments depend only on the list, and are cheap to update.
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Ordered } from "../../src/indices/order.ts";
import { compareOrdered } from "../../src/indices/order.ts";
import type { Cut, Segment } from "../../src/indices/segments.ts";
import { SegmentedList } from "../../src/indices/segments.ts";
import { cases } from "../support/cases.ts";
import { anEntry, anyEntry } from "../support/ordered-entries.ts";

/** Small limits, so that short lists have many segments of both kinds. */
const fineCut: Cut = {
  small: { least: 1, oneIn: 2, most: 3, leastBytes: 2000, mostBytes: 4000 },
  large: { least: 3, oneIn: 4, most: 9, leastBytes: 6000, mostBytes: 12_000 },
};

const idsOf = (list: SegmentedList<Ordered>): readonly string[] => list.segments().map((segment) => segment.id);
const itemsOf = (list: SegmentedList<Ordered>): readonly Ordered[] => list.segments().flatMap(({ items }) => items);
const manyItems = (count: number): readonly Ordered[] =>
  Array.from({ length: count }, (_, n) => anEntry({ linkedAtMs: n, path: `pool/p${n}.deb` }));

test("any sequence of changes gives the same segments as a new list", () => {
  const anyChange = fc.record({
    added: fc.array(anyEntry, { maxLength: 12 }),
    removed: fc.array(fc.nat(), { maxLength: 6 }),
  });
  fc.assert(
    fc.property(fc.array(anyEntry, { maxLength: 120 }), fc.array(anyChange, { maxLength: 8 }), (first, changes) => {
      let list = SegmentedList.build(first, fineCut);
      const model = new Map<string, Ordered>();
      const placeOf = (item: Ordered): string => `${item.linkedAtMs} ${item.path}`;
      for (const item of first) model.set(placeOf(item), item);
      for (const { added, removed } of changes) {
        const present = [...model.values()];
        const gone = present.length === 0 ? [] : removed.map((n) => present[n % present.length]!);
        for (const item of gone) model.delete(placeOf(item));
        for (const item of added) model.set(placeOf(item), item);
        list = list.apply({ removed: gone, added });
        expect(itemsOf(list)).toEqual([...model.values()].sort(compareOrdered));
        expect(idsOf(list)).toEqual(idsOf(SegmentedList.build(model.values(), fineCut)));
      }
    }),
    { numRuns: 300 },
  );
});

test("an unchanged segment stays the same object", () => {
  fc.assert(
    fc.property(fc.array(anyEntry, { minLength: 5, maxLength: 120 }), anyEntry, fc.nat(), (items, added, n) => {
      const before = SegmentedList.build(items, fineCut);
      const known = new Map<string, Segment<Ordered>>(
        before.segments().map((segment) => [JSON.stringify(segment), segment]),
      );
      const after = before.apply({ removed: [items[n % items.length]!], added: [added] });
      for (const segment of after.segments()) {
        const same = known.get(JSON.stringify(segment));
        if (same !== undefined) expect(segment).toBe(same);
      }
    }),
    { numRuns: cases(3_000) },
  );
});

test("removals of absent items, and empty changes, change no segment", () => {
  const list = SegmentedList.build(manyItems(2000));
  expect(list.apply({ removed: [], added: [] })).toBe(list);
  const same = list.apply({ removed: [anEntry({ linkedAtMs: 7, path: "elsewhere.deb" })], added: [] });
  expect(same.segments()).toEqual(list.segments());
});

test("a replaced content changes its segment, even at the same position", () => {
  const list = SegmentedList.build(manyItems(2000));
  const replaced = anEntry({ linkedAtMs: 1000, path: "pool/p1000.deb", content: "other" });
  const after = list.apply({ removed: [], added: [replaced] });
  expect(itemsOf(after)).toHaveLength(2000);
  expect(idsOf(after)).not.toEqual(idsOf(list));
});

test("an append, a replacement, a removal and an insertion each change about one segment of thousands of items", () => {
  const list = SegmentedList.build(manyItems(20_000));
  const known = new Set(idsOf(list));
  const changedBy = (removed: readonly Ordered[], added: readonly Ordered[]): number =>
    idsOf(list.apply({ removed, added })).filter((id) => !known.has(id)).length;
  let most = 0;
  let total = 0;
  for (let n = 0; n < 400; n++) {
    const place = (n * 7919) % 20_000;
    const there = anEntry({ linkedAtMs: place, path: `pool/p${place}.deb` });
    const counts = [
      changedBy([], [anEntry({ linkedAtMs: 30_000, path: `pool/new${n}.deb` })]),
      changedBy([there], [anEntry({ linkedAtMs: place, path: `pool/p${place}.deb`, content: "new" })]),
      changedBy([there], []),
      changedBy([], [anEntry({ linkedAtMs: place, path: `pool/z${n}.deb` })]),
    ];
    most = Math.max(most, ...counts);
    total += counts.reduce((a, b) => a + b, 0);
  }
  expect(total / 1600).toBeLessThan(1.2);
  expect(most).toBeLessThan(20);
});

test("large segments have about 256 items, and none has more than 512", () => {
  const sizes = SegmentedList.build(manyItems(60_000))
    .segments()
    .map((segment) => segment.items.length);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(512);
  expect(60_000 / sizes.length).toBeGreaterThan(200);
  expect(60_000 / sizes.length).toBeLessThan(300);
});

test("items whose hashes never mark an end are still cut", () => {
  const endless = manyItems(5000).map((item) => ({
    ...item,
    identity: `${"0".repeat(7)}1${"0".repeat(7)}1`.padEnd(64, "0"),
  }));
  const sizes = SegmentedList.build(endless)
    .segments()
    .map((segment) => segment.items.length);
  expect(Math.max(...sizes)).toBe(512);
});

/** The longest stanzas. */
const longItems = (count: number): readonly Ordered[] =>
  Array.from({ length: count }, (_, n) =>
    anEntry({ linkedAtMs: n, path: `pool/p${n}.deb`, stanzaBytes: 100_000 + ((n * 7919) % 160_000) }),
  );

const bytesOf = ({ items }: Segment<Ordered>): number => items.reduce((sum, { stanzaBytes }) => sum + stanzaBytes, 0);

test("segments of long stanzas are limited in bytes, and end where their content decides", () => {
  const segments = SegmentedList.build(longItems(5000)).segments();
  const bytes = segments.map(bytesOf);
  expect(Math.max(...bytes)).toBeLessThan(2 * 2 ** 20 + 260_000);
  const large = bytes.filter((each) => each >= 2 ** 20);
  expect(large.length).toBeGreaterThan(300);
  expect(large.filter((each) => each < 2 * 2 ** 20).length / large.length).toBeGreaterThan(0.9);
});

test("a change among long stanzas leaves almost all segments unchanged", () => {
  const list = SegmentedList.build(longItems(3000));
  const known = new Set(idsOf(list));
  let total = 0;
  for (let n = 0; n < 100; n++) {
    const place = (n * 7919) % 3000;
    const other = anEntry({ linkedAtMs: place, path: `pool/p${place}.deb`, content: "new", stanzaBytes: 1000 });
    total += idsOf(list.apply({ removed: [], added: [other] })).filter((id) => !known.has(id)).length;
  }
  expect(total / 100).toBeLessThan(3);
});

test("stanzas of usual length are cut by their number only", () => {
  const items = manyItems(20_000);
  const usual = SegmentedList.build(items.map((item, n) => ({ ...item, stanzaBytes: 500 + ((n * 7919) % 3000) })));
  expect(idsOf(usual)).toEqual(idsOf(SegmentedList.build(items.map((item) => ({ ...item, stanzaBytes: 0 })))));
});

test("one change in 60,000 items takes about a millisecond", () => {
  let list = SegmentedList.build(manyItems(60_000));
  const started = performance.now();
  for (let n = 0; n < 200; n++) {
    list = list.apply({ removed: [], added: [anEntry({ linkedAtMs: n * 300, path: `pool/new${n}.deb` })] });
  }
  expect((performance.now() - started) / 200).toBeLessThan(3);
});
