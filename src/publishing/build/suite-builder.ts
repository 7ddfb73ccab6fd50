// Builds a suite's publications: indices from segments, Release over them, signatures, all stored before they are served.
import { createHash } from "node:crypto";
import { sleep } from "../../base/abort.ts";
import type { Architecture, Suite } from "../../base/names.ts";
import { inTurns } from "../../base/steps.ts";
import { yieldToEventLoop } from "../../base/yield-to-event-loop.ts";
import type { SuiteShape } from "../../catalog/layout/suite-shape.ts";
import { withVariants } from "../../catalog/layout/suite-shape.ts";
import type { IndexEntry } from "../../catalog/suite/index-entry.ts";
import type { PackageListChange } from "../../catalog/suite/package-list.ts";
import { VariantBuilds } from "../../catalog/suite/variant-builds.ts";
import type { DigestAlgorithm } from "../../debian/digests.ts";
import type { AssembledIndex } from "../../indices/assemble.ts";
import { assemble } from "../../indices/assemble.ts";
import type { Compressor } from "../../indices/compression/compress.ts";
import { renderRelease } from "../../indices/release.ts";
import { SegmentedList } from "../../indices/segments.ts";
import type { Signer } from "../../signing/signer.ts";
import { latest } from "../store/last-dates.ts";
import type { Manifest, PublishedIndex } from "../store/publication.ts";
import { publicationId, publishedIndex, segmentIdsOf } from "../store/publication.ts";
import type { PublicationStore } from "../store/publication-store.ts";
import type { DeferredFiles } from "./deferred-files.ts";
import { lastLike, stillValid, withDeferredOf, withoutDeferred } from "./deferred-files.ts";
import { Descriptions } from "./description-entries.ts";
import type { PlannedIndex } from "./index-plan.ts";
import { indicesOf } from "./index-plan.ts";
import { PackageCounts } from "./package-counts.ts";
import { lastModifiedOf, nextDate, waitForDateMs } from "./release-date.ts";
import { SegmentBuilder } from "./segment-builder.ts";
import type { StanzaRenderer } from "./stanza-renderer.ts";
import type { Composition, SuiteIdentity } from "./suite-release.ts";
import { directoryReleases, undatedRelease } from "./suite-release.ts";

/** What the builders of all suites work with. */
export interface BuilderTools {
  readonly stanzas: StanzaRenderer;
  readonly compressor: Compressor;
  readonly store: PublicationStore;
  readonly signer: Signer;
  /** Release lists these, and by-hash is served for each: SHA256 or SHA512 among them. */
  readonly releaseAlgorithms: readonly DigestAlgorithm[];
  /** Whether long descriptions stand in Translation-en, and not in Packages. */
  readonly translated: boolean;
  readonly now: () => number;
  /** Every publication gets a Date after this one, seconds since the epoch: for a state directory that was lost. */
  readonly datesAfterSeconds?: number;
  /** How far Date lags behind the newest link. */
  readonly dateLagSeconds: number;
}

/** What a publication is to hold. */
export interface BuildOrder {
  /** What entered and left since the last build that was ordered. */
  readonly change: PackageListChange;
  readonly items: () => Iterable<IndexEntry>;
  readonly newestLinkMs: number;
  readonly shape: SuiteShape;
  readonly current: Manifest | undefined;
  readonly signal: AbortSignal;
}

/** One index under construction: its list, and what it came to last time. */
interface IndexState {
  readonly list: SegmentedList<IndexEntry>;
  readonly assembled: AssembledIndex | undefined;
}

export class SuiteBuilder {
  readonly #suite: Suite;
  readonly #identity: SuiteIdentity;
  readonly #tools: BuilderTools;
  readonly #segments: SegmentBuilder;
  /** As they were built last, by directory and name; undefined when they must be built from nothing. */
  #indices: ReadonlyMap<string, IndexState> | undefined;
  #tally: PackageCounts | undefined;
  #descriptions = new Descriptions();
  #variantBuilds = new VariantBuilds();

  constructor(suite: Suite, identity: SuiteIdentity, tools: BuilderTools) {
    this.#suite = suite;
    this.#identity = identity;
    this.#tools = tools;
    this.#segments = new SegmentBuilder(tools.stanzas, tools.compressor, tools.store.segments);
  }

