// Serves all other files of the tree under their paths. Requests for files that do not exist cost little.
import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import pLimit from "p-limit";
import type { ContentId } from "../../base/content-id.ts";
import { LimitExceeded } from "../../base/errors.ts";
import type { TreePath } from "../../base/names.ts";
import { joinPath, lastName, parentPath, pathNames, rootPath } from "../../base/names.ts";
import { readAtMost } from "../../base/read-at-most.ts";
import type { Catalog } from "../../catalog/catalog.ts";
import type { ByteRange, Entry, Tree } from "../../storage/tree.ts";
import { ContentGone, StorageUnavailable } from "../../storage/tree.ts";
import type { Resource } from "../resource.ts";
import { contentTypeOf } from "../resource.ts";
import type { PackageCache } from "./package-cache.ts";
import type { PublishedSuites } from "./published-suites.ts";

/** How long a listing or a mutable file is cached. In this time it is read once, whatever the number of requests. */
const cachedMs = 10_000;
/** How many entries the cached listings may have together. */
const maxCachedEntries = 100_000;
/** How many directories and mutable files are read at once for clients. Refreshes are not limited by this. */
const concurrentReads = 2;
/** How long a client may wait for a listing, in ms. A slower grid counts as temporarily unavailable. */
const listTimeoutMs = 10_000;
/** The largest mutable file that is served, in bytes. It is read as a whole to determine its size and ETag. */
const maxMutableBytes = 4 * 1024 ** 2;
/** The memory for cached mutable files, in bytes. */
const maxCachedBytes = 32 * 1024 ** 2;

type Listing = ReadonlyMap<string, Entry>;

/** The last known content of a mutable file. */
interface MutableFile {
  readonly bytes: Uint8Array;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** The collaborators of `TreeFileResources`. */
export interface TreeFileResourcesOptions {
  readonly tree: Tree;
  readonly catalog: Catalog;
  readonly cache: PackageCache;
  readonly suites: PublishedSuites;
}

/** Finds files of the tree that are neither indices nor packages. */
export class TreeFileResources {
  readonly #options: TreeFileResourcesOptions;
  readonly #limit = pLimit(concurrentReads);
  readonly #listings: LRUCache<string, Listing, TreePath>;
  readonly #mutables: LRUCache<string, MutableFile, TreePath>;
  /** Part of every cache key. A new value invalidates the caches, even while requests are pending. */
  #generation = 0;

