// Listings in chunks: the result does not depend on the chunks, and hostile ones cost limited time and memory.
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { ListingLimits } from "../../../src/storage/tahoe/listing.ts";
import { defaultListingLimits, ListingReader } from "../../../src/storage/tahoe/listing.ts";
import type { Entry, FileEntry } from "../../../src/storage/tree.ts";
import { cases } from "../../support/cases.ts";
import { onceUnchanged } from "../../support/unchanged.ts";

const { signal } = new AbortController();
const cap = "URI:LIT:krugkidfnzsc4";

async function* inPieces(bytes: Uint8Array, lengths: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (let index = 0; at < bytes.length; index++) {
    const length = lengths[index % lengths.length] ?? bytes.length;
    yield bytes.subarray(at, at + length);
    at += length;
  }
}

async function entriesIn(
  text: string | Uint8Array,
  limits: Partial<ListingLimits> = {},
  lengths: readonly number[] = [2 ** 16],
): Promise<ReadonlyMap<string, Entry>> {
  const reader = new ListingReader({ ...defaultListingLimits, ...limits });
  const { node } = await reader.read(inPieces(Buffer.from(text), lengths), signal);
  if (node.kind !== "directory") throw new Error("it is not a directory");
  return node.entries;
}

const fileWith = (metadata: unknown): unknown => ["filenode", { ro_uri: cap, mutable: false, metadata }];
const listingOf = (children: unknown): string =>
  JSON.stringify(["dirnode", { mutable: true, children, ro_uri: "URI:DIR2-RO:x" }]);
const metadataOf = (entry: Entry | undefined): unknown => (entry as FileEntry | undefined)?.metadata;

type Said = [string, { children: Record<string, [string, { metadata?: { apt?: unknown } }]> }];

test("wherever it is cut into chunks, a listing has the same result as JSON.parse", async () => {
  const name = fc
    .string({ unit: "grapheme", minLength: 1, maxLength: 12 })
    .map((raw) => `n${raw.replace(/[/\p{C}]/gu, "")}`);
  const metadata = fc.record(
    {
      apt: fc.jsonValue(),
      tahoe: fc.constant({ linkcrtime: 5, linkmotime: 6 }),
      own: fc.jsonValue(),
      "a:b": fc.jsonValue(),
    },
    { requiredKeys: [] },
  );
  const child = fc.oneof(
    metadata.map(fileWith),
    fc.jsonValue().map((value) => ["dirnode", { own: value, verify_uri: "URI:x" }]),
    fc.constant(["unknown", {}]),
  );
  const spaces = fc.constantFrom(undefined, 1);
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(name, child, { maxKeys: 6 }),
      spaces,
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }),
      async (children, indent, lengths) => {
        const text = JSON.stringify(
          ["dirnode", { before: [{ children: 1 }], children, after: { metadata: {} } }],
          null,
          indent,
        );
        const entries = await entriesIn(text, {}, lengths);
        const [, { children: said }] = JSON.parse(text) as Said;
        expect([...entries.keys()]).toEqual(Object.keys(said));
        for (const [each, [kind, facts]] of Object.entries(said)) {
          const entry = entries.get(each);
          expect(entry?.kind).toBe(kind === "filenode" ? "file" : kind === "dirnode" ? "directory" : "other");
          expect(metadataOf(entry)).toEqual(facts.metadata?.apt);
        }
      },
    ),
    { numRuns: cases(300) },
  );
});

test("no truncated listing is accepted", async () => {
  const text = listingOf({ a: fileWith({ apt: { x: ['\\"]', 1] } }), b: ["dirnode", {}] });
  expect(await entriesIn(text)).toHaveProperty("size", 2);
  for (let end = 0; end < text.length; end++) await expect(entriesIn(text.slice(0, end))).rejects.toThrow();
});

