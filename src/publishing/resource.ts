// A resource is what HTTP can serve: bytes of known size and with an ETag, wherever they are stored.
import { isBinaryPackageName } from "../base/names.ts";
import type { ByteRange } from "../storage/tree.ts";

/**
 * Whether the chunks of a stream stay valid. A "fleeting" chunk is valid only until the next one is requested, so that
 * one buffer serves the whole stream and no garbage accumulates, however many streams are read at once.
 */
export type Pieces = "lasting" | "fleeting";

/** Only another process can read the bytes: it reads the tree. Thrown before the first byte, so that it can be asked. */
export class NotCached extends Error {}

/** The bytes of one URL at one moment. */
export interface Resource {
  readonly sizeBytes: number;
  /** A strong validator, without quotes: resources with equal tags have equal bytes. */
  readonly etag: string;
  /**
   * In seconds since the epoch. It depends on the publication or the content, never on this process; undefined if the
   * time is not known.
   */
  readonly lastModifiedSeconds: number | undefined;
  readonly contentType: string;
  /** Whether the URL always has these bytes, may have others later, or has others now for other clients. */
  readonly caching: "immutable" | "revalidate" | "per-client";
  /** Returns the whole resource if it is small and at hand, so that nothing needs to wait for `read`. */
  readonly bytesNow?: () => Uint8Array;
  /**
   * Reads a range of the resource: as one buffer if the range is small or in memory, otherwise as a stream with
   * back-pressure. A stream throws before its last bytes if the bytes turn out to be wrong.
   * @param pieces whether chunks stay valid; "lasting" by default. A buffer always stays valid.
   * @throws StorageUnavailable, ContentGone, NotCached
   */
  read(range: ByteRange, signal: AbortSignal, pieces?: Pieces): Promise<Uint8Array | AsyncIterable<Uint8Array>>;
}

/**
 * Returns the media type for a file name. HTML of uploaders is not served as HTML, so that no browser runs its scripts.
 * @see IANA's media types: vnd.debian.binary-package
 */
export function contentTypeOf(name: string): string {
  if (isBinaryPackageName(name)) return "application/vnd.debian.binary-package";
  return /\.(dsc|changes|buildinfo|asc|txt|md)$|^(README|InRelease|Release|Packages|Sources)$/.test(name)
    ? "text/plain; charset=utf-8"
    : "application/octet-stream";
}