  /**
   * Builds, stores and signs a publication of what the suite holds now, and makes it current.
   * @returns the current publication if it says the same already; undefined for a suite without any place for packages
   */
  async build(order: BuildOrder): Promise<Manifest | undefined> {
    const { change, current, signal } = order;
    const { translated } = this.#tools;
    const before = this.#indices;
    const tally = before === undefined ? undefined : this.#tally;
    tally?.apply(change);
    const counts = tally ?? new PackageCounts(order.items());
    const shape = order.shape.flat ? order.shape : withVariants(order.shape, counts.variants());
    const wantedIndices = indicesOf(shape, counts.withInstaller(), translated);
    if (current !== undefined && before !== undefined && isSettled(before, wantedIndices, change)) return current;
    // Whatever is thrown below, the next build then starts from nothing, for this change is lost to it.
    this.#indices = undefined;
    this.#tally = counts;
    if (shape.components.length === 0) return undefined;
    if (before === undefined) {
      this.#descriptions = new Descriptions();
      this.#variantBuilds = new VariantBuilds();
    }
    const variantBuilds = this.#variantBuilds;
    const descriptions = this.#descriptions;
    const entered = before === undefined ? { removed: [], added: [...order.items()] } : change;
    const yieldNow = yieldToEventLoop(signal);
    const described = translated ? await inTurns(descriptions.applying(entered), yieldNow) : change;
    const changeOf = variantBuilds.apply(entered, order.items);
    const ofVariant = (variant: Architecture) => ({
      items: () => filter(order.items(), (item) => variantBuilds.mayStandIn(variant, item)),
      // Computed only where the index is there already.
      get change() {
        return changeOf(variant);
      },
    });
    // All begin before the first is waited for: one package may enter several, and there are several threads.
    const begun = [];
    for (const wanted of wantedIndices) {
      const known = before?.get(keyOf(wanted));
      const from =
        wanted.stanzas === "description"
          ? { items: () => descriptions.items(), change: described }
          : wanted.variant === undefined
            ? order
            : ofVariant(wanted.variant);
      const listing =
        known === undefined
          ? SegmentedList.building(filter(from.items(), wanted.holds))
          : known.list.applying(only(from.change, wanted.holds));
      const list = await inTurns(listing, yieldNow);
      const segments = list.segments();
      const kept = new Set(segments);
      const gone = known?.list.segments().filter((segment) => !kept.has(segment)) ?? [];
      const making = [];
      for (const segment of segments) {
        making.push(this.#segments.make(segment, wanted.stanzas, gone, signal));
        await yieldNow();
      }
      begun.push({ wanted, list, making, known });
    }
    const { store, releaseAlgorithms } = this.#tools;
    const indices = new Map<string, IndexState>();
    const published: PublishedIndex[] = [];
    for (const { wanted, list, making, known } of begun) {
      const { read } = this.#segments;
      const assembled = await assemble(making, read, releaseAlgorithms, known?.assembled, yieldNow);
      indices.set(keyOf(wanted), { list, assembled });
      published.push(publishedIndex({ directory: wanted.directory, name: wanted.name }, assembled));
    }
    const late = stillValid(current ?? noDeferredFiles, published);
    // A flat repository has neither.
    const { components, architectures } = shape.flat ? { components: [], architectures: [] } : shape;
    const bare = { components, architectures, indices: [], blobs: [] };
    const about = undatedRelease(this.#suite, this.#identity, bare, releaseAlgorithms);
    const manifest = await this.#publish(
      {
        components,
        architectures,
        indices: [...published, ...late.indices],
        blobs: [...(await directoryReleases(about, wantedIndices, store.blobs)), ...late.blobs],
        binaryPackages: counts.binary,
        sourcePackages: counts.source,
      },
      { ...order, added: entered.added },
    );
    this.#indices = indices;
    return manifest;
  }

  /**
   * Publishes the same packages again: with what was made for them in the background, or with a later Valid-Until.
   */
  async amend(
    current: Manifest,
    { late, signal }: { readonly late?: readonly [maker: string, DeferredFiles]; readonly signal: AbortSignal },
  ): Promise<Manifest> {
    const punctual = withoutDeferred(current);
    const kept = stillValid(current, punctual.indices, late?.[0]);
    const indices = [...punctual.indices, ...kept.indices];
    const fresh = late === undefined ? noDeferredFiles : stillValid(late[1], indices);
    return await this.#publish(
      {
        ...current,
        indices: [...indices, ...fresh.indices],
        blobs: [...punctual.blobs, ...kept.blobs, ...fresh.blobs],
      },
      { current, newestLinkMs: late === undefined ? 0 : 1, added: [], signal },
    );
  }

