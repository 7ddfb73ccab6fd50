// Stores publications on disk: a manifest for each suite and id, and one pointer per suite to the current publication.
import { createHash } from "node:crypto";
import type { Database, RootDatabase } from "lmdb";
import type { StateName, Suite, TreePath } from "../../base/names.ts";
import { parseSuiteOrFlat } from "../../base/names.ts";
import { SerialQueue } from "../../base/serial-queue.ts";
import { written } from "../../base/state-errors.ts";
import type { SegmentSizes } from "../../indices/assemble.ts";
import type { FileEntry } from "../../storage/tree.ts";
import { BlobStore } from "./blob-store.ts";
import { identityFieldsOf } from "./known-identity.ts";
import type { LastDates } from "./last-dates.ts";
import { latest } from "./last-dates.ts";
import { PackagePool } from "./package-pool.ts";
import type { HashReference, Manifest, PublishedFile, PublishedIndex, UnsignedManifest } from "./publication.ts";
import {
  fileByHash,
  hashReferences,
  indexPath,
  namesPackages,
  publicationId,
  runsOf,
  secondsOfMoment,
  segmentIdsOf,
} from "./publication.ts";
import { SegmentStore } from "./segment-store.ts";
import { SnapshotCommands } from "./snapshot-commands.ts";
import { isMoment, isPinName, SnapshotPins } from "./snapshot-pins.ts";
import { parseSuiteKey, suiteKey } from "./suite-keys.ts";

/** A manifest whose lists of segments are stored separately, in runs that publications share. */
type StoredManifest = Omit<Manifest, "indices" | "blobs"> & {
  readonly indices: readonly (Omit<PublishedIndex, "segments"> & { readonly runs: readonly string[] })[];
  /** Undefined in manifests of older versions. */
  readonly blobs?: Manifest["blobs"];
};

/** The description of a kept publication, without its segments. */
export interface PastPublication {
  readonly id: string;
  /** Seconds since the epoch. */
  readonly dateSeconds: number;
  readonly indices: readonly Omit<PublishedIndex, "segments">[];
}

/** When a suite was taken out of service. */
export interface Withdrawal {
  /** The Date of its last publication, in seconds since the epoch. */
  readonly dateSeconds: number;
  /** Milliseconds since the epoch. */
  readonly withdrawnMs: number;
}

/**
 * How many prepared publications of a suite are kept: one that is never published, because the other replica failed or
 * lost its lease, is replaced by a later one.
 */
const maxPrepared = 4;

/**
 * The publications of one repository. A publication's manifest and pointer are written in one transaction, after its
 * segments and packages are stored. So a kill at any moment leaves the last complete publication.
 */
export class PublicationStore {
  readonly pool: PackagePool;
  readonly segments: SegmentStore;
  readonly blobs: BlobStore;
  readonly pins: SnapshotPins;
  readonly snapshotCommands: SnapshotCommands;
  readonly #manifests: Database<StoredManifest, string>;
  readonly #runs: Database<readonly SegmentSizes[], string>;
  readonly #current: Database<string, string>;
  readonly #dates: Database<number, string>;
  /** By suite: the suites that were taken out of service, and are not served again. */
  readonly #withdrawals: Database<Withdrawal, string>;
  readonly #identities: Database<readonly (readonly [string, string])[], string>;
  /** When each publication was first served, in seconds since the epoch. Older versions stored only the Date. */
  readonly #servedSeconds: Database<number, string>;
  readonly #supersededMs: Database<number, string>;
  readonly #successors: Database<string, string>;
  readonly #hashes: Database<string, string>;

  /** Publications of another replica that may become current at any moment, by their keys in the database. */
  readonly #prepared = new Map<string, UnsignedManifest>();
  /** Deletes and adds what only a prepared publication refers to. */
  readonly #contentQueue = new SerialQueue();
  readonly #name: StateName;
  readonly #lastDates: LastDates | undefined;

