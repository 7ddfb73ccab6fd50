// What can be served: some bytes of known size and identity, whatever holds them.
import { isBinaryPackageName } from "../base/names.ts";
import type { ByteRange } from "../storage/tree.ts";

/**
 * Whether a piece that a stream gave may be held, or only until the next one is asked for: then one buffer holds them
 * all, one after the other, and nothing waits for V8 to collect it, however many read at once.
 */
export type Pieces = "lasting" | "fleeting";

/** Bytes under one URL at one moment. */
export interface Resource {
  readonly sizeBytes: number;
  /** A strong validator, without quotes: equal tags, equal bytes. */
  readonly etag: string;
  /**
   * Seconds since the epoch. A property of the publication or of the content, never of this process; undefined where
   * nothing tells when these bytes came to be.
   */
  readonly lastModifiedSeconds: number | undefined;
  readonly contentType: string;
  /** Whether the URL names these bytes for ever, or may name others later, or names others now for other clients. */
  readonly caching: "immutable" | "revalidate" | "per-client";
  /** All of it where it lies in memory: then there is nothing to read and to wait for. */
  readonly bytes?: Uint8Array;
  /**
   * Reads the bytes of a range that lies inside the resource: as one buffer where they are small or at hand, else as a
   * stream with back-pressure. A stream that can't be completed truthfully throws before its last bytes.
   * @param pieces of a stream; "lasting" by default. A buffer always lasts.
   * @throws StorageUnavailable, ContentGone
   */
  read(range: ByteRange, signal: AbortSignal, pieces?: Pieces): Promise<Uint8Array | AsyncIterable<Uint8Array>>;
}

/**
 * What a file's name says of its content. A stranger's HTML is no page of ours, so that no browser runs what is in it.
 * @see IANA's media types: vnd.debian.binary-package
 */
export function contentTypeOf(name: string): string {
  if (isBinaryPackageName(name)) return "application/vnd.debian.binary-package";
  return /\.(dsc|changes|buildinfo|asc|txt|md)$|^(README|InRelease|Release|Packages|Sources)$/.test(name)
    ? "text/plain; charset=utf-8"
    : "application/octet-stream";
}
