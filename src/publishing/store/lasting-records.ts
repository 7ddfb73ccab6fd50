// Selects the records of the state database that a tree cannot give back: pins and rollbacks with their publications,
// the first owners of names, and the identities of suites that clients know. A backup consists of them.
import { gunzipSync } from "node:zlib";
import type { Database, RootDatabase } from "lmdb";
import { asBuffer } from "../../base/as-buffer.ts";
import { written } from "../../base/state-errors.ts";
import type { SegmentSizes } from "../../indices/assemble.ts";
import { namedFiles } from "../../indices/named-files.ts";
import { latest } from "./last-dates.ts";
import { poolKey } from "./package-pool.ts";
import type { Manifest, PublishedIndex } from "./publication.ts";
import { hashReferences, namesPackages, publicationId } from "./publication.ts";
import { hashKey } from "./publication-store.ts";
import { parseSuiteKey, suiteKey } from "./suite-keys.ts";

/** One record. `database` is the name of its database, e.g. `debian/pins`. */
export interface LastingRecord {
  readonly database: string;
  readonly key: string;
  /** A JSON value, or bytes. */
  readonly value: unknown;
}

/** The databases of a repository that are copied completely. */
const wholeDatabases = ["pins", "rolled-back", "snapshot-commands", "held-names", "identities"] as const;
/** The databases of which only records of selected publications are copied; those with bytes first. */
const binaryDatabases: readonly string[] = ["segments", "blobs"];
const partialDatabases = [
  "publications",
  "served",
  "superseded",
  "successors",
  "by-hash",
  "runs",
  "segment-sizes",
  "pool",
  ...binaryDatabases,
] as const;

/** Whether a backup may contain records of a database. */
export const isLastingDatabase = (name: string): boolean =>
  [...wholeDatabases, ...partialDatabases].some((each) => name.endsWith(`/${each}`));

/** Whether the values of a database are bytes. */
export const isBinaryDatabase = (name: string): boolean => binaryDatabases.some((each) => name.endsWith(`/${each}`));

/** A stored manifest, as far as this file needs it. Other fields are copied as they are. */
type StoredManifest = Pick<Manifest, "suite" | "id"> &
  Partial<Pick<Manifest, "blobs">> & {
    readonly indices: readonly (Omit<PublishedIndex, "segments"> & { readonly runs: readonly string[] })[];
  };

/** The state of the database at one moment, while others write to it. */
export class LastingRecords {
  readonly #databases: ReadonlyMap<string, Database<unknown, string>>;
  readonly #nowMs: number;
  readonly #transaction: ReturnType<RootDatabase["useReadTransaction"]>;

  /** Remembers the present state; `close` must follow. */
  constructor(root: RootDatabase, nowMs: number) {
    this.#nowMs = nowMs;
    // Opening a database that does not exist would create it, and one that is opened later is not in the transaction.
    const names = [...root.getKeys()].map(String).filter((name) => isLastingDatabase(name) || name.endsWith("/dates"));
    this.#databases = new Map(names.map((name) => [name, openDatabase(root, name)]));
    this.#transaction = root.useReadTransaction();
  }

  close(): void {
    this.#transaction.done();
  }

  /**
   * The last Date of each suite of all repositories, seconds since the epoch.
   * @param kept the Dates in the file beside the database
   */
  dates(kept: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
    const dates = new Map(kept);
    for (const state of this.#stateNames()) {
      for (const [suite, seconds] of this.#all<number>(`${state}/dates`)) {
        const key = `${state}/${suite}`;
        dates.set(key, latest(dates.get(key), seconds) ?? seconds);
      }
    }
    return dates;
  }

