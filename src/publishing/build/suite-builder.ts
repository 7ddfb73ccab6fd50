// Builds publications of a suite: indices from segments, Release, signatures. All is stored before it is served.
import { createHash } from "node:crypto";
import { sleep } from "../../base/abort.ts";
import type { Architecture, Suite } from "../../base/names.ts";
import { runSteps } from "../../base/steps.ts";
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
import type { PooledSegment } from "../store/package-pool.ts";
import type { Manifest, PublishedIndex, Signatures, UnsignedManifest } from "../store/publication.ts";
import { publicationId, publishedIndex, segmentIdsOf } from "../store/publication.ts";
import type { PublicationStore } from "../store/publication-store.ts";
import type { SuiteSettings } from "../suite-settings.ts";
import type { DeferredFiles } from "./deferred-files.ts";
import { lastWithSamePackages, stillValid, withDeferredOf, withoutDeferred } from "./deferred-files.ts";
import { Descriptions } from "./description-entries.ts";
import type { PlannedIndex } from "./index-plan.ts";
import { indicesOf } from "./index-plan.ts";
import { PackageCounts } from "./package-counts.ts";
import type { DateInputs } from "./release-date.ts";
import { lastModifiedOf, nextDate, waitForDateMs } from "./release-date.ts";
import type { Replicas } from "./replicas.ts";
import { SegmentBuilder } from "./segment-builder.ts";
import type { StanzaRenderer } from "./stanza-renderer.ts";
import type { Composition } from "./suite-release.ts";
import { directoryReleases, undatedRelease } from "./suite-release.ts";

/** The collaborators and settings that the builders of all suites share. */
export interface SuiteBuilderOptions {
  readonly stanzas: StanzaRenderer;
  readonly compressor: Compressor;
  readonly store: PublicationStore;
  readonly replicas: Replicas;
  readonly signer: Signer;
  /** The algorithms in Release and by-hash. They include SHA256 or SHA512. */
  readonly releaseDigests: readonly DigestAlgorithm[];
  readonly now: () => number;
  /**
   * Every publication gets a later Date than this, in seconds since the epoch. Used when the state directory was lost.
   */
  readonly datesAfterSeconds?: number;
  /** How far Date lags behind the newest link. */
  readonly dateLagSeconds: number;
}

/** The input of a build. */
export interface BuildRequest {
  /** The difference from the previous request. */
  readonly change: PackageListChange;
  readonly entries: () => Iterable<IndexEntry>;
  readonly newestLinkMs: number;
  readonly shape: SuiteShape;
  readonly current: Manifest | undefined;
  readonly signal: AbortSignal;
}

/** One index that is being built, and its previous state. */
interface IndexState {
  readonly list: SegmentedList<IndexEntry>;
  readonly assembled: AssembledIndex | undefined;
}

/**
 * Builds the publications of one suite. It keeps the state of each index, so that a build costs only its change. Calls
 * must not overlap.
 */
export class SuiteBuilder {
  readonly #suite: Suite;
  readonly #settings: SuiteSettings;
  readonly #options: SuiteBuilderOptions;
  readonly #segments: SegmentBuilder;
  /** The last state of each index, by directory and name; undefined if all must be built from nothing. */
  #indices: ReadonlyMap<string, IndexState> | undefined;
  #counts: PackageCounts | undefined;
  #descriptions = new Descriptions();
  #variantBuilds = new VariantBuilds();

  constructor(suite: Suite, settings: SuiteSettings, options: SuiteBuilderOptions) {
    this.#suite = suite;
    this.#settings = settings;
    this.#options = options;
    this.#segments = new SegmentBuilder(options.stanzas, options.compressor, options.store.segments);
  }

