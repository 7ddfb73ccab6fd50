// Stores rendered and compressed segments on disk, by id. A segment that several publications share is stored once.
import { setImmediate } from "node:timers/promises";
import { promisify } from "node:util";
import { gunzip, gunzipSync } from "node:zlib";
import type { Database, RootDatabase } from "lmdb";
import { LRUCache } from "lru-cache";
import { asBuffer } from "../../base/as-buffer.ts";
import { RepoError } from "../../base/errors.ts";
import type { StateName } from "../../base/names.ts";
import { written } from "../../base/state-errors.ts";
import type { IndexForm, SegmentSizes } from "../../indices/assemble.ts";
import type { CompressedSegment } from "../../indices/compression/compress.ts";
import { namedFiles } from "../../indices/named-files.ts";

/** A segment of a publication is missing on disk, which means that somebody modified the state directory. */
class SegmentMissing extends RepoError {
  readonly code = "publishing/segment-missing";
  constructor(id: string) {
    super(`the state directory lacks segment ${id} of a publication`);
  }
}

/** A segment, as one replica passes it to another. */
export interface StoredSegment {
  readonly sizes: SegmentSizes;
  readonly gz: Uint8Array;
  readonly xz: Uint8Array;
  /** Whether the plain form is stored too. */
  readonly kept: "plain" | "compressed";
}

interface UnwrittenSegment {
  readonly sizes: SegmentSizes;
  readonly bytes: Readonly<Partial<Record<IndexForm, Buffer>>>;
  readonly writing: Promise<unknown>;
  /**
   * If the write failed, the segment stays readable for builds that began before, until `written` tells them. For all
   * others it is not stored, also if there are earlier bytes of it on disk.
   */
  hasFailed: boolean;
}

/** How many bytes are decompressed without a thread: less than a millisecond. */
const maxBlockingBytes = 128 * 1024;
/** How many segments may wait for the disk. This bounds memory. */
const maxUnwritten = 32;
/** The memory for plain bytes of segments that are stored only compressed; they are read in several pieces. */
const maxDecompressedBytes = 8 * 1024 ** 2;

