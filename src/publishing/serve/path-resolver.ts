// What is behind a path of a repository: a file of a publication, a package that one names, or a file of the tree.
import { LRUCache } from "lru-cache";
import type { StateName, Suite, TreePath } from "../../base/names.ts";
import { tryParseSuiteOrFlat, tryParseTreePath } from "../../base/names.ts";
import type { Catalog } from "../../catalog/catalog.ts";
import type { Resource } from "../resource.ts";
import type { ClientSession } from "../served-repository.ts";
import { timelessSeconds } from "../store/package-pool.ts";
import type { Manifest } from "../store/publication.ts";
import { fileByHash, hashReference, publishedFile } from "../store/publication.ts";
import type { PublicationStore } from "../store/publication-store.ts";
import type { ChangelogResources } from "./changelog-resources.ts";
import type { IndexResources } from "./index-resources.ts";
import type { PackageResources } from "./package-resources.ts";
import type { PassthroughSuites } from "./passthrough-suites.ts";
import type { TreeFileResources } from "./tree-file-resources.ts";

export interface PathResolverOptions {
  readonly stateName: StateName;
  readonly catalog: Catalog;
  readonly store: PublicationStore;
  readonly indexResources: IndexResources;
  readonly packages: PackageResources;
  readonly changelogs: ChangelogResources;
  readonly treeFiles: TreeFileResources;
  readonly passthrough: PassthroughSuites;
  /** The current publication of a suite. */
  readonly currentOf: (suite: Suite) => Manifest | undefined;
}

/** The names of what is made here: one that is not there now is nowhere, whatever the tree has under its name. */
const generated =
  /^pool\/SHA256\/|^snapshots\/|^dists\/[^/]+\/(.+\/)?(InRelease|Release|Release\.gpg|by-hash\/.*|(Packages|Sources|Contents-[^/.]+)(\.diff\/.*|\.[a-z0-9]+)?)$/;

/** A large one takes some megabytes. */
const maxPastInMemory = 8;

export class PathResolver {
  readonly #parts: PathResolverOptions;
  /** What was found in publications, by the path below the suite: most requests are for the same few files. */
  readonly #found = new WeakMap<Manifest, Map<string, Resource>>();

  /** Publications of the past that were asked for lately. */
  readonly #past = new LRUCache<string, Manifest>({ max: maxPastInMemory });

  /** Suites with a slash in their names, which go before others at the beginning of a path. */
  readonly #nested: readonly Suite[];

  constructor(parts: PathResolverOptions) {
    this.#parts = parts;
    this.#nested = parts.catalog.layout.nestedSuites;
  }

  /**
   * What is known without asking the storage.
   * @param path below the repository's root, without a leading slash
   * @param session of the client: it decides which publication plain names are of
   */
  find(path: string, session?: ClientSession): Resource | undefined {
    const treePath = tryParseTreePath(path);
    // A database throws where it is asked for a key that is much longer than any path.
    if (treePath === undefined) return undefined;
    const { packages } = this.#parts;
    return packages.pooled(path) ?? this.#published(path, session) ?? this.#inSnapshot(path) ?? this.#inTree(treePath);
  }

