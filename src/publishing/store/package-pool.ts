// The packages that publications name: from a digest and a file name to the bytes, also after these were unlinked.
import { setImmediate } from "node:timers/promises";
import type { Database } from "lmdb";
import { ContentId } from "../../base/content-id.ts";
import type { TreePath } from "../../base/names.ts";
import { isWithin, lastName, parseTreePath } from "../../base/names.ts";
import { written } from "../../base/state-errors.ts";
import { fetchableName } from "../../catalog/suite/fetchable-names.ts";
import type { IndexEntry } from "../../catalog/suite/index-entry.ts";
import type { FileEntry, FileRef } from "../../storage/tree.ts";

/** One file that some publication names. */
export interface PooledFile extends FileRef {
  readonly sizeBytes: number;
  readonly sha256: string;
  /** A property of the bytes, seconds since the epoch. */
  readonly lastModifiedSeconds: number;
}

/** A pooled file on disk: here alone a content id is written out, into the private state directory. */
export interface PoolRecord {
  readonly path: string;
  readonly content?: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly lastModifiedSeconds: number;
  /** As its entry said; undefined in records from before this was kept. */
  readonly linkedAtMs?: number;
  readonly relinkedAtMs?: number;
}

/**
 * What Last-Modified says of content that holds no time of its own (source packages), seconds since the epoch. It may
 * be one constant, because a pool URL names its bytes by digest.
 */
export const timelessSeconds = Date.UTC(2009, 0, 1) / 1000;

/** The directory of an item's files below the repository's root: named by its .deb's or .dsc's digest. */
export const poolDirectory = (sha256: string): string => `${poolPrefix}${sha256}`;

/** The name of one of an item's files there. Names that apt can't fetch become others; a source's never have such a one. */
export const poolName = (path: TreePath): string => fetchableName(lastName(path));

const poolPrefix = "pool/SHA256/";

const poolPath = /^pool\/SHA256\/([0-9a-f]{64})\/([^/]+)$/;

/** After so many items requests have their turn, and what came is on disk: a bound on memory. */
const itemsBetweenTurns = 1024;

export class PackagePool {
  readonly #files: Database<PoolRecord, string>;

  /** @param files a database of the repository's own */
  constructor(files: Database<PoolRecord, string>) {
    this.#files = files;
  }

  /** @param path below the repository's root, e.g. `pool/SHA256/…/hello_1_amd64.deb` */
  find(path: string): PooledFile | undefined {
    const [, sha256, name] = poolPath.exec(path) ?? [];
    if (sha256 === undefined || name === undefined) return undefined;
    const record = this.#files.get(`${sha256}/${name}`) ?? this.#underEscapedName(sha256, name);
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
   * The files of these that lie in a directory of the tree, with the entries that they were last seen with.
   * @param paths below the repository's root, e.g. `pool/SHA256/…/hello_1_amd64.deb`
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
   * Some clients (debootstrap among them) ask for a Filename as it stands: then `1%3a2.deb`, as apt calls what it
   * fetches, comes here as `1:2.deb`.
   */
  #underEscapedName(sha256: string, name: string): PoolRecord | undefined {
    // "0" is the character after "/".
    for (const { key, value } of this.#files.getRange({ start: `${sha256}/`, end: `${sha256}0` })) {
      const escaped = key.slice(sha256.length + 1);
      if (escaped.includes("%") && unescaped(escaped) === name) return value;
    }
    return undefined;
  }

  /** Resolves when every file of these items can be found. */
  async add(items: Iterable<IndexEntry>): Promise<void> {
    await written(() => this.#put(items));
  }

  async #put(items: Iterable<IndexEntry>): Promise<void> {
    let written: Promise<unknown> = Promise.resolve();
    let untilTurn = itemsBetweenTurns;
    for (const item of items) {
      for (const [key, record] of recordsOf(item)) {
        // After a restart all of them come, and hardly one is new: reading costs a tenth of writing.
        if (!isSame(this.#files.get(key), record)) written = this.#files.put(key, record);
      }
      if (--untilTurn > 0) continue;
      untilTurn = itemsBetweenTurns;
      await Promise.all([written, setImmediate()]);
    }
    // Writes are committed in their order, so the last one stands for all.
    await written;
  }

  /** The keys of all contents that are named by their id. */
  contentKeys(): Set<string> {
    const keys = new Set<string>();
    for (const { value } of this.#files.getRange()) {
      if (value.content !== undefined) keys.add(new ContentId(value.content).key);
    }
    return keys;
  }

  /**
   * Forgets every other file.
   * @param paths below the repository's root
   */
  async keepOnly(paths: ReadonlySet<string>): Promise<void> {
    let removed: Promise<unknown> = Promise.resolve();
    for (const key of this.#files.getKeys()) {
      if (!paths.has(`${poolPrefix}${key}`)) removed = this.#files.remove(key);
    }
    await removed;
  }
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

function* recordsOf(item: IndexEntry): Iterable<readonly [string, PoolRecord]> {
  const keyOf = (path: TreePath) => `${item.sha256}/${poolName(path)}`;
  const lastModifiedSeconds = item.kind === "binary" ? item.builtAtSeconds : timelessSeconds;
  yield [keyOf(item.path), recordOf(item, item.sha256, lastModifiedSeconds)];
  if (item.kind === "binary") return;
  for (const part of item.parts) yield [keyOf(part.path), recordOf(part, part.digests.sha256, lastModifiedSeconds)];
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
  return { ...known, ...(content === undefined ? {} : { content }) };
}
