// Lists directories of a repository, with everything that can be requested there: for people who browse.
import type { Suite, TreePath } from "../../base/names.ts";
import { tryParseTreePath } from "../../base/names.ts";
import { StorageUnavailable } from "../../storage/tree.ts";
import type { DirectoryListing, ListedEntry, ListingRange } from "../served-repository.ts";
import type { PackagePool } from "../store/package-pool.ts";
import type { Manifest } from "../store/publication.ts";
import { everyForm, hashPath, hashReferences, indexPath } from "../store/publication.ts";
import type { PublicationStore } from "../store/publication-store.ts";
import type { PassthroughSuites } from "./passthrough-suites.ts";
import { isGeneratedPath } from "./path-resolver.ts";
import type { TreeFileResources } from "./tree-file-resources.ts";

/** The collaborators of `DirectoryListings`. */
export interface DirectoryListingsOptions {
  readonly store: PublicationStore;
  /** The current publications. */
  readonly current: () => Iterable<Manifest>;
  readonly passthrough: PassthroughSuites;
  readonly treeFiles: TreeFileResources;
  /** The suite that contains a path of the tree. */
  readonly suiteOf: (path: TreePath) => Suite | undefined;
}

/** Entries by name. */
type Entries = Map<string, ListedEntry>;

/** The files of a publication, by their paths below the suite. */
type PublishedFiles = ReadonlyMap<string, Omit<ListedEntry, "name" | "kind">>;

export class DirectoryListings {
  readonly #options: DirectoryListingsOptions;
  readonly #files = new WeakMap<Manifest, PublishedFiles>();

  constructor(options: DirectoryListingsOptions) {
    this.#options = options;
  }

  /** @see ServedRepository.list */
  async list(path: string, range: ListingRange, signal: AbortSignal): Promise<DirectoryListing | undefined> {
    const generated = this.listGenerated(path, range);
    if (/^(pool\/SHA256|snapshots)(\/|$)/.test(path)) return generated;
    const entries: Entries = new Map();
    try {
      const isInTree = await this.#addTree(path, entries);
      if (!isInTree && generated === undefined) return undefined;
    } catch (thrown) {
      if (generated === undefined || !(thrown instanceof StorageUnavailable)) throw thrown;
      return { ...generated, isIncomplete: true };
    }
    signal.throwIfAborted();
    const more = generated?.hasMore ?? false;
    for (const entry of generated?.entries ?? []) entries.set(entry.name, entry);
    return { ...partOf(entries.values(), range), ...(more && { hasMore: true }) };
  }

  /**
   * Lists generated files and the pool.
   * @returns undefined if nothing generated is in this directory
   */
  listGenerated(path: string, range: ListingRange): DirectoryListing | undefined {
    const [first, ...rest] = path.split("/");
    if (first === "pool") return listPool(this.#options.store.pool, rest, range);
    const entries: Entries = new Map();
    if (path === "") this.#addRoot(entries);
    else if (first === "snapshots") this.#addSnapshot(rest, entries);
    else this.#addPublications(path, [...this.#options.current()], entries);
    return entries.size === 0 ? undefined : partOf(entries.values(), range);
  }

  #addRoot(entries: Entries): void {
    const { store, current } = this.#options;
    const [manifest] = current();
    if (manifest === undefined) return;
    this.#addPublications("", [...current()], entries);
    for (const name of ["pool", "snapshots"]) entries.set(name, { name, kind: "directory" });
    if (store.pool.isEmpty()) entries.delete("pool");
  }

