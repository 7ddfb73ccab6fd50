// Parses the webapi's `?t=json` response for a node while it is received, and validates it.

import { asBuffer } from "../../base/as-buffer.ts";
import { ContentId } from "../../base/content-id.ts";
import { LimitExceeded } from "../../base/errors.ts";
import type { TreePath } from "../../base/names.ts";
import { isEntryName } from "../../base/names.ts";
import { Semaphore } from "../../base/semaphore.ts";
import { yieldToEventLoop } from "../../base/yield-to-event-loop.ts";
import { InvalidNameCollector } from "../invalid-names.ts";
import type { Entry, FileEntry, Node, OtherEntry } from "../tree.ts";
import { StorageUnavailable } from "../tree.ts";
import { immutableFileBytes } from "./caps.ts";
import type { JsonObject } from "./json-object.ts";
import { tryJsonObject } from "./json-object.ts";
import { ListingError, ListingSplitter } from "./listing-splitter.ts";

/** Limits of listings. The time to parse one is proportional to its bytes, the memory to its entries and metadata. */
export interface ListingLimits {
  /** The JSON of one directory: about 700 bytes for each entry, and its metadata. */
  readonly maxListingBytes: number;
  /** The number of entries in one directory. */
  readonly maxEntries: number;
  /** The size of an entry's metadata as JSON. Longer metadata counts as invalid: the file itself is read. */
  readonly maxMetadataBytes: number;
  /** Concurrent listings of more than 4 MiB over all directories; others wait, and so do their gateways. */
  readonly maxLargeListings: number;
}

export const defaultListingLimits: ListingLimits = {
  maxListingBytes: 192 * 1024 * 1024,
  maxEntries: 500_000,
  maxMetadataBytes: 256 * 1024,
  maxLargeListings: 2,
};

const largeBytes = 4 * 1024 * 1024;
/** The number of bytes parsed without yielding to the event loop, in one or two milliseconds. */
const sliceBytes = 64 * 1024;

/** Shared, because all listings are parsed in one thread. */
const yieldNow = yieldToEventLoop();

/** The parsed response of `?t=json` for a directory or file. */
export class Listing {
  readonly #kind: string;
  readonly #properties: JsonObject;
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #invalidNames: InvalidNameCollector;

  constructor(
    kind: string,
    properties: JsonObject,
    entries: ReadonlyMap<string, Entry>,
    invalidNames: InvalidNameCollector,
  ) {
    this.#kind = kind;
    this.#properties = properties;
    this.#entries = entries;
    this.#invalidNames = invalidNames;
  }

