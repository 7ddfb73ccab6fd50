// The index of packages of one repository as an SQLite database: tables of the listed packages, and full-text indices.
import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import type { Statement } from "node-sqlite3-wasm";
import sqlite from "node-sqlite3-wasm";
import type { UploadPlace } from "../data/publications.ts";
import { segmentKinds } from "../data/publications.ts";
import type { RelationField } from "../data/repository-data.ts";
import { relationFields } from "../data/repository-data.ts";
import type { StanzaRow, Translation } from "../data/stanza-rows.ts";
import type { SegmentRef } from "./segment-ref.ts";
import { segmentKey } from "./segment-ref.ts";

/** The version of the tables. A database of another version is built again. */
const schemaVersion = 3;
/** The longest description that is indexed, in characters. */
const maxIndexedCharacters = 10_000;
/** The memory for pages of the database, in KiB. The rest is in the page cache of the system. */
const pageCacheKibibytes = 2048;

/**
 * A row of the full-text index of words has the id of its text in these bits, and the length of the name above them. So
 * the index finds short names first, and a search needs to read no more of it than it lists.
 */
export const textIdMask = 2 ** 40 - 1;
const textIdBits = 40;
const maxNameLength = 255;
const wordsRow = (name: string, text: string): string =>
  `(min(length(${name}), ${maxNameLength}) << ${textIdBits} | ${text})`;

/** The fields whose relations are found by `dependents`. */
export const dependingFields = relationFields.filter((field) => field !== "Provides");
/** The name of the column for a field. */
export const columnOfField = (field: RelationField["field"]): string => field.toLowerCase().replaceAll("-", "_");

const schema = `
CREATE TABLE suite(id INTEGER PRIMARY KEY, name TEXT UNIQUE, publication TEXT);
CREATE TABLE segment(
  id INTEGER PRIMARY KEY, suite INTEGER, name TEXT, component TEXT, kind TEXT, for_installer INTEGER,
  UNIQUE(suite, component, kind, for_installer, name));
CREATE TABLE translation(segment INTEGER, md5 TEXT, description TEXT);
CREATE INDEX translation_md5 ON translation(md5);
CREATE INDEX translation_segment ON translation(segment);
CREATE TABLE package(id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE text(id INTEGER PRIMARY KEY, package INTEGER, hash BLOB UNIQUE, short TEXT, refs INTEGER);
CREATE TABLE entry(
  id INTEGER PRIMARY KEY, package INTEGER, text INTEGER, suite INTEGER, component TEXT, is_source INTEGER,
  for_installer INTEGER, version TEXT, architecture TEXT, source TEXT, source_version TEXT, section TEXT,
  uploaded INTEGER, directory TEXT, size INTEGER, sha256 TEXT, path TEXT, segment TEXT, start INTEGER, end INTEGER,
  hash BLOB, refs INTEGER, UNIQUE(path, suite, component, for_installer));
CREATE INDEX entry_package ON entry(package, is_source);
CREATE INDEX entry_text ON entry(text);
CREATE INDEX entry_source ON entry(source);
CREATE INDEX entry_uploaded ON entry(uploaded);
CREATE INDEX entry_sha256 ON entry(sha256);
CREATE INDEX entry_directory ON entry(directory, uploaded);
CREATE INDEX entry_architecture ON entry(architecture);
CREATE TABLE listing(segment INTEGER, entry INTEGER, PRIMARY KEY(segment, entry)) WITHOUT ROWID;
CREATE TABLE provided(name TEXT, entry INTEGER, PRIMARY KEY(name, entry)) WITHOUT ROWID;
CREATE INDEX provided_entry ON provided(entry);
CREATE VIRTUAL TABLE words USING fts5(
  name, source, short, maintainer, long, content='', contentless_delete=1, detail=column, prefix='2 3');
CREATE VIRTUAL TABLE relations USING fts5(
  ${dependingFields.map(columnOfField).join(", ")}, content='', contentless_delete=1, detail=column,
  tokenize="unicode61 remove_diacritics 0 tokenchars '+-.'");
PRAGMA user_version=${schemaVersion};
`;