  /**
   * Builds, stores and signs a publication of the package list, and makes it current.
   * @returns the current publication if nothing changed; undefined for a suite without any directory for packages
   */
  async build(request: BuildRequest): Promise<Manifest | undefined> {
    const { change, current, signal } = request;
    const { translations } = this.#settings;
    const before = this.#indices;
    const entered = before === undefined ? { removed: [], added: [...request.entries()] } : change;
    // The first build goes through all entries once for each index, and the view and overrides need not do it each time.
    const entries = before === undefined ? () => entered.added : request.entries;
    const known = before === undefined ? undefined : this.#counts;
    known?.apply(change);
    const counts = known ?? new PackageCounts(entries());
    const shape = request.shape.flat ? request.shape : withVariants(request.shape, counts.variants());
    const plannedIndices = indicesOf(shape, counts.withInstaller(), translations);
    if (current !== undefined && before !== undefined && isUnchanged(before, plannedIndices, change)) return current;
    // If something throws below, the next build starts from nothing, because it does not receive this change again.
    this.#indices = undefined;
    this.#counts = counts;
    if (shape.components.length === 0) return undefined;
    if (before === undefined) {
      this.#descriptions = new Descriptions();
      this.#variantBuilds = new VariantBuilds();
    }
    const variantBuilds = this.#variantBuilds;
    const descriptions = this.#descriptions;
    const yieldNow = yieldToEventLoop(signal);
    const described = translations ? await runSteps(descriptions.applying(entered), yieldNow) : change;
    const changeOf = variantBuilds.apply(entered, entries);
    const ofVariant = (variant: Architecture) => ({
      entries: () => filter(entries(), (entry) => variantBuilds.mayBeListedFor(variant, entry)),
      // Computed only if the index exists already.
      get change() {
        return changeOf(variant);
      },
    });
    // All builds start before the first is awaited: several threads build, and indices share packages.
    const builds = [];
    const poolSegments: PooledSegment[] = [];
    for (const planned of plannedIndices) {
      const known = before?.get(keyOf(planned));
      const from =
        planned.stanzas === "description"
          ? { entries: () => descriptions.entries(), change: described }
          : planned.variant === undefined
            ? { entries, change }
            : ofVariant(planned.variant);
      const listing =
        known === undefined
          ? SegmentedList.building(filter(from.entries(), planned.lists))
          : known.list.applying(only(from.change, planned.lists));
      const list = await runSteps(listing, yieldNow);
      const segments = list.segments();
      const kept = new Set(segments);
      const replaced = known?.list.segments().filter((segment) => !kept.has(segment)) ?? [];
      const segmentBuilds = [];
      for (const segment of segments) {
        const built = this.#segments.build(segment, planned.stanzas, replaced, signal);
        segmentBuilds.push(built);
        if (planned.stanzas !== "description") poolSegments.push({ id: built.id, items: segment.items });
        await yieldNow();
      }
      builds.push({ planned, list, segmentBuilds, known });
    }
    const { store, releaseDigests } = this.#options;
    const indices = new Map<string, IndexState>();
    const published: PublishedIndex[] = [];
    for (const { planned, list, segmentBuilds, known } of builds) {
      const { read } = this.#segments;
      const assembled = await assemble(segmentBuilds, read, releaseDigests, known?.assembled, yieldNow);
      indices.set(keyOf(planned), { list, assembled });
      published.push(publishedIndex({ directory: planned.directory, name: planned.name }, assembled));
    }
    const deferred = stillValid(current ?? noDeferredFiles, published);
    // The Release of a flat repository lists neither.
    const { components, architectures } = shape.flat ? { components: [], architectures: [] } : shape;
    const bare = { components, architectures, indices: [], blobs: [] };
    const suiteRelease = undatedRelease(this.#suite, this.#settings.identity, bare, releaseDigests);
    const manifest = await this.#publish(
      {
        components,
        architectures,
        indices: [...published, ...deferred.indices],
        blobs: [...(await directoryReleases(suiteRelease, plannedIndices, store.blobs)), ...deferred.blobs],
        binaryPackages: counts.binary,
        sourcePackages: counts.source,
      },
      {
        ...request,
        newestLinkMs: counts.binary + counts.source === 0 ? undefined : request.newestLinkMs,
        pooled: () => (before === undefined ? store.pool.addSegments(poolSegments) : store.pool.add(entered.added)),
      },
    );
    this.#indices = indices;
    return manifest;
  }

