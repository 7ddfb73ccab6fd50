// The publications of one repository in Valkey: the publisher puts the content of each there, and all others take over
// what they lack.
import { hash } from "node:crypto";
import { LRUCache } from "lru-cache";
import { forEachConcurrent } from "../base/for-each-concurrent.ts";
import type { StateName, Suite } from "../base/names.ts";
import { yieldToEventLoop } from "../base/yield-to-event-loop.ts";
import type { Manifest, PublishedIndex, Signatures, UnsignedManifest } from "../publishing/store/publication.ts";
import { namesPackages, runsOf } from "../publishing/store/publication.ts";
import type { PublicationStore } from "../publishing/store/publication-store.ts";
import type { AnnouncedPublication, CurrentPublication } from "./current.ts";
import { orderOf } from "./current.ts";
import type { Sealing } from "./sealing.ts";
import type { ManifestOfRuns, SharedRun } from "./shared-manifest.ts";
import {
  digestOfRun,
  digestOfSegment,
  digestOfText,
  form,
  manifestIn,
  manifestText,
  packed,
  runIn,
  runText,
  segmentIn,
  segmentValue,
  signaturesIn,
  signaturesText,
} from "./shared-manifest.ts";
import type { Readable, SealedValues, Wanted } from "./shared-values.ts";
import { SharedValues, UnusableContent } from "./shared-values.ts";
import type { Valkey } from "./valkey.ts";

interface SharedPublicationsOptions {
  readonly valkey: Valkey;
  readonly sealing: Sealing;
  readonly stateName: StateName;
  readonly store: PublicationStore;
}

/** A value that a publication consists of. */
interface Part extends Readable {
  /** About how long it is. */
  readonly bytes: number;
}

/** The values that a publication consists of, by their keys. */
type Parts = ReadonlyMap<string, Part>;

/** A publication that can be announced. */
interface Announceable {
  readonly current: AnnouncedPublication;
  /** What the others lack, to be sent with the announcement. Valkey has all other parts. */
  readonly values: SealedValues;
  /** Resolves when Valkey has these values, too. */
  readonly stored: Promise<void>;
}

/** A publication that was taken over. */
interface TakenPublication {
  readonly digest: string;
  readonly manifest: UnsignedManifest;
  /** Resolves when all of it is on disk. */
  readonly written: Promise<void>;
}

/** What Valkey has. */
interface KnownKeys {
  /** Changes when Valkey may have lost what it had. */
  readonly condition: string;
  readonly sinceMs: number;
  readonly keys: Set<string>;
}

/** How long what was stored counts as known, in ms: less than Valkey keeps it. */
const knownMs = 3600 * 1000;
/** How many bytes are sent with an announcement. More of them are stored in Valkey first. */
const maxSentBytes = 512 * 1024;
/** How many segments are decompressed at once. */
const segmentsAtOnce = 4;
/** How many digests of segments are kept in memory: about 100 bytes each. */
const maxDigests = 100_000;
/** How many runs are kept in memory: about 5 kB each. */
const maxRuns = 1000;
/** About how long a run is as it is stored, in bytes. */
const runBytes = 4096;

const noValues: SealedValues = new Map();

export class SharedPublications {
  readonly #options: SharedPublicationsOptions;
  readonly #values: SharedValues;
  /** The digests of segments that the store has, by their ids. */
  readonly #digests = new LRUCache<string, string>({ max: maxDigests });
  /** The segments in the store whose packages have no records there, because these could not be written. */
  readonly #withoutRecords = new Set<string>();
  /** The runs of other replicas, by their digests. */
  readonly #runs = new LRUCache<string, SharedRun>({ max: maxRuns });
  /** By suite: the last publication that was taken over. */
  readonly #taken = new Map<Suite, TakenPublication>();
  #known: KnownKeys | undefined;
  readonly #yieldNow = yieldToEventLoop();

  constructor(options: SharedPublicationsOptions) {
    this.#options = options;
    this.#values = new SharedValues(options.valkey, options.sealing);
    options.store.segments.onChanged = (id) => this.#digests.delete(id);
  }