  get node(): Node {
    if (this.#kind === "dirnode")
      return { kind: "directory", entries: this.#entries, ...this.#invalidNames.asProperty };
    return entryOf(this.#kind, this.#properties);
  }
  /** The cap to read the file; undefined if the node is not a file. */
  get fileCap(): string | undefined {
    return this.#cap("filenode", "ro_uri");
  }
  /** The read cap of the directory; undefined if the node is not a directory. */
  get directoryReadCap(): string | undefined {
    return this.#cap("dirnode", "ro_uri");
  }
  /** The write cap of the directory; undefined if the node is not a directory or is read-only. */
  get directoryWriteCap(): string | undefined {
    return this.#cap("dirnode", "rw_uri");
  }

  #cap(kind: string, name: "ro_uri" | "rw_uri"): string | undefined {
    const cap = this.#properties[name];
    return this.#kind === kind && typeof cap === "string" ? cap : undefined;
  }
}

/** Runs a function, and turns ListingError into StorageUnavailable. */
export async function withListingErrors<T>(path: TreePath, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (thrown) {
    if (!(thrown instanceof ListingError)) throw thrown;
    throw new StorageUnavailable(path, "the gateway's response is not a listing", { transient: true });
  }
}

/** Reads listings within limits, and yields to the event loop while parsing. */
export class ListingReader {
  readonly #limits: ListingLimits;
  readonly #large: Semaphore;

  constructor(limits: ListingLimits = defaultListingLimits) {
    this.#limits = limits;
    this.#large = new Semaphore(limits.maxLargeListings);
  }

  /** @throws ListingError (see `withListingErrors`), LimitExceeded, signal.reason, errors of the body */
  async read(body: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<Listing> {
    const { maxListingBytes } = this.#limits;
    const entries = new Map<string, Entry>();
    const invalidNames = new InvalidNameCollector();
    const splitter = new ListingSplitter(this.#limits, (json) => this.#addEntries(json, entries, invalidNames));
    let bytes = 0;
    let release: (() => void) | undefined;
    try {
      for await (const chunk of body) {
        bytes += chunk.length;
        if (bytes > maxListingBytes) {
          throw new LimitExceeded("maxListingBytes", maxListingBytes, "a directory's listing");
        }
        if (bytes > largeBytes) release ??= await this.#large.take(signal);
        for (let at = 0; at < chunk.length; at += sliceBytes) {
          splitter.push(asBuffer(chunk).subarray(at, at + sliceBytes));
          await yieldNow();
        }
      }
      const [kind, properties] = nodeOf(parseJson(splitter.end()));
      if (kind === "dirnode") asObject(properties.children);
      return new Listing(kind, properties, entries, invalidNames);
    } finally {
      release?.();
    }
  }

  /** @param json `"NAME": […]` */
  #addEntries(json: string, entries: Map<string, Entry>, invalidNames: InvalidNameCollector): void {
    const { maxEntries } = this.#limits;
    for (const [name, child] of Object.entries(asObject(parseJson(`{${json}}`)))) {
      if (isEntryName(name)) entries.set(name, childOf(child));
      else invalidNames.add(name);
    }
    if (entries.size <= maxEntries) return;
    throw new LimitExceeded("maxEntries", maxEntries, "a directory's number of entries");
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The original message is not used, because it quotes the text, and so a cap.
    throw new ListingError("not JSON");
  }
}

function nodeOf(value: unknown): [kind: string, facts: JsonObject] {
  if (!Array.isArray(value) || typeof value[0] !== "string") throw new ListingError("not a node");
  return [value[0], asObject(value[1])];
}

function asObject(value: unknown): JsonObject {
  const object = tryJsonObject(value);
  if (object === undefined) throw new ListingError("not an object");
  return object;
}

function childOf(value: unknown): Entry {
  const [kind, properties] = nodeOf(value);
  if (kind !== "dirnode") return entryOf(kind, properties);
  const uri = properties.verify_uri ?? properties.ro_uri;
  return typeof uri === "string"
    ? { kind: "directory", directoryIdentity: new ContentId(uri).key }
    : { kind: "directory" };
}

function entryOf(kind: string, properties: JsonObject): FileEntry | OtherEntry {
  if (kind !== "filenode") {
    const reason =
      "the gateway does not know the type of its cap: it is of a newer Tahoe-LAFS, or a verify cap; link a read cap";
    return { kind: "other", reason, mayBeDirectory: true };
  }
  const uri = properties.ro_uri;
  const size = properties.size;
  const knownBytes = typeof uri === "string" ? immutableFileBytes(uri) : undefined;
  if (properties.mutable !== true && knownBytes === undefined) {
    return { kind: "other", reason: "an immutable file with a cap of an unknown kind" };
  }
  return {
    kind: "file",
    sizeBytes: knownBytes ?? (Number.isSafeInteger(size) && Number(size) >= 0 ? Number(size) : undefined),
    content: knownBytes === undefined ? undefined : new ContentId(String(uri)),
    ...times(properties.metadata),
  };
}

function times(raw: unknown): Pick<FileEntry, "linkedAtMs" | "relinkedAtMs" | "metadata"> {
  const metadata = tryJsonObject(raw);
  const tahoe = tryJsonObject(metadata?.tahoe);
  const linked = milliseconds(tahoe?.linkcrtime, metadata?.ctime, metadata?.mtime) ?? 0;
  const relinked = milliseconds(tahoe?.linkmotime, metadata?.mtime) ?? linked;
  return { linkedAtMs: linked, relinkedAtMs: relinked, metadata: metadata?.apt };
}

/** The year 9999; later times are invalid in most date formats. */
const maxSeconds = 253_402_300_799;

/** The first valid time of several in seconds since the epoch, in ms. */
function milliseconds(...candidates: readonly unknown[]): number | undefined {
  for (const seconds of candidates) {
    if (typeof seconds === "number" && seconds >= 0 && seconds <= maxSeconds) return Math.round(seconds * 1000);
  }
  return undefined;
}
