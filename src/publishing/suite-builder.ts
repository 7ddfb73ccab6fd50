// Builds a suite's publications: indices from segments, Release over them, signatures, all stored before they are served.
import { createHash } from "node:crypto";
import pLimit from "p-limit";
import { sleep } from "../base/abort.ts";
import type { Architecture, Component, Suite } from "../base/names.ts";
import type { Item } from "../catalog/item.ts";
import type { IndexDirectory } from "../catalog/layout.ts";
import { binaryIndex, sourceIndex } from "../catalog/layout.ts";
import type { SuiteShape } from "../catalog/shape.ts";
import type { SnapshotChange } from "../catalog/snapshot.ts";
import type { DigestAlgorithm } from "../debian/digests.ts";
import type { AssembledIndex, SegmentSizes } from "../indices/assemble.ts";
import { assemble } from "../indices/assemble.ts";
import type { Compressor } from "../indices/compress.ts";
import type { Release, ReleaseFile } from "../indices/release.ts";
import { renderRelease } from "../indices/release.ts";
import type { Segment } from "../indices/segments.ts";
import { SegmentedList } from "../indices/segments.ts";
import type { Signer } from "../signing/signer.ts";
import { nextDate, waitForDateMs } from "./dates.ts";
import type { Manifest, PublishedIndex } from "./publication.ts";
import { everyForm, indexPath, publicationId } from "./publication.ts";
import type { StanzaSource } from "./stanza-source.ts";
import type { PublicationStore } from "./store.ts";

/** Who a suite says it is. Changed values are a hard error for every client that knew the old ones. */
export interface SuiteIdentity {
  readonly origin: string;
  readonly label: string;
  readonly codename: string;
  readonly version?: string;
  readonly description?: string;
}

/** What the builders of all suites work with. */
export interface BuilderTools {
  readonly stanzas: StanzaSource;
  readonly compressor: Compressor;
  readonly store: PublicationStore;
  readonly signer: Signer;
  readonly now: () => number;
  /** Every publication gets a Date after this one, seconds since the epoch: for a state directory that was lost. */
  readonly datesAfterSeconds?: number;
}

/** What a publication is to hold. */
export interface BuildOrder {
  /** What entered and left since the last build that was ordered. */
  readonly change: SnapshotChange;
  readonly items: () => Iterable<Item>;
  readonly newestLinkMs: number;
  readonly shape: SuiteShape;
  readonly current: Manifest | undefined;
  readonly signal: AbortSignal;
}

/** One index under construction: its list, and what it came to last time. */
interface IndexState {
  readonly list: SegmentedList<Item>;
  readonly assembled: AssembledIndex | undefined;
}

/** Release lists these; by-hash is served for the last, which is the strongest. */
const releaseAlgorithms: readonly DigestAlgorithm[] = ["sha256"];
/** How many segments are rendered at once: a bound on memory while a large index is built from nothing. */
const concurrentSegments = 4;

export class SuiteBuilder {
  readonly #suite: Suite;
  readonly #identity: SuiteIdentity;
  readonly #tools: BuilderTools;
  readonly #making = pLimit(concurrentSegments);
  /** What segments came to, while they are part of an index. */
  readonly #made = new WeakMap<Segment<Item>, SegmentSizes>();
  /** As they were built last; undefined when they must be built from nothing. */
  #indices: ReadonlyMap<IndexDirectory, IndexState> | undefined;

  constructor(suite: Suite, identity: SuiteIdentity, tools: BuilderTools) {
    this.#suite = suite;
    this.#identity = identity;
    this.#tools = tools;
  }

  /**
   * Builds, stores and signs a publication of what the suite holds now, and makes it current.
   * @returns the current publication if it says the same already; undefined for a suite without any place for packages
   */
  async build(order: BuildOrder): Promise<Manifest | undefined> {
    const { shape, change, current, signal } = order;
    const before = this.#indices;
    const wantedIndices = indicesOf(shape);
    if (current !== undefined && before !== undefined && isSettled(before, wantedIndices, change)) return current;
    // Whatever is thrown below, the next build then starts from nothing, for this change is lost to it.
    this.#indices = undefined;
    if (shape.components.length === 0) return undefined;
    const indices = new Map<IndexDirectory, IndexState>();
    const published: PublishedIndex[] = [];
    for (const wanted of wantedIndices) {
      const known = before?.get(wanted.directory);
      const list =
        known === undefined
          ? SegmentedList.build(filter(order.items(), wanted.holds))
          : known.list.apply({
              removed: filter(change.removed, wanted.holds),
              added: filter(change.added, wanted.holds),
            });
      const segments = await this.#make(list.segments(), signal);
      const assembled = await assemble(
        segments,
        (id, form) => this.#tools.store.segments.read(id, form),
        releaseAlgorithms,
        known?.assembled,
        signal,
      );
      indices.set(wanted.directory, { list, assembled });
      published.push(publishedIndex(wanted, segments, assembled));
    }
    const manifest = await this.#publish(order, published, before === undefined ? order.items() : change.added);
    this.#indices = indices;
    return manifest;
  }