/** One stanza of a segment, with the texts and relations to be indexed. */
export interface IndexedStanza {
  /** With its path below the root of the repository. */
  readonly row: StanzaRow;
  readonly maintainer: string;
  /** Only its first line if the rest is in Translation-en. */
  readonly description: string;
  /** Of the whole description, if it is in Translation-en. */
  readonly descriptionMd5: string | undefined;
  /** The names in each depending field. */
  readonly relations: ReadonlyMap<RelationField["field"], readonly string[]>;
  readonly provides: readonly string[];
  /** Of the bytes of the stanza. */
  readonly hash: Uint8Array;
}

type Row = Readonly<Record<string, unknown>>;

export class IndexDatabase {
  readonly #db: InstanceType<typeof sqlite.Database>;
  readonly #statements = new Map<string, Statement>();

  /**
   * Opens the file, which is created if it does not exist and replaced if it is of another version.
   * The caller must be the only process that uses it.
   */
  static open(file: string): IndexDatabase {
    // SQLite's lock is a directory here, which stays if the process is killed.
    rmSync(`${file}.lock`, { recursive: true, force: true });
    const found = new IndexDatabase(file);
    const { user_version: version } = found.get("PRAGMA user_version") ?? {};
    if (version === schemaVersion) return found;
    found.close();
    IndexDatabase.remove(file);
    const created = new IndexDatabase(file);
    created.#db.exec(`BEGIN;${schema}COMMIT;`);
    return created;
  }

  /** Deletes the file of a closed database. */
  static remove(file: string): void {
    for (const suffix of ["", "-wal", "-journal", ".lock"])
      rmSync(`${file}${suffix}`, { recursive: true, force: true });
  }

