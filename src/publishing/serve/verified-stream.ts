// Streams bytes that an index promises. Size and SHA256 are checked on the way; the end is held back until then.
import { createHash } from "node:crypto";
import { RepoError } from "../../base/errors.ts";
import type { ByteRange } from "../../storage/tree.ts";

/** A package as an index lists it, and a function that reads it. */
export interface ExpectedContent {
  /** 64 lower-case hex digits. */
  readonly sha256: string;
  /**
   * "content-id" if no index lists the file. Then only the size is checked, and the storage is trusted for the rest.
   */
  readonly isHashOf?: "bytes" | "content-id";
  readonly sizeBytes: number;
  /** Streams the bytes from `range.start` on, with back-pressure. */
  readonly source: (range: ByteRange, signal: AbortSignal) => AsyncIterable<Uint8Array>;
  /** Called when the bytes differ, so that the file is inspected again. */
  readonly mismatched?: () => void;
  /** Called when the bytes were verified and cached, with a function that reads them from the cache. */
  readonly cached?: (bytes: () => AsyncIterable<Uint8Array>) => void;
}

/** The bytes differ from the expected ones. */
export class ContentMismatch extends RepoError {
  readonly code = "content/mismatch";
  readonly sha256: string;
  constructor(sha256: string, found: string) {
    super(`the stored bytes are not those with SHA256 ${sha256}: ${found}`);
    this.sha256 = sha256;
  }
}

/**
 * The number of bytes at the end of a package that are held back until all of it has been checked. Without them, no
 * client takes the package for complete. A range that ends before them is not held back, because a client that combines
 * ranges also needs the last one.
 */
export const heldBackBytes = 64 * 1024;

/** The first byte that is held back. */
export const heldBackFrom = (sizeBytes: number): number => Math.max(0, sizeBytes - heldBackBytes);

/** Checks content while it is streamed. */
export class ContentCheck {
  readonly #expected: ExpectedContent;
  readonly #hash = createHash("sha256");
  #seenBytes = 0;

  constructor(expected: ExpectedContent) {
    this.#expected = expected;
  }

  /** @throws ContentMismatch as soon as there are more bytes than expected */
  add(chunk: Uint8Array): void {
    this.#seenBytes += chunk.length;
    if (this.#seenBytes > this.#expected.sizeBytes) this.#fail(`they are more than ${this.#expected.sizeBytes} bytes`);
    this.#hash.update(chunk);
  }

  /** @throws ContentMismatch */
  finish(): void {
    const { sizeBytes, sha256, isHashOf = "bytes" } = this.#expected;
    if (this.#seenBytes !== sizeBytes) this.#fail(`they are ${this.#seenBytes} bytes, not ${sizeBytes}`);
    if (isHashOf === "bytes" && this.#hash.digest("hex") !== sha256) this.#fail("their digest differs");
  }

  #fail(found: string): never {
    this.#expected.mismatched?.();
    throw new ContentMismatch(this.#expected.sha256, found);
  }
}

/**
 * Streams a range directly from the source. It always reads from the first byte on, to check all bytes.
 * @throws ContentMismatch in place of the last bytes; errors of the source
 */
export async function* verifiedStream(
  expected: ExpectedContent,
  range: ByteRange,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const end = range.end ?? expected.sizeBytes;
  const held: Uint8Array[] = [];
  const holdFrom = heldBackFrom(expected.sizeBytes);
  const check = new ContentCheck(expected);
  let position = 0;
  for await (const chunk of expected.source({ start: 0 }, signal)) {
    check.add(chunk);
    const cut = (from: number, to: number) =>
      chunk.subarray(Math.max(0, Math.max(from, range.start) - position), Math.max(0, Math.min(to, end) - position));
    const unheld = cut(0, holdFrom);
    const heldBack = cut(holdFrom, expected.sizeBytes);
    if (unheld.length > 0) yield unheld;
    if (heldBack.length > 0) held.push(heldBack);
    position += chunk.length;
    if (end <= holdFrom && position >= end) return;
  }
  check.finish();
  yield* held;
}