  #addSnapshot([when, ...below]: readonly string[], entries: Entries): void {
    if (when === undefined) return;
    const { store, current } = this.#options;
    const past: Manifest[] = [];
    for (const { suite } of current()) {
      const id = store.idAt(suite, when);
      const manifest = id === undefined ? undefined : store.get(suite, id);
      if (manifest !== undefined) past.push(manifest);
    }
    this.#addPublications(below.join("/"), past, entries);
  }

  /** Adds the files of publications. @param directory below the root of the repository or of a snapshot */
  #addPublications(directory: string, manifests: readonly Manifest[], entries: Entries): void {
    const prefix = directory === "" ? "" : `${directory}/`;
    for (const manifest of manifests) {
      const suitePrefix = `dists/${manifest.suite}/`;
      if (suitePrefix.startsWith(prefix)) {
        const rest = suitePrefix.slice(prefix.length);
        if (rest !== "") {
          addChild(entries, rest, {});
          continue;
        }
      } else if (!prefix.startsWith(suitePrefix)) continue;
      const below = prefix.slice(suitePrefix.length);
      for (const [path, facts] of this.#filesOf(manifest)) {
        if (path.startsWith(below)) addChild(entries, path.slice(below.length), facts);
      }
    }
  }

  #filesOf(manifest: Manifest): PublishedFiles {
    const known = this.#files.get(manifest);
    if (known !== undefined) return known;
    const modifiedSeconds = manifest.lastModifiedSeconds ?? manifest.dateSeconds;
    const files = new Map<string, Omit<ListedEntry, "name" | "kind">>();
    const { release, inRelease, releaseGpg } = manifest;
    for (const [path, text] of [
      ["Release", release],
      ["InRelease", inRelease],
      ["Release.gpg", releaseGpg],
    ] as const) {
      if (text !== "") files.set(path, { sizeBytes: Buffer.byteLength(text), modifiedSeconds });
    }
    for (const index of manifest.indices) {
      for (const form of everyForm) {
        files.set(indexPath(index, form), { sizeBytes: index.forms[form].sizeBytes, modifiedSeconds });
      }
    }
    for (const { path, sizeBytes } of manifest.blobs) files.set(path, { sizeBytes, modifiedSeconds });
    for (const reference of hashReferences(manifest)) files.set(hashPath(reference), {});
    this.#files.set(manifest, files);
    return files;
  }

  /** Adds the entries of a directory of the tree. @returns false if it has no such directory */
  async #addTree(path: string, entries: Entries): Promise<boolean> {
    const { treeFiles, passthrough, suiteOf } = this.#options;
    const directory = tryParseTreePath(path);
    const listing = directory === undefined ? undefined : await treeFiles.listing(directory);
    if (directory === undefined || listing === undefined) return false;
    const suite = suiteOf(directory);
    const isPrebuilt = suite !== undefined && passthrough.includes(suite);
    for (const [name, entry] of listing) {
      if (entry.kind === "directory") entries.set(name, { name, kind: "directory" });
      if (entry.kind !== "file") continue;
      // Such a file of the tree is not served: the generated one has its path.
      if (!isPrebuilt && isGeneratedPath(path === "" ? name : `${path}/${name}`)) continue;
      const { sizeBytes, relinkedAtMs } = entry;
      const modifiedSeconds = relinkedAtMs > 0 ? Math.floor(relinkedAtMs / 1000) : undefined;
      entries.set(name, { name, kind: "file", sizeBytes, modifiedSeconds });
    }
    return true;
  }
}

/** Adds the first name of a path: the file itself, or the directory that leads to it. */
function addChild(entries: Entries, path: string, facts: Omit<ListedEntry, "name" | "kind">): void {
  const slashAt = path.indexOf("/");
  if (slashAt < 0) entries.set(path, { name: path, kind: "file", ...facts });
  else entries.set(path.slice(0, slashAt), { name: path.slice(0, slashAt), kind: "directory" });
}

/** @param rest the names below `pool` */
function listPool(pool: PackagePool, rest: readonly string[], range: ListingRange): DirectoryListing | undefined {
  const [algorithm, sha256, ...below] = rest;
  if (pool.isEmpty() || below.length > 0 || (algorithm !== undefined && algorithm !== "SHA256")) return undefined;
  if (algorithm === undefined) return partOf([{ name: "SHA256", kind: "directory" }], range);
  if (sha256 !== undefined) {
    const directory = /^[0-9a-f]{64}$/.test(sha256) ? pool.directory(sha256) : undefined;
    return directory && partOf(directory.files.map(poolFile), range);
  }
  const entries: ListedEntry[] = [];
  for (const { sha256: name, files } of pool.directoriesAfter(range.after)) {
    if (entries.length === range.limit) return { entries, hasMore: true };
    entries.push({ name, kind: "directory", holds: files.map((file) => file.name) });
  }
  return { entries, hasMore: false };
}

const poolFile = (file: { readonly name: string; readonly sizeBytes: number; readonly lastModifiedSeconds: number }) =>
  ({ name: file.name, kind: "file", sizeBytes: file.sizeBytes, modifiedSeconds: file.lastModifiedSeconds }) as const;

/** The entries of a range, sorted by name. */
export function partOf(all: Iterable<ListedEntry>, { after, limit }: ListingRange): DirectoryListing {
  const sorted = [...all].filter(({ name }) => name > after).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return { entries: sorted.slice(0, limit), hasMore: sorted.length > limit };
}

/** Combines the same part of several listings of one directory; an entry of an earlier one takes precedence. */
export function combinedListing(
  listings: readonly (DirectoryListing | undefined)[],
  range: ListingRange,
): DirectoryListing | undefined {
  const found = listings.filter((listing) => listing !== undefined);
  if (found.length < 2) return found[0];
  const entries: Entries = new Map();
  for (const { entries: some } of found.toReversed()) for (const entry of some) entries.set(entry.name, entry);
  const { entries: part, hasMore } = partOf(entries.values(), range);
  return {
    entries: part,
    hasMore: hasMore || found.some((listing) => listing.hasMore),
    ...(found.some((listing) => listing.isIncomplete) && { isIncomplete: true }),
  };
}