  /**
   * Publishes the same packages again, with new deferred files or with a later Valid-Until.
   */
  async amend(
    current: Manifest,
    {
      deferred,
      signal,
    }: { readonly deferred?: readonly [generator: string, DeferredFiles]; readonly signal: AbortSignal },
  ): Promise<Manifest> {
    const base = withoutDeferred(current);
    const kept = stillValid(current, base.indices, deferred?.[0]);
    const indices = [...base.indices, ...kept.indices];
    const fresh = deferred === undefined ? noDeferredFiles : stillValid(deferred[1], indices);
    return await this.#publish(
      {
        ...current,
        indices: [...indices, ...fresh.indices],
        blobs: [...base.blobs, ...kept.blobs, ...fresh.blobs],
      },
      { current, newestLinkMs: deferred === undefined ? 0 : undefined, signal },
    );
  }

  /**
   * Publishes the content of a past publication again, with the deferred files that were made for the same packages
   * later. The build after it starts from nothing.
   */
  async rollBack(past: Manifest, current: Manifest | undefined, signal: AbortSignal): Promise<Manifest> {
    this.reset();
    const { store } = this.#options;
    const withDeferred = store.get(this.#suite, lastWithSamePackages(past, store.history(this.#suite))) ?? past;
    const content = { ...past, ...withDeferredOf(past, withDeferred), rolledBackTo: past.id };
    return await this.#publish(content, { current, newestLinkMs: undefined, signal });
  }

  /** Makes the next build start from nothing, because this builder missed a change. */
  reset(): void {
    this.#indices = undefined;
  }

  /** Whether a publication must be renewed because half of its validity has passed. */
  isRenewalDue({ validUntilSeconds }: Manifest): boolean {
    const { validForSeconds } = this.#settings;
    if (validUntilSeconds === undefined || validForSeconds === undefined)
      return (validUntilSeconds === undefined) !== (validForSeconds === undefined);
    return this.#options.now() / 1000 > validUntilSeconds - validForSeconds / 2;
  }

  async #publish(
    content: Content,
    {
      current,
      newestLinkMs,
      pooled = async () => undefined,
      signal,
    }: Pick<BuildRequest, "current" | "signal"> & {
      readonly newestLinkMs: DateInputs["newestLinkMs"];
      /** Adds the packages to the pool. */
      readonly pooled?: () => Promise<void>;
    },
  ): Promise<Manifest> {
    const { signer, store, replicas, now, datesAfterSeconds, dateLagSeconds, releaseDigests } = this.#options;
    const { validForSeconds } = this.#settings;
    const keys = this.#settings.signedBy && { signedBy: signer.keys.map(({ fingerprint }) => fingerprint) };
    const undated = { ...undatedRelease(this.#suite, this.#settings.identity, content, releaseDigests), ...keys };
    // Replaces the end of validity by its duration, so that the fields that depend on Valid-Until count as well.
    const timeless = { ...undated, ...(validForSeconds && { validUntilSeconds: validForSeconds }) };
    const signedBy = signer.keys.map((key) => key.signingFingerprint).join(" ");
    const state = createHash("sha256")
      .update(`${signedBy}\n${renderRelease(timeless)}`)
      .digest("hex");
    // Packages and segments are written to disk while this signs.
    const before = new Set(segmentIdsOf(current?.indices ?? []));
    const fresh = segmentIdsOf(content.indices).filter((id) => !before.has(id));
    const stored = Promise.all([pooled(), store.segments.written(fresh)]);
    stored.catch(() => undefined);
    const last = latest(
      latest(latest(current?.dateSeconds, store.lastDate(this.#suite)), store.preparedDate(this.#suite)),
      datesAfterSeconds,
    );
    const { components, architectures, indices, blobs, binaryPackages, sourcePackages, rolledBackTo } = content;
    const isSame = current?.state === state && current.rolledBackTo === rolledBackTo;
    if (isSame && current.dateSeconds === last && !this.isRenewalDue(current)) {
      await stored;
      return current;
    }
    // A Release that expires is renewed regularly. So after a loss of state, clients may know a later Date than any
    // link.
    const mayHaveBeenRenewed = last === undefined && validForSeconds !== undefined;
    const dateSeconds = nextDate({
      newestLinkMs: mayHaveBeenRenewed ? 0 : newestLinkMs,
      lastSeconds: last,
      nowMs: now(),
      lagSeconds: dateLagSeconds,
    });
    const validity = validForSeconds && { validUntilSeconds: Math.floor(now() / 1000) + validForSeconds };
    const waitMs = waitForDateMs(dateSeconds, now());
    // Even a timer of 0 ms takes a millisecond.
    if (waitMs > 0) await sleep(waitMs, signal);
    const release = renderRelease({ ...undated, dateSeconds, ...validity });
    const unsigned: UnsignedManifest = {
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
    };
    const sign = async (): Promise<Signatures> => {
      const [signatures] = await Promise.all([signer.sign(release, dateSeconds), stored]);
      return signatures;
    };
    const servedMs = now();
    return await replicas.announce(unsigned, sign, servedMs, (manifest) => store.publish(manifest, servedMs));
  }
}

/** The content of a publication, without its date. */
type Content = Composition & Pick<Manifest, "binaryPackages" | "sourcePackages" | "rolledBackTo">;

const noDeferredFiles: DeferredFiles = { indices: [], blobs: [] };

/** Whether a build would give the same result as the previous one. */
function isUnchanged(
  before: ReadonlyMap<string, IndexState>,
  planned: readonly PlannedIndex[],
  { removed, added }: PackageListChange,
): boolean {
  const isSame = before.size === planned.length && planned.every((index) => before.has(keyOf(index)));
  return isSame && removed.length === 0 && added.length === 0;
}

const only = ({ removed, added }: PackageListChange, lists: PlannedIndex["lists"]) => ({
  removed: filter(removed, lists),
  added: filter(added, lists),
});

const keyOf = ({ directory, name }: PlannedIndex): string => `${directory}/${name}`;

function* filter(entries: Iterable<IndexEntry>, lists: (entry: IndexEntry) => boolean): Iterable<IndexEntry> {
  for (const entry of entries) if (lists(entry)) yield entry;
}
