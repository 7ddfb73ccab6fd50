// Indices as resources: joined from their segments when asked for, with the most wanted ones kept in memory whole.
import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Part } from "../indices/assemble.ts";
import { partsOf } from "../indices/assemble.ts";
import type { ByteRange } from "../storage/tree.ts";
import type { BlobStore } from "./blob-store.ts";
import type { PublishedFile } from "./publication.ts";
import type { Resource } from "./resource.ts";
import type { SegmentStore } from "./segment-store.ts";

/** What whole indices may take up in memory by default. */
const defaultIndexMemoryBytes = 32 * 1024 ** 2;
/** A larger index is streamed segment by segment. */
const maxWholeIndexBytes = 16 * 1024 ** 2;

export class IndexReader {
  readonly #segments: SegmentStore;
  readonly #blobs: BlobStore;
  readonly #whole: LRUCache<string, Uint8Array>;

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

  /** @param lastModifiedSeconds the publication's Date */
  resource(file: PublishedFile, lastModifiedSeconds: number, caching: Resource["caching"]): Resource {
    if (file.kind === "text") return textResource(file.text, lastModifiedSeconds, caching);
    if (file.kind === "blob") {
      const { path, sizeBytes, sha256 } = file.blob;
      const form = path.endsWith(".gz") ? "gz" : "plain";
      const read = async ({ start, end = sizeBytes }: ByteRange) => this.#blobs.read(sha256).subarray(start, end);
      return { sizeBytes, etag: sha256, lastModifiedSeconds, contentType: contentTypes[form], caching, read };
    }
    const { index, form } = file;
    const { sizeBytes, sha256 } = index.forms[form];
    const partsOfForm = () => partsOf(index.segments, form);
    return {
      sizeBytes,
      etag: sha256,
      lastModifiedSeconds,
      contentType: contentTypes[form],
      caching,
      read: async ({ start, end = sizeBytes }, signal) => {
        if (sizeBytes > maxWholeIndexBytes) return this.#stream(partsOfForm(), form, { start, end }, signal);
        return this.#wholeOf(sha256, partsOfForm, form).subarray(start, end);
      },
    };
  }

  #wholeOf(sha256: string, parts: () => readonly Part[], form: Form): Uint8Array {
    const known = this.#whole.get(sha256);
    if (known !== undefined) return known;
    const whole = Buffer.concat(parts().map((part) => this.#bytesOf(part, form)));
    this.#whole.set(sha256, whole);
    return whole;
  }

  async *#stream(
    parts: readonly Part[],
    form: Form,
    range: Required<ByteRange>,
    signal: AbortSignal,
  ): AsyncIterable<Uint8Array> {
    let at = 0;
    for (const part of parts) {
      const [from, to] = [Math.max(0, range.start - at), Math.min(part.sizeBytes, range.end - at)];
      at += part.sizeBytes;
      if (from >= to) continue;
      signal.throwIfAborted();
      yield this.#bytesOf(part, form).subarray(from, to);
    }
  }

  #bytesOf(part: Part, form: Form): Uint8Array {
    return part.kind === "literal" ? part.bytes : this.#segments.read(part.id, form);
  }
}

type Form = Extract<PublishedFile, { readonly kind: "index" }>["form"];

const contentTypes: Readonly<Record<Form, string>> = {
  plain: "text/plain; charset=utf-8",
  gz: "application/gzip",
  xz: "application/x-xz",
};

/** A small text of a publication: its tag is made when it is asked for the first time. */
function textResource(text: string, lastModifiedSeconds: number, caching: Resource["caching"]): Resource {
  const bytes = Buffer.from(text);
  return {
    sizeBytes: bytes.length,
    etag: createHash("sha256").update(bytes).digest("hex"),
    lastModifiedSeconds,
    contentType: "text/plain; charset=utf-8",
    caching,
    bytes,
    read: async ({ start, end }) => bytes.subarray(start, end),
  };
}
