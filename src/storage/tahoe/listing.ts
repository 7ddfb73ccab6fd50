// What the webapi's `?t=json` says of a node, read while it comes, and checked like any stranger's word.

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

/** Bounds on one directory's listing. Time grows with its bytes; memory with its entries and what is kept of each. */
export interface ListingLimits {
  /** Of one directory's JSON; about 700 bytes an entry, and its metadata. */
  readonly maxListingBytes: number;
  /** In one directory. */
  readonly maxEntries: number;
  /** Of an entry's metadata, as JSON. Longer metadata counts as none that can be understood: the file itself is read. */
  readonly maxMetadataBytes: number;
  /** Listings of more than 4 MiB that are read at once, over all directories; the others wait, their senders with them. */
  readonly maxLargeListings: number;
}

export const defaultListingLimits: ListingLimits = {
  maxListingBytes: 192 * 1024 * 1024,
  maxEntries: 500_000,
  maxMetadataBytes: 256 * 1024,
  maxLargeListings: 2,
};

const largeBytes = 4 * 1024 * 1024;
/** What is parsed in one go, in bytes: a millisecond of work, or two. */
const pieceBytes = 64 * 1024;

/** Everybody's, because it is one thread that parses them. */
const yieldNow = yieldToEventLoop();

/** What `?t=json` says of a node. */
export class Listing {
  readonly #kind: string;
  readonly #facts: JsonObject;
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #unnamed: InvalidNameCollector;

  constructor(kind: string, facts: JsonObject, entries: ReadonlyMap<string, Entry>, unnamed: InvalidNameCollector) {
    this.#kind = kind;
    this.#facts = facts;
    this.#entries = entries;
    this.#unnamed = unnamed;
  }

  get node(): Node {
    if (this.#kind === "dirnode") return { kind: "directory", entries: this.#entries, ...this.#unnamed.asProperty };
    return entryOf(this.#kind, this.#facts);
  }
  /** The cap with which to read the file; undefined if it is none. */
  get fileCap(): string | undefined {
    return this.#cap("filenode", "ro_uri");
  }
  /** The read cap of the directory; undefined if it is none. */
  get directoryReadCap(): string | undefined {
    return this.#cap("dirnode", "ro_uri");
  }
  /** The write cap of the directory; undefined if it is none or may not be changed. */
  get directoryWriteCap(): string | undefined {
    return this.#cap("dirnode", "rw_uri");
  }

  #cap(kind: string, name: "ro_uri" | "rw_uri"): string | undefined {
    const cap = this.#facts[name];
    return this.#kind === kind && typeof cap === "string" ? cap : undefined;
  }
}

/** @throws StorageUnavailable in place of ListingError */
export async function withListingErrors<T>(path: TreePath, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (thrown) {
    if (!(thrown instanceof ListingError)) throw thrown;
    throw new StorageUnavailable(path, "the gateway's answer is no listing", { transient: true });
  }
}

/** Reads listings within limits, and gives way to everybody else between their pieces. */
export class ListingReader {
  readonly #limits: ListingLimits;
  readonly #large: Semaphore;

  constructor(limits: ListingLimits = defaultListingLimits) {
    this.#limits = limits;
    this.#large = new Semaphore(limits.maxLargeListings);
  }

  /** @throws ListingError, see `understood`; LimitExceeded; signal.reason; what reading the body throws */
  async read(body: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<Listing> {
    const { maxListingBytes } = this.#limits;
    const entries = new Map<string, Entry>();
    const unnamed = new InvalidNameCollector();
    const splitter = new ListingSplitter(this.#limits, (json) => this.#addEntries(json, entries, unnamed));
    let bytes = 0;
    let release: (() => void) | undefined;
    try {
      for await (const chunk of body) {
        bytes += chunk.length;
        if (bytes > maxListingBytes) {
          throw new LimitExceeded("maxListingBytes", maxListingBytes, "a directory's listing");
        }
        if (bytes > largeBytes) release ??= await this.#large.take(signal);
        for (let at = 0; at < chunk.length; at += pieceBytes) {
          splitter.push(asBuffer(chunk).subarray(at, at + pieceBytes));
          await yieldNow();
        }
      }
      const [kind, facts] = nodeOf(parseJson(splitter.end()));
      if (kind === "dirnode") asObject(facts.children);
      return new Listing(kind, facts, entries, unnamed);
    } finally {
      release?.();
    }
  }

  /** @param json `"NAME": […]` */
  #addEntries(json: string, entries: Map<string, Entry>, unnamed: InvalidNameCollector): void {
    const { maxEntries } = this.#limits;
    for (const [name, child] of Object.entries(asObject(parseJson(`{${json}}`)))) {
      if (isEntryName(name)) entries.set(name, childOf(child));
      else unnamed.add(name);
    }
    if (entries.size <= maxEntries) return;
    throw new LimitExceeded("maxEntries", maxEntries, "a directory's number of entries");
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The original message quotes the text, and so a cap.
    throw new ListingError("no JSON");
  }
}

function nodeOf(value: unknown): [kind: string, facts: JsonObject] {
  if (!Array.isArray(value) || typeof value[0] !== "string") throw new ListingError("no node");
  return [value[0], asObject(value[1])];
}

function asObject(value: unknown): JsonObject {
  const object = tryJsonObject(value);
  if (object === undefined) throw new ListingError("no object");
  return object;
}

function childOf(value: unknown): Entry {
  const [kind, facts] = nodeOf(value);
  if (kind !== "dirnode") return entryOf(kind, facts);
  const uri = facts.verify_uri ?? facts.ro_uri;
  return typeof uri === "string"
    ? { kind: "directory", directoryIdentity: new ContentId(uri).key }
    : { kind: "directory" };
}

function entryOf(kind: string, facts: JsonObject): FileEntry | OtherEntry {
  if (kind !== "filenode") {
    const reason =
      "the gateway does not know what its cap opens: it is of a newer Tahoe-LAFS, or a verify cap; link a read cap";
    return { kind: "other", reason, mayBeDirectory: true };
  }
  const uri = facts.ro_uri;
  const size = facts.size;
  const knownBytes = typeof uri === "string" ? immutableFileBytes(uri) : undefined;
  if (facts.mutable !== true && knownBytes === undefined) {
    return { kind: "other", reason: "an immutable file with a cap of an unknown kind" };
  }
  return {
    kind: "file",
    sizeBytes: knownBytes ?? (Number.isSafeInteger(size) && Number(size) >= 0 ? Number(size) : undefined),
    content: knownBytes === undefined ? undefined : new ContentId(String(uri)),
    ...times(facts.metadata),
  };
}

function times(raw: unknown): Pick<FileEntry, "linkedAtMs" | "relinkedAtMs" | "metadata"> {
  const metadata = tryJsonObject(raw);
  const tahoe = tryJsonObject(metadata?.tahoe);
  const linked = milliseconds(tahoe?.linkcrtime, metadata?.ctime, metadata?.mtime) ?? 0;
  const relinked = milliseconds(tahoe?.linkmotime, metadata?.mtime) ?? linked;
  return { linkedAtMs: linked, relinkedAtMs: relinked, metadata: metadata?.apt };
}

/** The year 9999: what lies beyond is nonsense that no date format takes. */
const maxSeconds = 253_402_300_799;

/** The first that is a time in seconds. */
function milliseconds(...candidates: readonly unknown[]): number | undefined {
  for (const seconds of candidates) {
    if (typeof seconds === "number" && seconds >= 0 && seconds <= maxSeconds) return Math.round(seconds * 1000);
  }
  return undefined;
}