  constructor(options: TreeFileResourcesOptions) {
    this.#options = options;
    const ttl = cachedMs;
    this.#listings = new LRUCache<string, Listing, TreePath>({
      maxSize: maxCachedEntries,
      sizeCalculation: (listing) => listing.size + 1,
      ttl,
      fetchMethod: (_key, _old, { signal, context }) => this.#limit(() => this.#readListing(context, signal)),
    });
    this.#mutables = new LRUCache<string, MutableFile, TreePath>({
      maxSize: maxCachedBytes,
      sizeCalculation: ({ bytes }) => bytes.length + 1,
      ttl,
      fetchMethod: (_key, old, { signal, context }) => this.#limit(() => this.#readMutable(context, old, signal)),
    });
  }

  /** Invalidates all cached listings and files. */
  invalidate(): void {
    this.#generation += 1;
  }

  /**
   * Finds the file at a path.
   * @returns undefined if there is no regular file
   * @throws StorageUnavailable, LimitExceeded
   */
  async find(path: TreePath, signal: AbortSignal): Promise<Resource | undefined> {
    const entry = await this.entry(path);
    signal.throwIfAborted();
    if (entry?.kind !== "file") return undefined;
    const { content, sizeBytes, relinkedAtMs } = entry;
    if (content === undefined || sizeBytes === undefined) return await this.#mutable(path);
    return this.#immutable(path, content, { sizeBytes, lastModifiedSeconds: Math.floor(relinkedAtMs / 1000) });
  }

  /**
   * Finds the entry at a path, as of the last refresh or at most `cachedMs` ago. It lists each directory on the way,
   * and only if its parent contains it, so requests can cause listings only for existing directories.
   * @throws StorageUnavailable, LimitExceeded
   */
  async entry(path: TreePath): Promise<Entry | undefined> {
    const { catalog } = this.#options;
    const parent = parentPath(path);
    if (catalog.hasDirectory(parent)) {
      const known = catalog.file(path)?.entry;
      if (known !== undefined || path === parent) return known;
    }
    if (!(await this.#hasDirectory(parent))) return undefined;
    // The catalog contains every file of its directories.
    return catalog.hasDirectory(parent) ? undefined : (await this.#list(parent)).get(lastName(path));
  }

  /**
   * Lists a directory. Package directories are listed as the last refresh saw them, so that this costs nothing; others
   * as they are now, or if the storage is unavailable as far as they are known.
   * @returns undefined if there is no such directory
   * @throws StorageUnavailable, LimitExceeded
   */
  async listing(directory: TreePath): Promise<Listing | undefined> {
    const { catalog } = this.#options;
    const known = catalog.hasDirectory(directory) ? this.#known(directory) : undefined;
    if (known !== undefined && catalog.layout.packageDirectoryOf(directory) !== undefined) return known;
    try {
      return (await this.#hasDirectory(directory)) ? await this.#list(directory) : undefined;
    } catch (thrown) {
      if (known !== undefined && thrown instanceof StorageUnavailable) return known;
      throw thrown;
    }
  }

  #known(directory: TreePath): Listing {
    const { files, directories } = this.#options.catalog.entriesIn(directory);
    const entries = new Map<string, Entry>();
    for (const path of directories) entries.set(lastName(path), { kind: "directory" });
    for (const { path, entry } of files) entries.set(lastName(path), entry);
    return entries;
  }

  async #hasDirectory(directory: TreePath): Promise<boolean> {
    let at = rootPath;
    for (const name of pathNames(directory)) {
      const child = joinPath(at, name);
      if (!(this.#options.catalog.hasDirectory(child) || (await this.#hasSubdirectory(at, child)))) return false;
      at = child;
    }
    return true;
  }

  async #hasSubdirectory(directory: TreePath, child: TreePath): Promise<boolean> {
    const { catalog, suites } = this.#options;
    if (catalog.hasDirectory(directory) && catalog.layout.mayHoldPackages(child) && !suites.isUnlisted(child))
      return false;
    return (await this.#list(directory)).get(lastName(child))?.kind === "directory";
  }

  async #list(directory: TreePath): Promise<Listing> {
    const key = `${this.#generation}/${directory}`;
    return (await this.#listings.fetch(key, { context: directory })) ?? new Map();
  }

  async #readListing(directory: TreePath, signal: AbortSignal): Promise<Listing> {
    const timeout = AbortSignal.timeout(listTimeoutMs);
    const node = await this.#options.tree
      .look(directory, AbortSignal.any([signal, timeout]))
      .catch((thrown: unknown) => {
        if (!timeout.aborted || signal.aborted) throw thrown;
        const why = `not listed within ${listTimeoutMs / 1000} s`;
        throw new StorageUnavailable(directory, why, { transient: true });
      });
    if (node?.kind !== "directory") return new Map();
    const entries = [...node.entries].map(([name, entry]) => [name, withoutEntryMetadata(entry)] as const);
    return new Map(entries);
  }

  #immutable(
    path: TreePath,
    content: ContentId,
    facts: { readonly sizeBytes: number; readonly lastModifiedSeconds: number },
  ): Resource {
    const expected = {
      sha256: createHash("sha256").update(content.key).digest("hex"),
      isHashOf: "content-id",
      sizeBytes: facts.sizeBytes,
      source: (range: ByteRange, signal: AbortSignal) => this.#bytes(path, content, range, signal),
    } as const;
    return {
      ...facts,
      etag: content.key,
      contentType: contentTypeOf(lastName(path)),
      caching: "revalidate",
      read: (range, signal, pieces) => this.#options.cache.read(expected, range, signal, pieces),
    };
  }

  async #mutable(path: TreePath): Promise<Resource | undefined> {
    const key = `${this.#generation}/${path}`;
    const read = await this.#mutables.fetch(key, { context: path });
    return (
      read && {
        sizeBytes: read.bytes.length,
        etag: read.sha256,
        // The link of a mutable file is not updated when its bytes change.
        lastModifiedSeconds: undefined,
        contentType: contentTypeOf(lastName(path)),
        caching: "revalidate",
        read: async ({ start, end }) => read.bytes.subarray(start, end),
      }
    );
  }

  /** @param old the previous content; it is returned if nothing changed, so that no second copy stays in memory */
  async #readMutable(path: TreePath, old: MutableFile | undefined, signal: AbortSignal): Promise<MutableFile> {
    const content = this.#bytes(path, undefined, { start: 0, end: maxMutableBytes + 1 }, signal);
    const bytes = await readAtMost(content, maxMutableBytes);
    if (bytes === undefined) {
      throw new LimitExceeded(undefined, maxMutableBytes, "a mutable file's size in bytes");
    }
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return old?.sha256 === sha256 ? old : { bytes, sha256 };
  }

  /** @throws StorageUnavailable, also if the file was replaced after the listing: the path does exist */
  async *#bytes(
    path: TreePath,
    content: ContentId | undefined,
    range: ByteRange,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    try {
      yield* this.#options.tree.open({ path, content }, range, signal);
    } catch (thrown) {
      if (!(thrown instanceof ContentGone)) throw thrown;
      this.invalidate();
      throw new StorageUnavailable(path, "it changed after it was listed", { transient: true });
    }
  }
}

/** Entry metadata may be as long as a stanza, and is not used here. */
const withoutEntryMetadata = (entry: Entry): Entry =>
  entry.kind === "file" ? { ...entry, metadata: undefined } : entry;
