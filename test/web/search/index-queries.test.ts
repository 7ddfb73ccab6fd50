// Which packages a search finds, and in which order.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { PackageSearch } from "../../../src/web/data/package-index.ts";
import { maxFoundPackages } from "../../../src/web/data/repository-data.ts";
import type { IndexedStanza } from "../../../src/web/search/index-database.ts";
import { IndexDatabase } from "../../../src/web/search/index-database.ts";
import { SqlQueries } from "../../../src/web/search/index-queries.ts";

interface Texts {
  readonly source?: string;
  readonly description?: string;
  readonly maintainer?: string;
  readonly long?: string;
}

/** The queries of an index with these packages, whose names are the keys. */
function indexOf(packages: Readonly<Record<string, Texts>>, suite = "sid") {
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-queries-"));
  const db = IndexDatabase.open(join(directory, "search.sqlite"));
  onTestFinished(() => {
    db.close();
    rmSync(directory, { recursive: true });
  });
  const segment = (name: string) =>
    ({ suite, component: "main", kind: "binary", isForInstaller: false, name }) as const;
  const stanzas = Object.entries(packages).map(([name, texts]) => stanzaOf(name, texts));
  const uploads = stanzas.map((_, at) => ({ uploadedMs: 1000 + at, directory: "dists/sid/main/binary-amd64/alice" }));
  db.add(segment("1"), stanzas, uploads);
  db.finish(suite, "publication", [segment("1")]);
  const queries = new SqlQueries(db);
  const found = (text: string, query: Partial<PackageSearch> = {}) => {
    const { entries, ...rest } = queries.search({ text, sort: "relevance", skip: 0, limit: 50, ...query });
    return { ...rest, names: entries.map((rows) => rows[0]?.name) };
  };
  return { db, queries, found, namesOf: (text: string) => found(text).names };
}

function stanzaOf(name: string, texts: Texts): IndexedStanza {
  const { source = name, description = "", maintainer = "", long = "" } = texts;
  return {
    row: {
      name,
      version: "1",
      architecture: "amd64",
      isSource: false,
      source,
      sourceVersion: "1",
      section: "misc",
      description,
      sizeBytes: 1,
      sha256: "",
      path: `pool/${name}.deb`,
      place: { segment: "1", start: 0, end: 0 },
    },
    maintainer,
    description: `${description}\n ${long}`,
    descriptionMd5: undefined,
    relations: new Map(),
    provides: [],
    hash: Buffer.from(name),
  };
}

test("the package of this name is first, then names that begin with the text, then names that contain it", () => {
  const { namesOf } = indexOf({
    "x-gnome": {},
    "gnome-terminal": {},
    "gnome-a": {},
    gnome: {},
    gnomes: {},
    "a-gnome-b": {},
    "gnome-b": {},
  });
  expect(namesOf("gnome")).toEqual(["gnome", "gnomes", "gnome-a", "gnome-b", "gnome-terminal", "x-gnome", "a-gnome-b"]);
  expect(namesOf("gnome-b")).toEqual(["gnome-b", "a-gnome-b"]);
});

test("names come before sources and first lines, these before maintainers, and these before long descriptions", () => {
  const { namesOf } = indexOf({
    a: { long: "about tea" },
    b: { maintainer: "Tea Party <tea@example.org>" },
    cccccc: { source: "tea" },
    dd: { description: "a cup of tea" },
    "a-very-long-name-with-tea": {},
  });
  expect(namesOf("tea")).toEqual(["a-very-long-name-with-tea", "dd", "cccccc", "b", "a"]);
});

test("all words must occur, each in any text of the package", () => {
  const { namesOf } = indexOf({
    hello: { description: "greets politely", long: "in many languages" },
    other: { description: "greets" },
  });
  expect(namesOf("languages hello polite")).toEqual(["hello"]);
  expect(namesOf("greets nothing")).toEqual([]);
});

const many = Object.fromEntries(
  Array.from({ length: 1500 }, (_, at) => [
    `package-${at}`,
    { source: "tools", description: `tool number ${at}`, long: "common words of tools" },
  ]),
);

