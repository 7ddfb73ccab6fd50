// Checks every object of a tree, one directory after the other, so that only one listing is in memory at a time.
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

/** One object and its health; `unchecked` if the check failed, for the reason in `why`. */
export interface CheckedObject {
  readonly path: TreePath;
  /** `file list`: a list for Contents indices whose cap is in the metadata of a link. No directory contains it. */
  readonly kind: "directory" | "file" | "file list";
  readonly health: Health | { readonly state: "unchecked"; readonly why: string };
}

/** Collaborators and options of a deep-check. */
export interface DeepCheckOptions {
  readonly tree: Tree;
  readonly health: HealthCheck;
  readonly options: CheckOptions;
  /** The number of concurrent checks. */
  readonly concurrency: number;
  /** Receives each object once; the check waits for it. */
  readonly onChecked: (object: CheckedObject) => Promise<void> | void;
}

/** If this number of consecutive checks fail, the fault is the gateway's, and not one of the objects. */
const maxConsecutiveFailures = 20;
/** The number of checked contents that are remembered to skip further links to them; about 100 bytes each. */
const maxRememberedContents = 100_000;
/** A limit, because directories that link to one another make very many paths. */
const maxDirectories = 100_000;

/**
 * Checks all objects of a tree. A directory that cannot be listed is reported as unchecked, and the check goes on.
 * Objects that are linked several times are checked once.
 * @returns the number of objects in each state
 * @throws StorageUnavailable if the root cannot be listed or too many consecutive checks fail; LimitExceeded; errors of
 *   `onChecked`
 */
export async function deepCheck(options: DeepCheckOptions, signal: AbortSignal): Promise<HealthCounts> {
  const { tree, concurrency } = options;
  const checker = new Checker(options, signal);
  const pending: TreePath[] = [rootPath];
  const seen = new Set<string>();
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const directory = path;
    if ((await checker.check("directory", { path: directory, content: undefined })) === "lost") continue;
    const listing = directory === rootPath ? await tree.look(rootPath, signal) : await checker.list(directory);
    if (listing?.kind !== "directory") continue;
    await forEachConcurrent(listing.entries, concurrency, async ([name, entry]) => {
      await checker.checkEntry(directory, name, entry);
    });
    for (const [name, entry] of listing.entries) {
      if (entry.kind !== "directory" || !hasRoomForNames(directory)) continue;
      const { directoryIdentity = joinPath(directory, name) } = entry;
      if (seen.has(directoryIdentity)) continue;
      seen.add(directoryIdentity);
      if (seen.size > maxDirectories)
        throw new LimitExceeded(undefined, maxDirectories, "the number of directories in the tree");
      pending.push(joinPath(directory, name));
    }
  }
  return checker.counts;
}

class Checker {
  readonly counts = { healthy: 0, unhealthy: 0, lost: 0, unchecked: 0, repaired: 0, renewed: 0 };
  readonly #options: DeepCheckOptions;
  readonly #signal: AbortSignal;
  readonly #seen = new LRUCache<string, true>({ max: maxRememberedContents });
  #consecutiveFailures = 0;

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
    this.#consecutiveFailures = 0;
    this.counts[health.state]++;
    if (health.repaired) this.counts.repaired++;
    if (health.shares !== undefined && health.state !== "lost") this.counts.renewed++;
    await this.#options.onChecked({ path: object.path, kind, health });
    return health.state;
  }

  /** @returns undefined if the directory cannot be listed */
  async list(path: TreePath): Promise<Directory | undefined> {
    try {
      const node = await this.#options.tree.look(path, this.#signal);
      return node?.kind === "directory" ? node : undefined;
    } catch (thrown) {
      await this.#handleFailure(thrown, path, "directory");
      return undefined;
    }
  }

  /** Reports a failed check. @throws errors that are not about one object */
  async #handleFailure(thrown: unknown, path: TreePath, kind: CheckedObject["kind"]): Promise<void> {
    this.#signal.throwIfAborted();
    if (!(thrown instanceof RepoError)) throw thrown;
    // Metadata may contain an invalid cap of a file list. There is no such object, so it cannot be lost.
    if (thrown instanceof ContentGone && kind === "file list") return;
    if (thrown instanceof StorageUnavailable && ++this.#consecutiveFailures >= maxConsecutiveFailures) throw thrown;
    await this.#reportUnchecked(path, kind, messageOf(thrown));
  }

  async #reportUnchecked(path: TreePath, kind: CheckedObject["kind"], why: string): Promise<void> {
    this.counts.unchecked++;
    await this.#options.onChecked({ path, kind, health: { state: "unchecked", why } });
  }
}
