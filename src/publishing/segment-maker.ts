// Makes the segments of a suite's indices: each is rendered, compressed and stored once.
import pLimit from "p-limit";
import type { Item } from "../catalog/item.ts";
import type { SegmentInMaking, SegmentReader, SegmentSizes } from "../indices/assemble.ts";
import type { Compressor } from "../indices/compress.ts";
import type { Segment } from "../indices/segments.ts";
import type { SegmentStore } from "./segment-store.ts";
import type { StanzaSource, StanzaStyle } from "./stanza-source.ts";

/** How many segments are rendered at once: a bound on memory while a large index is built from nothing. */
const concurrentSegments = 4;

export class SegmentMaker {
  readonly #stanzas: StanzaSource;
  readonly #compressor: Compressor;
  readonly #store: SegmentStore;
  readonly #making = pLimit(concurrentSegments);
  /** What segments came to, while they are part of an index. */
  readonly #made = new WeakMap<Segment<Item>, SegmentSizes>();
  /** What is being compressed, by id. */
  readonly #rendered = new Map<string, Uint8Array>();

  constructor(stanzas: StanzaSource, compressor: Compressor, store: SegmentStore) {
    this.#stanzas = stanzas;
    this.#compressor = compressor;
    this.#store = store;
  }

  /** What a segment comes to if it was ever made; else it is being made when this returns. */
  make(segment: Segment<Item>, style: StanzaStyle, signal: AbortSignal): SegmentSizes | SegmentInMaking {
    const made = this.#made.get(segment);
    if (made !== undefined) return made;
    const id = this.#stanzas.keyOf(segment, style);
    const known = this.#store.sizesOf(id);
    if (known === undefined) return this.#begin(id, segment, style, signal);
    this.#made.set(segment, known);
    return known;
  }

  /** Reads what was made, and the plain bytes of what was rendered. They hold until the next reading. */
  readonly read: SegmentReader = (id, form) =>
    (form === "plain" ? this.#rendered.get(id) : undefined) ?? this.#store.glimpse(id, form);

  #begin(id: string, segment: Segment<Item>, style: StanzaStyle, signal: AbortSignal): SegmentInMaking {
    let tellRendered: (sizeBytes: number) => void = () => undefined;
    const told = new Promise<number>((resolve) => {
      tellRendered = resolve;
    });
    const made = this.#making(async () => {
      const plain = await this.#stanzas.render(segment, style, signal);
      this.#rendered.set(id, plain);
      tellRendered(plain.length);
      try {
        const sizes = await this.#store.put(id, plain, await this.#compressor.compress(plain, signal));
        this.#made.set(segment, sizes);
        return sizes;
      } finally {
        this.#rendered.delete(id);
      }
    });
    const rendered = Promise.race([told, made.then(({ uncompressedBytes }) => uncompressedBytes)]);
    // Who waits for several hears of the first failure alone.
    for (const each of [made, rendered]) each.catch(() => undefined);
    return { id, rendered, made };
  }
}
