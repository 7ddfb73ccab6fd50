// The queries of `PackageIndex`, as SQL over an IndexDatabase.
import { LRUCache } from "lru-cache";
import type {
  DependentRow,
  DirectoryCount,
  ListedRow,
  PackageIndex,
  PackageSearch,
  QueryName,
  ResolvedName,
  Slice,
  UploadSearch,
} from "../data/package-index.ts";
import type { Cut, Filters, PackageFilter } from "../data/repository-data.ts";
import { maxListedEntries } from "../data/repository-data.ts";
import type { IndexDatabase } from "./index-database.ts";
import { columnOfField, dependingFields } from "./index-database.ts";

/** The queries without their abort signals: each takes some milliseconds. */
export type IndexQueries = {
  readonly [Query in QueryName]: PackageIndex[Query] extends (
    ...parameters: [...infer Parameters, AbortSignal]
  ) => Promise<infer Result>
    ? (...parameters: Parameters) => Result
    : never;
};

type Value = string | number;
type Sql = readonly [text: string, values: readonly Value[]];
type Row = Readonly<Record<string, unknown>>;

/** The most words of a search; further ones are ignored. */
const maxWords = 10;
/** The most texts of each tier that are sorted. Words with more matches say little. */
const maxRanked = 20_000;
/** The most dependents that are sorted. */
const maxDependents = 5000;
/**
 * The columns that contain all words, the most relevant first. The formula bm25 would need the positions of all words,
 * which make the index half as large again, and prefers rare words in long descriptions to names.
 */
const tiers = ["{name} : ", "{name source short} : ", "{name source short maintainer} : ", ""];
/** How many counts and lists are remembered until the index changes. */
const maxRemembered = 500;

const columns = `s.name suite, component, p.name name, version, architecture, is_source, for_installer, source,
  source_version, section, coalesce((SELECT short FROM text WHERE text.id = e.text), '') short, uploaded, directory,
  size, sha256, path, segment, start, end`;
const from = "entry e JOIN suite s ON s.id = e.suite JOIN package p ON p.id = e.package";

export class SqlQueries implements IndexQueries {
  readonly #db: IndexDatabase;
  readonly #remembered = new LRUCache<string, object>({ max: maxRemembered });

  constructor(db: IndexDatabase) {
    this.#db = db;
  }

  /** To be called when the index has changed. */
  changed(): void {
    this.#remembered.clear();
  }

  filters(): Filters {
    return this.#remember("filters", () => {
      const distinct = (sql: string) => this.#db.all(sql).map(({ value }) => String(value));
      return {
        suites: distinct("SELECT name value FROM suite WHERE publication IS NOT NULL ORDER BY 1"),
        components: distinct("SELECT DISTINCT component value FROM segment ORDER BY 1"),
        architectures: distinct("SELECT DISTINCT architecture value FROM entry WHERE is_source = 0 ORDER BY 1"),
        builders: this.directories().map(({ directory }) => directory),
      };
    });
  }

  search({ text, sort, skip, limit, ...filter }: PackageSearch): Cut<readonly ListedRow[]> {
    const words =
      text
        .toLowerCase()
        .match(/[\p{L}\p{N}]+/gu)
        ?.slice(0, maxWords) ?? [];
    if (words.length === 0 && text.trim() !== "") return { entries: [], total: 0 };
    const selection = selectionOf(filter);
    const count = (hits: string | undefined): number =>
      this.#remember(JSON.stringify(["count", hits, filter]), () => ({
        count: Number(this.#db.get(...countSql(hits, selection))?.count ?? 0),
      })).count;
    const hits = words.length === 0 ? undefined : matchOf(words);
    const total = count(hits);
    const ids = this.#remember(JSON.stringify(["search", text, sort, skip, limit, filter]), () => {
      // Each tier contains those before it, so the first one that is long enough decides.
      const isEnough = (tier: string): boolean => hits !== undefined && count(`${tier}${hits}`) >= skip + limit;
      const matches = sort === "relevance" && hits !== undefined ? tiers.map((tier) => `${tier}${hits}`) : [];
      const needed = matches.slice(0, sort === "relevance" ? tiers.findIndex(isEnough) + 1 || tiers.length : 0);
      const [sql, values] = orderSql(hits, { selection, sort, matches: needed, name: text.trim().toLowerCase() });
      return this.#db.all(`${sql} LIMIT ? OFFSET ?`, [...values, limit, skip]).map(({ id }) => Number(id));
    });
    return { entries: ids.map((id) => this.#rowsOf(id, selection)), total };
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

  uploads({ suite, directory, skip, limit }: UploadSearch): Cut<ListedRow> {
    const { condition, values } = selectionOf({ suite, builder: directory });
    const total = this.#remember(JSON.stringify(["uploads", suite, directory]), () => ({
      count: Number(this.#db.get(`SELECT count(*) count FROM entry e WHERE 1${condition}`, values)?.count ?? 0),
    })).count;
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

  #remember<Result extends object>(key: string, find: () => Result): Result {
    const known = this.#remembered.get(key) as Result | undefined;
    if (known !== undefined) return known;
    const found = find();
    this.#remembered.set(key, found);
    return found;
  }
}