  /**
   * @param root the state directory's database
   * @param lastDates the Dates that survive the loss of the database; undefined if nothing is published
   */
  constructor(root: RootDatabase, name: StateName, lastDates?: LastDates) {
    this.#name = name;
    this.#lastDates = lastDates;
    this.#manifests = root.openDB({ name: `${name}/publications` });
    this.#runs = root.openDB({ name: `${name}/runs` });
    this.#current = root.openDB({ name: `${name}/current` });
    this.#dates = root.openDB({ name: `${name}/dates` });
    this.#withdrawals = root.openDB({ name: `${name}/withdrawals` });
    this.#identities = root.openDB({ name: `${name}/identities` });
    this.#servedSeconds = root.openDB({ name: `${name}/served` });
    this.#supersededMs = root.openDB({ name: `${name}/superseded` });
    this.#successors = root.openDB({ name: `${name}/successors` });
    this.#hashes = root.openDB({ name: `${name}/by-hash` });
    this.segments = new SegmentStore(root, name);
    this.blobs = new BlobStore(root, name);
    this.pins = new SnapshotPins(root, name);
    this.snapshotCommands = new SnapshotCommands(root, name);
    this.pool = new PackagePool(root.openDB({ name: `${name}/pool` }), root.openDB({ name: `${name}/pool-segments` }));
  }

