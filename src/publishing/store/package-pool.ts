// Finds the packages of all kept publications by digest and file name, even after they were unlinked from the tree.
import { hash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { Database } from "lmdb";
import { ContentId } from "../../base/content-id.ts";
import type { TreePath } from "../../base/names.ts";
import { isWithin, lastName, parseTreePath } from "../../base/names.ts";
import { written } from "../../base/state-errors.ts";
import { fetchableName } from "../../catalog/suite/fetchable-names.ts";
import type { IndexEntry } from "../../catalog/suite/index-entry.ts";
import type { FileEntry, FileRef } from "../../storage/tree.ts";

/** One file that at least one kept publication lists. */
export interface PooledFile extends FileRef {
  readonly sizeBytes: number;
  readonly sha256: string;
  /** A property of the bytes, seconds since the epoch. */
  readonly lastModifiedSeconds: number;
}

/** The link of a pooled file. */
export interface Upload {
  readonly path: TreePath;
  /** In ms since the epoch; 0 if unknown. */
  readonly uploadedMs: number;
}

/** A file in a directory of the pool. */
interface PooledName {
  readonly name: string;
  readonly sizeBytes: number;
  /** A property of the bytes, seconds since the epoch. */
  readonly lastModifiedSeconds: number;
}

/** A directory of the pool. */
export interface PooledDirectory {
  /** Its name: the digest of its .deb or .dsc, in lower-case hex. */
  readonly sha256: string;
  /** Sorted by name. */
  readonly files: readonly PooledName[];
}

/** A pooled file as stored on disk. Content ids are written only here, in the private state directory. */
export interface PoolRecord {
  readonly path: string;
  readonly content?: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly lastModifiedSeconds: number;
  /** From the tree's entry; undefined in records of older versions. */
  readonly linkedAtMs?: number;
  readonly relinkedAtMs?: number;
}

/**
 * The Last-Modified of content without a time of its own (source packages), in seconds since the epoch. It may be a
 * constant, because a pool URL identifies its bytes by digest.
 */
export const timelessSeconds = Date.UTC(2009, 0, 1) / 1000;

/** The directory of a package below the repository's root, named by the digest of its .deb or .dsc. */
export const poolDirectory = (sha256: string): string => `${poolPrefix}${sha256}`;

/** The file name in that directory. Names that apt cannot download are replaced; those of sources never need it. */
export const poolName = (path: TreePath): string => fetchableName(lastName(path));

const poolPrefix = "pool/SHA256/";

const poolPath = /^pool\/SHA256\/([0-9a-f]{64})\/([^/]+)$/;

/** The key of a file in the database `pool`; undefined for a path that is not in the pool. */
export const poolKey = (path: string): string | undefined =>
  path.startsWith(poolPrefix) ? path.slice(poolPrefix.length) : undefined;

/** After so many packages, wait for the writes and let requests run. This bounds memory. */
const packagesPerWrite = 1024;

/** The packages of one repository that kept publications list. */
export class PackagePool {
  readonly #files: Database<PoolRecord, string>;
  /** By the id of a segment whose packages were all added: a fingerprint of their records. */
  readonly #segments: Database<string, string>;
  /** Records that are not on disk yet, by their keys in the database. */
  readonly #unwritten = new Map<string, PoolRecord>();
  /** Packages that are being added; they resolve when `recordsOf` finds all of them. */
  readonly #entering = new Set<Promise<unknown>>();
  /** The write that failed, if some records of the packages that were added last could not be written. */
  #failed: Promise<unknown> | undefined;

  /** @param files a database for this repository only; `segments` likewise */
  constructor(files: Database<PoolRecord, string>, segments: Database<string, string>) {
    this.#files = files;
    this.#segments = segments;
  }

  /** @param path below the repository's root, e.g. `pool/SHA256/…/hello_1_amd64.deb` */
  find(path: string): PooledFile | undefined {
    const [, sha256, name] = poolPath.exec(path) ?? [];
    if (sha256 === undefined || name === undefined) return undefined;
    const record = this.#files.get(`${sha256}/${name}`) ?? this.#findUnescaped(sha256, name);
    if (record === undefined) return undefined;
    const { content, sizeBytes, lastModifiedSeconds } = record;
    return {
      path: parseTreePath(record.path),
      content: content === undefined ? undefined : new ContentId(content),
      sizeBytes,
      sha256: record.sha256,
      lastModifiedSeconds,
    };
  }

  /**
   * Finds where a file is in the tree, and when it was linked there for the last time.
   * @param path below the repository's root, e.g. `pool/SHA256/…/hello_1_amd64.deb`
   */
  uploadOf(path: string): Upload | undefined {
    const [, sha256, name] = poolPath.exec(path) ?? [];
    const record = sha256 === undefined ? undefined : this.#files.get(`${sha256}/${name}`);
    if (record === undefined) return undefined;
    const { linkedAtMs = 0, relinkedAtMs = linkedAtMs } = record;
    return { path: parseTreePath(record.path), uploadedMs: relinkedAtMs };
  }

  /**
   * Lists the directories of the pool with the files in them, in the order of their digests.
   * @param after only directories that come after this digest; "" for all
   */
  *directoriesAfter(after: string): Iterable<PooledDirectory> {
    // "0" is the character after "/".
    yield* this.#directories(after === "" ? {} : { start: `${after}0` });
  }

  /** One directory of the pool. @param sha256 lower-case hex @returns undefined if there is none */
  directory(sha256: string): PooledDirectory | undefined {
    const [found] = this.#directories({ start: `${sha256}/`, end: `${sha256}0` });
    return found;
  }

  isEmpty(): boolean {
    const [key] = this.#files.getKeys({ limit: 1 });
    return key === undefined;
  }

  *#directories(range: { readonly start?: string; readonly end?: string }): Iterable<PooledDirectory> {
    let sha256 = "";
    let files: PooledName[] = [];
    for (const { key, value } of this.#files.getRange(range)) {
      const digest = key.slice(0, key.indexOf("/"));
      if (files.length > 0 && digest !== sha256) {
        yield { sha256, files };
        files = [];
      }
      sha256 = digest;
      const { sizeBytes, lastModifiedSeconds } = value;
      files.push({ name: key.slice(digest.length + 1), sizeBytes, lastModifiedSeconds });
    }
    if (files.length > 0) yield { sha256, files };
  }

  /**
   * Finds the pooled files that are in a directory of the tree, with the entries that they had when they were last
   * listed.
   * @param paths paths below the repository's root, e.g. `pool/SHA256/…/hello_1_amd64.deb`
   */
  *entriesWithin(directory: TreePath, paths: Iterable<string>): Iterable<readonly [TreePath, FileEntry]> {
    for (const pooled of paths) {
      const record = pooled.startsWith(poolPrefix) ? this.#files.get(pooled.slice(poolPrefix.length)) : undefined;
      if (record === undefined || !isWithin(parseTreePath(record.path), directory)) continue;
      const { content, sizeBytes, linkedAtMs = 0, relinkedAtMs = linkedAtMs } = record;
      const id = content === undefined ? undefined : new ContentId(content);
      const times = { linkedAtMs, relinkedAtMs };
      yield [parseTreePath(record.path), { kind: "file", sizeBytes, content: id, ...times, metadata: undefined }];
    }
  }

  /**
   * Finds a file by its unescaped name. Some clients, such as debootstrap, do not escape the `%` of a Filename. So a
   * request for `1%3a2.deb`, the name that apt needs, arrives as `1:2.deb`.
   */
  #findUnescaped(sha256: string, name: string): PoolRecord | undefined {
    // "0" is the character after "/".
    for (const { key, value } of this.#files.getRange({ start: `${sha256}/`, end: `${sha256}0` })) {
      const escaped = key.slice(sha256.length + 1);
      if (escaped.includes("%") && unescaped(escaped) === name) return value;
    }
    return undefined;
  }

  /** Adds the files of some packages; resolves when `find` finds all of them. */
  async add(entries: Iterable<IndexEntry>): Promise<void> {
    this.#failed = undefined;
    await written(async () => await (await this.#noteEntering(this.#put(entries))).onDisk);
  }

  /**
   * Like `add`, for all packages of some segments. After a restart nearly all segments are as they were when they were
   * added, and their records need not be read.
   */
  async addSegments(segments: Iterable<PooledSegment>): Promise<void> {
    this.#failed = undefined;
    await written(() => this.#noteEntering(this.#putSegments(segments)));
  }

  async #putSegments(segments: Iterable<PooledSegment>): Promise<void> {
    let noted: Promise<unknown> = Promise.resolve();
    for (const { id, items } of segments) {
      const fingerprint = fingerprintOf(items);
      await setImmediate();
      if (this.#segments.get(id) === fingerprint) continue;
      await (await this.#put(items)).onDisk;
      noted = this.#segments.put(id, fingerprint);
    }
    await noted;
  }

  /**
   * The records of some files that were added, on disk or not, by their keys.
   * @param paths below the repository's root
   * @throws StateUnwritable for a record that is missing because it could not be written
   */
  async recordsOf(paths: Iterable<string>): Promise<readonly (readonly [string, PoolRecord])[]> {
    await Promise.allSettled(this.#entering);
    const keys = Array.from(paths).flatMap((path) => poolKey(path) ?? []);
    const records = keys.map((key) => [key, this.#unwritten.get(key) ?? this.#files.get(key)] as const);
    const found = records.flatMap(([key, record]) => (record === undefined ? [] : [[key, record] as const]));
    const failed = this.#failed;
    if (failed !== undefined && found.length < keys.length) await written(() => failed);
    return found;
  }

  /** Adds records of another replica, unless there are others of the same files. */
  async take(records: Iterable<readonly [string, PoolRecord]>): Promise<void> {
    await written(async () => {
      let noted: Promise<unknown> = Promise.resolve();
      for (const [key, record] of records) if (!this.#files.doesExist(key)) noted = this.#files.put(key, record);
      await noted;
    });
  }

  async #noteEntering<Result>(entering: Promise<Result>): Promise<Result> {
    this.#entering.add(entering);
    return await entering.finally(() => this.#entering.delete(entering));
  }

  /** Resolves when `recordsOf` finds all of them, unless a write fails. */
  async #put(entries: Iterable<IndexEntry>): Promise<{ readonly onDisk: Promise<unknown> }> {
    let last: Promise<unknown> = Promise.resolve();
    let untilWait = packagesPerWrite;
    let records: (readonly [string, PoolRecord])[] = [];
    // Writes are committed in order, so awaiting the last one is enough.
    const committed = async (): Promise<void> => {
      const those = records;
      records = [];
      try {
        await last;
      } catch (thrown) {
        this.#failed = last;
        throw thrown;
      } finally {
        for (const [key, record] of those) if (this.#unwritten.get(key) === record) this.#unwritten.delete(key);
      }
    };
    for (const entry of entries) {
      for (const [key, record] of recordsOf(entry)) {
        // Reading costs a tenth of writing, and several segments may contain the same package.
        const known = this.#files.get(key);
        if (isSame(known, record)) continue;
        // The same bytes at another place: the fingerprints do not tell which segments have them.
        if (known !== undefined) last = this.#segments.clearAsync();
        last = this.#files.put(key, record);
        this.#unwritten.set(key, record);
        records.push([key, record]);
      }
      if (--untilWait > 0) continue;
      untilWait = packagesPerWrite;
      await Promise.all([committed(), setImmediate()]);
    }
    return { onDisk: committed() };
  }

  /** The keys of all content ids in the pool. */
  contentKeys(): Set<string> {
    const keys = new Set<string>();
    for (const { value } of this.#files.getRange()) {
      if (value.content !== undefined) keys.add(new ContentId(value.content).key);
    }
    return keys;
  }

  /**
   * Deletes all other files.
   * @param paths paths below the repository's root
   * @param segments the ids of all segments that contain no other files
   */
  async keepOnly(paths: ReadonlySet<string>, segments: ReadonlySet<string>): Promise<void> {
    let removed: Promise<unknown> = Promise.resolve();
    for (const id of this.#segments.getKeys()) if (!segments.has(id)) removed = this.#segments.remove(id);
    for (const key of this.#files.getKeys()) {
      if (!paths.has(`${poolPrefix}${key}`)) removed = this.#files.remove(key);
    }
    await removed;
  }
}

/** A segment of an index, as it is stored. */
export interface PooledSegment {
  /** Identifies names and digests of the packages. */
  readonly id: string;
  readonly items: readonly IndexEntry[];
}

/** Identifies the part of the records of a segment's packages that its id does not. */
function fingerprintOf(items: readonly IndexEntry[]): string {
  let text = "";
  for (const item of items) {
    for (const { path, entry } of item.kind === "source" ? [item, ...item.parts] : [item]) {
      text += `${path}\0${entry.content?.reveal()}\0${entry.linkedAtMs}\0${entry.relinkedAtMs}\n`;
    }
  }
  return hash("sha256", text, "base64url");
}

const isSame = (known: PoolRecord | undefined, record: PoolRecord): boolean =>
  known?.path === record.path &&
  known.content === record.content &&
  known.sizeBytes === record.sizeBytes &&
  known.sha256 === record.sha256 &&
  known.lastModifiedSeconds === record.lastModifiedSeconds &&
  known.linkedAtMs === record.linkedAtMs &&
  known.relinkedAtMs === record.relinkedAtMs;

function unescaped(name: string): string | undefined {
  try {
    return decodeURIComponent(name);
  } catch {
    return undefined;
  }
}

function* recordsOf(entry: IndexEntry): Iterable<readonly [string, PoolRecord]> {
  const { sha256 } = entry;
  const keyOf = (path: TreePath) => `${sha256}/${poolName(path)}`;
  const lastModifiedSeconds = entry.kind === "binary" ? entry.builtAtSeconds : timelessSeconds;
  yield [keyOf(entry.path), recordOf(entry, sha256, lastModifiedSeconds)];
  if (entry.kind === "binary") return;
  for (const part of entry.parts) yield [keyOf(part.path), recordOf(part, part.digests.sha256, lastModifiedSeconds)];
}

function recordOf(
  file: Pick<IndexEntry, "path" | "entry" | "sizeBytes">,
  sha256: string,
  lastModifiedSeconds: number,
): PoolRecord {
  const content = file.entry.content?.reveal();
  const { path, sizeBytes } = file;
  const { linkedAtMs, relinkedAtMs } = file.entry;
  const known = { path, sizeBytes, sha256, lastModifiedSeconds, linkedAtMs, relinkedAtMs };
  return content === undefined ? known : { ...known, content };
}
