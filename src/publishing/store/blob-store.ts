// Stores the small files of publications on disk, by SHA256. A file that several publications share is stored once.
import type { Database, RootDatabase } from "lmdb";
import { RepoError } from "../../base/errors.ts";
import type { StateName } from "../../base/names.ts";
import { written } from "../../base/state-errors.ts";
import type { DigestAlgorithm } from "../../debian/digests.ts";
import { RunningDigests } from "../../debian/digests.ts";
import type { Listed } from "./publication.ts";
import { listed } from "./publication.ts";

/** A file of a publication is missing on disk, which means that somebody modified the state directory. */
class BlobMissing extends RepoError {
  readonly code = "publishing/blob-missing";
  constructor(sha256: string) {
    super(`the state directory lacks the file ${sha256} of a publication`);
  }
}

/** The small files of one repository. */
export class BlobStore {
  readonly #bytes: Database<Buffer, string>;

  constructor(root: RootDatabase, repository: StateName) {
    this.#bytes = root.openDB({ name: `${repository}/blobs`, encoding: "binary" });
  }

  /**
   * Stores a file; resolves when it is on disk.
   * @param algorithms the algorithms that Release lists
   */
  async put(bytes: Uint8Array, algorithms: readonly DigestAlgorithm[]): Promise<Listed> {
    const running = new RunningDigests(algorithms);
    running.update(bytes);
    const { sizeBytes, digests } = running.finish();
    const { sha256 } = digests;
    if (!this.#bytes.doesExist(sha256)) await written(() => this.#bytes.put(sha256, Buffer.from(bytes)));
    return listed(sizeBytes, digests);
  }

  has(sha256: string): boolean {
    return this.#bytes.doesExist(sha256);
  }

  /** @throws BlobMissing */
  read(sha256: string): Uint8Array {
    const bytes = this.#bytes.get(sha256);
    if (bytes === undefined) throw new BlobMissing(sha256);
    return bytes;
  }

  /** Deletes all other files. */
  async keepOnly(named: ReadonlySet<string>): Promise<void> {
    let removed: Promise<unknown> = Promise.resolve();
    for (const sha256 of this.#bytes.getKeys()) if (!named.has(sha256)) removed = this.#bytes.remove(sha256);
    await removed;
  }
}
