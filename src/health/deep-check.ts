// Checks every object of a tree, one directory after the other: its listing is all that memory holds of it.
import { LRUCache } from "lru-cache";
import { ContentId } from "../base/content-id.ts";
import { LimitExceeded, messageOf, RepoError } from "../base/errors.ts";
import { forEachConcurrent } from "../base/for-each-concurrent.ts";
import type { TreePath } from "../base/names.ts";
import { hasRoomForNames, joinPath, rootPath } from "../base/names.ts";
import { defaultInspectLimits } from "../catalog/inspection/inspect-limits.ts";
import { parseEntryMetadata } from "../catalog/metadata/entry-metadata.ts";
import type { CheckOptions, Health, HealthCheck, HealthCounts } from "../storage/health.ts";
import type { Directory, Entry, FileRef, Tree } from "../storage/tree.ts";
import { ContentGone, StorageUnavailable } from "../storage/tree.ts";

/** One object and how it is; `unchecked`: nobody could tell, for the reason in `why`. */
export interface CheckedObject {
  readonly path: TreePath;
  /** `file list`: what an uploader has put beside a link for the Contents indices; no directory holds it. */
  readonly kind: "directory" | "file" | "file list";
  readonly health: Health | { readonly state: "unchecked"; readonly why: string };
}

export interface DeepCheckOptions {
  readonly tree: Tree;
  readonly health: HealthCheck;
  readonly options: CheckOptions;
  /** How many objects are checked at once. */
  readonly concurrency: number;
  /** Told of each object, once; the check waits for it. */
  readonly onChecked: (object: CheckedObject) => Promise<void> | void;
}

/** Where as many checks fail one after the other, it is the gateway that fails and not an object. */
const maxFailuresInRow = 20;
/** Of how many contents it is remembered that they were checked under another name: some 100 bytes each. */
const rememberedContents = 100_000;
/** Directories that link one another make paths without number. */
const maxDirectories = 100_000;

/**
 * A directory that can't be listed is told and passed over; what lies beside it is checked all the same. What is linked
 * at several places is checked once.
 * @throws StorageUnavailable if the root can't be listed or checks go on failing; LimitExceeded; what `tell` throws
 */
export async function deepCheck(parts: DeepCheckOptions, signal: AbortSignal): Promise<HealthCounts> {
  const { tree, concurrency } = parts;
  const checker = new Checker(parts, signal);
  const waiting: TreePath[] = [rootPath];
  const seen = new Set<string>();
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const directory = path;
    if ((await checker.check("directory", { path: directory, content: undefined })) === "lost") continue;
    const listing = directory === rootPath ? await tree.look(rootPath, signal) : await checker.list(directory);
    if (listing?.kind !== "directory") continue;
    await forEachConcurrent(listing.entries, concurrency, async ([name, entry]) => {
      await checker.checkEntry(directory, name, entry);
    });
    for (const [name, entry] of listing.entries) {
      if (entry.kind !== "directory" || !hasRoomForNames(directory)) continue;
      const { directoryIdentity: identity = joinPath(directory, name) } = entry;
      if (seen.has(identity)) continue;
      seen.add(identity);
      if (seen.size > maxDirectories)
        throw new LimitExceeded(undefined, maxDirectories, "the number of directories in the tree");
      waiting.push(joinPath(directory, name));
    }
  }
  return checker.counts;
}

class Checker {
  readonly counts = { healthy: 0, unhealthy: 0, lost: 0, unchecked: 0, repaired: 0, renewed: 0 };
  readonly #options: DeepCheckOptions;
  readonly #signal: AbortSignal;
  readonly #seen = new LRUCache<string, true>({ max: rememberedContents });
  #failuresInRow = 0;

  constructor(options: DeepCheckOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
  }

  async checkEntry(directory: TreePath, name: string, entry: Entry): Promise<void> {
    if (entry.kind === "directory") return;
    if (!hasRoomForNames(directory)) return await this.#reportUnchecked(directory, "file", "its path is too long");
    const path = joinPath(directory, name);
    if (entry.kind === "other") return await this.#reportUnchecked(path, "file", entry.reason);
    await this.#checkOnce("file", { path, content: entry.content });
    const list = parseEntryMetadata(entry.metadata, defaultInspectLimits)?.contents;
    if (list !== undefined) await this.#checkOnce("file list", { path, content: new ContentId(list) });
  }

  async #checkOnce(kind: CheckedObject["kind"], object: FileRef): Promise<void> {
    const key = object.content?.key;
    if (key !== undefined && this.#seen.has(key)) return;
    if (key !== undefined) this.#seen.set(key, true);
    await this.check(kind, object);
  }

  async check(kind: CheckedObject["kind"], object: FileRef): Promise<CheckedObject["health"]["state"]> {
    let health: Health;
    try {
      health = await this.#options.health.check(object, this.#options.options, this.#signal);
    } catch (thrown) {
      await this.#handleFailure(thrown, object.path, kind);
      return "unchecked";
    }
    this.#failuresInRow = 0;
    this.counts[health.state]++;
    if (health.repaired) this.counts.repaired++;
    if (health.shares !== undefined && health.state !== "lost") this.counts.renewed++;
    await this.#options.onChecked({ path: object.path, kind, health });
    return health.state;
  }

  /** @returns undefined where it can't be listed */
  async list(path: TreePath): Promise<Directory | undefined> {
    try {
      const node = await this.#options.tree.look(path, this.#signal);
      return node?.kind === "directory" ? node : undefined;
    } catch (thrown) {
      await this.#handleFailure(thrown, path, "directory");
      return undefined;
    }
  }

  /** @throws what is no word of the storage about one object */
  async #handleFailure(thrown: unknown, path: TreePath, kind: CheckedObject["kind"]): Promise<void> {
    this.#signal.throwIfAborted();
    if (!(thrown instanceof RepoError)) throw thrown;
    // Uploaders can write anything there; what names no object is none that could be lost.
    if (thrown instanceof ContentGone && kind === "file list") return;
    if (thrown instanceof StorageUnavailable && ++this.#failuresInRow >= maxFailuresInRow) throw thrown;
    await this.#reportUnchecked(path, kind, messageOf(thrown));
  }

  async #reportUnchecked(path: TreePath, kind: CheckedObject["kind"], why: string): Promise<void> {
    this.counts.unchecked++;
    await this.#options.onChecked({ path, kind, health: { state: "unchecked", why } });
  }
}