/** The segments of one repository. A segment can be read before it is on disk. */
export class SegmentStore {
  readonly #sizes: Database<SegmentSizes, string>;
  readonly #bytes: Database<Buffer, string>;
  /** The segments that are being written. */
  readonly #unwritten = new Map<string, UnwrittenSegment>();
  readonly #decompressed = new LRUCache<string, Uint8Array>({
    maxSize: maxDecompressedBytes,
    sizeCalculation: (bytes) => Math.max(1, bytes.length),
  });

  /** Called with the id of each segment that is stored, is deleted, or could not be written. */
  onChanged: (id: string) => void = () => undefined;

  constructor(root: RootDatabase, repository: StateName) {
    this.#sizes = root.openDB({ name: `${repository}/segment-sizes` });
    this.#bytes = root.openDB({ name: `${repository}/segments`, encoding: "binary" });
  }

  /** @returns undefined for a segment that is not stored */
  sizesOf(id: string): SegmentSizes | undefined {
    const unwritten = this.#unwritten.get(id);
    if (unwritten === undefined) return this.#sizes.get(id);
    return unwritten.hasFailed ? undefined : unwritten.sizes;
  }

  has(id: string): boolean {
    const unwritten = this.#unwritten.get(id);
    return unwritten === undefined ? this.#sizes.doesExist(id) : !unwritten.hasFailed;
  }

  /** Whether it is being written, or could not be written. */
  isUnwritten(id: string): boolean {
    return this.#unwritten.has(id);
  }

  /** @throws SegmentMissing */
  read(id: string, form: IndexForm): Uint8Array {
    const bytes = this.#unwritten.get(id)?.bytes[form] ?? this.#bytes.get(`${id}/${form}`);
    if (bytes !== undefined) return bytes;
    if (form === "plain") return this.#decompress(id);
    throw new SegmentMissing(id);
  }

  #decompress(id: string): Uint8Array {
    const plain = this.#decompressed.get(id) ?? gunzipSync(this.readTransient(id, "gz"));
    this.#decompressed.set(id, plain);
    return plain;
  }

  /**
   * Like `read`, but the bytes are valid only until the next read. This serves to hash a large index without copies
   * that wait for the garbage collector.
   * @throws SegmentMissing
   */
  readTransient(id: string, form: IndexForm): Uint8Array {
    const bytes = this.#unwritten.has(id) ? undefined : this.#bytes.getBinaryFast(`${id}/${form}`);
    // The buffer is as long as the longest value that it ever held.
    return bytes?.subarray(0, bytes.length) ?? this.read(id, form);
  }

  /** All that can be read of a segment, also if it could not be written. @throws SegmentMissing */
  contentOf(id: string): StoredSegment {
    const unwritten = this.#unwritten.get(id);
    const sizes = unwritten?.sizes ?? this.#sizes.get(id);
    if (sizes === undefined) throw new SegmentMissing(id);
    const hasPlain =
      unwritten === undefined ? this.#bytes.doesExist(`${id}/plain`) : unwritten.bytes.plain !== undefined;
    return {
      sizes,
      gz: this.read(id, "gz"),
      xz: this.read(id, "xz"),
      kept: hasPlain ? "plain" : "compressed",
    };
  }

  /** Stores a segment of another replica. @returns as `put` */
  async take({ sizes, gz, xz, kept }: StoredSegment): Promise<SegmentSizes> {
    const { id, unpaddedBytes, uncompressedBytes, lines } = sizes;
    const compressed = { gz, xz: { bytes: xz, unpaddedBytes, uncompressedBytes }, lines };
    const plain = kept === "plain" ? await gunzipped(gz, uncompressedBytes) : emptyBytes;
    return await this.put(id, plain, compressed, kept);
  }

  /**
   * Stores a segment. It can be read at once, and is on disk when `written` resolves. `put` resolves when the next
   * segment may be stored.
   * @param kept "compressed" for long segments that are rarely read in plain form; then they are decompressed
   */
  async put(
    id: string,
    plain: Uint8Array,
    { gz, xz, lines }: CompressedSegment,
    kept: "plain" | "compressed" = "plain",
  ): Promise<SegmentSizes> {
    const sizes: SegmentSizes = {
      id,
      gzBytes: gz.length,
      unpaddedBytes: xz.unpaddedBytes,
      uncompressedBytes: xz.uncompressedBytes,
      lines,
    };
    const bytes = { ...(kept === "plain" && { plain: asBuffer(plain) }), gz: asBuffer(gz), xz: asBuffer(xz.bytes) };
    const writing = this.#bytes.transaction(() => {
      for (const [form, each] of Object.entries(bytes)) this.#bytes.putSync(`${id}/${form}`, each);
      this.#sizes.putSync(id, sizes);
    });
    const unwritten: UnwrittenSegment = { sizes, bytes, writing, hasFailed: false };
    this.#unwritten.set(id, unwritten);
    this.onChanged(id);
    writing.then(
      () => this.#unwritten.get(id) === unwritten && this.#unwritten.delete(id),
      () => {
        unwritten.hasFailed = true;
        this.onChanged(id);
      },
    );
    if (this.#unwritten.size >= maxUnwritten) {
      await this.written([id]).catch((thrown: unknown) => {
        if (this.#unwritten.get(id) === unwritten) this.#unwritten.delete(id);
        throw thrown;
      });
      // The disk accepts writes again. Callers with failed segments have given up, or get the error from `written`.
      for (const [other, { hasFailed }] of this.#unwritten) if (hasFailed) this.#unwritten.delete(other);
    }
    return sizes;
  }

  /**
   * Resolves when these segments are on disk.
   * @throws StateUnwritable; the next build stores the segments again
   */
  async written(ids: Iterable<string>): Promise<void> {
    const waited = [...ids];
    await written(async () => {
      const results = await Promise.allSettled(waited.flatMap((id) => this.#unwritten.get(id)?.writing ?? []));
      for (const result of results) if (result.status === "rejected") throw result.reason;
      // A segment whose write failed may have been forgotten.
      const lost = waited.find((id) => !this.#sizes.doesExist(id));
      if (lost !== undefined) throw new Error(`segment ${lost} could not be written`);
    });
  }

  /** The files that the stanzas of these segments refer to, relative to the repository's root. */
  async references(ids: Iterable<string>): Promise<Set<string>> {
    const found = new Set<string>();
    for (const id of ids) {
      for (const { path } of namedFiles(Buffer.from(this.read(id, "plain")).toString())) found.add(path);
      // Reading the stanzas of a large repository takes long, and requests must not wait for it.
      await setImmediate();
    }
    return found;
  }

  /** Deletes all other segments. Built again, one may have other bytes. */
  async keepOnly(ids: ReadonlySet<string>): Promise<void> {
    for (const id of this.#sizes.getKeys()) {
      if (ids.has(id)) continue;
      await this.#bytes.transaction(() => {
        this.#sizes.removeSync(id);
        for (const form of segmentForms) this.#bytes.removeSync(`${id}/${form}`);
      });
      this.onChanged(id);
    }
  }
}

/** Decompresses in a thread what would block the event loop. @param maxBytes of the result */
async function gunzipped(gz: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  const options = { maxOutputLength: Math.max(1, maxBytes) };
  return maxBytes <= maxBlockingBytes ? gunzipSync(gz, options) : await gunzippedInThread(gz, options);
}

const gunzippedInThread = promisify(gunzip);

const emptyBytes = new Uint8Array();
const segmentForms: readonly IndexForm[] = ["plain", "gz", "xz"];
