// Publications on disk: manifests by suite and id, and one pointer per suite to the current one.
import { createHash } from "node:crypto";
import type { Database, RootDatabase } from "lmdb";
import type { RepositoryName, Suite, TreePath } from "../../base/names.ts";
import { parseSuiteOrFlat } from "../../base/names.ts";
import { written } from "../../base/state-errors.ts";
import type { SegmentSizes } from "../../indices/assemble.ts";
import type { FileEntry } from "../../storage/tree.ts";
import { BlobStore } from "./blob-store.ts";
import { identityOfRelease } from "./known-identity.ts";
import type { LastDates } from "./last-dates.ts";
import { latest } from "./last-dates.ts";
import type { PoolRecord } from "./package-pool.ts";
import { PackagePool } from "./package-pool.ts";
import type { HashReference, Manifest, PublishedFile, PublishedIndex } from "./publication.ts";
import { fileByHash, hashReferences, indexPath, namesPackages, publicationId, secondsOfMoment } from "./publication.ts";
import { SegmentStore } from "./segment-store.ts";
import { isMoment, isPinName, SnapshotPins } from "./snapshot-pins.ts";
import { parseSuiteKey, suiteKey } from "./suite-keys.ts";

/** A manifest whose lists of segments stand elsewhere, in runs that publications share. */
type StoredManifest = Omit<Manifest, "indices" | "blobs"> & {
  readonly indices: readonly (Omit<PublishedIndex, "segments"> & { readonly runs: readonly string[] })[];
  /** Undefined in manifests from before there were any. */
  readonly blobs?: Manifest["blobs"];
};

/** What a kept publication was about, without its bytes. */
export interface PastPublication {
  readonly id: string;
  /** Seconds since the epoch. */
  readonly dateSeconds: number;
  readonly indices: readonly Omit<PublishedIndex, "segments">[];
}

/** How many segments a run lists: a change at the end of an index writes one new run. */
const segmentsPerRun = 32;

/**
 * The publications of one repository. A publication's pointer is set in the same transaction as its manifest and only
 * after its segments and packages are there, so a kill at any instant leaves the last complete publication.
 */
export class PublicationStore {
  readonly pool: PackagePool;
  readonly segments: SegmentStore;
  readonly blobs: BlobStore;
  readonly pins: SnapshotPins;
  readonly #manifests: Database<StoredManifest, string>;
  readonly #runs: Database<readonly SegmentSizes[], string>;
  readonly #current: Database<string, string>;
  readonly #dates: Database<number, string>;
  readonly #identities: Database<readonly (readonly [string, string])[], string>;
  /** When each publication was served first, seconds since the epoch; of older ones nothing: then it is their Date. */
  readonly #servedSeconds: Database<number, string>;
  readonly #supersededMs: Database<number, string>;
  readonly #successors: Database<string, string>;
  readonly #hashes: Database<string, string>;

  readonly #name: RepositoryName;
  readonly #lastDates: LastDates | undefined;

  /**
   * @param root the state directory's database
   * @param lastDates what outlives it; undefined where nothing is published
   */
  constructor(root: RootDatabase, name: RepositoryName, lastDates?: LastDates) {
    this.#name = name;
    this.#lastDates = lastDates;
    this.#manifests = root.openDB({ name: `${name}/publications` });
    this.#runs = root.openDB({ name: `${name}/runs` });
    this.#current = root.openDB({ name: `${name}/current` });
    this.#dates = root.openDB({ name: `${name}/dates` });
    this.#identities = root.openDB({ name: `${name}/identities` });
    this.#servedSeconds = root.openDB({ name: `${name}/served` });
    this.#supersededMs = root.openDB({ name: `${name}/superseded` });
    this.#successors = root.openDB({ name: `${name}/successors` });
    this.#hashes = root.openDB({ name: `${name}/by-hash` });
    this.segments = new SegmentStore(root, name);
    this.blobs = new BlobStore(root, name);
    this.pins = new SnapshotPins(root, name);
    this.pool = new PackagePool(root.openDB<PoolRecord, string>({ name: `${name}/pool` }));
  }