/** The entries that match a filter. */
interface Selection {
  /** A condition on `entry e`, which begins with AND unless it is empty. */
  readonly condition: string;
  /** A condition on `package p`: whether it has such an entry. */
  readonly isSelected: string;
  /** The values of the parameters in either condition. */
  readonly values: readonly Value[];
}

function selectionOf({ suite, component, architecture, builder }: PackageFilter): Selection {
  const conditions: string[] = [];
  const values: Value[] = [];
  const add = (sql: string, ...given: Value[]) => {
    conditions.push(` AND ${sql}`);
    values.push(...given);
  };
  if (suite !== undefined) add("e.suite = (SELECT id FROM suite WHERE name = ?)", suite);
  if (component !== undefined) add("e.component = ?", component);
  if (architecture !== undefined) add("e.architecture IN (?, 'all')", architecture);
  // "0" is the character after "/".
  if (builder !== undefined)
    add("(e.directory = ? OR e.directory > ? AND e.directory < ?)", builder, `${builder}/`, `${builder}0`);
  const condition = conditions.join("");
  return {
    condition,
    isSelected: `EXISTS (SELECT 1 FROM entry e WHERE e.package = p.id AND is_source = 0${condition})`,
    values,
  };
}

/** A query of the full-text index. A single character matches whole words only: too many words begin with it. */
const matchOf = (words: readonly string[]): string =>
  `(${words.map((word) => `${quoted(word)}${word.length > 1 ? "*" : ""}`).join(" ")})`;

const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;

/** Other names cannot be in the full-text index of relations. */
const isPackageName = (name: string): boolean => /^[a-z0-9][a-z0-9+.-]*$/.test(name);

function countSql(hits: string | undefined, { condition, isSelected, values }: Selection): Sql {
  if (hits === undefined) return [`SELECT count(*) count FROM package p WHERE ${isSelected}`, values];
  // Every text belongs to a package with an entry.
  const filtered = condition === "" ? "" : `AND ${isSelected}`;
  return [
    `SELECT count(DISTINCT p.id) count FROM words JOIN text t ON t.id = words.rowid JOIN package p ON p.id = t.package
     WHERE words MATCH ? ${filtered}`,
    [hits, ...values],
  ];
}

/**
 * A query for the ids of packages in the order of a search.
 * @param options.matches those of the tiers, for the order by relevance
 */
function orderSql(
  hits: string | undefined,
  options: {
    readonly selection: Selection;
    readonly sort: PackageSearch["sort"];
    readonly matches: readonly string[];
    readonly name: string;
  },
): Sql {
  const { selection, sort, matches, name } = options;
  const { condition, isSelected, values } = selection;
  if (hits === undefined && sort === "time")
    // In the order of an index, each package at its newest entry.
    return [
      `SELECT o.package id FROM entry o
       WHERE o.id = (SELECT e.id FROM entry e WHERE e.package = o.package AND is_source = 0${condition}
         ORDER BY uploaded DESC, e.id DESC LIMIT 1)
       ORDER BY uploaded DESC, o.id DESC`,
      values,
    ];
  if (hits === undefined) return [`SELECT p.id id FROM package p WHERE ${isSelected} ORDER BY p.name`, values];
  if (matches.length > 0)
    return [
      `SELECT p.id id, min(tier) best FROM (${matches.map(tierSql).join(" UNION ALL ")}) h
       JOIN text t ON t.id = h.id JOIN package p ON p.id = t.package
       WHERE ${isSelected} GROUP BY p.id ORDER BY p.name = ? DESC, best, length(p.name), p.name`,
      [...matches, ...values, name],
    ];
  const found = `FROM package p WHERE p.id IN (
      SELECT t.package FROM words JOIN text t ON t.id = words.rowid WHERE words MATCH ?) AND ${isSelected}`;
  if (sort === "name") return [`SELECT p.id id ${found} ORDER BY p.name`, [hits, ...values]];
  const newest = `(SELECT max(uploaded) FROM entry e WHERE e.package = p.id AND is_source = 0${condition})`;
  return [`SELECT p.id id ${found} ORDER BY ${newest} DESC, p.name`, [hits, ...values, ...values]];
}

const tierSql = (_match: string, tier: number): string =>
  `SELECT * FROM (SELECT rowid id, ${tier} tier FROM words WHERE words MATCH ? LIMIT ${maxRanked})`;

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
