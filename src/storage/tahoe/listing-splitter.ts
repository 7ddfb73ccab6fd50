// Splits the JSON of a `?t=json` response into the entries of the directory while it is received, so that only one
// entry is in memory at a time.
import { isUtf8 } from "node:buffer";
import { LimitExceeded } from "../../base/errors.ts";

/** The response does not have the documented form. The message quotes nothing of it, because it contains caps. */
export class ListingError extends Error {}

/** Limits of one entry. */
export interface SplitterLimits {
  /** The size of the value of `apt` in an entry's metadata, as JSON. */
  readonly maxMetadataBytes: number;
}

/** Replaces a value of `apt` that exceeds the limit; it is not valid metadata. */
const tooLongMarker = "beyond max_metadata_bytes";

/** The maximum size of everything beside the children, and of an entry without metadata: caps and numbers. */
const maxOtherBytes = 64 * 1024;
/** The maximum size of Tahoe's own values in metadata. */
const maxTahoeBytes = 4 * 1024;
/** Longer keys have no meaning here. */
const maxKeyBytes = 16;

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const openObject = 0x7b;
const closeObject = 0x7d;
const openArray = 0x5b;
const closeArray = 0x5d;

/** The depths of the objects in `["dirnode", {"children": {NAME: ["filenode", {"metadata": {…}}]}}]`. */
const depthOf = { facts: 2, children: 3, childFacts: 5 } as const;

/**
 * Finds the entries, and the values of their metadata that are needed, by scanning for brackets and strings only. Each
 * entry is parsed with `JSON.parse` afterwards; other metadata is dropped before. The time is proportional to the bytes
 * and the memory to one entry, however deep, long or malformed the JSON is.
 */
export class ListingSplitter {
  readonly #maxMetadataBytes: number;
  readonly #onEntry: (json: string) => void;
  #depth = 0;
  #isOver = false;
  #inString = false;
  #isEscaped = false;
  #inChildren = false;
  #seenChildren = false;
  #hasEntries = false;
  /** The depth of the current metadata object; 0 outside of metadata. */
  #metadataDepth = 0;
  /** At the depth where keys are read: whether a key follows, and which was the last. */
  #expectsKey = false;
  #keyDepth = 0;
  #isKey = false;
  #key = "";

  /** The kept bytes of the current entry, and of everything beside the children. */
  readonly #outer = new ByteCollector();
  readonly #entry = new ByteCollector();
  #target = this.#outer;
  /** The start of the bytes to keep in the current chunk; undefined while bytes are dropped. */
  #runStart: number | undefined = 0;
  #maxValueBytes = Number.POSITIVE_INFINITY;
  #valueStart: Mark | undefined;

  /** @param onEntry receives each `"NAME": […]` unchanged, except for dropped metadata */
  constructor({ maxMetadataBytes }: SplitterLimits, onEntry: (json: string) => void) {
    this.#maxMetadataBytes = maxMetadataBytes;
    this.#onEntry = onEntry;
  }