  async #make(segments: readonly Segment<Item>[], signal: AbortSignal): Promise<SegmentSizes[]> {
    return await Promise.all(
      segments.map(async (segment) => {
        const sizes = this.#made.get(segment) ?? (await this.#makeOne(segment, signal));
        this.#made.set(segment, sizes);
        return sizes;
      }),
    );
  }

  async #makeOne(segment: Segment<Item>, signal: AbortSignal): Promise<SegmentSizes> {
    const { stanzas, compressor } = this.#tools;
    const store = this.#tools.store.segments;
    const key = stanzas.keyOf(segment);
    const known = store.sizesOf(key);
    if (known !== undefined) return known;
    return await this.#making(async () => {
      const plain = await stanzas.render(segment, signal);
      return await store.put(key, plain, await compressor.compress(plain, signal));
    });
  }

  async #publish(
    { current, newestLinkMs, shape, items, signal }: BuildOrder,
    indices: readonly PublishedIndex[],
    added: Iterable<Item>,
  ): Promise<Manifest> {
    const { signer, store, now, datesAfterSeconds } = this.#tools;
    const undated = this.#release(indices, shape, 0);
    const state = createHash("sha256")
      .update(`${signer.keys.map((key) => key.signingFingerprint).join(" ")}\n${renderRelease(undated)}`)
      .digest("hex");
    // What a publication names is on its way to the disk while this signs.
    const stored = Promise.all([store.pool.add(added), store.segments.written()]);
    stored.catch(() => undefined);
    const last = latest(current?.dateSeconds ?? store.lastDate(this.#suite), datesAfterSeconds);
    if (current?.state === state && current.dateSeconds === last) {
      await stored;
      return current;
    }
    const dateSeconds = nextDate(newestLinkMs, last, now());
    await sleep(waitForDateMs(dateSeconds, now()), signal);
    const release = renderRelease({ ...undated, dateSeconds });
    const counts = { binary: 0, source: 0 };
    for (const item of items()) counts[item.kind] += 1;
    const manifest: Manifest = {
      suite: this.#suite,
      id: publicationId(dateSeconds),
      dateSeconds,
      state,
      components: shape.components,
      architectures: shape.architectures,
      binaryPackages: counts.binary,
      sourcePackages: counts.source,
      indices,
      release,
      ...(await signer.sign(release, dateSeconds)),
    };
    await stored;
    await store.publish(manifest, now());
    return manifest;
  }

  #release(indices: readonly PublishedIndex[], shape: SuiteShape, dateSeconds: number): Release {
    const { components, architectures } = shape;
    return {
      ...this.#identity,
      suite: this.#suite,
      dateSeconds,
      components,
      architectures,
      algorithms: releaseAlgorithms,
      files: indices.flatMap((index) =>
        everyForm.map((form): ReleaseFile => {
          const { sizeBytes, sha256 } = index.forms[form];
          return { path: indexPath(index, form), sizeBytes, digests: { sha256 } };
        }),
      ),
    };
  }
}

const latest = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.max(a, b);

/** Whether a build would bring what it brought last time. */
function isSettled(
  before: ReadonlyMap<IndexDirectory, IndexState>,
  wanted: readonly WantedIndex[],
  { removed, added }: SnapshotChange,
): boolean {
  const isSame = before.size === wanted.length && wanted.every(({ directory }) => before.has(directory));
  return isSame && removed.length === 0 && added.length === 0;
}

interface WantedIndex {
  readonly directory: IndexDirectory;
  readonly name: PublishedIndex["name"];
  readonly holds: (item: Item) => boolean;
}

/**
 * The indices of a suite: each component's for each architecture, and its sources, also where there are none yet: who
 * asks for them today need not change anything when the first ones come.
 */
function indicesOf({ components, architectures }: SuiteShape): WantedIndex[] {
  return components.flatMap((component) => [
    ...architectures.map((architecture) => packagesOf(component, architecture)),
    sourcesOf(component),
  ]);
}

/** Packages for any architecture stand in every index: some clients never ask for binary-all. */
const packagesOf = (component: Component, architecture: Architecture): WantedIndex => ({
  directory: binaryIndex(component, architecture),
  name: "Packages",
  holds: (item) =>
    item.kind === "binary" &&
    item.component === component &&
    (item.architecture === architecture || item.architecture === "all"),
});

const sourcesOf = (component: Component): WantedIndex => ({
  directory: sourceIndex(component),
  name: "Sources",
  holds: (item) => item.kind === "source" && item.component === component,
});

function* filter(items: Iterable<Item>, holds: (item: Item) => boolean): Iterable<Item> {
  for (const item of items) if (holds(item)) yield item;
}

function publishedIndex(
  { directory, name }: WantedIndex,
  segments: readonly SegmentSizes[],
  { forms }: AssembledIndex,
): PublishedIndex {
  const listed = (form: keyof typeof forms) => ({
    sizeBytes: forms[form].sizeBytes,
    sha256: forms[form].digests.sha256 ?? "",
  });
  return { directory, name, segments, forms: { plain: listed("plain"), gz: listed("gz"), xz: listed("xz") } };
}