test("metadata beyond its limit counts as invalid, and its file and times are kept", async () => {
  const times = { linkcrtime: 5, linkmotime: 6 };
  const long = '"[{\\'.repeat(1000);
  const text = listingOf({
    before: fileWith({ apt: "short", tahoe: times }),
    long: fileWith({ tahoe: times, apt: { control: long }, own: long }),
    first: fileWith({ apt: { control: long }, tahoe: times }),
    after: fileWith({ own: long, apt: "short" }),
  });
  for (const lengths of [[2 ** 20], [7], [100]]) {
    const entries = await entriesIn(text, { maxMetadataBytes: 1000 }, lengths);
    expect([...entries.values()].map(metadataOf)).toEqual([
      "short",
      "beyond max_metadata_bytes",
      "beyond max_metadata_bytes",
      "short",
    ]);
    for (const name of ["before", "long", "first"]) {
      expect(entries.get(name)).toMatchObject({ kind: "file", linkedAtMs: 5000, relinkedAtMs: 6000 });
    }
    expect(metadataOf((await entriesIn(text, {}, lengths)).get("long"))).toEqual({ control: long });
  }
});

test("foreign metadata of a link is dropped, except for its keys", async () => {
  const own = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`key${index}`, "x".repeat(10_000)]));
  expect(metadataOf((await entriesIn(listingOf({ a: fileWith({ ...own, apt: 1 }) }))).get("a"))).toBe(1);
  const names = Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`${index}${"k".repeat(10_000)}`, 1]));
  await expect(entriesIn(listingOf({ a: fileWith(names) }), { maxMetadataBytes: 1000 })).rejects.toThrow(
    "max_metadata_bytes = 1000",
  );
});

test("an exceeded limit is reported with its configuration key", async () => {
  const many = listingOf(Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`n${index}`, ["unknown", {}]])));
  await expect(entriesIn(many, { maxListingBytes: 1000 })).rejects.toThrow("max_listing_bytes = 1000");
  await expect(entriesIn(many, { maxEntries: 99 })).rejects.toThrow("max_entries = 99");
  expect(await entriesIn(many, { maxEntries: 100 })).toHaveProperty("size", 100);
});

const deep = (count: number): string => "[".repeat(count) + "]".repeat(count);
const hostile: readonly (readonly [what: string, text: string | Uint8Array])[] = [
  ["brackets without end", "[".repeat(2 ** 22)],
  ["objects without end", '["dirnode", {"children": {"a": '.repeat(2 ** 17)],
  ["closing brackets", "]".repeat(1000)],
  ["children without end", `["dirnode", {"children": {${'"a": ["unknown", {}],'.repeat(100_000)}`],
  ["children twice", '["dirnode", {"children": {"a": ["unknown", {}]}, "children": {}}]'],
  ["children that are no object", '["dirnode", {"children": [1]}]'],
  ["no children", '["dirnode", {}]'],
  ["a child that is no node", '["dirnode", {"children": {"a": {}}}]'],
  ["an entry that is missing", '["dirnode", {"children": {"a": ["unknown", {}],,"b": ["unknown", {}]}}]'],
  ["a comma too many", '["dirnode", {"children": {"a": ["unknown", {}],}}]'],
  ["a string without end", `["dirnode", {"children": {"${"a".repeat(2 ** 22)}`],
  ["a number without end", `["dirnode", {"children": {"a": ["filenode", {"size": ${"9".repeat(2 ** 22)}`],
  ["brackets that do not match", '["dirnode", {"children": {"a": ["unknown", {]}}}]'],
  ["bytes that are no UTF-8", Buffer.from('["dirnode", {"children": {"\xff": ["unknown", {}]}}]', "latin1")],
  ["two values", `${listingOf({})} 1`],
  ["two listings", listingOf({}) + listingOf({})],
];
test.each(hostile)("%s is rejected as a listing, and quickly", async (_what, text) => {
  const startedMs = performance.now();
  const thrown: unknown = await entriesIn(text).catch((reason: unknown) => reason);
  expect(thrown).toBeInstanceOf(Error);
  expect((thrown as Error).message.length).toBeLessThan(200);
  expect(performance.now() - startedMs).toBeLessThan(5000);
});

