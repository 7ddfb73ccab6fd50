// Makes the segments of a suite's indices: each is rendered, compressed and stored once.
import pLimit from "p-limit";
import { asBuffer } from "../../base/as-buffer.ts";
import type { IndexEntry } from "../../catalog/suite/index-entry.ts";
import type { SegmentInMaking, SegmentReader, SegmentSizes } from "../../indices/assemble.ts";
import type { Compressor } from "../../indices/compression/compress.ts";
import { compareOrdered } from "../../indices/order.ts";
import type { Segment } from "../../indices/segments.ts";
import type { SegmentStore } from "../store/segment-store.ts";
import type { StanzaRenderer, StanzaStyle } from "./stanza-renderer.ts";

/** How many segments are rendered at once: a bound on memory while a large index is built from nothing. */
const concurrentSegments = 4;

/** Where a segment takes the place of more than these, its stanzas are rendered: a bound on memory. */
const maxRereadSegments = 48;

export class SegmentBuilder {
  readonly #stanzas: StanzaRenderer;
  readonly #compressor: Compressor;
  readonly #store: SegmentStore;
  readonly #making = pLimit(concurrentSegments);
  /** What segments came to, while they are part of an index. */
  readonly #made = new WeakMap<Segment<IndexEntry>, SegmentSizes>();
  /** What is being made, by id: two indices may hold the same. */
  readonly #underWay = new Map<string, SegmentInMaking>();
  /** What is being compressed, by id. */
  readonly #rendered = new Map<string, Uint8Array>();

  constructor(stanzas: StanzaRenderer, compressor: Compressor, store: SegmentStore) {
    this.#stanzas = stanzas;
    this.#compressor = compressor;
    this.#store = store;
  }

  /**
   * What a segment comes to if it was ever made; else it is being made when this returns.
   * @param gone segments of the same index that stand in it no more: most of what new ones hold stood in these
   */
  make(
    segment: Segment<IndexEntry>,
    style: StanzaStyle,
    gone: readonly Segment<IndexEntry>[],
    signal: AbortSignal,
  ): SegmentSizes | SegmentInMaking {
    const made = this.#made.get(segment);
    if (made !== undefined) return made;
    const id = this.#stanzas.keyOf(segment, style);
    const known = this.#store.sizesOf(id);
    if (known === undefined) return this.#underWay.get(id) ?? this.#begin(id, segment, style, gone, signal);
    this.#made.set(segment, known);
    return known;
  }

  /** Reads what was made, and the plain bytes of what was rendered. They hold until the next reading. */
  readonly read: SegmentReader = (id, form) =>
    (form === "plain" ? this.#rendered.get(id) : undefined) ?? this.#store.glimpse(id, form);

  #begin(
    id: string,
    segment: Segment<IndexEntry>,
    style: StanzaStyle,
    gone: readonly Segment<IndexEntry>[],
    signal: AbortSignal,
  ): SegmentInMaking {
    let tellRendered: (sizeBytes: number) => void = () => undefined;
    const told = new Promise<number>((resolve) => {
      tellRendered = resolve;
    });
    const made = this.#making(async () => {
      signal.throwIfAborted();
      const plain = await this.#stanzas.render(segment, style, this.#textsOf(segment, gone), signal);
      this.#rendered.set(id, plain);
      tellRendered(plain.length);
      try {
        const compressed = await this.#compressor.compress(plain, signal);
        // A thread ends what it is at, also at a stop; then the database is about to close.
        signal.throwIfAborted();
        const sizes = await this.#store.put(id, plain, compressed);
        this.#made.set(segment, sizes);
        return sizes;
      } finally {
        this.#rendered.delete(id);
      }
    }).finally(() => this.#underWay.delete(id));
    const rendered = Promise.race([told, made.then(({ uncompressedBytes }) => uncompressedBytes)]);
    // Who waits for several hears of the first failure alone.
    for (const each of [made, rendered]) each.catch(() => undefined);
    const segmentInMaking = { id, rendered, made };
    this.#underWay.set(id, segmentInMaking);
    return segmentInMaking;
  }

  /** The stanzas of segments that stood where one stands now, by identity: a tenth of the cost of rendering them. */
  #textsOf(segment: Segment<IndexEntry>, gone: readonly Segment<IndexEntry>[]): ReadonlyMap<string, Uint8Array> {
    const texts = new Map<string, Uint8Array>();
    const replaced = gone.filter((other) => overlap(segment, other));
    for (const other of replaced.length > maxRereadSegments ? [] : replaced) {
      const made = this.#made.get(other);
      const stanzas = made === undefined ? [] : stanzasOf(this.#store.read(made.id, "plain"));
      // Where an item has no stanza, as one without a description, nobody knows whose these are.
      if (stanzas.length !== other.items.length) continue;
      for (const [index, stanza] of stanzas.entries()) texts.set(other.items[index]?.identity ?? "", stanza);
    }
    return texts;
  }
}

/** Whether some items of either stand between the first and the last of the other. */
function overlap({ items: a }: Segment<IndexEntry>, { items: b }: Segment<IndexEntry>): boolean {
  const [firstA, lastA, firstB, lastB] = [a[0], a.at(-1), b[0], b.at(-1)];
  if (firstA === undefined || lastA === undefined || firstB === undefined || lastB === undefined) return false;
  return compareOrdered(firstA, lastB) <= 0 && compareOrdered(firstB, lastA) <= 0;
}

const blankLine = Buffer.from("\n\n");

/** An index' stanzas, each with the empty line that ends it: there is none within a stanza. */
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
