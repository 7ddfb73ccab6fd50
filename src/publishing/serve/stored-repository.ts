// The files of a repository that another process publishes: what the database and the package cache have of it now.
import type { RootDatabase } from "lmdb";
import type { StateName, Suite } from "../../base/names.ts";
import type { Resource } from "../resource.ts";
import type { ClientSession, RequestContext, ServedRepository } from "../served-repository.ts";
import type { Manifest } from "../store/publication.ts";
import { PublicationStore } from "../store/publication-store.ts";
import type { CachedPackages } from "./cached-packages.ts";
import { IndexResources } from "./index-resources.ts";
import { packageResource } from "./package-resources.ts";
import { PathResolver } from "./path-resolver.ts";

interface StoredRepositoryOptions {
  /** Opened read-only, after the other process has opened the repository. */
  readonly root: RootDatabase;
  /** The name under which the state directory keeps its data. */
  readonly stateName: StateName;
  /** Suites with a slash in their names. */
  readonly nestedSuites: readonly Suite[];
  /** The suites with indices of the tree, which only the other process serves. */
  readonly prebuiltSuites: ReadonlySet<Suite>;
  readonly cache: Pick<CachedPackages, "read">;
}

/**
 * Finds published files, and packages of kept publications. Each request sees what was committed before it, so all
 * processes serve a new publication at the same moment.
 */
export class StoredRepository implements Pick<ServedRepository, "find" | "findNow"> {
  readonly #root: RootDatabase;
  readonly #resolver: PathResolver;

  constructor({ root, stateName, nestedSuites, prebuiltSuites, cache }: StoredRepositoryOptions) {
    this.#root = root;
    const store = new PublicationStore(root, stateName);
    const current = new Map<Suite, Manifest>();
    const currentOf = (suite: Suite): Manifest | undefined => {
      const id = store.currentId(suite);
      const known = current.get(suite);
      if (id === known?.id) return known;
      const manifest = id === undefined ? undefined : store.get(suite, id);
      if (manifest === undefined) current.delete(suite);
      else current.set(suite, manifest);
      return manifest;
    };
    const pooled = (path: string): Resource | undefined => {
      const file = store.pool.find(path);
      return file && packageResource(file, "immutable", (...range) => cache.read(file, ...range));
    };
    this.#resolver = new PathResolver({
      stateName,
      nestedSuites,
      store,
      indexResources: new IndexResources(store),
      packages: { pooled },
      passthrough: { includes: (suite) => prebuiltSuites.has(suite) },
      suites: { currentOf },
    });
  }

  findNow(path: string, session: ClientSession | undefined): Resource | undefined {
    this.#readFromNow();
    return this.#resolver.awaitedBefore(path, session) === undefined ? this.#resolver.find(path, session) : undefined;
  }

  async find(path: string, { session }: RequestContext): Promise<Resource | undefined> {
    await this.#resolver.awaitedBefore(path, session);
    this.#readFromNow();
    return this.#resolver.find(path, session);
  }

  /** By default, lmdb reads what was committed up to a millisecond ago. */
  #readFromNow(): void {
    this.#root.resetReadTxn();
  }
}
