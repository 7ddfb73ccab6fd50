// Publications on disk: segments by content, manifests by suite and id, and one pointer per suite to the current one.
import type { Database, RootDatabase } from "lmdb";
import type { RepositoryName, Suite } from "../base/names.ts";
import { parseSuite } from "../base/names.ts";
import type { PoolRecord } from "./pool.ts";
import { Pool } from "./pool.ts";
import type { HashReference, Manifest, PublishedFile } from "./publication.ts";
import { fileByHash, manifestKey } from "./publication.ts";

/**
 * The publications of one repository. A publication's pointer is set in the same transaction as its manifest and only
 * after its segments and packages are there, so a kill at any instant leaves the last complete publication.
 */
export class PublicationStore {
  readonly pool: Pool;
  readonly #manifests: Database<Manifest, string>;
  readonly #current: Database<string, string>;
  readonly #dates: Database<number, string>;
  readonly #hashes: Database<string, string>;

  /** @param root the state directory's database */
  constructor(root: RootDatabase, name: RepositoryName) {
    this.#manifests = root.openDB({ name: `${name}/publications` });
    this.#current = root.openDB({ name: `${name}/current` });
    this.#dates = root.openDB({ name: `${name}/dates` });
    this.#hashes = root.openDB({ name: `${name}/by-hash` });
    this.pool = new Pool(root.openDB<PoolRecord, string>({ name: `${name}/pool` }));
  }

  /** The current publication of every suite. */
  *current(): Iterable<Manifest> {
    for (const { key, value } of this.#current.getRange()) {
      const manifest = this.#manifests.get(manifestKey(parseSuite(key), value));
      if (manifest !== undefined) yield manifest;
    }
  }

  /** Keeps a publication and makes it its suite's current one. Its segments and packages must be stored already. */
  async publish(manifest: Manifest): Promise<void> {
    const { suite, id } = manifest;
    await this.#manifests.transaction(() => {
      this.#manifests.put(manifestKey(suite, id), manifest);
      for (const { directory, forms } of manifest.indices) {
        for (const { sha256 } of Object.values(forms)) this.#hashes.put(hashKey(suite, { directory, sha256 }), id);
      }
      this.#dates.put(suite, manifest.dateSeconds);
      this.#current.put(suite, id);
    });
  }

  /** The last Date that this suite ever had here, seconds since the epoch, also when it is out of service. */
  lastDate(suite: Suite): number | undefined {
    return this.#dates.get(suite);
  }

  /** Takes a suite out of service. What its publications named by hash stays readable. */
  async withdraw(suite: Suite): Promise<void> {
    await this.#current.remove(suite);
  }

  /** Finds an index by its hash in any publication that is kept. */
  byHash(suite: Suite, reference: HashReference): PublishedFile | undefined {
    const id = this.#hashes.get(hashKey(suite, reference));
    const manifest = id === undefined ? undefined : this.#manifests.get(manifestKey(suite, id));
    return manifest === undefined ? undefined : fileByHash(manifest, reference);
  }
}

const hashKey = (suite: Suite, { directory, sha256 }: HashReference): string => `${suite}/${directory}/${sha256}`;
