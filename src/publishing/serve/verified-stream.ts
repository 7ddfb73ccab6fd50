// Bytes that must be what an index promised: size and SHA256 are checked on the way, and the end waits for the verdict.
import { createHash } from "node:crypto";
import { RepoError } from "../../base/errors.ts";
import type { ByteRange } from "../../storage/tree.ts";

/** A package as an index names it, and where to read it. */
export interface PromisedContent {
  /** 64 lower-case hex digits. */
  readonly sha256: string;
  /** Of the content's id where nobody has promised its bytes: then the storage answers for them, and their number is checked. */
  readonly isHashOf?: "bytes" | "content-id";
  readonly sizeBytes: number;
  /** Streams the bytes from `range.start` on, with back-pressure. */
  readonly source: (range: ByteRange, signal: AbortSignal) => AsyncIterable<Uint8Array>;
  /** Called when the source gave other bytes than these, so that the file is inspected anew. */
  readonly mismatched?: () => void;
  /** Called when the bytes were verified and are in the cache, with a way to have them from there. */
  readonly cached?: (bytes: () => AsyncIterable<Uint8Array>) => void;
}

/** The bytes are not the promised ones. */
export class ContentMismatch extends RepoError {
  readonly code = "content/mismatch";
  readonly sha256: string;
  constructor(sha256: string, found: string) {
    super(`the stored bytes are not those with SHA256 ${sha256}: ${found}`);
    this.sha256 = sha256;
  }
}

/**
 * So many bytes at a package's end wait until all of it has been checked: without them no client takes it for whole.
 * A range that ends before them is not held back; who puts ranges together needs the last one too.
 */
export const heldBackBytes = 64 * 1024;

/** The first byte that is held back. */
export const heldBackFrom = (sizeBytes: number): number => Math.max(0, sizeBytes - heldBackBytes);

/** Watches content go by. */
export class ContentCheck {
  readonly #promised: PromisedContent;
  readonly #hash = createHash("sha256");
  #seenBytes = 0;

  constructor(promised: PromisedContent) {
    this.#promised = promised;
  }

  /** @throws ContentMismatch as soon as there are more bytes than promised */
  add(chunk: Uint8Array): void {
    this.#seenBytes += chunk.length;
    if (this.#seenBytes > this.#promised.sizeBytes) this.#fail(`they are more than ${this.#promised.sizeBytes} bytes`);
    this.#hash.update(chunk);
  }

  /** @throws ContentMismatch */
  finish(): void {
    const { sizeBytes, sha256, isHashOf = "bytes" } = this.#promised;
    if (this.#seenBytes !== sizeBytes) this.#fail(`they are ${this.#seenBytes} bytes, not ${sizeBytes}`);
    if (isHashOf === "bytes" && this.#hash.digest("hex") !== sha256) this.#fail("their digest differs");
  }

  #fail(found: string): never {
    this.#promised.mismatched?.();
    throw new ContentMismatch(this.#promised.sha256, found);
  }
}

/**
 * Streams a range straight from the source. It reads from the first byte on, whatever the range, to see all bytes.
 * @throws ContentMismatch in place of the last bytes; whatever the source throws
 */
export async function* verifiedStream(
  promised: PromisedContent,
  range: ByteRange,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const end = range.end ?? promised.sizeBytes;
  const held: Uint8Array[] = [];
  const holdFrom = heldBackFrom(promised.sizeBytes);
  const check = new ContentCheck(promised);
  let position = 0;
  for await (const chunk of promised.source({ start: 0 }, signal)) {
    check.add(chunk);
    const cut = (from: number, to: number) =>
      chunk.subarray(Math.max(0, Math.max(from, range.start) - position), Math.max(0, Math.min(to, end) - position));
    const free = cut(0, holdFrom);
    const late = cut(holdFrom, promised.sizeBytes);
    if (free.length > 0) yield free;
    if (late.length > 0) held.push(late);
    position += chunk.length;
    if (end <= holdFrom && position >= end) return;
  }
  check.finish();
  yield* held;
}