  /**
   * Stores everything in Valkey that it lacks of a publication, and keeps the rest for another while.
   * @param known keys that Valkey is known to have; those of this publication are added
   * @returns how others find it
   * @throws ValkeyUnavailable, StateUnwritable
   */
  async push(manifest: Manifest, servedMs: number, known = new Set<string>()): Promise<CurrentPublication> {
    const { inRelease, releaseGpg, ...unsigned } = manifest;
    const { announced, parts } = await this.#partsOf(unsigned, servedMs, known);
    const { current, key, text } = this.#signed(announced, { inRelease, releaseGpg });
    const all: Parts = new Map([...parts, [key, { bytes: text.length, read: () => packed(text) }]]);
    await this.#put(all);
    for (const each of all.keys()) known.add(each);
    return current;
  }

  /**
   * Prepares the announcement of a publication that is being signed. What this replica has stored in Valkey is not
   * looked up again, so that a small change is announced at once.
   * @param circumstances when they change, everything is looked up again
   * @throws ValkeyUnavailable, StateUnwritable
   */
  async announceable(unsigned: UnsignedManifest, servedMs: number, circumstances: string): Promise<Announceable> {
    const condition = `${this.#options.valkey.connections} ${circumstances}`;
    const nowMs = performance.now();
    const before = this.#known;
    const isValid = before !== undefined && before.condition === condition && nowMs - before.sinceMs < knownMs;
    const known = isValid ? before : { condition, sinceMs: nowMs, keys: new Set<string>() };
    this.#known = known;
    const { announced: current, parts } = await this.#partsOf(unsigned, servedMs, known.keys);
    const noteStored = (): void => {
      for (const key of parts.keys()) known.keys.add(key);
    };
    if (sum([...parts.values()].map((part) => part.bytes)) <= maxSentBytes) {
      const values = new Map<string, Buffer>();
      for (const [key, { read }] of parts) values.set(key, this.#values.seal(key, await read()));
      const storing = Promise.all(Array.from(values, ([key, sealed]) => this.#values.putSealed(key, sealed)));
      const stored = storing.then(noteStored);
      stored.catch(() => undefined);
      // Records of packages may make them longer than their parts said.
      if (sum(Array.from(values.values(), (sealed) => sealed.length)) <= maxSentBytes)
        return { current, values, stored };
      await stored;
      return { current, values: noValues, stored };
    }
    await this.#put(parts);
    noteStored();
    return { current, values: noValues, stored: Promise.resolve() };
  }

  /** Completes a publication that was announced. @returns also the signatures, which are to be stored and sent */
  complete(announced: AnnouncedPublication, signatures: Signatures) {
    const { current, key, text } = this.#signed(announced, signatures);
    return { current, values: new Map([[key, this.#values.seal(key, packed(text))]]) satisfies SealedValues };
  }

  /**
   * Stores everything here that the local store lacks of a publication.
   * @param values parts of it that need not be fetched
   * @throws ValkeyUnavailable, UnusableContent, StateUnwritable
   */
  async fetch(current: CurrentPublication, values = noValues): Promise<Manifest> {
    const { manifest, written } = await this.take(current, values);
    const key = this.#signaturesKey(current);
    const isExpected = (text: string) => signedDigest(current, text) === current.signed;
    const signatures = signaturesIn(await this.#values.getOne(key, values), key, isExpected);
    await written;
    return { ...manifest, ...signatures };
  }

  /**
   * Takes over a publication that may not be signed yet; resolves when all of it can be read here.
   * @param values parts of it that need not be fetched
   * @throws ValkeyUnavailable, UnusableContent, StateUnwritable
   */
  async take(current: AnnouncedPublication, values = noValues): Promise<TakenPublication> {
    const { store } = this.#options;
    const { suite, id, digest } = current;
    const last = this.#taken.get(suite);
    if (last?.digest === digest && store.prepared(suite, id) !== undefined) return last;
    const key = this.#manifestKey(current);
    const named = manifestIn(await this.#values.getOne(key, values), key, digest);
    const { manifest, digests } = await this.#withSegments(named, values);
    const { written } = await store.prepare(manifest, async () => {
      const [segments] = await Promise.all([
        this.#takeSegments(manifest, digests, values),
        this.#takeBlobs(manifest, values),
      ]);
      return segments;
    });
    const taken = { digest, manifest, written };
    this.#taken.set(suite, taken);
    written.catch(() => {
      if (this.#taken.get(suite) === taken) this.#taken.delete(suite);
    });
    return taken;
  }

  /** The parts of a publication without its signatures, except those that are known. */
  async #partsOf(manifest: UnsignedManifest, servedMs: number, known: ReadonlySet<string>) {
    const { store } = this.#options;
    const parts = new Map<string, Part>();
    const indices: ManifestOfRuns["indices"][number][] = [];
    for (const { segments, ...index } of manifest.indices) {
      const runs: string[] = [];
      for (const some of runsOf(segments)) {
        const run = await this.#runOf(some);
        const digest = digestOfRun(run);
        runs.push(digest);
        const key = this.#runKey(digest);
        if (known.has(key)) continue;
        this.#addSegments(parts, index, run, known);
        parts.set(key, { bytes: runBytes, read: () => packed(runText(run)) });
      }
      indices.push({ ...index, runs });
    }
    for (const { sha256, sizeBytes } of manifest.blobs) {
      const key = this.#blobKey(sha256);
      if (!known.has(key)) parts.set(key, { bytes: sizeBytes, read: () => store.blobs.read(sha256) });
    }
    const text = manifestText({ ...manifest, indices });
    const { suite, id, dateSeconds } = manifest;
    const kind = "publication";
    const announced: AnnouncedPublication = { kind, suite, id, dateSeconds, servedMs, digest: digestOfText(text) };
    parts.set(this.#manifestKey(announced), { bytes: text.length, read: () => packed(text) });
    return { announced, parts };
  }

  #addSegments(
    parts: Map<string, Part>,
    index: Pick<PublishedIndex, "name">,
    { segments, digests }: SharedRun,
    known: ReadonlySet<string>,
  ): void {
    const isStanzas = namesPackages(index);
    for (const [number, { id, gzBytes, unpaddedBytes }] of segments.entries()) {
      const key = this.#segmentKey(id, digests[number] ?? "");
      if (known.has(key) || (parts.has(key) && !isStanzas)) continue;
      parts.set(key, { bytes: gzBytes + unpaddedBytes, read: () => this.#segmentValue(id, isStanzas) });
    }
  }

  async #runOf(segments: SharedRun["segments"]): Promise<SharedRun> {
    const digests: string[] = [];
    for (const { id } of segments) {
      if (!this.#digests.has(id)) await this.#yieldNow();
      digests.push(this.#digestOf(id));
    }
    return { segments, digests };
  }

  /** Stores what Valkey lacks. */
  async #put(parts: Parts): Promise<void> {
    const missing = new Set(await this.#values.missing([...parts.keys()]));
    await this.#values.put(Array.from(parts).filter(([key]) => missing.has(key)));
  }

  #signed(announced: AnnouncedPublication, signatures: Signatures) {
    const text = signaturesText(signatures);
    const current: CurrentPublication = { ...announced, signed: signedDigest(announced, text) };
    return { current, key: this.#signaturesKey(current), text };
  }

  /** Puts the lists of segments in the places of the runs. */
  async #withSegments({ indices, ...manifest }: ManifestOfRuns, values: SealedValues) {
    const runs = new Map<string, SharedRun>();
    const wanted = new Map<string, Wanted & { readonly digest: string }>();
    for (const digest of indices.flatMap((index) => index.runs)) {
      const known = this.#runs.get(digest);
      if (known === undefined) wanted.set(digest, { key: this.#runKey(digest), digest, bytes: runBytes });
      else runs.set(digest, known);
    }
    for await (const batch of this.#values.get([...wanted.values()], values)) {
      for (const [{ key, digest }, value] of batch) {
        const run = runIn(value, key, digest);
        runs.set(digest, run);
        this.#runs.set(digest, run);
      }
    }
    const digests = new Map<string, string>();
    for (const run of runs.values())
      for (const [number, { id }] of run.segments.entries()) digests.set(id, run.digests[number] ?? "");
    const segmentsOf = (names: readonly string[]) => names.flatMap((digest) => runs.get(digest)?.segments ?? []);
    const listed = indices.map(({ runs: names, ...index }) => ({ ...index, segments: segmentsOf(names) }));
    return { manifest: { ...manifest, indices: listed } satisfies UnsignedManifest, digests };
  }

  /** Takes over the segments that are not stored here, and the records of the packages in them. */
  async #takeSegments(
    manifest: UnsignedManifest,
    digests: ReadonlyMap<string, string>,
    values: SealedValues,
  ): Promise<Pick<TakenPublication, "written">> {
    const { store } = this.#options;
    const wanted: (Wanted & { readonly id: string; readonly digest: string })[] = [];
    const seen = new Set<string>();
    const awaited = new Set<string>();
    for (const { segments } of manifest.indices) {
      for (const { id, gzBytes, unpaddedBytes } of segments) {
        if (seen.has(id)) continue;
        seen.add(id);
        const digest = digests.get(id) ?? "";
        if (!this.#digests.has(id)) await this.#yieldNow();
        if (store.segments.isUnwritten(id)) awaited.add(id);
        if (!this.#withoutRecords.has(id) && this.#digestOfStored(id) === digest) continue;
        wanted.push({ key: this.#segmentKey(id, digest), id, digest, bytes: gzBytes + unpaddedBytes });
      }
    }
    const pooling: Promise<void>[] = [];
    for await (const batch of this.#values.get(wanted, values)) {
      // This bounds memory.
      await Promise.all(pooling.splice(0));
      await forEachConcurrent(batch, segmentsAtOnce, async ([segment, value]) => {
        await this.#yieldNow();
        const { pool, ...stored } = segmentIn(value, segment.key, segment);
        // First, because a segment that is on disk is not fetched again. The disk gets them in this order.
        const pooled = store.pool.take(pool);
        pooled.then(
          () => this.#withoutRecords.delete(segment.id),
          () => this.#withoutRecords.add(segment.id),
        );
        pooling.push(pooled);
        await store.segments.take(stored);
        awaited.add(segment.id);
        if (store.segments.has(segment.id)) this.#digests.set(segment.id, segment.digest);
      });
    }
    const writing = [...pooling, store.segments.written(awaited)];
    const written = Promise.all(writing).then(() => undefined);
    written.catch(() => undefined);
    return { written };
  }

  /** Takes over the files that are not stored here. */
  async #takeBlobs({ blobs }: UnsignedManifest, values: SealedValues): Promise<void> {
    const { store } = this.#options;
    const wanted = blobs
      .filter(({ sha256 }) => !store.blobs.has(sha256))
      .map(({ sha256, sizeBytes }) => ({ key: this.#blobKey(sha256), sha256, bytes: sizeBytes }));
    for await (const batch of this.#values.get(wanted, values)) {
      await Promise.all(
        batch.map(async ([{ key, sha256 }, bytes]) => {
          if (hash("sha256", bytes, "hex") !== sha256) throw new UnusableContent(`Valkey has something else at ${key}`);
          await store.blobs.put(bytes, ["sha256"]);
        }),
      );
    }
  }

  async #segmentValue(id: string, isStanzas: boolean): Promise<Buffer> {
    const { store } = this.#options;
    const content = store.segments.contentOf(id);
    const named = isStanzas ? await store.segments.references([id]) : [];
    return segmentValue({ ...content, pool: await store.pool.recordsOf(named) });
  }

  /** @returns undefined if the store does not have the segment */
  #digestOfStored(id: string): string | undefined {
    return this.#digests.get(id) ?? (this.#options.store.segments.has(id) ? this.#digestOf(id) : undefined);
  }

  #digestOf(id: string): string {
    const known = this.#digests.get(id);
    if (known !== undefined) return known;
    const { segments } = this.#options.store;
    const digest = digestOfSegment(segments.read(id, "gz"), segments.read(id, "xz"));
    // A segment that could not be written can still be read for a while.
    if (segments.has(id)) this.#digests.set(id, digest);
    return digest;
  }

  #segmentKey(id: string, digest: string): string {
    return `segment:${form}:${this.#options.stateName}:${id}:${digest}`;
  }

  #runKey(digest: string): string {
    return `run:${form}:${this.#options.stateName}:${digest}`;
  }

  #blobKey(sha256: string): string {
    return `blob:${this.#options.stateName}:${sha256}`;
  }

  #manifestKey({ digest, ...current }: AnnouncedPublication): string {
    return `manifest:${this.#options.stateName}:${current.suite}:${orderOf(current)}:${digest}`;
  }

  #signaturesKey({ signed, ...current }: CurrentPublication): string {
    return `signatures:${this.#options.stateName}:${current.suite}:${orderOf(current)}:${signed}`;
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0);

/** Identifies a publication with its signatures. @param text of the signatures */
const signedDigest = ({ digest }: AnnouncedPublication, text: string): string => digestOfText(`${digest} ${text}`);