  private constructor(file: string) {
    this.#db = new sqlite.Database(file);
    // Not a rollback journal: this build of SQLite would ignore it after a crash, because it takes its own lock for that
    // of another process. Without EXCLUSIVE, WAL would need shared memory.
    this.#db.exec(
      `PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
       PRAGMA temp_store=MEMORY; PRAGMA cache_size=-${pageCacheKibibytes};`,
    );
  }

  close(): void {
    for (const statement of this.#statements.values()) statement.finalize();
    this.#statements.clear();
    this.#db.close();
  }

  all(sql: string, values: readonly (string | number)[] = []): readonly Row[] {
    return this.#prepared(sql).all([...values]);
  }

  get(sql: string, values: readonly (string | number)[] = []): Row | undefined {
    return this.#prepared(sql).get([...values]) ?? undefined;
  }

  /** The segments of a suite that are indexed, and the publication that they belong to. */
  stateOf(suite: string): { readonly publication: string | undefined; readonly segments: readonly SegmentRef[] } {
    const publication = this.get("SELECT publication FROM suite WHERE name = ?", [suite])?.publication;
    const rows = this.all(
      `SELECT g.name, component, kind, for_installer FROM segment g JOIN suite s ON s.id = g.suite WHERE s.name = ?`,
      [suite],
    );
    return {
      publication: typeof publication === "string" ? publication : undefined,
      segments: rows.map(({ name, component, kind, for_installer: isForInstaller }) => ({
        suite,
        name: String(name),
        component: String(component),
        kind: segmentKinds.find((each) => each === kind) ?? "binary",
        isForInstaller: isForInstaller === 1,
      })),
    };
  }

  suites(): readonly string[] {
    return this.all("SELECT name FROM suite").map(({ name }) => String(name));
  }

  /** Adds the stanzas of a segment. @param uploads of each stanza */
  add(segment: SegmentRef, stanzas: readonly IndexedStanza[], uploads: readonly UploadPlace[]): void {
    this.#transaction(() => {
      const id = this.#addSegment(segment);
      const suite = this.#idOf("suite", segment.suite);
      for (const [at, stanza] of stanzas.entries()) {
        const entry = this.#addEntry(segment, suite, stanza, uploads[at] ?? { uploadedMs: 0, directory: "" });
        this.#run("INSERT OR IGNORE INTO listing(segment, entry) VALUES(?, ?)", [id, entry]);
      }
    });
  }

  /** Adds a segment of Translation-en. To be called before the packages of the same publication are added. */
  addTranslations(segment: SegmentRef, translations: readonly Translation[]): void {
    this.#transaction(() => {
      const id = this.#addSegment(segment);
      for (const { md5, text } of translations)
        this.#run("INSERT INTO translation(segment, md5, description) VALUES(?, ?, ?)", [id, md5, text]);
    });
  }

  /** The whole description in Translation-en with this MD5 digest. */
  descriptionOf(md5: string): string | undefined {
    const { description } = this.get("SELECT description FROM translation WHERE md5 = ?", [md5]) ?? {};
    return typeof description === "string" ? description : undefined;
  }

  /** Makes a publication of a suite the indexed one: removes all segments but these. */
  finish(suite: string, publication: string | undefined, kept: readonly SegmentRef[]): void {
    this.#transaction(() => {
      const suiteId = this.#idOf("suite", suite);
      const keys = new Set(kept.map(segmentKey));
      for (const segment of this.stateOf(suite).segments)
        if (!keys.has(segmentKey(segment))) this.#remove(suiteId, segment);
      if (publication === undefined) this.#run("DELETE FROM suite WHERE id = ?", [suiteId]);
      else this.#run("UPDATE suite SET publication = ? WHERE id = ?", [publication, suiteId]);
    });
  }

  #addSegment({ suite, component, kind, isForInstaller, name }: SegmentRef): number {
    const added = this.#run("INSERT INTO segment(suite, component, kind, for_installer, name) VALUES(?, ?, ?, ?, ?)", [
      this.#idOf("suite", suite),
      component,
      kind,
      Number(isForInstaller),
      name,
    ]);
    return Number(added.lastInsertRowid);
  }

  #addEntry(segment: SegmentRef, suite: number, stanza: IndexedStanza, upload: UploadPlace): number {
    const { row, hash } = stanza;
    const { component, isForInstaller } = segment;
    const key = [row.path, suite, component, Number(isForInstaller)];
    const place = [row.place.segment, row.place.start, row.place.end];
    const known = this.get(
      `SELECT id, text, hash, uploaded, directory FROM entry
       WHERE path = ? AND suite = ? AND component = ? AND for_installer = ?`,
      key,
    );
    const isSame = known?.uploaded === upload.uploadedMs && known.directory === upload.directory;
    if (isSame && known.hash instanceof Uint8Array && Buffer.compare(known.hash, hash) === 0) {
      // Most stanzas of a segment with a change are the same as before.
      this.#run("UPDATE entry SET segment = ?, start = ?, end = ?, refs = refs + 1 WHERE id = ?", [
        ...place,
        Number(known.id),
      ]);
      return Number(known.id);
    }
    const packageId = this.#idOf("package", row.name);
    const text = row.isSource ? 0 : this.#textOf(packageId, stanza);
    if (known !== undefined) this.#forget(Number(known.id), Number(known.text));
    const values = [
      packageId,
      text,
      Number(row.isSource),
      row.version,
      row.architecture,
      row.source,
      row.sourceVersion,
      row.section,
      upload.uploadedMs,
      upload.directory,
      row.sizeBytes,
      row.sha256,
      hash,
      ...place,
    ];
    const columns =
      "package, text, is_source, version, architecture, source, source_version, section, uploaded, directory, size, sha256, hash, segment, start, end";
    const added = this.#run(
      known === undefined
        ? `INSERT INTO entry(${columns}, path, suite, component, for_installer, refs)
           VALUES(${values.map(() => "?").join(", ")}, ?, ?, ?, ?, 1)`
        : `UPDATE entry SET (${columns}) = (${values.map(() => "?").join(", ")}), refs = refs + 1
           WHERE path = ? AND suite = ? AND component = ? AND for_installer = ?`,
      [...values, ...key],
    );
    const id = Number(known?.id ?? added.lastInsertRowid);
    if (row.isSource) return id;
    for (const name of stanza.provides)
      this.#run("INSERT OR IGNORE INTO provided(name, entry) VALUES(?, ?)", [name, id]);
    const fields = dependingFields.map((field) => (stanza.relations.get(field) ?? []).join(" "));
    if (fields.some((names) => names !== "")) {
      const sql = `INSERT INTO relations(rowid, ${dependingFields.map(columnOfField).join(", ")})
        VALUES(?, ${fields.map(() => "?").join(", ")})`;
      this.#run(sql, [id, ...fields]);
    }
    return id;
  }

  /** Returns the id of the texts of a package, which are indexed if they are new, and counts the use. */
  #textOf(packageId: number, { row, maintainer, description, descriptionMd5 }: IndexedStanza): number {
    const whole = (descriptionMd5 && this.descriptionOf(descriptionMd5)) ?? description;
    const long = whole.slice(row.description.length, maxIndexedCharacters);
    const texts = [row.name, row.source, row.description, maintainer, long];
    const hash = createHash("sha256").update(JSON.stringify(texts)).digest();
    const known = this.#prepared("SELECT id FROM text WHERE hash = ?").get([hash]);
    if (known !== null) {
      this.#run("UPDATE text SET refs = refs + 1 WHERE id = ?", [Number(known.id)]);
      return Number(known.id);
    }
    const { lastInsertRowid } = this.#prepared("INSERT INTO text(package, hash, short, refs) VALUES(?, ?, ?, 1)").run([
      packageId,
      hash,
      row.description,
    ]);
    const id = Number(lastInsertRowid);
    this.#run(
      `INSERT INTO words(rowid, name, source, short, maintainer, long) VALUES(${wordsRow("?", "?")}, ?, ?, ?, ?, ?)`,
      [row.name, id, namesToFind(row.name), row.source, row.description, maintainer, long],
    );
    return id;
  }

  #remove(suite: number, { name, component, kind, isForInstaller }: SegmentRef): void {
    const id = Number(
      this.get(
        "SELECT id FROM segment WHERE suite = ? AND component = ? AND kind = ? AND for_installer = ? AND name = ?",
        [suite, component, kind, Number(isForInstaller), name],
      )?.id,
    );
    this.#run("DELETE FROM translation WHERE segment = ?", [id]);
    this.#run("UPDATE entry SET refs = refs - 1 WHERE id IN (SELECT entry FROM listing WHERE segment = ?)", [id]);
    const unused = this.all(
      `SELECT e.id id, text, package FROM listing JOIN entry e ON e.id = entry
       WHERE listing.segment = ? AND refs = 0`,
      [id],
    );
    for (const entry of unused) {
      this.#forget(Number(entry.id), Number(entry.text));
      this.#run("DELETE FROM entry WHERE id = ?", [Number(entry.id)]);
      this.#run("DELETE FROM package WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM entry WHERE package = ?1)", [
        Number(entry.package),
      ]);
    }
    this.#run("DELETE FROM listing WHERE segment = ?", [id]);
    this.#run("DELETE FROM segment WHERE id = ?", [id]);
  }

  /** Removes the texts and relations of an entry from the full-text indices. */
  #forget(entry: number, text: number): void {
    this.#run("DELETE FROM relations WHERE rowid = ?", [entry]);
    this.#run("DELETE FROM provided WHERE entry = ?", [entry]);
    if (text === 0) return;
    this.#run("UPDATE text SET refs = refs - 1 WHERE id = ?", [text]);
    if (Number(this.get("SELECT refs FROM text WHERE id = ?", [text])?.refs) > 0) return;
    this.#run(
      `DELETE FROM words
       WHERE rowid = (SELECT ${wordsRow("p.name", "t.id")} FROM text t JOIN package p ON p.id = t.package WHERE t.id = ?)`,
      [text],
    );
    this.#run("DELETE FROM text WHERE id = ?", [text]);
  }

  #idOf(table: "suite" | "package", name: string): number {
    const known = this.get(`SELECT id FROM ${table} WHERE name = ?`, [name]);
    if (known !== undefined) return Number(known.id);
    return Number(this.#run(`INSERT INTO ${table}(name) VALUES(?)`, [name]).lastInsertRowid);
  }

  #transaction(work: () => void): void {
    this.#db.exec("BEGIN");
    try {
      work();
      this.#db.exec("COMMIT");
    } catch (thrown) {
      if (this.#db.inTransaction) this.#db.exec("ROLLBACK");
      throw thrown;
    }
  }

  #run(sql: string, values: readonly (string | number | Uint8Array)[]) {
    return this.#prepared(sql).run([...values]);
  }

  #prepared(sql: string): Statement {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#db.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }
}

/** The name, and its part after `lib`: a search for `ssl` finds `libssl3` too. */
function namesToFind(name: string): string {
  const [, rest] = /^lib(.{2,})$/.exec(name) ?? [];
  return rest === undefined ? name : `${name} ${rest}`;
}