test("a search that matches very many packages lists as many as allowed, once each, and says that there are more", () => {
  const { found } = indexOf({ ...many, "common-package": {}, common: {} });
  const pages: (string | undefined)[] = [];
  for (let skip = 0; skip <= maxFoundPackages; skip += 200) {
    const page = found("common", { skip, limit: 200 });
    expect(page).toMatchObject({ total: maxFoundPackages, hasMoreThanTotal: true });
    pages.push(...page.names);
  }
  expect(pages.slice(0, 4)).toEqual(["common", "common-package", "package-0", "package-1"]);
  expect(pages.length).toBe(maxFoundPackages);
  expect(new Set(pages).size).toBe(maxFoundPackages);
  expect(found("common package-7")).toMatchObject({ hasMoreThanTotal: false });
  expect(found("number 1499")).toEqual({ total: 1, hasMoreThanTotal: false, names: ["package-1499"] });
  expect(found("")).toMatchObject({ total: 1502, hasMoreThanTotal: false });
});

test.each(["relevance", "name", "time"] as const)("pages in the order of %s do not depend on their lengths", (sort) => {
  const { found } = indexOf({ ...many, "common-package": {}, common: {} });
  const whole = found("com", { sort, limit: 120 }).names;
  const parts = Array.from({ length: 12 }, (_, at) => found("com", { sort, skip: at * 10, limit: 10 }).names);
  expect(parts.flat()).toEqual(whole);
});

test("a search in the order of names or times begins with the first name or the newest upload of all that match", () => {
  const { found } = indexOf({ zz: { long: "words" }, ...many, aa: { long: "words" } });
  expect(found("words", { sort: "name", limit: 2 }).names).toEqual(["aa", "package-0"]);
  expect(found("words", { sort: "time", limit: 2 }).names).toEqual(["aa", "package-1499"]);
});

test("a filter holds for a search, for the list of all packages and their numbers, also after a change", () => {
  const { db, queries, found } = indexOf({ one: { description: "word" }, two: { description: "word" } });
  const other = { suite: "other", component: "contrib", kind: "binary", isForInstaller: false, name: "2" } as const;
  const add = (names: readonly string[]) => {
    const segment = { ...other, name: names.join() };
    const stanzas = names.map((name) => stanzaOf(name, { description: "word" }));
    db.add(
      segment,
      stanzas,
      stanzas.map(() => ({ uploadedMs: 5000, directory: "dists/other/contrib/bob" })),
    );
    db.finish("other", names.join(), [segment]);
    queries.changed();
  };
  add(["three"]);
  const filters = [{ suite: "other" }, { component: "contrib" }, { builder: "dists/other/contrib/bob" }];
  for (const filter of filters) {
    expect(found("word", filter)).toMatchObject({ total: 1, names: ["three"] });
    for (const sort of ["relevance", "name", "time"] as const)
      expect(found("", { ...filter, sort })).toMatchObject({ total: 1, names: ["three"] });
  }
  expect(found("word", { suite: "nowhere" })).toMatchObject({ total: 0, names: [] });
  add(["one", "three"]);
  for (const filter of filters) expect(found("word", { ...filter, sort: "name" }).names).toEqual(["one", "three"]);
  expect(found("word", { suite: "sid", sort: "name" }).names).toEqual(["one", "two"]);
  expect(queries.filters()).toMatchObject({ suites: ["other", "sid"], architectures: ["amd64"] });
});

test.each([
  ['"'],
  ['""" OR a'],
  ["*"],
  ["a*b*"],
  ["NEAR(hello other, 5)"],
  ["{name} : hello"],
  ["name:hello"],
  ["- hello"],
  ["hello NOT other"],
  ["^hello"],
  ["hello\u0000other"],
  ["'; DROP TABLE entry; --"],
  ["%"],
  ["_"],
  ["\u202ehello"],
  ["İ"],
  ["日本語"],
  ["🎉"],
  ["é".normalize("NFD")],
  ["a ".repeat(100)],
  ["w".repeat(200)],
])("the text %j is searched for as words, not as a query language", (text) => {
  const { found } = indexOf({ hello: { description: "one" }, other: { long: "two" } });
  for (const sort of ["relevance", "name", "time"] as const) expect(found(text, { sort }).names.length).toBeLessThan(2);
  expect(found("hello").names).toEqual(["hello"]);
});
