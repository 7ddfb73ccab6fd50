// Serves indices as resources. They are joined from their segments on request; frequently requested ones stay in
// memory.
import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import { RepoError } from "../../base/errors.ts";
import type { Part } from "../../indices/assemble.ts";
import { partsOf } from "../../indices/assemble.ts";
import type { ByteRange } from "../../storage/tree.ts";
import type { Pieces, Resource } from "../resource.ts";
import type { BlobStore } from "../store/blob-store.ts";
import type { PublishedFile } from "../store/publication.ts";
import type { SegmentStore } from "../store/segment-store.ts";

/** The default memory for whole indices. */
const defaultIndexMemoryBytes = 8 * 1024 ** 2;
/** Larger indices are streamed: sending them takes longer than reading their segments. */
const maxWholeIndexBytes = 1024 ** 2;
/** Larger indices wait until all earlier responses of their connection are sent. */
const maxBytesNow = 256 * 1024;
/** The memory that each reader of a streamed index needs. */
const pieceBytes = 64 * 1024;

/** The database has other bytes of a publication than were stored in it. */
class PublicationDamaged extends RepoError {
  readonly code = "publishing/damaged";
  constructor(sha256: string) {
    super(`the state directory has other bytes of the file ${sha256} of a publication than were stored`);
  }
}

/** How many files that were checked are remembered. */
const maxChecked = 10_000;

/** The files of a repository's publications as resources, with the frequently requested ones in memory. */
export class IndexResources {
  readonly #segments: SegmentStore;
  readonly #blobs: BlobStore;
  readonly #whole: LRUCache<string, Uint8Array>;
  /** The files whose bytes were compared with their hash since the start: a disk may have changed them. */
  readonly #checked = new LRUCache<string, true>({ max: maxChecked });

  constructor(
    { segments, blobs }: { readonly segments: SegmentStore; readonly blobs: BlobStore },
    maxMemoryBytes: number = defaultIndexMemoryBytes,
  ) {
    this.#segments = segments;
    this.#blobs = blobs;
    this.#whole = new LRUCache({
      maxSize: Math.max(1, maxMemoryBytes),
      sizeCalculation: (bytes) => Math.max(1, bytes.length),
    });
  }

  /** @param lastModifiedSeconds the publication's value, or a constant for a name that contains the hash */
  resource(file: PublishedFile, lastModifiedSeconds: number, caching: Resource["caching"]): Resource {
    if (file.kind === "text") return textResource(file.text, lastModifiedSeconds, caching);
    if (file.kind === "blob") {
      const { path, sizeBytes, sha256 } = file.blob;
      const form = path.endsWith(".gz") ? "gz" : "plain";
      const read = async ({ start, end = sizeBytes }: ByteRange) => {
        const bytes = this.#blobs.read(sha256);
        this.#check(sha256, bytes);
        return bytes.subarray(start, end);
      };
      return { sizeBytes, etag: sha256, lastModifiedSeconds, contentType: contentTypes[form], caching, read };
    }
    const { index, form } = file;
    const { sizeBytes, sha256 } = index.forms[form];
    const partsOfForm = () => partsOf(index.segments, form);
    const whole = () => this.#wholeOf(sha256, sizeBytes, partsOfForm, form);
    return {
      sizeBytes,
      etag: sha256,
      lastModifiedSeconds,
      contentType: contentTypes[form],
      caching,
      read: async ({ start, end = sizeBytes }, signal, pieces) => {
        const range = { start, end };
        if (sizeBytes > maxWholeIndexBytes) {
          const stream = this.#stream(partsOfForm(), form, range, signal, pieces);
          return start === 0 && end === sizeBytes && !this.#checked.has(sha256)
            ? this.#checkedStream(sha256, sizeBytes, stream)
            : stream;
        }
        return whole().subarray(start, end);
      },
      ...(sizeBytes <= maxBytesNow && { bytesNow: whole }),
    };
  }

  #wholeOf(sha256: string, sizeBytes: number, parts: () => readonly Part[], form: Form): Uint8Array {
    const known = this.#whole.get(sha256);
    if (known !== undefined) return known;
    const whole = Buffer.allocUnsafeSlow(sizeBytes);
    let at = 0;
    for (const part of parts()) {
      whole.set(this.#bytesOf(part, form), at);
      at += part.sizeBytes;
    }
    this.#check(sha256, whole);
    this.#whole.set(sha256, whole);
    return whole;
  }

  /** @throws PublicationDamaged */
  #check(sha256: string, bytes: Uint8Array): void {
    if (this.#checked.has(sha256)) return;
    if (createHash("sha256").update(bytes).digest("hex") !== sha256) throw new PublicationDamaged(sha256);
    this.#checked.set(sha256, true);
  }

  /** @throws PublicationDamaged in place of the last piece */
  async *#checkedStream(
    sha256: string,
    sizeBytes: number,
    pieces: AsyncIterable<Uint8Array>,
  ): AsyncIterable<Uint8Array> {
    const hash = createHash("sha256");
    let left = sizeBytes;
    for await (const piece of pieces) {
      hash.update(piece);
      left -= piece.length;
      if (left === 0 && hash.digest("hex") !== sha256) throw new PublicationDamaged(sha256);
      yield piece;
    }
    this.#checked.set(sha256, true);
  }

  async *#stream(
    parts: readonly Part[],
    form: Form,
    range: Required<ByteRange>,
    signal: AbortSignal,
    pieces: Pieces = "lasting",
  ): AsyncIterable<Uint8Array> {
    let buffer = new Uint8Array(0);
    let filled = 0;
    let partAt = 0;
    let left = range.end - range.start;
    for (const part of parts) {
      let [from, to] = [Math.max(0, range.start - partAt), Math.min(part.sizeBytes, range.end - partAt)];
      partAt += part.sizeBytes;
      while (from < to) {
        if (buffer.length === 0) buffer = Buffer.allocUnsafeSlow(Math.min(pieceBytes, left));
        const fits = Math.min(to - from, buffer.length - filled);
        // Read again for each piece, so that no bytes of the store are held while a slow client reads.
        buffer.set(this.#bytesOf(part, form).subarray(from, from + fits), filled);
        from += fits;
        filled += fits;
        if (filled < buffer.length) continue;
        signal.throwIfAborted();
        yield buffer;
        left -= filled;
        filled = 0;
        buffer = pieces === "fleeting" ? buffer.subarray(0, left) : new Uint8Array(0);
      }
    }
  }

  /** Bytes that are valid only until the next read. */
  #bytesOf(part: Part, form: Form): Uint8Array {
    return part.kind === "literal" ? part.bytes : this.#segments.readTransient(part.id, form);
  }
}

type Form = Extract<PublishedFile, { readonly kind: "index" }>["form"];

const contentTypes: Readonly<Record<Form, string>> = {
  plain: "text/plain; charset=utf-8",
  gz: "application/gzip",
  xz: "application/x-xz",
};

/** A small text of a publication. Its ETag is computed at the first request. */
function textResource(text: string, lastModifiedSeconds: number, caching: Resource["caching"]): Resource {
  const bytes = Buffer.from(text);
  return {
    sizeBytes: bytes.length,
    etag: createHash("sha256").update(bytes).digest("hex"),
    lastModifiedSeconds,
    contentType: "text/plain; charset=utf-8",
    caching,
    bytesNow: () => bytes,
    read: async ({ start, end }) => bytes.subarray(start, end),
  };
}
