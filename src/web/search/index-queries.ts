// The queries of `PackageIndex`, as SQL over an IndexDatabase.
import { LRUCache } from "lru-cache";
import type {
  DependentRow,
  DirectoryCount,
  FoundPackages,
  ListedRow,
  PackageIndex,
  PackageSearch,
  QueryName,
  ResolvedName,
  Slice,
  UploadSearch,
} from "../data/package-index.ts";
import type { Cut, Filters, PackageFilter, PackageOrder } from "../data/repository-data.ts";
import { maxFoundPackages, maxListedEntries } from "../data/repository-data.ts";
import type { IndexDatabase } from "./index-database.ts";
import { columnOfField, dependingFields, textIdMask } from "./index-database.ts";

/** The queries without their abort signals: each takes some milliseconds. */
export type IndexQueries = {
  readonly [Query in QueryName]: PackageIndex[Query] extends (
    ...parameters: [...infer Parameters, AbortSignal]
  ) => Promise<infer Result>
    ? (...parameters: Parameters) => Result
    : never;
};

type Value = string | number;
type Row = Readonly<Record<string, unknown>>;

/** The most words of a search; further ones are ignored. */
const maxWords = 10;
/** The most filters whose packages are kept in a table until the index changes. */
const maxSelections = 8;
/** The most dependents that are sorted. */
const maxDependents = 5000;
/**
 * The columns that contain all words, the most relevant first; each tier contains those before it. The formula bm25
 * would need the positions of all words, which make the index half as large again, and prefers rare words in long
 * descriptions to names.
 */
const tiers = ["{name} : ", "{name source short} : ", "{name source short maintainer} : ", ""];
/** The texts that match, from the shortest name to the longest: the full-text index finds them in this order. */
const found = `(SELECT rowid & ${textIdMask} id FROM words WHERE words MATCH ? ORDER BY rowid) h
  JOIN text t ON t.id = h.id`;
/** How many counts and lists are remembered until the index changes. */
const maxRemembered = 500;

const columns = `s.name suite, component, p.name name, version, architecture, is_source, for_installer, source,
  source_version, section, coalesce((SELECT short FROM text WHERE text.id = e.text), '') short, uploaded, directory,
  size, sha256, path, segment, start, end`;
const from = "entry e JOIN suite s ON s.id = e.suite JOIN package p ON p.id = e.package";

