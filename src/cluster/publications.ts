// The publications of one repository in Valkey: the publisher puts the content of each there, and all others take over
// what they lack. Values are sealed, so that what opens was stored by a replica of this fleet.
import { createHash, hash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import { asBuffer } from "../base/as-buffer.ts";
import { RepoError } from "../base/errors.ts";
import { forEachConcurrent } from "../base/for-each-concurrent.ts";
import type { StateName } from "../base/names.ts";
import { yieldToEventLoop } from "../base/yield-to-event-loop.ts";
import type { PoolRecord } from "../publishing/store/package-pool.ts";
import type { Manifest } from "../publishing/store/publication.ts";
import { namesPackages } from "../publishing/store/publication.ts";
import type { PublicationStore } from "../publishing/store/publication-store.ts";
import type { StoredSegment } from "../publishing/store/segment-store.ts";
import type { CurrentPublication } from "./current.ts";
import { orderOf } from "./current.ts";
import { renewScript } from "./scripts.ts";
import type { Sealing } from "./sealing.ts";
import type { Valkey } from "./valkey.ts";

/** A part of a publication is not in Valkey, or a newer version of the program has written it in another form. */
export class UnusableContent extends RepoError {
  readonly code = "cluster/unavailable";
}

interface SharedPublicationsOptions {
  readonly valkey: Valkey;
  readonly sealing: Sealing;
  readonly stateName: StateName;
  readonly store: PublicationStore;
}

/**
 * The form of manifests and segments. A version of the program with another form must also use other keys, because
 * whoever finds a key does not store the value again.
 */
const form = 1;

/** A manifest as it is stored, with what identifies the bytes of its segments. */
interface SharedManifest {
  /** Undefined in the first ones. */
  readonly form?: number;
  readonly manifest: Manifest;
  /** By the id of each segment: a digest of its bytes. Two versions of the program may compress differently. */
  readonly digests: Readonly<Record<string, string>>;
}

/** The header of a stored segment; its bytes follow. */
interface SegmentHeader {
  readonly form?: number;
  readonly sizes: StoredSegment["sizes"];
  readonly kept: StoredSegment["kept"];
  readonly gzBytes: number;
  /** The records of the packages in it. */
  readonly pool: readonly (readonly [string, PoolRecord])[];
}

/** A value to get. */
interface Wanted {
  readonly key: string;
  readonly bytes: number;
}

/** A publication that was taken over. */
interface TakenPublication {
  readonly digest: string;
  readonly manifest: Manifest;
  /** Resolves when all of it is on disk. */
  readonly written: Promise<void>;
}

/** How long content stays in Valkey that the publisher no longer renews, in ms. */
const contentTtlMs = 24 * 3600 * 1000;
/** How many keys are looked up at once. */
const keysAtOnce = 1000;
/** How many bytes are on their way at once. This bounds memory. */
const bytesAtOnce = 4 * 1024 ** 2;
/** How many segments are decompressed at once. */
const segmentsAtOnce = 4;

export class SharedPublications {
  readonly #options: SharedPublicationsOptions;
  /** The digests of segments in the store, by their ids. */
  readonly #digests = new Map<string, string>();
  /** By suite: the last publication that was taken over. */
  readonly #taken = new Map<string, TakenPublication>();
  readonly #yieldNow = yieldToEventLoop();

  constructor(options: SharedPublicationsOptions) {
    this.#options = options;
  }

  /** Stores everything in Valkey that it lacks of a publication. @returns how others find it */
  async push(manifest: Manifest, servedMs: number): Promise<CurrentPublication> {
    const { store } = this.#options;
    const digests: Record<string, string> = {};
    const isStanzas = new Map<string, boolean>();
    for (const index of manifest.indices) {
      for (const { id } of index.segments) {
        if (digests[id] === undefined) await this.#yieldNow();
        digests[id] ??= this.#digestOf(id);
        isStanzas.set(id, isStanzas.get(id) === true || namesPackages(index));
      }
    }
    const segmentKeys = new Map(Object.entries(digests).map(([id, digest]) => [this.#segmentKey(id, digest), id]));
    const blobKeys = new Map(manifest.blobs.map(({ sha256 }) => [this.#blobKey(sha256), sha256]));
    // Nobody looks for any of it before this replica tells of the publication.
    const [current] = await Promise.all([
      this.#putManifest({ form, manifest, digests }, servedMs),
      this.#putMissing([...segmentKeys.keys()], (key) => this.#segmentValue(segmentKeys.get(key) ?? "", isStanzas)),
      this.#putMissing([...blobKeys.keys()], async (key) => store.blobs.read(blobKeys.get(key) ?? "")),
    ]);
    return current;
  }

  async #putManifest(shared: SharedManifest, servedMs: number): Promise<CurrentPublication> {
    const { valkey } = this.#options;
    const { suite, id, dateSeconds } = shared.manifest;
    const text = Buffer.from(JSON.stringify(shared));
    const digest = hash("sha256", text, "base64url").slice(0, digestLength);
    const current: CurrentPublication = { kind: "publication", suite, id, dateSeconds, servedMs, digest };
    const key = this.#manifestKey(current);
    const value = this.#seal(key, gzipSync(text, { level: 1 }));
    await valkey.run((redis) => redis.set(valkey.prefix + key, value, "PX", contentTtlMs));
    return current;
  }

  /**
   * Stores everything here that the local store lacks of a publication in Valkey, which is then prepared.
   * @throws ValkeyUnavailable, UnusableContent, StateUnwritable
   */
  async fetch(current: CurrentPublication): Promise<Manifest> {
    const { manifest, written } = await this.take(current);
    await written;
    return manifest;
  }

  /**
   * As `fetch`, but resolves when everything can be read here.
   * @returns with the manifest, a promise that is resolved when all of it is on disk
   * @throws ValkeyUnavailable, UnusableContent, StateUnwritable
   */
  async take(current: CurrentPublication): Promise<TakenPublication> {
    const { store } = this.#options;
    const { suite, id, digest } = current;
    const last = this.#taken.get(suite);
    if (last?.digest === digest && store.prepared(suite, id) !== undefined) return last;
    const key = this.#manifestKey(current);
    const [sealed] = await this.#getAll([key]);
    const { manifest, digests } = inForm(key, () => {
      const shared = JSON.parse(gunzipSync(this.#open(key, sealed)).toString()) as SharedManifest;
      return { ...shared, isExpected: shared.manifest.suite === suite && shared.manifest.id === id };
    });
    const { written } = await store.prepare(manifest, async () => {
      const [segments] = await Promise.all([this.#takeSegments(manifest, digests), this.#takeBlobs(manifest)]);
      return segments;
    });
    const taken = { digest, manifest, written };
    this.#taken.set(suite, taken);
    written.catch(() => {
      if (this.#taken.get(suite) === taken) this.#taken.delete(suite);
    });
    return taken;
  }

  /** Takes over the segments that are not stored here, and the records of the packages in them. */
  async #takeSegments(
    manifest: Manifest,
    digests: SharedManifest["digests"],
  ): Promise<Pick<TakenPublication, "written">> {
    const { store } = this.#options;
    const wanted: (Wanted & { readonly id: string })[] = [];
    const seen = new Set<string>();
    for (const { segments } of manifest.indices) {
      for (const { id, gzBytes, unpaddedBytes } of segments) {
        if (seen.has(id)) continue;
        seen.add(id);
        const digest = digests[id] ?? "";
        if (this.#digests.get(id) === undefined) await this.#yieldNow();
        if (store.segments.has(id) && this.#digestOf(id) === digest) continue;
        wanted.push({ key: this.#segmentKey(id, digest), id, bytes: gzBytes + unpaddedBytes });
      }
    }
    const pooling: Promise<void>[] = [];
    for await (const batch of this.#values(wanted)) {
      // This bounds memory.
      await Promise.all(pooling.splice(0));
      await forEachConcurrent(batch, segmentsAtOnce, async ([{ key, id }, sealed]) => {
        await this.#yieldNow();
        const value = this.#open(key, sealed);
        const { sizes, kept, gz, xz, pool, digest } = inForm(key, () => {
          const segment = segmentIn(value);
          const ofBytes = digestOfBytes(segment.gz, segment.xz);
          return { ...segment, digest: ofBytes, isExpected: segment.sizes.id === id && ofBytes === digests[id] };
        });
        // First, because a segment that is on disk is not fetched again. The disk gets them in this order.
        const pooled = store.pool.take(pool);
        pooled.catch(() => undefined);
        pooling.push(pooled);
        await store.segments.take({ sizes, kept, gz, xz });
        this.#digests.set(id, digest);
      });
    }
    const writing = [...pooling, store.segments.written(wanted.map(({ id }) => id))];
    return { written: Promise.all(writing).then(() => undefined) };
  }

  /** Takes over the files that are not stored here. */
  async #takeBlobs({ blobs }: Manifest): Promise<void> {
    const { store } = this.#options;
    const wanted = blobs
      .filter(({ sha256 }) => !store.blobs.has(sha256))
      .map(({ sha256, sizeBytes }) => ({ key: this.#blobKey(sha256), sha256, bytes: sizeBytes }));
    for await (const batch of this.#values(wanted)) {
      await Promise.all(
        batch.map(async ([{ key, sha256 }, sealed]) => {
          const bytes = this.#open(key, sealed);
          if (hash("sha256", bytes, "hex") !== sha256) throw new UnusableContent(`Valkey has something else at ${key}`);
          await store.blobs.put(bytes, ["sha256"]);
        }),
      );
    }
  }

  async #segmentValue(id: string, isStanzas: ReadonlyMap<string, boolean>): Promise<Buffer> {
    const { store } = this.#options;
    const content = store.segments.contentOf(id);
    // As when a publication is served whose segment is missing.
    if (content === undefined) return asBuffer(store.segments.read(id, "gz"));
    const { sizes, kept, gz, xz } = content;
    const named = isStanzas.get(id) === true ? await store.segments.references([id]) : [];
    return segmentValue({ sizes, kept, gz, xz }, [...store.pool.recordsOf(named)]);
  }

  #digestOf(id: string): string {
    const known = this.#digests.get(id);
    if (known !== undefined) return known;
    const { segments } = this.#options.store;
    const digest = digestOfBytes(segments.read(id, "gz"), segments.read(id, "xz"));
    this.#digests.set(id, digest);
    return digest;
  }

  /** @returns those of the keys that Valkey does not have; it keeps the others for another while */
  async #missing(keys: readonly string[]): Promise<readonly string[]> {
    const { valkey } = this.#options;
    const missing: string[] = [];
    for (let at = 0; at < keys.length; at += keysAtOnce) {
      const some = keys.slice(at, at + keysAtOnce);
      const names = some.map((key) => valkey.prefix + key);
      const lacking = await valkey.run((redis) => redis.eval(renewScript, names.length, ...names, contentTtlMs));
      missing.push(...(lacking as number[]).flatMap((number) => some[number - 1] ?? []));
    }
    return missing;
  }

  /** Stores the values that Valkey does not have, some megabytes at once. */
  async #putMissing(keys: readonly string[], read: (key: string) => Promise<Uint8Array>): Promise<void> {
    const { valkey } = this.#options;
    let sending: Promise<unknown>[] = [];
    let bytes = 0;
    for (const key of await this.#missing(keys)) {
      const value = this.#seal(key, await read(key));
      sending.push(valkey.run((redis) => redis.set(valkey.prefix + key, value, "PX", contentTtlMs)));
      bytes += value.length;
      if (bytes < bytesAtOnce) continue;
      await Promise.all(sending);
      [sending, bytes] = [[], 0];
    }
    await Promise.all(sending);
  }

  /** Gets values, some megabytes at once. The next ones are on their way while some are used. @throws ValkeyUnavailable */
  async *#values<Item extends Wanted>(
    items: readonly Item[],
  ): AsyncIterable<readonly (readonly [Item, Buffer | null | undefined])[]> {
    let next: { readonly batch: readonly Item[]; readonly values: Promise<readonly (Buffer | null)[]> } | undefined;
    for (const batch of [...batches(items), undefined]) {
      const present = next;
      next = batch && { batch, values: this.#getAll(batch.map(({ key }) => key)) };
      next?.values.catch(() => undefined);
      const values = (await present?.values) ?? [];
      yield present?.batch.map((item, index) => [item, values[index]] as const) ?? [];
    }
  }

  async #getAll(keys: readonly string[]): Promise<readonly (Buffer | null)[]> {
    const { valkey } = this.#options;
    if (keys.length === 0) return [];
    return await valkey.run((redis) => redis.mgetBuffer(...keys.map((key) => valkey.prefix + key)));
  }

  #seal(key: string, value: Uint8Array): Buffer {
    return this.#options.sealing.seal(key, value);
  }

  /** @throws UnusableContent */
  #open(key: string, sealed: Buffer | null | undefined): Buffer {
    const opened = sealed ? this.#options.sealing.open(key, sealed) : undefined;
    if (opened !== undefined) return opened;
    const text = sealed ? "has something else at" : "does not have";
    throw new UnusableContent(`Valkey ${text} ${key}, a part of a publication`);
  }

  #segmentKey(id: string, digest: string): string {
    return `segment:${this.#options.stateName}:${id}:${digest}`;
  }

  #blobKey(sha256: string): string {
    return `blob:${this.#options.stateName}:${sha256}`;
  }

  #manifestKey(current: CurrentPublication): string {
    return `manifest:${this.#options.stateName}:${current.suite}:${orderOf(current)}:${current.digest}`;
  }
}

const digestLength = 22;

const digestOfBytes = (gz: Uint8Array, xz: Uint8Array): string =>
  createHash("sha256").update(gz).update(xz).digest("base64url").slice(0, digestLength);

/**
 * Reads a value that a member of the fleet has sealed, perhaps one of a newer version of the program.
 * @throws UnusableContent
 */
function inForm<Value extends { readonly form?: number; readonly isExpected: boolean }>(
  key: string,
  read: () => Value,
): Value {
  let value: Value | undefined;
  try {
    value = read();
  } catch (thrown) {
    if (thrown instanceof UnusableContent) throw thrown;
  }
  if (value?.isExpected === true && (value.form ?? form) === form) return value;
  throw new UnusableContent(`another version of the program has written ${key}, a part of a publication`);
}

/** A stored segment: the length of the header, the header, and both compressed forms. */
function segmentValue({ sizes, kept, gz, xz }: StoredSegment, pool: SegmentHeader["pool"]): Buffer {
  const header: SegmentHeader = { form, sizes, kept, gzBytes: gz.length, pool };
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(lengthBytes);
  length.writeUInt32BE(text.length);
  return Buffer.concat([length, text, gz, xz]);
}

function segmentIn(value: Buffer): SegmentHeader & StoredSegment {
  const bodyAt = lengthBytes + value.readUInt32BE(0);
  const header = JSON.parse(value.toString("utf8", lengthBytes, bodyAt)) as SegmentHeader;
  const xzAt = bodyAt + header.gzBytes;
  return { ...header, gz: value.subarray(bodyAt, xzAt), xz: value.subarray(xzAt) };
}

const lengthBytes = 4;

/** Splits a list so that no part has much more than `bytesAtOnce`. */
function* batches<Item extends Wanted>(items: readonly Item[]): Iterable<readonly Item[]> {
  let batch: Item[] = [];
  let bytes = 0;
  for (const item of items) {
    batch.push(item);
    bytes += item.bytes;
    if (bytes < bytesAtOnce) continue;
    yield batch;
    [batch, bytes] = [[], 0];
  }
  if (batch.length > 0) yield batch;
}