  /** The id of every suite's current publication. */
  *currentIds(): Iterable<readonly [Suite, string]> {
    for (const { key, value } of this.#current.getRange()) yield [parseSuiteOrFlat(key), value];
  }

  /** The current publication of every suite. */
  *current(): Iterable<Manifest> {
    for (const [suite, id] of this.currentIds()) {
      const manifest = this.get(suite, id);
      if (manifest !== undefined) yield manifest;
    }
  }

  /**
   * Keeps a publication and makes it its suite's current one. Its segments and packages must be stored already.
   * @param nowMs from when on it is served, and the one before it is superseded
   */
  async publish(manifest: Manifest, nowMs: number): Promise<void> {
    const { suite, id, indices, ...rest } = manifest;
    const put = (): void => {
      const listed = indices.map(({ segments, ...index }) => ({ ...index, runs: this.#putRuns(segments) }));
      this.#manifests.putSync(suiteKey(suite, id), { suite, id, ...rest, indices: listed });
      for (const reference of hashReferences(manifest)) this.#hashes.putSync(hashKey(suite, reference), id);
      this.#supersede(suite, nowMs, id);
      this.#servedSeconds.putSync(suiteKey(suite, id), Math.floor(nowMs / 1000));
      this.#dates.putSync(suite, manifest.dateSeconds);
      this.#identities.putSync(suite, [...identityOfRelease(manifest.release)]);
      this.#current.putSync(suite, id);
    };
    await written(() => this.#manifests.transaction(put));
    this.#lastDates?.keep(`${this.#name}/${suite}`, manifest.dateSeconds);
  }

  /** The last Date that this suite ever had here, seconds since the epoch, also when it is out of service. */
  lastDate(suite: Suite): number | undefined {
    return latest(this.#dates.get(suite), this.#lastDates?.get(`${this.#name}/${suite}`));
  }

  /** Who each suite said it is when it was last published, also of those that are out of service. */
  *identities(): Iterable<readonly [Suite, ReadonlyMap<string, string>]> {
    for (const { key, value } of this.#identities.getRange()) yield [parseSuiteOrFlat(key), new Map(value)];
  }

  /** Takes a suite out of service. What its publications named by hash stays readable while they are kept. */
  async withdraw(suite: Suite, nowMs: number): Promise<void> {
    if (!this.#current.doesExist(suite)) return;
    await written(() =>
      this.#current.transaction(() => {
        this.#supersede(suite, nowMs, publicationId(Math.floor(nowMs / 1000)));
        this.#current.removeSync(suite);
      }),
    );
  }

  /** A suite's publications that are kept, the newest first, the current one among them; without their segments. */
  *history(suite: Suite): Iterable<PastPublication> {
    // Ids begin with a digit, and Date, which they are made of, only moves forward.
    for (const { value } of this.#manifests.getRange({ start: `${suite}/:`, end: `${suite}/`, reverse: true })) {
      yield { id: value.id, dateSeconds: value.dateSeconds, indices: value.indices };
    }
  }

  /** The segments of one index of a kept publication; undefined if there is none such. */
  segmentsOf(suite: Suite, id: string, path: string): readonly SegmentSizes[] | undefined {
    const index = this.#manifests.get(suiteKey(suite, id))?.indices.find((each) => indexPath(each, "plain") === path);
    return index && this.#segmentsIn(index.runs);
  }

  /** The ids of all publications that are kept, those of a suite side by side and the newest first. */
  *ids(): Iterable<readonly [Suite, string]> {
    for (const key of this.#manifests.getKeys({ reverse: true })) {
      yield parseSuiteKey(key);
    }
  }

  /** Since when a kept publication was served, seconds since the epoch. */
  servedSince(suite: Suite, id: string): number {
    return this.#servedSeconds.get(suiteKey(suite, id)) ?? secondsOfMoment(id);
  }

  /**
   * The id of a kept publication by itself, by the name of a pin, or by a moment: then it is what was served then.
   * @returns undefined also for a moment whose own publication is kept no more, and for the id of such a one
   */
  idAt(suite: Suite, when: string): string | undefined {
    if (!isMoment(when)) return isPinName(when) ? this.pins.idOf(suite, when) : undefined;
    // Nothing is served before its Date, which its id is made of.
    const range = { start: suiteKey(suite, when), end: suiteKey(suite, ""), reverse: true };
    for (const key of this.#manifests.getKeys(range)) {
      const id = key.slice(suiteKey(suite, "").length);
      if (id === when) return id;
      if (this.servedSince(suite, id) > secondsOfMoment(when)) continue;
      // What came after a pinned one may be gone, or the suite was out of service.
      const successor = this.#successors.get(key);
      const isGone = successor !== undefined && !this.#manifests.doesExist(suiteKey(suite, successor));
      return isGone && successor <= when ? undefined : id;
    }
    return undefined;
  }

  /** A kept publication. */
  get(suite: Suite, id: string): Manifest | undefined {
    return this.#read(suiteKey(suite, id));
  }

  /** Finds an index by its hash in any publication that is kept. */
  byHash(suite: Suite, reference: HashReference): PublishedFile | undefined {
    const id = this.#hashes.get(hashKey(suite, reference));
    const manifest = id === undefined ? undefined : this.#read(suiteKey(suite, id));
    return manifest === undefined ? undefined : fileByHash(manifest, reference);
  }

  /** The files in a directory of the tree that a publication names, with the entries that they were last seen with. */
  async entriesWithin(directory: TreePath, { indices }: Pick<Manifest, "indices">): Promise<Map<TreePath, FileEntry>> {
    const ids = indices.filter(namesPackages).flatMap(({ segments }) => segments.map(({ id }) => id));
    return new Map(this.pool.entriesWithin(directory, await this.segments.references(new Set(ids))));
  }

  /**
   * Drops the publications that were superseded before a moment and that nobody holds fast, and after them every run,
   * segment and pooled file that no kept one names. Must not run while a publication is built.
   * @param patchesBeforeMs what was superseded before has its patches no more: a client that is so late fetches the index
   * @returns how many publications were dropped
   */
  async sweep(supersededBeforeMs: number, patchesBeforeMs: number): Promise<number> {
    const held = this.#held();
    const old = [...this.#supersededMs.getRange()].filter(
      ({ key, value }) => value < supersededBeforeMs && !held.has(key),
    );
    for (const { key } of old) {
      const manifest = this.#read(key);
      for (const reference of manifest === undefined ? [] : hashReferences(manifest)) {
        const hash = hashKey(manifest?.suite ?? "", reference);
        if (this.#hashes.get(hash) === manifest?.id) void this.#hashes.remove(hash);
      }
      void this.#manifests.remove(key);
      void this.#successors.remove(key);
      void this.#servedSeconds.remove(key);
      await this.#supersededMs.remove(key);
    }
    if (old.length > 0) {
      await this.#nameByHash(held);
      await this.#sweepUnnamed();
    }
    await this.#sweepBlobs(patchesBeforeMs);
    return old.length;
  }

  /** The keys of all that is not to be dropped, however old. */
  #held(): ReadonlySet<string> {
    const pinned = [...this.pins.all()].map(({ suite, id }) => suiteKey(suite, id));
    return new Set([...pinned, ...[...this.pins.rolledBack()].map(([suite, id]) => suiteKey(suite, id))]);
  }

  /** What newer publications were the last to name by hash, these may name too. */
  async #nameByHash(keys: Iterable<string>): Promise<void> {
    for (const manifest of [...keys].map((key) => this.#read(key))) {
      for (const reference of manifest === undefined ? [] : hashReferences(manifest)) {
        const key = hashKey(manifest?.suite ?? "", reference);
        if (!this.#hashes.doesExist(key)) await this.#hashes.put(key, manifest?.id ?? "");
      }
    }
  }

  async #sweepUnnamed(): Promise<void> {
    const runs = new Set<string>();
    const stanzaRuns = new Set<string>();
    for (const { value } of this.#manifests.getRange()) {
      for (const index of value.indices) {
        for (const run of index.runs) runs.add(run);
        if (namesPackages(index)) for (const run of index.runs) stanzaRuns.add(run);
      }
    }
    const segmentsOf = (keys: ReadonlySet<string>): Set<string> =>
      new Set([...keys].flatMap((run) => (this.#runs.get(run) ?? []).map(({ id }) => id)));
    const named = await this.segments.references(segmentsOf(stanzaRuns));
    const segments = segmentsOf(runs);
    for (const run of this.#runs.getKeys()) if (!runs.has(run)) await this.#runs.remove(run);
    await this.segments.keepOnly(segments);
    await this.pool.keepOnly(named);
  }

  async #sweepBlobs(patchesBeforeMs: number): Promise<void> {
    const named = new Set<string>();
    for (const { key, value } of this.#manifests.getRange()) {
      const { suite, id, blobs = [] } = value;
      const isOld = (this.#supersededMs.get(key) ?? patchesBeforeMs) < patchesBeforeMs;
      const kept = isOld ? blobs.filter(({ listed }) => listed) : blobs;
      if (kept.length < blobs.length) {
        const dropped = blobs.filter((blob) => !kept.includes(blob));
        for (const reference of hashReferences({ indices: [], blobs: dropped })) {
          const hash = hashKey(suite, reference);
          if (this.#hashes.get(hash) === id) void this.#hashes.remove(hash);
        }
        await this.#manifests.put(key, { ...value, blobs: kept });
      }
      for (const { sha256 } of kept) named.add(sha256);
    }
    await this.blobs.keepOnly(named);
  }

  /** @param successor the id of what comes after it, or that of the moment from which on there is nothing */
  #supersede(suite: Suite, nowMs: number, successor: string): void {
    const before = this.#current.get(suite);
    if (before === undefined) return;
    this.#supersededMs.putSync(suiteKey(suite, before), nowMs);
    this.#successors.putSync(suiteKey(suite, before), successor);
  }

  #putRuns(segments: readonly SegmentSizes[]): string[] {
    const runs: string[] = [];
    for (let at = 0; at < segments.length; at += segmentsPerRun) {
      const run = segments.slice(at, at + segmentsPerRun);
      const key = createHash("sha256")
        .update(run.map(({ id }) => id).join())
        .digest("base64url");
      if (!this.#runs.doesExist(key)) this.#runs.putSync(key, run);
      runs.push(key);
    }
    return runs;
  }

  #segmentsIn(runs: readonly string[]): SegmentSizes[] {
    return runs.flatMap((run) => this.#runs.get(run) ?? []);
  }

  #read(key: string): Manifest | undefined {
    const stored = this.#manifests.get(key);
    if (stored === undefined) return undefined;
    const { indices, blobs = [], ...rest } = stored;
    return {
      ...rest,
      blobs,
      indices: indices.map(({ runs, ...index }) => ({
        ...index,
        segments: this.#segmentsIn(runs),
      })),
    };
  }
}

const hashKey = (suite: string, { directory, digest }: HashReference): string => `${suite}/${directory}/${digest}`;
