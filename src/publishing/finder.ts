// What is behind a path of a repository: a file of a publication, a package that one names, or a file of the tree.
import type { Suite } from "../base/names.ts";
import { nameOrUndefined, parseSuite, parseTreePath } from "../base/names.ts";
import type { Catalog } from "../catalog/catalog.ts";
import type { Changelogs } from "./changelogs.ts";
import type { IndexReader } from "./index-reader.ts";
import type { PackageShelf } from "./package-shelf.ts";
import { timelessSeconds } from "./pool.ts";
import type { Manifest } from "./publication.ts";
import { fileByHash, hashReference, publishedFile } from "./publication.ts";
import type { Resource } from "./resource.ts";
import type { PublicationStore } from "./store.ts";
import type { TreeFiles } from "./tree-files.ts";

export interface FinderParts {
  readonly catalog: Catalog;
  readonly store: PublicationStore;
  readonly indexReader: IndexReader;
  readonly packages: PackageShelf;
  readonly changelogs: Changelogs;
  readonly treeFiles: TreeFiles;
  /** The current publication of a suite. */
  readonly currentOf: (suite: Suite) => Manifest | undefined;
}

/** The names of what is made here: one that is not there now is nowhere, whatever the tree has under its name. */
const generated =
  /^pool\/SHA256\/|^dists\/[^/]+\/(.+\/)?(InRelease|Release|Release\.gpg|by-hash\/.*|(Packages|Sources|Contents-[^/.]+)(\.diff\/.*|\.[a-z0-9]+)?)$/;

export class Finder {
  readonly #parts: FinderParts;
  /** What was found in publications, by the path below the suite: most requests are for the same few files. */
  readonly #found = new WeakMap<Manifest, Map<string, Resource>>();

  constructor(parts: FinderParts) {
    this.#parts = parts;
  }

  /** What is known without asking the storage. @param path below the repository's root, without a leading slash */
  find(path: string): Resource | undefined {
    return this.#parts.packages.pooled(path) ?? this.#published(path) ?? this.#inTree(path);
  }

  /**
   * A changelog, or another file of the tree, but for what would be taken for one of ours.
   * @throws StorageUnavailable, LimitExceeded, TooManyChangelogs
   */
  async findOther(path: string, signal: AbortSignal): Promise<Resource | undefined> {
    const changelog = path.startsWith("changelogs/") ? await this.#parts.changelogs.find(path) : undefined;
    if (changelog !== undefined) return changelog;
    const treePath = generated.test(path) ? undefined : nameOrUndefined(() => parseTreePath(path));
    return treePath === undefined ? undefined : await this.#parts.treeFiles.find(treePath, signal);
  }

  #published(path: string): Resource | undefined {
    const [, rawSuite, rest] = /^dists\/([^/]+)\/(.+)$/.exec(path) ?? [];
    const suite = rawSuite === undefined ? undefined : nameOrUndefined(() => parseSuite(rawSuite));
    if (suite === undefined || rest === undefined) return undefined;
    const current = this.#parts.currentOf(suite);
    const known = current === undefined ? undefined : this.#foundIn(current).get(rest);
    if (known !== undefined) return known;
    const { indexReader, store } = this.#parts;
    const reference = hashReference(rest);
    if (reference !== undefined) {
      const file = current && fileByHash(current, reference);
      if (file !== undefined)
        return this.#keep(current, rest, indexReader.resource(file, timelessSeconds, "immutable"));
      const older = store.byHash(suite, reference);
      return older && indexReader.resource(older, timelessSeconds, "immutable");
    }
    const file = current && publishedFile(current, rest);
    return file && this.#keep(current, rest, indexReader.resource(file, current.dateSeconds, "revalidate"));
  }

  #inTree(path: string): Resource | undefined {
    const treePath = nameOrUndefined(() => parseTreePath(path));
    const file = treePath === undefined ? undefined : this.#parts.catalog.file(treePath);
    return file && this.#parts.packages.inTree(file);
  }

  #keep(manifest: Manifest | undefined, path: string, resource: Resource): Resource {
    if (manifest !== undefined) this.#foundIn(manifest).set(path, resource);
    return resource;
  }

  #foundIn(manifest: Manifest): Map<string, Resource> {
    const known = this.#found.get(manifest);
    if (known !== undefined) return known;
    const found = new Map<string, Resource>();
    this.#found.set(manifest, found);
    return found;
  }
}
