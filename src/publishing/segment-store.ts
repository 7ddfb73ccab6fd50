// Rendered and compressed segments on disk, by content: each is made once, whatever number of publications share it.
import { setImmediate } from "node:timers/promises";
import type { Database, RootDatabase } from "lmdb";
import { RepoError } from "../base/errors.ts";
import type { RepositoryName } from "../base/names.ts";
import { written } from "../base/state.ts";
import type { IndexForm, SegmentSizes } from "../indices/assemble.ts";
import type { CompressedSegment } from "../indices/compress.ts";
import { referencesOf } from "../indices/references.ts";

/** A segment that a publication names is not on disk: the state directory was tampered with. */
class SegmentMissing extends RepoError {
  readonly code = "publishing/segment-missing";
  constructor(id: string) {
    super(`the state directory has lost segment ${id}`);
  }
}

export class SegmentStore {
  readonly #sizes: Database<SegmentSizes, string>;
  readonly #bytes: Database<Buffer, string>;

  constructor(root: RootDatabase, repository: RepositoryName) {
    this.#sizes = root.openDB({ name: `${repository}/segment-sizes` });
    this.#bytes = root.openDB({ name: `${repository}/segments`, encoding: "binary" });
  }

  /** @returns undefined for a segment that was never made here */
  sizesOf(id: string): SegmentSizes | undefined {
    return this.#sizes.get(id);
  }

  /** @throws SegmentMissing */
  read(id: string, form: IndexForm): Uint8Array {
    const bytes = this.#bytes.get(`${id}/${form}`);
    if (bytes === undefined) throw new SegmentMissing(id);
    return bytes;
  }

  /** Resolves when the segment can be read back; its sizes appear only together with its bytes. */
  async put(id: string, plain: Uint8Array, { gz, xz }: CompressedSegment): Promise<SegmentSizes> {
    const sizes: SegmentSizes = {
      id,
      gzBytes: gz.length,
      unpaddedBytes: xz.unpaddedBytes,
      uncompressedBytes: xz.uncompressedBytes,
    };
    await written(() =>
      this.#bytes.transaction(() => {
        this.#bytes.putSync(`${id}/plain`, asBuffer(plain));
        this.#bytes.putSync(`${id}/gz`, asBuffer(gz));
        this.#bytes.putSync(`${id}/xz`, asBuffer(xz.bytes));
        this.#sizes.putSync(id, sizes);
      }),
    );
    return sizes;
  }

  /** The files that these segments' stanzas point to, relative to the repository's root. */
  async references(ids: Iterable<string>): Promise<Set<string>> {
    const found = new Set<string>();
    for (const id of ids) {
      for (const path of referencesOf(Buffer.from(this.read(id, "plain")).toString())) found.add(path);
      // Reading a large repository's stanzas takes a while, and requests must not wait for its end.
      await setImmediate();
    }
    return found;
  }

  /** Drops every other segment. */
  async keepOnly(ids: ReadonlySet<string>): Promise<void> {
    for (const id of this.#sizes.getKeys()) {
      if (ids.has(id)) continue;
      await this.#bytes.transaction(() => {
        this.#sizes.removeSync(id);
        for (const form of segmentForms) this.#bytes.removeSync(`${id}/${form}`);
      });
    }
  }
}

const segmentForms: readonly IndexForm[] = ["plain", "gz", "xz"];

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