test("metadata that is nested a million times, huge or named like a prototype affects no other entry", async () => {
  const text = `["dirnode", {"children": {
    "deep": ["filenode", {"ro_uri": "${cap}", "mutable": false, "metadata": {"apt": ${deep(1_000_000)}}}],
    "deepest": ["filenode", {"ro_uri": "${cap}", "mutable": false, "metadata": {"own": ${deep(1_000_000)}, "apt": 1}}],
    "number": ["filenode", {"ro_uri": "${cap}", "mutable": false, "metadata": {"apt": ${"9".repeat(100_000)}}}],
    "__proto__": ["filenode", {"ro_uri": "${cap}", "mutable": false, "metadata": {"apt": {"__proto__": {"x": 1}}}}],
    "constructor": ["filenode", {"ro_uri": "${cap}", "mutable": false}],
    "twice": ["unknown", {}],
    "twice": ["filenode", {"ro_uri": "${cap}", "mutable": false, "metadata": {"apt": 1, "apt": 2}}]
  }}]`;
  const entries = await entriesIn(text);
  expect([...entries.keys()]).toEqual(["deep", "deepest", "number", "__proto__", "constructor", "twice"]);
  expect([...entries.values()].every(({ kind }) => kind === "file")).toBe(true);
  expect(metadataOf(entries.get("deepest"))).toBe(1);
  expect(metadataOf(entries.get("twice"))).toBe(2);
  expect(({} as Record<string, unknown>).x).toBeUndefined();
});

test("reading a large listing yields to the event loop", async () => {
  const children = Object.fromEntries(
    Array.from({ length: 10_000 }, (_, index) => [`n${index}`, fileWith({ apt: "x".repeat(1200) })]),
  );
  let turns = 0;
  let [longestUs, totalUs] = [0, 0];
  let isOver = false;
  const text = listingOf(children);
  const others = (async () => {
    while (!isOver) {
      // In CPU time, because other processes of this machine must not affect the result.
      const before = process.cpuUsage();
      await turn();
      const { user, system } = process.cpuUsage(before);
      longestUs = Math.max(longestUs, user + system);
      totalUs += user + system;
      turns += 1;
    }
  })();
  expect(await entriesIn(text, {}, [2 ** 24])).toHaveProperty("size", 10_000);
  isOver = true;
  await others;
  expect(turns).toBeGreaterThan(10);
  expect(longestUs / totalUs).toBeLessThan(0.5);
});

test("only a limited number of large listings is read at once, and small ones do not wait for them", async () => {
  const reader = new ListingReader({ ...defaultListingLimits, maxLargeListings: 2 });
  const tail = '"z": ["unknown", {}]}}]';
  const padded = `["unknown", {"x": "${"x".repeat(2 ** 18)}"}], `;
  let beyond = 0;
  let most = 0;
  let release = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  async function* large(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('["dirnode", {"children": {');
    // Listings up to 4 MiB are not limited; larger ones use a slot.
    for (let index = 0; index < 20; index++) yield Buffer.from(`"${index}": ${padded}`);
    most = Math.max(most, ++beyond);
    await gate;
    beyond -= 1;
    yield Buffer.from(tail);
  }
  const all = Array.from({ length: 5 }, () => reader.read(large(), signal));
  await expect.poll(() => most, { timeout: 10_000 }).toBe(2);
  await onceUnchanged(() => most);
  const small = await reader.read(inPieces(Buffer.from(listingOf({})), [10]), signal);
  expect(small.node.kind).toBe("directory");
  release();
  expect(await Promise.all(all)).toHaveLength(5);
  expect(most).toBe(2);
});