export class SqlQueries implements IndexQueries {
  readonly #db: IndexDatabase;
  readonly #remembered = new LRUCache<string, object>({ max: maxRemembered });
  /** Keys in the table `selected`, by filter. */
  readonly #selections = new LRUCache<string, number>({
    max: maxSelections,
    dispose: (key) => this.#db.all("DELETE FROM selected WHERE selection = ?", [key]),
  });
  #lastSelection = 0;

  constructor(db: IndexDatabase) {
    this.#db = db;
    db.get(
      "CREATE TEMP TABLE selected(selection INTEGER, package INTEGER, PRIMARY KEY(selection, package)) WITHOUT ROWID",
    );
  }

  /** To be called when the index has changed. */
  changed(): void {
    this.#remembered.clear();
    this.#selections.clear();
  }

  filters(): Filters {
    return this.#remember("filters", () => {
      const distinct = (sql: string) => this.#db.all(sql).map(({ value }) => String(value));
      return {
        suites: distinct("SELECT name value FROM suite WHERE publication IS NOT NULL ORDER BY 1"),
        components: distinct("SELECT DISTINCT component value FROM segment ORDER BY 1"),
        // SELECT DISTINCT would read the whole index.
        architectures: distinct(
          `WITH RECURSIVE each(value) AS (
             SELECT min(architecture) FROM entry
             UNION ALL SELECT (SELECT min(architecture) FROM entry WHERE architecture > value) FROM each
             WHERE value IS NOT NULL)
           SELECT value FROM each WHERE value <> 'source'`,
        ),
        builders: this.directories().map(({ directory }) => directory),
      };
    });
  }

  search({ text, sort, skip, limit, ...filter }: PackageSearch): FoundPackages {
    const words =
      text
        .toLowerCase()
        .match(/[\p{L}\p{N}]+/gu)
        ?.slice(0, maxWords) ?? [];
    const nothing = { entries: [], total: 0, hasMoreThanTotal: false };
    if (words.length === 0 && text.trim() !== "") return nothing;
    const match = words.length === 0 ? undefined : matchOf(words);
    const selection = this.#select(filter);
    if (match !== undefined && this.#count(undefined, selection) === 0) return nothing;
    const most = match === undefined ? Number.POSITIVE_INFINITY : maxFoundPackages;
    const slice = { skip, limit: Math.max(0, Math.min(limit, most - skip)) };
    const { ids, count } = this.#remember(JSON.stringify(["search", text, sort, slice, filter]), () =>
      match !== undefined && sort === "relevance"
        ? this.#ranked(match, text.trim().toLowerCase(), selection, slice)
        : { ids: this.#sorted(match, sort, selection, slice), count: this.#count(match, selection) },
    );
    return {
      entries: ids.map((id) => this.#rowsOf(id, selection)),
      total: Math.min(count, most),
      hasMoreThanTotal: count > most,
    };
  }

  /** Returns the number of packages, but no more than `maxFoundPackages` + 1 of those that match. */
  #count(match: string | undefined, { filter, isSelected, key }: Selection): number {
    return this.#counted(JSON.stringify(["count", match, filter]), () => {
      if (match !== undefined)
        return [
          `SELECT count(*) count FROM (SELECT DISTINCT t.package FROM ${found} JOIN package p ON p.id = t.package
           WHERE ${isSelected} LIMIT ${maxFoundPackages + 1})`,
          [match, ...key],
        ];
      if (key.length > 0) return ["SELECT count(*) count FROM selected WHERE selection = ?", key];
      return ["SELECT count(DISTINCT package) count FROM entry WHERE is_source = 0", []];
    });
  }

  /**
   * Returns packages in the order of relevance: by tiers, and within a tier the package of this name, the names that
   * begin with it, the shorter names. Of a tier with more than `maxFoundPackages` packages, only those with the
   * shortest names are sorted.
   */
  #ranked(match: string, name: string, selection: Selection, { skip, limit }: Slice) {
    const { isSelected, key } = selection;
    const ids = new Set<number>();
    let [isComplete, isFull] = [true, false];
    for (const tier of tiers) {
      isComplete = !isFull && ids.size < skip + limit;
      if (!isComplete) break;
      const packages = this.#db
        .all(
          `SELECT DISTINCT p.id id, p.name name FROM ${found} JOIN package p ON p.id = t.package
           WHERE ${isSelected} LIMIT ${maxFoundPackages + 1}`,
          [`${tier}${match}`, ...key],
        )
        .map((row) => ({ id: Number(row.id), name: String(row.name) }));
      isFull = packages.length > maxFoundPackages;
      for (const { id } of packages.toSorted(byNearness(name))) ids.add(id);
    }
    const page = [...ids].slice(skip, skip + limit);
    if (isFull) return { ids: page, count: maxFoundPackages + 1 };
    return { ids: page, count: isComplete ? ids.size : this.#count(match, selection) };
  }

  /** Returns packages in the order of names, or of uploads. It walks through them in this order. */
  #sorted(
    match: string | undefined,
    sort: PackageOrder,
    { condition, values, isSelected, key }: Selection,
    { skip, limit }: Slice,
  ): readonly number[] {
    const isMatching = match === undefined ? "1" : `+p.id IN (SELECT t.package FROM ${found})`;
    const matches = match === undefined ? [] : [match];
    const isBinary = "EXISTS (SELECT 1 FROM entry e WHERE e.package = p.id AND is_source = 0)";
    const rows =
      sort === "time"
        ? // Each package at its newest entry.
          this.#db.all(
            `SELECT p.id id FROM entry o CROSS JOIN package p ON p.id = o.package
             WHERE o.is_source = 0 AND ${isMatching} AND ${isSelected}
               AND o.id = (SELECT e.id FROM entry e WHERE e.package = o.package AND is_source = 0${condition}
                 ORDER BY uploaded DESC, e.id DESC LIMIT 1)
             ORDER BY uploaded DESC, o.id DESC LIMIT ? OFFSET ?`,
            [...matches, ...key, ...values, limit, skip],
          )
        : this.#db.all(
            `SELECT p.id id FROM package p WHERE ${isMatching} AND ${isSelected} AND ${isBinary}
             ORDER BY p.name LIMIT ? OFFSET ?`,
            [...matches, ...key, limit, skip],
          );
    return rows.map(({ id }) => Number(id));
  }

  /** Puts the packages that a filter selects into a table, so that none is checked again for each search. */
  #select(filter: PackageFilter): Selection {
    const { condition, values } = conditionOf(filter);
    const selection = { filter, condition, values };
    if (condition === "") return { ...selection, isSelected: "1", key: [] };
    const text = JSON.stringify([condition, values]);
    const known = this.#selections.get(text);
    const key = known ?? ++this.#lastSelection;
    if (known === undefined) {
      this.#db.all(`INSERT OR IGNORE INTO selected SELECT ?, package FROM entry e WHERE is_source = 0${condition}`, [
        key,
        ...values,
      ]);
      this.#selections.set(text, key);
    }
    const isSelected = "EXISTS (SELECT 1 FROM selected WHERE selection = ? AND package = p.id)";
    return { ...selection, isSelected, key: [key] };
  }

  binaries(name: string): readonly ListedRow[] {
    return this.#rows("p.name = ? AND is_source = 0", [name]);
  }

  source(name: string): { readonly sources: readonly ListedRow[]; readonly built: Cut<ListedRow> } {
    const condition = "e.source = ? AND is_source = 0";
    const count = this.#db.get(`SELECT count(*) count FROM entry e WHERE ${condition}`, [name]);
    return {
      sources: this.#rows("e.source = ? AND is_source = 1", [name]),
      built: {
        entries: this.#rows(condition, [name], `ORDER BY p.name, s.name LIMIT ${maxListedEntries}`),
        total: Number(count?.count ?? 0),
      },
    };
  }

  bySha256(sha256: string): ListedRow | undefined {
    return this.#rows("e.sha256 = ?", [sha256], "LIMIT 1")[0];
  }

  dependents(names: readonly string[], { skip, limit }: Slice): Cut<DependentRow> {
    const found = this.#remember(JSON.stringify(["dependents", names]), () => this.#allDependents(names));
    const page = found.slice(skip, skip + limit);
    const entries = page.flatMap(({ id, field, on }) =>
      this.#rows("e.id = ?", [id]).map((row) => ({ row, field, on })),
    );
    return { entries, total: found.length };
  }

  /** At most `maxDependents`, sorted by name, suite and version. */
  #allDependents(names: readonly string[]) {
    const found: { id: number; field: DependentRow["field"]; on: string; key: string }[] = [];
    const seen = new Set<string>();
    for (const name of names.filter(isPackageName)) {
      for (const field of dependingFields) {
        const room = maxDependents - found.length;
        if (room <= 0) break;
        const rows = this.#db.all(
          `SELECT e.id id, p.name || ' ' || s.name || ' ' || version key
           FROM (SELECT rowid id FROM relations WHERE relations MATCH ? LIMIT ?) h
           JOIN entry e ON e.id = h.id JOIN suite s ON s.id = e.suite JOIN package p ON p.id = e.package`,
          [`${columnOfField(field)} : ${quoted(name)}`, room],
        );
        for (const { id, key } of rows) {
          const unique = JSON.stringify([key, field, name]);
          if (seen.has(unique)) continue;
          seen.add(unique);
          found.push({ id: Number(id), field, on: name, key: String(key) });
        }
      }
    }
    return found.toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  }

  resolve(names: readonly string[]): ReadonlyMap<string, ResolvedName> {
    return new Map(
      names.map((name) => {
        const suites = this.#db.all(`SELECT DISTINCT s.name suite FROM ${from} WHERE p.name = ? AND is_source = 0`, [
          name,
        ]);
        const providers = this.#db.all(
          `SELECT DISTINCT p.name name, s.name suite FROM provided JOIN entry e ON e.id = provided.entry
           JOIN suite s ON s.id = e.suite JOIN package p ON p.id = e.package WHERE provided.name = ? LIMIT 100`,
          [name],
        );
        return [
          name,
          {
            suites: suites.map(({ suite }) => String(suite)),
            providers: providers.map((one) => ({ name: String(one.name), suite: String(one.suite) })),
          },
        ];
      }),
    );
  }

  descriptions(md5s: readonly string[]): ReadonlyMap<string, string> {
    return new Map(
      md5s.flatMap((md5) => {
        const text = this.#db.descriptionOf(md5);
        return text === undefined ? [] : [[md5, text] as const];
      }),
    );
  }

  uploads({ suite, directory, skip, limit }: UploadSearch): Cut<ListedRow> {
    const { condition, values } = conditionOf({ suite, builder: directory });
    const total = this.#counted(JSON.stringify(["uploads", suite, directory]), () => [
      `SELECT count(*) count FROM entry e WHERE 1${condition}`,
      values,
    ]);
    // In the order of an index.
    const order = "ORDER BY uploaded DESC, e.id DESC LIMIT ? OFFSET ?";
    return { entries: this.#rows(`1${condition}`, [...values, limit, skip], order), total };
  }

  directories(): readonly DirectoryCount[] {
    return this.#remember("directories", () =>
      this.#db
        .all("SELECT directory, count(*) rows, max(uploaded) uploaded FROM entry GROUP BY directory ORDER BY directory")
        .map(({ directory, rows, uploaded }) => ({
          directory: String(directory),
          rows: Number(rows),
          uploadedMs: Number(uploaded),
        })),
    );
  }

  #rowsOf(id: number, { condition, values }: Selection): readonly ListedRow[] {
    return this.#rows(`e.package = ? AND is_source = 0${condition}`, [id, ...values], `LIMIT ${maxListedEntries}`);
  }

  #rows(condition: string, values: readonly Value[], order = ""): readonly ListedRow[] {
    return this.#db.all(`SELECT ${columns} FROM ${from} WHERE ${condition} ${order}`, values).map(listedRow);
  }

  /** @param key under which the count is remembered @param query returns SQL with one column `count`, and its values */
  #counted(key: string, query: () => readonly [sql: string, values: readonly Value[]]): number {
    return this.#remember(key, () => ({ count: Number(this.#db.get(...query())?.count ?? 0) })).count;
  }

  #remember<Result extends object>(key: string, find: () => Result): Result {
    const known = this.#remembered.get(key) as Result | undefined;
    if (known !== undefined) return known;
    const found = find();
    this.#remembered.set(key, found);
    return found;
  }
}