  /** The id of every suite's current publication. */
  *currentIds(): Iterable<readonly [Suite, string]> {
    for (const { key, value } of this.#current.getRange()) yield [parseSuiteOrFlat(key), value];
  }

  /** The id of a suite's current publication; undefined if it has none. */
  currentId(suite: Suite): string | undefined {
    return this.#current.get(suite);
  }

  /** The current publication of every suite. */
  *current(): Iterable<Manifest> {
    for (const [suite, id] of this.currentIds()) {
      const manifest = this.get(suite, id);
      if (manifest !== undefined) yield manifest;
    }
  }

  /**
   * Stores a publication and makes it the current one of its suite. Its segments and packages must be stored already.
   * @param nowMs the time from which it is served and the previous one is superseded
   */
  async publish(manifest: Manifest, nowMs: number): Promise<void> {
    const { suite, id } = manifest;
    const put = (): void => {
      this.#putManifest(manifest);
      for (const reference of hashReferences(manifest)) this.#hashes.putSync(hashKey(suite, reference), id);
      this.#supersede(suite, nowMs, id);
      this.#servedSeconds.putSync(suiteKey(suite, id), Math.floor(nowMs / 1000));
      this.#dates.putSync(suite, manifest.dateSeconds);
      this.#identities.putSync(suite, [...identityFieldsOf(manifest.release)]);
      this.#current.putSync(suite, id);
      this.#withdrawals.removeSync(suite);
    };
    await written(() => this.#manifests.transaction(put));
    this.#lastDates?.keep(`${this.#name}/${suite}`, manifest.dateSeconds);
    for (const [key, { suite: other, dateSeconds }] of this.#prepared)
      if (other === suite && dateSeconds <= manifest.dateSeconds) this.#prepared.delete(key);
  }

  /**
   * Stores the content of a publication of another replica, which may become the current one at any moment. Its files
   * can be read by hash from then on. It is forgotten when the server stops, when a later one is published, and when some
   * later ones were prepared.
   * @param store stores segments, files and packages, so that they can be read; nothing is deleted meanwhile
   * @returns what `store` returns
   */
  async prepare<Stored>(manifest: UnsignedManifest, store: () => Promise<Stored>): Promise<Stored> {
    const { suite, id } = manifest;
    const stored = await this.#contentQueue.run(store);
    this.forgetPrepared(suite, id);
    this.#prepared.set(suiteKey(suite, id), manifest);
    const ofSuite = [...this.#prepared.values()].filter((each) => each.suite === suite);
    for (const each of ofSuite.slice(0, -maxPrepared)) this.forgetPrepared(suite, each.id);
    return stored;
  }

  /**
   * Keeps a past publication of another replica that was prepared.
   * @param supersededMs when the next publication was served, in ms since the epoch
   * @param successor the id of the next publication
   */
  async keepPast(
    manifest: Manifest,
    {
      servedMs,
      supersededMs,
      successor,
    }: Readonly<Record<"servedMs" | "supersededMs", number>> & {
      readonly successor: string;
    },
  ): Promise<void> {
    const { suite, id } = manifest;
    const key = suiteKey(suite, id);
    const put = (): void => {
      if (this.#manifests.doesExist(key)) return;
      this.#putManifest(manifest);
      // Of several publications with a file, the last one is kept longest.
      for (const reference of hashReferences(manifest)) {
        const hash = hashKey(suite, reference);
        if ((this.#hashes.get(hash) ?? "") < id) this.#hashes.putSync(hash, id);
      }
      this.#servedSeconds.putSync(key, Math.floor(servedMs / 1000));
      this.#supersededMs.putSync(key, supersededMs);
      this.#successors.putSync(key, successor);
    };
    await written(() => this.#manifests.transaction(put));
    this.#prepared.delete(key);
  }

  /** Forgets a prepared publication that turned out to be known. */
  forgetPrepared(suite: Suite, id: string): void {
    this.#prepared.delete(suiteKey(suite, id));
  }

  /** A publication that was prepared and is not published yet. */
  prepared(suite: Suite, id: string): UnsignedManifest | undefined {
    return this.#prepared.get(suiteKey(suite, id));
  }

  /** The latest Date of a prepared publication of a suite, in seconds since the epoch. */
  preparedDate(suite: Suite): number | undefined {
    return [...this.#prepared.values()]
      .filter((manifest) => manifest.suite === suite)
      .reduce<number | undefined>((last, { dateSeconds }) => latest(last, dateSeconds), undefined);
  }

  /** Makes sure that the next publication of a suite has a later Date. */
  async noteDate(suite: Suite, dateSeconds: number): Promise<void> {
    if ((this.lastDate(suite) ?? 0) >= dateSeconds) return;
    await written(() => this.#dates.put(suite, dateSeconds));
    this.#lastDates?.keep(`${this.#name}/${suite}`, dateSeconds);
  }

  /** The last Date of a suite, in seconds since the epoch, even if the suite is no longer served. */
  lastDate(suite: Suite): number | undefined {
    return latest(this.#dates.get(suite), this.#lastDates?.get(`${this.#name}/${suite}`));
  }

  /** The identity fields in the last publication of each suite, including suites that are no longer served. */
  *identities(): Iterable<readonly [Suite, ReadonlyMap<string, string>]> {
    for (const { key, value } of this.#identities.getRange()) yield [parseSuiteOrFlat(key), new Map(value)];
  }

  /**
   * Stops serving a suite. Its files remain available by hash while its publications are kept.
   * @param dateSeconds the Date of its last publication, if another replica knows a later one than this
   */
  async withdraw(suite: Suite, nowMs: number, dateSeconds = this.lastDate(suite)): Promise<void> {
    await written(() =>
      this.#current.transaction(() => {
        if (dateSeconds !== undefined) this.#withdrawals.putSync(suite, { dateSeconds, withdrawnMs: nowMs });
        if (!this.#current.doesExist(suite)) return;
        this.#supersede(suite, nowMs, publicationId(Math.floor(nowMs / 1000)));
        this.#current.removeSync(suite);
      }),
    );
  }

  /** When a suite was taken out of service, if it is not served now. */
  withdrawalOf(suite: Suite): Withdrawal | undefined {
    return this.#withdrawals.get(suite);
  }

  /** The suites that were taken out of service. */
  *withdrawals(): Iterable<readonly [Suite, Withdrawal]> {
    for (const { key, value } of this.#withdrawals.getRange()) yield [parseSuiteOrFlat(key), value];
  }

  /** The kept publications of a suite, including the current one, newest first and without their segments. */
  *history(suite: Suite): Iterable<PastPublication> {
    // Ids begin with a digit, and they sort by Date, which never decreases.
    for (const { value } of this.#manifests.getRange({ start: `${suite}/:`, end: `${suite}/`, reverse: true })) {
      yield { id: value.id, dateSeconds: value.dateSeconds, indices: value.indices };
    }
  }

  /** The segments of one index of a kept publication; undefined if there is no such index. */
  segmentsOf(suite: Suite, id: string, path: string): readonly SegmentSizes[] | undefined {
    const index = this.#manifests.get(suiteKey(suite, id))?.indices.find((each) => indexPath(each, "plain") === path);
    return index && this.#segmentsIn(index.runs);
  }

  /** The ids of all kept publications, grouped by suite and newest first. */
  *ids(): Iterable<readonly [Suite, string]> {
    for (const key of this.#manifests.getKeys({ reverse: true })) {
      yield parseSuiteKey(key);
    }
  }

  /** When a kept publication was first served, in seconds since the epoch. */
  servedSince(suite: Suite, id: string): number {
    return this.#servedSeconds.get(suiteKey(suite, id)) ?? secondsOfMoment(id);
  }

  /**
   * Finds the id of a kept publication.
   * @param when the id, the name of a pin, or a time; a time selects the publication that was served then
   * @returns undefined also if that publication is no longer kept
   */
  idAt(suite: Suite, when: string): string | undefined {
    if (!isMoment(when)) return isPinName(when) ? this.pins.idOf(suite, when) : undefined;
    // A publication is never served before its Date, and its id consists of its Date.
    const range = { start: suiteKey(suite, when), end: suiteKey(suite, ""), reverse: true };
    for (const key of this.#manifests.getKeys(range)) {
      const id = key.slice(suiteKey(suite, "").length);
      if (id === when) return id;
      if (this.servedSince(suite, id) > secondsOfMoment(when)) continue;
      // The successor of a pinned publication may have been deleted, or the suite was not served.
      const successor = this.#successors.get(key);
      const isGone = successor !== undefined && !this.#manifests.doesExist(suiteKey(suite, successor));
      return isGone && successor <= when ? undefined : id;
    }
    return undefined;
  }

  /** Whether a publication is kept. */
  has(suite: Suite, id: string): boolean {
    return this.#manifests.doesExist(suiteKey(suite, id));
  }

  /** A kept publication. */
  get(suite: Suite, id: string): Manifest | undefined {
    return this.#read(suiteKey(suite, id));
  }

  /** Finds a file by its hash in any kept publication. */
  byHash(suite: Suite, reference: HashReference): PublishedFile | undefined {
    const id = this.#hashes.get(hashKey(suite, reference));
    const manifest = id === undefined ? undefined : this.#read(suiteKey(suite, id));
    return manifest === undefined ? this.#preparedByHash(suite, reference) : fileByHash(manifest, reference);
  }

  #preparedByHash(suite: Suite, reference: HashReference): PublishedFile | undefined {
    for (const manifest of this.#prepared.values()) {
      const found = manifest.suite === suite ? fileByHash(manifest, reference) : undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /**
   * The files of a publication in a directory of the tree, with the entries that they had when they were last listed.
   */
  async entriesWithin(directory: TreePath, { indices }: Pick<Manifest, "indices">): Promise<Map<TreePath, FileEntry>> {
    const ids = segmentIdsOf(indices.filter(namesPackages));
    return new Map(this.pool.entriesWithin(directory, await this.segments.references(new Set(ids))));
  }

  /**
   * Deletes the publications that were superseded before some time and that no pin or rollback holds. Then it deletes
   * every run, segment and pooled file that no kept publication uses. Must not run during a build.
   * @param patchesBeforeMs pdiffs of publications that were superseded before this time are deleted: a client that is
   *   so far behind downloads the whole index
   * @returns how many publications were deleted
   * @throws StateUnwritable
   */
  async sweep(supersededBeforeMs: number, patchesBeforeMs: number): Promise<number> {
    return await this.#contentQueue.run(() => written(() => this.#sweep(supersededBeforeMs, patchesBeforeMs)));
  }

  async #sweep(supersededBeforeMs: number, patchesBeforeMs: number): Promise<number> {
    const protectedKeys = this.#protectedKeys();
    const old = [...this.#supersededMs.getRange()].filter(
      ({ key, value }) => value < supersededBeforeMs && !protectedKeys.has(key),
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
      await this.#nameByHash(protectedKeys);
      await this.#sweepUnused();
    }
    await this.#sweepBlobs(patchesBeforeMs);
    return old.length;
  }

  /** The keys of all publications that must not be deleted, whatever their age. */
  #protectedKeys(): ReadonlySet<string> {
    const pinned = [...this.pins.all()].map(({ suite, id }) => suiteKey(suite, id));
    return new Set([...pinned, ...[...this.pins.rolledBack()].map(([suite, id]) => suiteKey(suite, id))]);
  }

  /** Restores the by-hash references of kept publications that pointed to a deleted publication with the same file. */
  async #nameByHash(keys: Iterable<string>): Promise<void> {
    for (const manifest of [...keys].map((key) => this.#read(key))) {
      for (const reference of manifest === undefined ? [] : hashReferences(manifest)) {
        const key = hashKey(manifest?.suite ?? "", reference);
        if (!this.#hashes.doesExist(key)) await this.#hashes.put(key, manifest?.id ?? "");
      }
    }
  }

  async #sweepUnused(): Promise<void> {
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
    const stanzaSegments = segmentsOf(stanzaRuns);
    const segments = segmentsOf(runs);
    for (const { indices } of this.#prepared.values()) {
      for (const id of segmentIdsOf(indices)) segments.add(id);
      for (const id of segmentIdsOf(indices.filter(namesPackages))) stanzaSegments.add(id);
    }
    const named = await this.segments.references(stanzaSegments);
    for (const run of this.#runs.getKeys()) if (!runs.has(run)) await this.#runs.remove(run);
    await this.segments.keepOnly(segments);
    await this.pool.keepOnly(named, stanzaSegments);
  }

  async #sweepBlobs(patchesBeforeMs: number): Promise<void> {
    const named = new Set<string>();
    for (const { blobs } of this.#prepared.values()) for (const { sha256 } of blobs) named.add(sha256);
    for (const { key, value } of this.#manifests.getRange()) {
      const { suite, id, blobs = [] } = value;
      const isOld = (this.#supersededMs.get(key) ?? patchesBeforeMs) < patchesBeforeMs;
      const kept = isOld ? blobs.filter(({ listed }) => listed) : blobs;
      if (kept.length < blobs.length) {
        const dropped = blobs.filter(({ listed }) => !listed);
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

  /**
   * @param successor the id of the next publication, or the time from which the suite is not served, in the form of an
   *   id
   */
  #supersede(suite: Suite, nowMs: number, successor: string): void {
    const before = this.#current.get(suite);
    if (before === undefined || before === successor) return;
    this.#supersededMs.putSync(suiteKey(suite, before), nowMs);
    this.#successors.putSync(suiteKey(suite, before), successor);
  }

  #putManifest({ suite, id, indices, ...rest }: Manifest): void {
    const listed = indices.map(({ segments, ...index }) => ({ ...index, runs: this.#putRuns(segments) }));
    this.#manifests.putSync(suiteKey(suite, id), { suite, id, ...rest, indices: listed });
  }

  #putRuns(segments: readonly SegmentSizes[]): string[] {
    const runs: string[] = [];
    for (const run of runsOf(segments)) {
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

/** The key of a reference in the database `by-hash`. */
export const hashKey = (suite: string, { directory, digest }: HashReference): string =>
  `${suite}/${directory}/${digest}`;