  /**
   * A changelog, or another file of the tree, but for what would be taken for one of ours.
   * @throws StorageUnavailable, LimitExceeded, TooManyChangelogs
   */
  async findOther(path: string, signal: AbortSignal): Promise<Resource | undefined> {
    const changelog = path.startsWith("changelogs/") ? await this.#parts.changelogs.find(path) : undefined;
    if (changelog !== undefined) return changelog;
    const { suite } = this.#inSuite(path) ?? {};
    const isOurs = generated.test(path) && (suite === undefined || !this.#parts.passthrough.holds(suite));
    const treePath = isOurs ? undefined : tryParseTreePath(path);
    return treePath === undefined ? undefined : await this.#parts.treeFiles.find(treePath, signal);
  }

  #published(path: string, session: ClientSession | undefined): Resource | undefined {
    const { suite, rest } = this.#inSuite(path) ?? {};
    if (suite === undefined || rest === undefined || this.#parts.passthrough.holds(suite)) return undefined;
    const current = this.#parts.currentOf(suite);
    const reference = hashReference(rest);
    const begun = current && reference === undefined ? this.#begunWith(current, rest, session) : undefined;
    // What that one does not have, its client asks for on no word of ours: the current one may have it.
    const found = (begun && this.#inPublication(begun, rest)) ?? (current && this.#inPublication(current, rest));
    if (found !== undefined) return begun === undefined ? found : { ...found, caching: "per-client" };
    const { indexResources, store } = this.#parts;
    const older = reference && store.byHash(suite, reference);
    return older && indexResources.resource(older, timelessSeconds, "immutable");
  }

  /** The publication that the client began with, where that is not the current one. */
  #begunWith(current: Manifest, rest: string, session: ClientSession | undefined): Manifest | undefined {
    const { suite, id } = current;
    const suiteKey = `${this.#parts.stateName} ${suite}`;
    const begunId =
      rest === "Release" || rest === "InRelease" ? session?.begin(suiteKey, rest, id) : session?.continued(suiteKey);
    return begunId === undefined || begunId === id ? undefined : this.#pastOf(suite, begunId);
  }

  /** A suite as it was: all that its publication of that time names, and nothing that is not kept any more. */
  #inSnapshot(path: string): Resource | undefined {
    const [, when, file] = /^snapshots\/([^/]+)\/(.+)$/.exec(path) ?? [];
    if (when === undefined || file === undefined) return undefined;
    const { packages, store } = this.#parts;
    const { suite, rest } = this.#inSuite(file) ?? {};
    if (suite === undefined || rest === undefined) return packages.pooled(file);
    const id = store.idAt(suite, when);
    const past = id === undefined ? undefined : this.#pastOf(suite, id);
    return past && this.#inPublication(past, rest);
  }

  #pastOf(suite: Suite, id: string): Manifest | undefined {
    const key = `${suite}/${id}`;
    const past = this.#past.get(key) ?? this.#parts.store.get(suite, id);
    if (past !== undefined) this.#past.set(key, past);
    return past;
  }

  /** @param path below the suite */
  #inPublication(manifest: Manifest, path: string): Resource | undefined {
    const found = this.#foundIn(manifest);
    const known = found.get(path);
    if (known !== undefined) return known;
    const { indexResources } = this.#parts;
    const reference = hashReference(path);
    const file = reference === undefined ? publishedFile(manifest, path) : fileByHash(manifest, reference);
    if (file === undefined) return undefined;
    const resource =
      reference === undefined
        ? indexResources.resource(file, manifest.lastModifiedSeconds ?? manifest.dateSeconds, "revalidate")
        : indexResources.resource(file, timelessSeconds, "immutable");
    found.set(path, resource);
    return resource;
  }

  #inTree(path: TreePath): Resource | undefined {
    const file = this.#parts.catalog.file(path);
    return file && this.#parts.packages.inTree(file);
  }

  #foundIn(manifest: Manifest): Map<string, Resource> {
    const known = this.#found.get(manifest);
    if (known !== undefined) return known;
    const found = new Map<string, Resource>();
    this.#found.set(manifest, found);
    return found;
  }

  /** Takes the path of a suite's file apart; undefined for any other. */
  #inSuite(path: string): { readonly suite: Suite; readonly rest: string } | undefined {
    const nested = this.#nested.find((suite) => path.startsWith(`dists/${suite}/`));
    if (nested !== undefined) return { suite: nested, rest: path.slice(`dists/${nested}/`.length) };
    const [, rawSuite, rest] = /^dists\/([^/]+)\/(.+)$/.exec(path) ?? [];
    if (rawSuite === undefined || rest === undefined) return undefined;
    const suite = tryParseSuiteOrFlat(rawSuite);
    return suite && { suite, rest };
  }
}