/** The entries that match a filter, and the packages that have such an entry. */
interface Selection {
  readonly filter: PackageFilter;
  /** A condition on `entry e`, which begins with AND unless it is empty. */
  readonly condition: string;
  /** The values of its parameters. */
  readonly values: readonly Value[];
  /** A condition on `package p`. */
  readonly isSelected: string;
  /** The value of its parameter; empty without a filter. */
  readonly key: readonly number[];
}

function conditionOf({ suite, component, architecture, builder }: PackageFilter) {
  const conditions: string[] = [];
  const values: Value[] = [];
  const add = (sql: string, ...given: Value[]) => {
    conditions.push(` AND ${sql}`);
    values.push(...given);
  };
  if (suite !== undefined) add("e.suite = (SELECT id FROM suite WHERE name = ?)", suite);
  if (component !== undefined) add("e.component = ?", component);
  if (architecture !== undefined) add("+e.architecture IN (?, 'all')", architecture);
  // "0" is the character after "/".
  if (builder !== undefined)
    add("(e.directory = ? OR e.directory > ? AND e.directory < ?)", builder, `${builder}/`, `${builder}0`);
  return { condition: conditions.join(""), values };
}

/** Orders names: this one, those that begin with it, the shorter ones. */
const byNearness =
  (name: string) =>
  (a: { readonly name: string }, b: { readonly name: string }): number =>
    Number(b.name === name) - Number(a.name === name) ||
    Number(b.name.startsWith(name)) - Number(a.name.startsWith(name)) ||
    a.name.length - b.name.length ||
    (a.name < b.name ? -1 : 1);

/** A query of the full-text index. A single character matches whole words only: too many words begin with it. */
const matchOf = (words: readonly string[]): string =>
  `(${words.map((word) => `${quoted(word)}${word.length > 1 ? "*" : ""}`).join(" ")})`;

const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;

/** Other names cannot be in the full-text index of relations. */
const isPackageName = (name: string): boolean => /^[a-z0-9][a-z0-9+.-]*$/.test(name);

function listedRow(row: Row): ListedRow {
  const text = (column: string): string => {
    const value = row[column];
    return typeof value === "string" ? value : "";
  };
  return {
    suite: text("suite"),
    component: text("component"),
    name: text("name"),
    version: text("version"),
    architecture: text("architecture"),
    isSource: row.is_source === 1,
    isForInstaller: row.for_installer === 1,
    source: text("source"),
    sourceVersion: text("source_version"),
    section: text("section"),
    description: text("short"),
    uploadedMs: Number(row.uploaded),
    directory: text("directory"),
    sizeBytes: Number(row.size),
    sha256: text("sha256"),
    path: text("path"),
    place: { segment: text("segment"), start: Number(row.start), end: Number(row.end) },
  };
}
