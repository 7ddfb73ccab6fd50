// Every other file of the tree under its own path, as it stands there. Whoever asks for what is not there costs little.

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

/** How long a listing or a mutable file is believed: it is looked at once in this time, however often it is asked for. */
const rememberedMs = 10_000;
/** How many entries the remembered listings may have together. */
const maxRememberedEntries = 100_000;
/** How many directories are looked at, and mutable files read, at once for strangers: refreshes go on beside them. */
const concurrentAsks = 2;
/** How long a client may wait for a listing, in ms: a grid that takes longer is told to be unavailable for now. */
const lookTimeoutMs = 10_000;
/** The largest mutable file that is served, in bytes. It is read whole, for only its bytes tell its size and its tag. */
const maxMutableBytes = 4 * 1024 ** 2;
/** What the remembered mutable files may take up together, in bytes. */
const maxRememberedBytes = 32 * 1024 ** 2;

type Listing = ReadonlyMap<string, Entry>;

/** A mutable file as it was read last. */
interface Read {
  readonly bytes: Uint8Array;
  /** Lower-case hex. */
  readonly sha256: string;
}

export interface TreeFileResourcesOptions {
  readonly tree: Tree;
  readonly catalog: Catalog;
  readonly cache: PackageCache;
  /** Whether a path lies in a directory that could not be listed, so that nobody knows what is there. */
  readonly isUnlisted: (path: TreePath) => boolean;
}

export class TreeFileResources {
  readonly #parts: TreeFileResourcesOptions;
  readonly #asking = pLimit(concurrentAsks);
  readonly #listings: LRUCache<string, Listing, TreePath>;
  readonly #mutables: LRUCache<string, Read, TreePath>;
  /** Stands in every listing's name, so that what is remembered can be forgotten though somebody still waits for it. */
  #generation = 0;

  constructor(parts: TreeFileResourcesOptions) {
    this.#parts = parts;
    const ttl = rememberedMs;
    this.#listings = new LRUCache<string, Listing, TreePath>({
      maxSize: maxRememberedEntries,
      sizeCalculation: (listing) => listing.size + 1,
      ttl,
      fetchMethod: (_key, _old, { signal, context }) => this.#asking(() => this.#look(context, signal)),
    });
    this.#mutables = new LRUCache<string, Read, TreePath>({
      maxSize: maxRememberedBytes,
      sizeCalculation: ({ bytes }) => bytes.length + 1,
      ttl,
      fetchMethod: (_key, old, { signal, context }) => this.#asking(() => this.#read(context, old, signal)),
    });
  }

  /** Looks at everything anew from now on. */
  forget(): void {
    this.#generation += 1;
  }

  /**
   * @returns undefined where there is no regular file
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
   * What its directory tells of a path, not longer ago than a refresh or `rememberedMs`. Every directory on the way is
   * looked at, and none that its own directory does not tell of: so only true directories can be made to cost a look.
   * @throws StorageUnavailable, LimitExceeded
   */
  async entry(path: TreePath): Promise<Entry | undefined> {
    const { catalog } = this.#parts;
    const parent = parentPath(path);
    if (catalog.hasDirectory(parent)) {
      const known = catalog.file(path)?.entry;
      if (known !== undefined || path === parent) return known;
    }
    let at = rootPath;
    for (const name of pathNames(parent)) {
      const child = joinPath(at, name);
      if (!(catalog.hasDirectory(child) || (await this.#tellsOf(at, child)))) return undefined;
      at = child;
    }
    // The catalog knows every file of its directories.
    return catalog.hasDirectory(at) ? undefined : (await this.#list(at)).get(lastName(path));
  }

  async #tellsOf(directory: TreePath, child: TreePath): Promise<boolean> {
    const { catalog, isUnlisted } = this.#parts;
    if (catalog.hasDirectory(directory) && catalog.layout.mayHoldPackages(child) && !isUnlisted(child)) return false;
    return (await this.#list(directory)).get(lastName(child))?.kind === "directory";
  }

  async #list(directory: TreePath): Promise<Listing> {
    const key = `${this.#generation}/${directory}`;
    return (await this.#listings.fetch(key, { context: directory })) ?? new Map();
  }

  async #look(directory: TreePath, signal: AbortSignal): Promise<Listing> {
    const late = AbortSignal.timeout(lookTimeoutMs);
    const node = await this.#parts.tree.look(directory, AbortSignal.any([signal, late])).catch((thrown: unknown) => {
      if (!late.aborted || signal.aborted) throw thrown;
      const why = `not listed within ${lookTimeoutMs / 1000} s`;
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
    const promised = {
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
      read: (range, signal, pieces) => this.#parts.cache.read(promised, range, signal, pieces),
    };
  }

  async #mutable(path: TreePath): Promise<Resource | undefined> {
    const key = `${this.#generation}/${path}`;
    const read = await this.#mutables.fetch(key, { context: path });
    return (
      read && {
        sizeBytes: read.bytes.length,
        etag: read.sha256,
        // Its link is as old as ever when its bytes are new.
        lastModifiedSeconds: undefined,
        contentType: contentTypeOf(lastName(path)),
        caching: "revalidate",
        read: async ({ start, end }) => read.bytes.subarray(start, end),
      }
    );
  }

  /** @param old what was there before: as long as it is the same, nobody holds it twice */
  async #read(path: TreePath, old: Read | undefined, signal: AbortSignal): Promise<Read> {
    const content = this.#bytes(path, undefined, { start: 0, end: maxMutableBytes + 1 }, signal);
    const bytes = await readAtMost(content, maxMutableBytes);
    if (bytes === undefined) {
      throw new LimitExceeded(undefined, maxMutableBytes, "a mutable file's size in bytes");
    }
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return old?.sha256 === sha256 ? old : { bytes, sha256 };
  }

  /** @throws StorageUnavailable also for what was replaced since it was listed: something is there */
  async *#bytes(
    path: TreePath,
    content: ContentId | undefined,
    range: ByteRange,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    try {
      yield* this.#parts.tree.open({ path, content }, range, signal);
    } catch (thrown) {
      if (!(thrown instanceof ContentGone)) throw thrown;
      this.forget();
      throw new StorageUnavailable(path, "it was changed since it was listed", { transient: true });
    }
  }
}

/** An uploader's words may be as long as a stanza, and nobody reads them here. */
const withoutEntryMetadata = (entry: Entry): Entry =>
  entry.kind === "file" ? { ...entry, metadata: undefined } : entry;