  /** @throws ListingError, LimitExceeded */
  push(chunk: Buffer): void {
    if (this.#runStart !== undefined) this.#runStart = 0;
    for (let at = 0; at < chunk.length; at++) {
      if (this.#inString) {
        at = this.#skipString(chunk, at);
        continue;
      }
      const byte = chunk[at] ?? 0;
      switch (byte) {
        case quote:
          this.#inString = true;
          this.#isKey = this.#expectsKey && this.#depth === this.#keyDepth;
          if (this.#isKey) this.#key = "";
          break;
        case openObject:
        case openArray:
          this.#open(chunk, at, byte === openObject);
          break;
        case closeObject:
        case closeArray:
          this.#close(chunk, at);
          break;
        case comma:
          this.#separate(chunk, at);
          break;
        case colon:
          if (this.#metadataDepth > 0 && this.#depth === this.#metadataDepth) this.#beginValue(chunk, at);
          break;
        default:
          if (this.#isOver && byte > 0x20) throw new ListingError("more than one value");
      }
    }
    this.#keepRun(chunk, chunk.length);
    this.#checkLength();
  }

  /** @returns the JSON of everything beside the children, with `"children": {}` in their place. @throws ListingError */
  end(): string {
    if (!this.#isOver) throw new ListingError("the end is missing");
    return this.#outer.takeText();
  }

  /** @returns the position of the string's end, or the end of the chunk */
  #skipString(chunk: Buffer, from: number): number {
    let isEscaped = this.#isEscaped;
    let at = from;
    for (; at < chunk.length; at++) {
      const byte = chunk[at];
      if (isEscaped) isEscaped = false;
      else if (byte === backslash) isEscaped = true;
      else if (byte === quote) break;
    }
    this.#isEscaped = isEscaped;
    if (this.#isKey && this.#key.length <= maxKeyBytes) {
      this.#key += chunk.toString("latin1", from, Math.min(at, from + maxKeyBytes + 1));
    }
    if (at === chunk.length) return at;
    this.#inString = false;
    if (this.#isKey) this.#expectsKey = false;
    this.#isKey = false;
    return at;
  }

  #open(chunk: Buffer, at: number, isObject: boolean): void {
    if (this.#isOver) throw new ListingError("more than one value");
    this.#depth += 1;
    if (!isObject || this.#metadataDepth > 0) return;
    const parentDepth = this.#depth - 1;
    const key = this.#keyDepth === parentDepth ? this.#key : "";
    const factsDepth = this.#inChildren ? depthOf.childFacts : depthOf.facts;
    if (this.#depth === factsDepth) this.#expectKeysAt(factsDepth);
    else if (parentDepth !== factsDepth) return;
    else if (key === "metadata") {
      this.#metadataDepth = this.#depth;
      this.#expectKeysAt(this.#depth);
    } else if (key === "children" && !this.#inChildren) {
      if (this.#seenChildren) throw new ListingError("children twice");
      this.#inChildren = true;
      this.#seenChildren = true;
      this.#keepRun(chunk, at + 1);
      this.#checkLength();
      this.#target = this.#entry;
      this.#runStart = at + 1;
    }
  }

  #close(chunk: Buffer, at: number): void {
    if (this.#depth === this.#metadataDepth && this.#metadataDepth > 0) {
      this.#endValue(chunk, at);
      this.#metadataDepth = 0;
      this.#expectKeysAt(this.#depth - 1);
      this.#expectsKey = false;
    } else if (this.#inChildren && this.#depth === depthOf.children) {
      this.#endEntry(chunk, at, true);
      this.#inChildren = false;
      this.#target = this.#outer;
      this.#runStart = at;
      this.#expectKeysAt(depthOf.facts);
      this.#expectsKey = false;
    }
    this.#depth -= 1;
    if (this.#depth < 0) throw new ListingError("too many closing brackets");
    if (this.#depth === 0) this.#isOver = true;
  }

  #separate(chunk: Buffer, at: number): void {
    if (this.#metadataDepth > 0) {
      if (this.#depth !== this.#metadataDepth) return;
      this.#endValue(chunk, at);
      this.#expectsKey = true;
    } else if (this.#inChildren && this.#depth === depthOf.children) {
      this.#endEntry(chunk, at, false);
      this.#runStart = at + 1;
    } else if (this.#depth === this.#keyDepth) this.#expectsKey = true;
  }

  #expectKeysAt(depth: number): void {
    this.#keyDepth = depth;
    this.#expectsKey = true;
    this.#key = "";
  }

  /** Starts a value in metadata; its key is kept already. */
  #beginValue(chunk: Buffer, at: number): void {
    if (this.#valueStart !== undefined || this.#runStart === undefined) return;
    const key = this.#key;
    const isKept = key === "apt" || key === "tahoe" || key === "ctime" || key === "mtime";
    this.#maxValueBytes = key === "apt" ? this.#maxMetadataBytes : isKept ? maxTahoeBytes : 0;
    this.#keepRun(chunk, at + 1);
    this.#checkLength();
    this.#valueStart = this.#target.mark();
    this.#runStart = at + 1;
    if (!isKept) this.#replaceValue("null");
  }

  /** @param at the position of a comma or of the object's end */
  #endValue(chunk: Buffer, at: number): void {
    this.#keepRun(chunk, at);
    this.#checkLength();
    this.#valueStart = undefined;
    this.#runStart = at;
  }

  /** Replaces the current value, and drops the rest of it. */
  #replaceValue(replacement: string): void {
    if (this.#valueStart !== undefined) this.#target.truncate(this.#valueStart);
    this.#target.add(Buffer.from(replacement));
    this.#valueStart = undefined;
    this.#runStart = undefined;
  }

  #endEntry(chunk: Buffer, at: number, isLast: boolean): void {
    this.#keepRun(chunk, at);
    this.#checkLength();
    const json = this.#entry.takeText();
    if (json.trim() !== "") this.#onEntry(json);
    else if (!isLast || this.#hasEntries) throw new ListingError("an entry is missing");
    this.#hasEntries = true;
  }

  #keepRun(chunk: Buffer, end: number): void {
    if (this.#runStart !== undefined && end > this.#runStart) this.#target.add(chunk.subarray(this.#runStart, end));
  }

  /** Checks the size of the kept bytes. */
  #checkLength(): void {
    const { bytes } = this.#target;
    if (this.#valueStart !== undefined && bytes - this.#valueStart.bytes > this.#maxValueBytes) {
      this.#replaceValue(this.#key === "apt" ? JSON.stringify(tooLongMarker) : "null");
    }
    const metadataBytes = this.#maxMetadataBytes + 2 * maxTahoeBytes;
    if (this.#target.bytes <= maxOtherBytes + metadataBytes) return;
    throw new LimitExceeded("maxMetadataBytes", this.#maxMetadataBytes, "the metadata of a link");
  }
}

interface Mark {
  readonly length: number;
  readonly bytes: number;
}

/** Collects bytes until they are complete. */
class ByteCollector {
  readonly #parts: Buffer[] = [];
  bytes = 0;

  add(part: Buffer): void {
    this.#parts.push(part);
    this.bytes += part.length;
  }

  mark(): Mark {
    return { length: this.#parts.length, bytes: this.bytes };
  }

  truncate({ length, bytes }: Mark): void {
    this.#parts.length = length;
    this.bytes = bytes;
  }

  takeText(): string {
    const [first] = this.#parts;
    const all = this.#parts.length === 1 && first !== undefined ? first : Buffer.concat(this.#parts);
    this.truncate({ length: 0, bytes: 0 });
    if (!isUtf8(all)) throw new ListingError("not UTF-8");
    return all.toString("utf8");
  }
}
