// Cuts the JSON of a `?t=json` answer into its entries while it comes, so that none of it is held longer than needed.
import { isUtf8 } from "node:buffer";
import { LimitExceeded } from "../../base/errors.ts";

/** The answer has not the shape that the webapi documents. Holds nothing of it, because it is full of caps. */
export class ListingError extends Error {}

/** How much of one entry is held. */
export interface SplitterLimits {
  /** Of the value of `apt` in an entry's metadata, as JSON. */
  readonly maxMetadataBytes: number;
}

/** What an entry's metadata says for `apt` where the limit is passed: nothing that anybody takes for metadata. */
const tooLongMarker = "beyond max_metadata_bytes";

/** Of all that stands beside the children, and of an entry without its metadata; some caps and numbers. */
const maxOtherBytes = 64 * 1024;
/** Of what Tahoe itself puts into metadata. */
const maxTahoeBytes = 4 * 1024;
/** Keys that are longer mean nothing here. */
const maxKeyBytes = 16;

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const openObject = 0x7b;
const closeObject = 0x7d;
const openArray = 0x5b;
const closeArray = 0x5d;

/** How deep the members of `["dirnode", {"children": {NAME: ["filenode", {"metadata": {…}}]}}]` lie. */
const depthOf = { facts: 2, children: 3, childFacts: 5 } as const;

/**
 * Finds where entries begin and end, and which parts of their metadata count, by brackets and strings alone: whatever is
 * kept is parsed by `JSON.parse` afterwards, one entry at a time, and what nobody reads is left out before. So time grows
 * with the bytes, and memory with one entry, however deep or long or broken they are.
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
  /** The depth of the object whose keys are read as metadata; 0 outside of any. */
  #metadataDepth = 0;
  /** At the depths that matter: whether a key is next, and which was last. */
  #expectsKey = false;
  #keyDepth = 0;
  #isKey = false;
  #key = "";

  /** Of the entry under way, or of what stands beside the children. */
  readonly #outer = new ByteCollector();
  readonly #entry = new ByteCollector();
  #target = this.#outer;
  /** Where in the chunk that is read now the kept run begins; undefined while something is left out. */
  #runStart: number | undefined = 0;
  #maxValueBytes = Number.POSITIVE_INFINITY;
  #valueStart: Mark | undefined;

  /** @param onEntry is called with each `"NAME": […]` as it stood there, but for what its metadata need not say */
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

  /** @returns what stood beside the children, with `"children": {}` in their place. @throws ListingError */
  end(): string {
    if (!this.#isOver) throw new ListingError("it ends too early");
    return this.#outer.take();
  }

  /** @returns where the string ends, or the chunk */
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
    const above = this.#depth - 1;
    const key = this.#keyDepth === above ? this.#key : "";
    const factsDepth = this.#inChildren ? depthOf.childFacts : depthOf.facts;
    if (this.#depth === factsDepth) this.#expectKeysAt(factsDepth);
    else if (above !== factsDepth) return;
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
    if (this.#depth < 0) throw new ListingError("a bracket too many");
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

  /** Of a member of the metadata; its key is kept already. */
  #beginValue(chunk: Buffer, at: number): void {
    if (this.#valueStart !== undefined || this.#runStart === undefined) return;
    const key = this.#key;
    const counts = key === "apt" || key === "tahoe" || key === "ctime" || key === "mtime";
    this.#maxValueBytes = key === "apt" ? this.#maxMetadataBytes : counts ? maxTahoeBytes : 0;
    this.#keepRun(chunk, at + 1);
    this.#checkLength();
    this.#valueStart = this.#target.mark();
    this.#runStart = at + 1;
    if (!counts) this.#replaceValue("null");
  }

  /** @param at where a comma or the object's end stands */
  #endValue(chunk: Buffer, at: number): void {
    this.#keepRun(chunk, at);
    this.#checkLength();
    this.#valueStart = undefined;
    this.#runStart = at;
  }

  /** Puts this in place of the value that is read now, up to its end. */
  #replaceValue(instead: string): void {
    if (this.#valueStart !== undefined) this.#target.truncate(this.#valueStart);
    this.#target.add(Buffer.from(instead));
    this.#valueStart = undefined;
    this.#runStart = undefined;
  }

  #endEntry(chunk: Buffer, at: number, isLast: boolean): void {
    this.#keepRun(chunk, at);
    this.#checkLength();
    const json = this.#entry.take();
    if (json.trim() !== "") this.#onEntry(json);
    else if (!isLast || this.#hasEntries) throw new ListingError("an entry is missing");
    this.#hasEntries = true;
  }

  #keepRun(chunk: Buffer, end: number): void {
    if (this.#runStart !== undefined && end > this.#runStart) this.#target.add(chunk.subarray(this.#runStart, end));
  }

  /** Of what was kept, before more is. */
  #checkLength(): void {
    const { bytes } = this.#target;
    if (this.#valueStart !== undefined && bytes - this.#valueStart.bytes > this.#maxValueBytes) {
      this.#replaceValue(this.#key === "apt" ? JSON.stringify(tooLongMarker) : "null");
    }
    const metadataBytes = this.#maxMetadataBytes + 2 * maxTahoeBytes;
    if (this.#target.bytes <= maxOtherBytes + metadataBytes) return;
    throw new LimitExceeded("maxMetadataBytes", this.#maxMetadataBytes, "what stands beside a link");
  }
}

interface Mark {
  readonly length: number;
  readonly bytes: number;
}

/** Bytes that are kept until all of them are there. */
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

  take(): string {
    const [first] = this.#parts;
    const all = this.#parts.length === 1 && first !== undefined ? first : Buffer.concat(this.#parts);
    this.truncate({ length: 0, bytes: 0 });
    if (!isUtf8(all)) throw new ListingError("no UTF-8");
    return all.toString("utf8");
  }
}
