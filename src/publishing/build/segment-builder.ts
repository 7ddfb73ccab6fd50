// Builds the segments of a suite's indices. Each segment is rendered, compressed and stored once.
import pLimit from "p-limit";
import { asBuffer } from "../../base/as-buffer.ts";
import type { IndexEntry } from "../../catalog/suite/index-entry.ts";
import type { PendingSegment, SegmentReader, SegmentSizes } from "../../indices/assemble.ts";
import type { Compressor } from "../../indices/compression/compress.ts";
import { compareOrdered } from "../../indices/order.ts";
import type { Segment } from "../../indices/segments.ts";
import type { SegmentStore } from "../store/segment-store.ts";
import type { StanzaRenderer, StanzaStyle } from "./stanza-renderer.ts";

/** How many segments are rendered at once. This bounds memory while a large index is built from nothing. */
const concurrentSegments = 4;

/** If a segment replaces more segments than this, its stanzas are rendered again. This bounds memory. */
const maxRereadSegments = 48;

/** Builds segments, and remembers their sizes while they are part of an index. One instance serves one suite. */
export class SegmentBuilder {
  readonly #stanzas: StanzaRenderer;
  readonly #compressor: Compressor;
  readonly #store: SegmentStore;
  readonly #limit = pLimit(concurrentSegments);
  /** The sizes of segments that are complete and still part of an index. */
  readonly #finished = new WeakMap<Segment<IndexEntry>, SegmentSizes>();
  /** The segments that are being built, by id: two indices may contain the same segment. */
  readonly #inProgress = new Map<string, PendingSegment>();
  /** The plain bytes of segments that are being compressed, by id. */
  readonly #rendered = new Map<string, Uint8Array>();

  constructor(stanzas: StanzaRenderer, compressor: Compressor, store: SegmentStore) {
    this.#stanzas = stanzas;
    this.#compressor = compressor;
    this.#store = store;
  }

  /**
   * Starts to build a segment, unless it is stored already or being built.
   * @param replaced segments that this index no longer has; they contain most stanzas of the new segments
   * @returns the sizes of a stored segment, or the build in progress
   */
  build(
    segment: Segment<IndexEntry>,
    style: StanzaStyle,
    replaced: readonly Segment<IndexEntry>[],
    signal: AbortSignal,
  ): SegmentSizes | PendingSegment {
    const made = this.#finished.get(segment);
    if (made !== undefined) return made;
    const id = this.#stanzas.keyOf(segment, style);
    const known = this.#store.sizesOf(id);
    if (known === undefined) return this.#inProgress.get(id) ?? this.#begin(id, segment, style, replaced, signal);
    this.#finished.set(segment, known);
    return known;
  }

  /** Reads stored segments, and the plain bytes of rendered ones. The bytes are valid until the next call. */
  readonly read: SegmentReader = (id, form) =>
    (form === "plain" ? this.#rendered.get(id) : undefined) ?? this.#store.readTransient(id, form);

  #begin(
    id: string,
    segment: Segment<IndexEntry>,
    style: StanzaStyle,
    replaced: readonly Segment<IndexEntry>[],
    signal: AbortSignal,
  ): PendingSegment {
    let reportRendered: (sizeBytes: number) => void = () => undefined;
    const reported = new Promise<number>((resolve) => {
      reportRendered = resolve;
    });
    const made = this.#limit(async () => {
      signal.throwIfAborted();
      const plain = await this.#stanzas.render(segment, style, this.#textsOf(segment, replaced), signal);
      this.#rendered.set(id, plain);
      reportRendered(plain.length);
      try {
        const compressed = await this.#compressor.compress(plain, signal);
        // A thread also finishes its task during a shutdown; the database is about to close then.
        signal.throwIfAborted();
        const sizes = await this.#store.put(id, plain, compressed);
        this.#finished.set(segment, sizes);
        return sizes;
      } finally {
        this.#rendered.delete(id);
      }
    }).finally(() => this.#inProgress.delete(id));
    const rendered = Promise.race([reported, made.then(({ uncompressedBytes }) => uncompressedBytes)]);
    // A caller that awaits several builds handles only the first failure.
    for (const each of [made, rendered]) each.catch(() => undefined);
    const segmentInMaking = { id, rendered, made };
    this.#inProgress.set(id, segmentInMaking);
    return segmentInMaking;
  }

  /** The stanzas of replaced segments, by entry identity. Reading them costs a tenth of rendering them. */
  #textsOf(segment: Segment<IndexEntry>, replaced: readonly Segment<IndexEntry>[]): ReadonlyMap<string, Uint8Array> {
    const texts = new Map<string, Uint8Array>();
    const overlapping = replaced.filter((other) => overlap(segment, other));
    for (const other of overlapping.length > maxRereadSegments ? [] : overlapping) {
      const made = this.#finished.get(other);
      const stanzas = made === undefined ? [] : stanzasOf(this.#store.read(made.id, "plain"));
      // If an entry has no stanza (it lacks a description), the other stanzas cannot be attributed to their entries.
      if (stanzas.length !== other.items.length) continue;
      for (const [index, stanza] of stanzas.entries()) texts.set(other.items[index]?.identity ?? "", stanza);
    }
    return texts;
  }
}

/** Whether the ranges of two segments overlap. */
function overlap({ items: a }: Segment<IndexEntry>, { items: b }: Segment<IndexEntry>): boolean {
  const [firstA, lastA, firstB, lastB] = [a[0], a.at(-1), b[0], b.at(-1)];
  if (firstA === undefined || lastA === undefined || firstB === undefined || lastB === undefined) return false;
  return compareOrdered(firstA, lastB) <= 0 && compareOrdered(firstB, lastA) <= 0;
}

const blankLine = Buffer.from("\n\n");

/** Splits an index into stanzas, each with the empty line that ends it. A stanza contains no empty line. */
function stanzasOf(plain: Uint8Array): readonly Uint8Array[] {
  const bytes = asBuffer(plain);
  const stanzas: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(blankLine, at);
    if (end === -1) break;
    stanzas.push(bytes.subarray(at, end + blankLine.length));
    at = end + blankLine.length;
  }
  return stanzas;
}