  /**
   * Publishes once more what a past publication held, with what was made in the background for the same packages later.
   * What is built after it is built from nothing.
   */
  async rollBack(past: Manifest, current: Manifest | undefined, signal: AbortSignal): Promise<Manifest> {
    this.forget();
    const { store } = this.#tools;
    const like = store.get(this.#suite, lastLike(past, store.history(this.#suite))) ?? past;
    const content = { ...past, ...withDeferredOf(past, like), rolledBackTo: past.id };
    return await this.#publish(content, { current, newestLinkMs: 0, added: [], signal });
  }

  /** Makes the next build start from nothing: there was a change that it has not seen. */
  forget(): void {
    this.#indices = undefined;
  }

  /** Whether a publication should be renewed because half of its validity has passed. */
  isDue({ validUntilSeconds }: Manifest): boolean {
    const { validForSeconds } = this.#identity;
    if (validUntilSeconds === undefined || validForSeconds === undefined) return validUntilSeconds !== validForSeconds;
    return this.#tools.now() / 1000 > validUntilSeconds - validForSeconds / 2;
  }

  async #publish(
    content: Content,
    {
      current,
      newestLinkMs,
      added,
      signal,
    }: Pick<BuildOrder, "current" | "newestLinkMs" | "signal"> & {
      readonly added: Iterable<IndexEntry>;
    },
  ): Promise<Manifest> {
    const { signer, store, now, datesAfterSeconds, dateLagSeconds, releaseAlgorithms } = this.#tools;
    const { validForSeconds } = this.#identity;
    const keys = this.#identity.namesKeys === true && { signedBy: signer.keys.map(({ fingerprint }) => fingerprint) };
    const undated = { ...undatedRelease(this.#suite, this.#identity, content, releaseAlgorithms), ...keys };
    // As if it had no other end than how long it is valid: what stands in it only beside a Valid-Until counts too.
    const timeless = { ...undated, ...(validForSeconds && { validUntilSeconds: validForSeconds }) };
    const signedBy = signer.keys.map((key) => key.signingFingerprint).join(" ");
    const state = createHash("sha256")
      .update(`${signedBy}\n${renderRelease(timeless)}`)
      .digest("hex");
    // What a publication names is on its way to the disk while this signs.
    const before = new Set(segmentIdsOf(current?.indices ?? []));
    const fresh = segmentIdsOf(content.indices).filter((id) => !before.has(id));
    const stored = Promise.all([store.pool.add(added), store.segments.written(fresh)]);
    stored.catch(() => undefined);
    const last = latest(current?.dateSeconds ?? store.lastDate(this.#suite), datesAfterSeconds);
    const { components, architectures, indices, blobs, binaryPackages, sourcePackages, rolledBackTo } = content;
    const isSame = current?.state === state && current.rolledBackTo === rolledBackTo;
    if (isSame && current.dateSeconds === last && !this.isDue(current)) {
      await stored;
      return current;
    }
    // A Release that expires is renewed again and again, so after a loss of state clients know a Date later than any link.
    const mayHaveBeenRenewed = last === undefined && validForSeconds !== undefined;
    const dateSeconds = nextDate({
      newestLinkMs: mayHaveBeenRenewed ? 0 : newestLinkMs,
      lastSeconds: last,
      nowMs: now(),
      lagSeconds: dateLagSeconds,
    });
    const validity = validForSeconds && { validUntilSeconds: Math.floor(now() / 1000) + validForSeconds };
    const waitMs = waitForDateMs(dateSeconds, now());
    // A timer of nothing takes a millisecond.
    if (waitMs > 0) await sleep(waitMs, signal);
    const release = renderRelease({ ...undated, dateSeconds, ...validity });
    const manifest: Manifest = {
      suite: this.#suite,
      id: publicationId(dateSeconds),
      dateSeconds,
      lastModifiedSeconds: lastModifiedOf(dateSeconds, `${signedBy}\n${renderRelease({ ...timeless, files: [] })}`),
      ...validity,
      ...(rolledBackTo !== undefined && { rolledBackTo }),
      state,
      components,
      architectures,
      binaryPackages,
      sourcePackages,
      indices,
      blobs,
      release,
      ...(await signer.sign(release, dateSeconds)),
    };
    await stored;
    await store.publish(manifest, now());
    return manifest;
  }
}

/** What a publication holds, whatever its date. */
type Content = Composition & Pick<Manifest, "binaryPackages" | "sourcePackages" | "rolledBackTo">;

const noDeferredFiles: DeferredFiles = { indices: [], blobs: [] };

/** Whether a build would bring what it brought last time. */
function isSettled(
  before: ReadonlyMap<string, IndexState>,
  wanted: readonly PlannedIndex[],
  { removed, added }: PackageListChange,
): boolean {
  const isSame = before.size === wanted.length && wanted.every((index) => before.has(keyOf(index)));
  return isSame && removed.length === 0 && added.length === 0;
}

const only = ({ removed, added }: PackageListChange, holds: PlannedIndex["holds"]) => ({
  removed: filter(removed, holds),
  added: filter(added, holds),
});

const keyOf = ({ directory, name }: PlannedIndex): string => `${directory}/${name}`;

function* filter(items: Iterable<IndexEntry>, holds: (item: IndexEntry) => boolean): Iterable<IndexEntry> {
  for (const item of items) if (holds(item)) yield item;
}
