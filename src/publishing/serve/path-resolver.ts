// Finds the resource at a path of a repository: a file of a publication, a package in one, or a file of the tree.
import { LRUCache } from "lru-cache";
import type { StateName, Suite, TreePath } from "../../base/names.ts";
import { tryParseSuiteOrFlat, tryParseTreePath } from "../../base/names.ts";
import type { Catalog } from "../../catalog/catalog.ts";
import type { Resource } from "../resource.ts";
import type { ClientSession, ReleaseFile } from "../served-repository.ts";
import { NotSeenYet } from "../served-repository.ts";
import { timelessSeconds } from "../store/package-pool.ts";
import type { Manifest } from "../store/publication.ts";
import { fileByHash, hashReference, publishedFile } from "../store/publication.ts";
import type { PublicationStore } from "../store/publication-store.ts";
import type { ChangelogResources } from "./changelog-resources.ts";
import type { IndexResources } from "./index-resources.ts";
import type { PackageResources } from "./package-resources.ts";
import type { PassthroughSuites } from "./passthrough-suites.ts";
import type { PublishedSuites } from "./published-suites.ts";
import type { TreeFileResources } from "./tree-file-resources.ts";

/** The collaborators of `PathResolver`. */
export interface PathResolverOptions {
  readonly stateName: StateName;
  /** Suites with a slash in their names. */
  readonly nestedSuites: readonly Suite[];
  readonly store: PublicationStore;
  readonly indexResources: IndexResources;
  readonly packages: Pick<PackageResources, "pooled">;
  readonly passthrough: Pick<PassthroughSuites, "includes">;
  readonly suites: Pick<PublishedSuites, "currentOf">;
  /** What only the process can find that reads the tree. */
  readonly tree?: {
    readonly catalog: Pick<Catalog, "file">;
    readonly packages: Pick<PackageResources, "inTree">;
    readonly changelogs: Pick<ChangelogResources, "find">;
    readonly treeFiles: Pick<TreeFileResources, "find">;
  };
}

/**
 * Paths of generated files. If such a file does not exist, a file in the tree with the same path is not served either.
 */
const generatedPaths =
  /^pool\/SHA256\/|^snapshots\/|^dists\/[^/]+\/(.+\/)?(InRelease|Release|Release\.gpg|by-hash\/.*|(Packages|Sources|Contents-[^/.]+)(\.diff\/.*|\.[a-z0-9]+)?)$/;

/** @param path below the repository's root */
export const isGeneratedPath = (path: string): boolean => generatedPaths.test(path);

const releaseFile = (rest: string): ReleaseFile | undefined =>
  rest === "Release" || rest === "InRelease" ? rest : undefined;

const firstDirectory = (suite: Suite): string => suite.split("/", 1)[0] ?? "";

/** A large publication takes some megabytes. */
const maxPastInMemory = 8;

/** Maps paths of one repository to resources. */
export class PathResolver {
  readonly #options: PathResolverOptions;
  /** The resources of publications, by the path below the suite. Most requests are for the same few files. */
  readonly #resources = new WeakMap<Manifest, Map<string, Resource>>();

  /** Recently requested past publications. */
  readonly #past = new LRUCache<string, Manifest>({ max: maxPastInMemory });

  /** Suites with a slash in their names. They are compared first with the start of a path. */
  readonly #nested: readonly Suite[];
  /** The directories in `dists` that several suites have in common. */
  readonly #commonDirectories: ReadonlySet<string>;

  constructor(options: PathResolverOptions) {
    this.#options = options;
    this.#nested = options.nestedSuites;
    this.#commonDirectories = new Set(this.#nested.map(firstDirectory));
  }

  /**
   * Finds a resource without access to the storage.
   * @param path below the repository's root, without a leading slash
   * @param session the client's session, which selects the publication for plain names
   * @throws NotSeenYet if other servers of the fleet have the publication that the client is reading, and this one not
   */
  find(path: string, session?: ClientSession): Resource | undefined {
    const treePath = tryParseTreePath(path);
    // The database throws for keys that are much longer than any valid path.
    if (treePath === undefined) return undefined;
    const { packages } = this.#options;
    return packages.pooled(path) ?? this.#published(path, session) ?? this.#inSnapshot(path) ?? this.#inTree(treePath);
  }

