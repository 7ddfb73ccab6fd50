// The digests in indices and Release files.

import type { Hash } from "node:crypto";
import { createHash } from "node:crypto";
import type { Content } from "./byte-reader.ts";

/** The algorithms by strength, the weakest first. */
export const digestAlgorithms = ["md5", "sha1", "sha256", "sha512"] as const;
export type DigestAlgorithm = (typeof digestAlgorithms)[number];

/** The length of each digest in hex digits. */
export const digestDigits = { md5: 32, sha1: 40, sha256: 64, sha512: 128 } as const satisfies Record<
  DigestAlgorithm,
  number
>;

/** Lower-case hex by algorithm. SHA256 is always present, because it identifies content. */
export type Digests = { readonly sha256: string } & { readonly [Algorithm in DigestAlgorithm]?: string };

/** Computes digests of bytes that arrive in pieces. SHA256 is always computed. */
export class RunningDigests {
  readonly #hashes: ReadonlyArray<readonly [DigestAlgorithm, Hash]>;
  readonly #sha256: Hash;
  #sizeBytes = 0;

  constructor(algorithms: readonly DigestAlgorithm[]) {
    this.#sha256 = createHash("sha256");
    this.#hashes = digestAlgorithms
      .filter((algorithm) => algorithm !== "sha256" && algorithms.includes(algorithm))
      .map((algorithm) => [algorithm, createHash(algorithm)]);
  }

  update(bytes: Uint8Array): void {
    this.#sizeBytes += bytes.byteLength;
    this.#sha256.update(bytes);
    for (const [, hash] of this.#hashes) hash.update(bytes);
  }

  /** The number of bytes and their digests. A second call throws. */
  finish(): { readonly sizeBytes: number; readonly digests: Digests } {
    const others = this.#hashes.map(([algorithm, hash]) => [algorithm, hash.digest("hex")] as const);
    const digests = { ...Object.fromEntries(others), sha256: this.#sha256.digest("hex") };
    return { sizeBytes: this.#sizeBytes, digests };
  }
}

/** Passes a content on, and updates `running` with its bytes. */
export function digesting(content: AsyncIterable<Uint8Array>, running: RunningDigests): AsyncIterable<Uint8Array>;
export function digesting(content: Content, running: RunningDigests): Content;
export function digesting(content: Content, running: RunningDigests): Content {
  if (!(content instanceof Uint8Array)) return digestingChunks(content, running);
  running.update(content);
  return content;
}

async function* digestingChunks(
  content: AsyncIterable<Uint8Array>,
  running: RunningDigests,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of content) {
    running.update(chunk);
    yield chunk;
  }
}