  /** All records, in an order in which each record follows those that it refers to. */
  *[Symbol.iterator](): Iterator<LastingRecord> {
    for (const state of this.#stateNames()) {
      const seen = new Set<string>();
      for (const key of this.#selectedPublications(state)) yield* this.#publication(state, key, seen);
      for (const name of wholeDatabases) {
        const database = `${state}/${name}`;
        for (const [key, value] of this.#all(database)) yield { database, key, value };
      }
    }
  }

  /** The names under which the database keeps repositories. */
  #stateNames(): readonly string[] {
    return [...this.#databases.keys()]
      .filter((name) => name.endsWith("/publications"))
      .map((name) => name.replace(/\/[^/]+$/, ""));
  }

  /** The keys of the publications that pins and rollbacks hold. */
  #selectedPublications(state: string): ReadonlySet<string> {
    const pinned = [...this.#all<string>(`${state}/pins`)].map(([key, id]) => suiteKey(parseSuiteKey(key)[0], id));
    const rolledBack = [...this.#all<string>(`${state}/rolled-back`)].map(([suite, id]) => `${suite}/${id}`);
    return new Set([...pinned, ...rolledBack]);
  }

  *#publication(state: string, key: string, seen: Set<string>): Iterable<LastingRecord> {
    const manifest = this.#get<StoredManifest>(`${state}/publications`, key);
    if (manifest === undefined) return;
    const once = function* (name: string, recordKey: string, value: unknown): Iterable<LastingRecord> {
      const database = `${state}/${name}`;
      if (value === undefined || seen.has(`${name} ${recordKey}`)) return;
      seen.add(`${name} ${recordKey}`);
      yield { database, key: recordKey, value };
    };
    for (const { runs, ...index } of manifest.indices) {
      for (const run of runs) {
        const segments = this.#get<readonly SegmentSizes[]>(`${state}/runs`, run);
        for (const { id } of segments ?? []) {
          yield* once("segment-sizes", id, this.#get(`${state}/segment-sizes`, id));
          // The plain form is made from the compressed one.
          const gz = this.#get<Uint8Array>(`${state}/segments`, `${id}/gz`);
          yield* once("segments", `${id}/gz`, gz);
          yield* once("segments", `${id}/xz`, this.#get(`${state}/segments`, `${id}/xz`));
          if (gz === undefined || !namesPackages(index) || seen.has(`packages of ${id}`)) continue;
          seen.add(`packages of ${id}`);
          for (const { path } of namedFiles(gunzipSync(gz).toString())) {
            const pooled = poolKey(path);
            if (pooled !== undefined) yield* once("pool", pooled, this.#get(`${state}/pool`, pooled));
          }
        }
        yield* once("runs", run, segments);
      }
    }
    for (const { sha256 } of manifest.blobs ?? []) yield* once("blobs", sha256, this.#get(`${state}/blobs`, sha256));
    const { suite, id, indices, blobs = [] } = manifest;
    const references = hashReferences({ indices: indices.map((index) => ({ ...index, segments: [] })), blobs });
    for (const reference of references) yield* once("by-hash", hashKey(suite, reference), id);
    yield* once("served", key, this.#get(`${state}/served`, key));
    // The current publication is copied only if it is pinned, and then as one that a later one has superseded.
    const withdrawn = publicationId(Math.floor(this.#nowMs / 1000));
    yield* once("superseded", key, this.#get(`${state}/superseded`, key) ?? this.#nowMs);
    yield* once("successors", key, this.#get(`${state}/successors`, key) ?? withdrawn);
    yield* once("publications", key, manifest);
  }

  #get<Value>(name: string, key: string): Value | undefined {
    return this.#database<Value>(name)?.get(key, { transaction: this.#transaction });
  }

  *#all<Value>(name: string): Iterable<readonly [key: string, value: Value]> {
    const range = this.#database<Value>(name)?.getRange({ transaction: this.#transaction }) ?? [];
    for (const { key, value } of range) yield [key, value];
  }

  #database<Value>(name: string): Database<Value, string> | undefined {
    return this.#databases.get(name) as Database<Value, string> | undefined;
  }
}

/** Stores records in the database of a state directory. Equal records may be stored again. */
export async function storeRecords(root: RootDatabase, records: readonly LastingRecord[]): Promise<void> {
  const names = new Set(records.map(({ database }) => database));
  const databases = new Map([...names].map((name) => [name, openDatabase(root, name)]));
  const put = (): void => {
    for (const { database, key, value } of records)
      databases.get(database)?.putSync(key, value instanceof Uint8Array ? asBuffer(value) : value);
  };
  await written(() => root.transaction(put));
}

const openDatabase = <Value>(root: RootDatabase, name: string): Database<Value, string> =>
  root.openDB<Value, string>({ name, ...(isBinaryDatabase(name) && { encoding: "binary" }) });