  /**
   * What must be awaited before `find`: other servers may know which publication the client is reading.
   * @returns undefined if `find` can be called at once
   */
  awaitedBefore(path: string, session: ClientSession | undefined): Promise<void> | undefined {
    if (session === undefined || session.isShared !== true) return undefined;
    const { suite, rest } = this.#inSuite(path) ?? {};
    if (suite === undefined || rest === undefined || hashReference(rest) !== undefined) return undefined;
    const current = this.#options.suites.currentOf(suite);
    return current && session.learn?.(this.#suiteKey(suite), releaseFile(rest), current.id);
  }

  /**
   * Finds a changelog, or another file of the tree. A tree file with the path of a generated file is not served.
   * @throws StorageUnavailable, LimitExceeded, TooManyChangelogs
   */
  async findOther(path: string, signal: AbortSignal): Promise<Resource | undefined> {
    const { tree } = this.#options;
    if (tree === undefined) return undefined;
    const changelog = path.startsWith("changelogs/") ? await tree.changelogs.find(path) : undefined;
    if (changelog !== undefined) return changelog;
    const { suite } = this.#inSuite(path) ?? {};
    const isGenerated =
      generatedPaths.test(path) && (suite === undefined || !this.#options.passthrough.includes(suite));
    const treePath = isGenerated ? undefined : tryParseTreePath(path);
    return treePath === undefined ? undefined : await tree.treeFiles.find(treePath, signal);
  }

  #published(path: string, session: ClientSession | undefined): Resource | undefined {
    const { suite, rest } = this.#inSuite(path) ?? {};
    if (suite === undefined || rest === undefined || this.#options.passthrough.includes(suite)) return undefined;
    const current = this.#options.suites.currentOf(suite);
    const reference = hashReference(rest);
    const begun = current && reference === undefined ? this.#sessionPublication(current, rest, session) : undefined;
    // A file that this publication lacks is not listed in the client's Release; the current publication may have it.
    const found = (begun && this.#inPublication(begun, rest)) ?? (current && this.#inPublication(current, rest));
    if (found !== undefined) return begun === undefined ? found : { ...found, caching: "per-client" };
    const { indexResources, store } = this.#options;
    const older = reference && store.byHash(suite, reference);
    return older && indexResources.resource(older, timelessSeconds, "immutable");
  }

  /** The publication whose Release the client downloaded in this session, unless that is the current one. */
  #sessionPublication(current: Manifest, rest: string, session: ClientSession | undefined): Manifest | undefined {
    const { suite, id } = current;
    const file = releaseFile(rest);
    const begunId =
      file === undefined ? this.#readBy(session, current) : session?.begin(this.#suiteKey(suite), file, id);
    if (begunId === undefined || begunId === id) return undefined;
    const begun = this.#pastOf(suite, begunId);
    // A load balancer repeats the request at another server.
    if (begun === undefined && session?.isShared === true)
      throw new NotSeenYet(rest, `this server does not have the publication ${begunId}`);
    return begun;
  }

  /** The id of the publication that a client reads by plain names. */
  #readBy(session: ClientSession | undefined, { suite, id }: Manifest): string | undefined {
    const known = session?.continued(this.#suiteKey(suite));
    const told = session?.told;
    // Dates never go backwards, so the later publication is the one whose Release the client got last.
    if (told === undefined || (known !== undefined && known >= told)) return known;
    const isCertain = told === id || !this.#commonDirectories.has(firstDirectory(suite));
    return isCertain || this.#options.store.has(suite, told) ? told : known;
  }

  #suiteKey(suite: Suite): string {
    return `${this.#options.stateName} ${suite}`;
  }

  /** Finds a file of a snapshot: everything that the publication lists and that is still kept. */
  #inSnapshot(path: string): Resource | undefined {
    const [, when, file] = /^snapshots\/([^/]+)\/(.+)$/.exec(path) ?? [];
    if (when === undefined || file === undefined) return undefined;
    const { packages, store } = this.#options;
    const { suite, rest } = this.#inSuite(file) ?? {};
    if (suite === undefined || rest === undefined) return packages.pooled(file);
    const id = store.idAt(suite, when);
    const past = id === undefined ? undefined : this.#pastOf(suite, id);
    return past && this.#inPublication(past, rest);
  }

  #pastOf(suite: Suite, id: string): Manifest | undefined {
    const key = `${suite}/${id}`;
    const past = this.#past.get(key) ?? this.#options.store.get(suite, id);
    if (past !== undefined) this.#past.set(key, past);
    return past;
  }

  /** @param path below the suite */
  #inPublication(manifest: Manifest, path: string): Resource | undefined {
    const resources = this.#resourcesOf(manifest);
    const known = resources.get(path);
    if (known !== undefined) return known;
    const { indexResources } = this.#options;
    const reference = hashReference(path);
    const file = reference === undefined ? publishedFile(manifest, path) : fileByHash(manifest, reference);
    if (file === undefined) return undefined;
    const resource =
      reference === undefined
        ? indexResources.resource(file, manifest.lastModifiedSeconds ?? manifest.dateSeconds, "revalidate")
        : indexResources.resource(file, timelessSeconds, "immutable");
    resources.set(path, resource);
    return resource;
  }

  #inTree(path: TreePath): Resource | undefined {
    const { tree } = this.#options;
    const file = tree?.catalog.file(path);
    return file && tree?.packages.inTree(file);
  }

  #resourcesOf(manifest: Manifest): Map<string, Resource> {
    const known = this.#resources.get(manifest);
    if (known !== undefined) return known;
    const resources = new Map<string, Resource>();
    this.#resources.set(manifest, resources);
    return resources;
  }

  /** Splits the path of a file in a suite; undefined for other paths. */
  #inSuite(path: string): { readonly suite: Suite; readonly rest: string } | undefined {
    const nested = this.#nested.find((suite) => path.startsWith(`dists/${suite}/`));
    if (nested !== undefined) return { suite: nested, rest: path.slice(`dists/${nested}/`.length) };
    const [, rawSuite, rest] = /^dists\/([^/]+)\/(.+)$/.exec(path) ?? [];
    if (rawSuite === undefined || rest === undefined) return undefined;
    const suite = tryParseSuiteOrFlat(rawSuite);
    return suite && { suite, rest };
  }
}
