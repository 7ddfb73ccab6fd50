// The lines of Contents, which tell the packages of each file, cut into segments by their paths.
import { asBuffer } from "../../base/as-buffer.ts";
import { mergeRuns } from "./merge-sorted-runs.ts";

/**
 * A file of a package: its path, and the name and section of the package, separated by NULs. Strings have one character
 * for each byte, so their order is that of bytes: by path, then by name, as in dak.
 */
export type ContentsEntry = string;

/** Where segments end: after `mostBytes`, or, beyond `leastBytes`, after a path whose hash is a multiple of `oneIn`. */
export interface ContentsCut {
  readonly leastBytes: number;
  readonly oneIn: number;
  readonly mostBytes: number;
}

/**
 * Some 500 kB. With real Contents (148 MB), segments of twice the size would make the .xz a tenth smaller, and the
 * update for a package, whose files are in many segments, twice as slow.
 */
const defaultContentsCut: ContentsCut = { leastBytes: 256 * 1024, oneIn: 4096, mostBytes: 2 * 1024 * 1024 };

/** Consecutive lines that are compressed separately. The bytes depend on the lines only, not on earlier changes. */
export interface ContentsSegment {
  /** The path of the first line. */
  readonly first: string;
  readonly plain: Uint8Array;
}

const separator = "\0";
const [nul, lineFeed, blank, comma] = [0x00, 0x0a, 0x20, 0x2c] as const;
/** The column of packages, as in the Contents of Debian. */
const pathColumns = 55;

/** A valid Section, without blanks and commas, which separate the fields of a line. @see Debian Policy 2.4 */
const plainSection = /^[A-Za-z0-9][A-Za-z0-9.+_/-]{0,99}$/;

/** A package in Contents: `SECTION/PACKAGE`, or only its name if its section is not valid. */
export const locationOf = (packageName: string, section: string | undefined): string =>
  section !== undefined && plainSection.test(section) ? `${section}/${packageName}` : packageName;

/** @param location the result of `locationOf` */
export function entryOf(path: string, location: string): ContentsEntry {
  const at = location.lastIndexOf("/") + 1;
  return `${path}${separator}${location.slice(at)}${separator}${location.slice(0, at)}`;
}

export const pathOf = (entry: ContentsEntry): string => entry.slice(0, entry.indexOf(separator));

/**
 * Parses lines one at a time. A long path in many packages is a separate entry for each of them, so all entries of a
 * segment can be hundreds of times longer than the segment.
 * @param lines the output of `ContentsCutter`
 */
export function* entriesOf(lines: Uint8Array): Generator<ContentsEntry, void> {
  const text = latin1(lines);
  let at = 0;
  for (let lineEnd = text.indexOf("\n"); lineEnd !== -1; lineEnd = text.indexOf("\n", at)) {
    const blank = text.lastIndexOf(" ", lineEnd);
    // By character: a regular expression would take quadratic time for a path with many blanks.
    let end = blank;
    while (text[end - 1] === " ") end--;
    const path = text.slice(at, end);
    for (const location of text.slice(blank + 1, lineEnd).split(",")) yield entryOf(path, location);
    at = lineEnd + 1;
  }
}

/** Encodes entries, with a line feed after each. */
export const textOf = (entries: readonly ContentsEntry[]): Uint8Array =>
  Buffer.from(entries.map((entry) => `${entry}\n`).join(""), "latin1");

/** The size of a chunk in bytes, without its last entry. */
const chunkBytes = 256 * 1024;

/** As `textOf`, in chunks; only the entries of one chunk are in memory. */
export function* chunksOf(entries: Iterable<ContentsEntry>): Generator<Uint8Array, void> {
  let chunk: ContentsEntry[] = [];
  let sizeBytes = 0;
  for (const entry of entries) {
    chunk.push(entry);
    sizeBytes += entry.length;
    if (sizeBytes < chunkBytes) continue;
    yield textOf(chunk);
    chunk = [];
    sizeBytes = 0;
  }
  yield textOf(chunk);
}

/** The initial size of the buffer for a segment, in bytes: enough for most segments. */
const segmentBytes = 1024 * 1024;

/** Makes segments from ordered entries. Repeated entries count once. */
export class ContentsCutter {
  readonly #cut: ContentsCut;
  /** The lines since the last end. */
  #lines = new Uint8Array(segmentBytes);
  #sizeBytes = 0;
  /** The length of the path of the first line. */
  #firstBytes = 0;
  /** The last line, which may get more packages: the positions of its path and of its last package. */
  #open: { readonly pathAt: number; readonly pathEnd: number; packageAt: number } | undefined;
  #ended: ContentsSegment[] = [];

  constructor(cut: ContentsCut = defaultContentsCut) {
    this.#cut = cut;
  }

  /** @param entries in the format of `textOf`, in order, and after all earlier ones */
  add(entries: Uint8Array): void {
    for (let at = 0; at < entries.length; ) {
      const pathEnd = entries.indexOf(nul, at);
      const nameEnd = entries.indexOf(nul, pathEnd + 1);
      const end = entries.indexOf(lineFeed, nameEnd + 1);
      this.#add(entries, { at, pathEnd, nameEnd, end });
      at = end + 1;
    }
  }

  /** @returns the segments that have ended since the last call */
  take(): readonly ContentsSegment[] {
    const ended = this.#ended;
    this.#ended = [];
    return ended;
  }

  /** @returns the rest: segments that have ended, and the lines after the last end */
  finish(): Recut {
    this.#endLine();
    const rest = this.#takeLines();
    return { ended: this.take(), rest };
  }

  #add(entries: Uint8Array, { at, pathEnd, nameEnd, end }: EntryPlace): void {
    const sectionAt = nameEnd + 1;
    const packageBytes = end - pathEnd - 2;
    if (this.#open !== undefined && this.#holds(this.#open.pathAt, this.#open.pathEnd, entries, at, pathEnd)) {
      const { packageAt } = this.#open;
      const nameAt = packageAt + end - sectionAt;
      const isTwice =
        this.#sizeBytes - packageAt === packageBytes &&
        this.#holds(packageAt, nameAt, entries, sectionAt, end) &&
        this.#holds(nameAt, this.#sizeBytes, entries, pathEnd + 1, nameEnd);
      if (isTwice) return;
      this.#makeRoom(packageBytes + 2);
      this.#lines[this.#sizeBytes++] = comma;
      this.#open.packageAt = this.#sizeBytes;
    } else {
      this.#endLine();
      this.#makeRoom(end - at + pathColumns + 2);
      const pathAt = this.#sizeBytes;
      this.#write(entries, at, pathEnd);
      const columns = columnsOf(entries, at, pathEnd);
      for (let column = Math.min(columns, pathColumns); column <= pathColumns; column++) {
        this.#lines[this.#sizeBytes++] = blank;
      }
      if (pathAt === 0) this.#firstBytes = pathEnd - at;
      this.#open = { pathAt, pathEnd: pathAt + pathEnd - at, packageAt: this.#sizeBytes };
    }
    this.#write(entries, sectionAt, end);
    this.#write(entries, pathEnd + 1, nameEnd);
  }

  #endLine(): void {
    if (this.#open === undefined) return;
    this.#lines[this.#sizeBytes++] = lineFeed;
    const { pathAt, pathEnd } = this.#open;
    this.#open = undefined;
    const { leastBytes, oneIn, mostBytes } = this.#cut;
    if (this.#sizeBytes < leastBytes) return;
    if (this.#sizeBytes < mostBytes && hashOf(this.#lines, pathAt, pathEnd) % oneIn !== 0) return;
    const segment = this.#takeLines();
    if (segment !== undefined) this.#ended.push(segment);
  }

  #takeLines(): ContentsSegment | undefined {
    if (this.#sizeBytes === 0) return undefined;
    const plain = Buffer.from(this.#lines.subarray(0, this.#sizeBytes));
    this.#sizeBytes = 0;
    return { first: plain.toString("latin1", 0, this.#firstBytes), plain };
  }

  /** Whether a part of the lines equals a part of the entries. */
  #holds(start: number, end: number, entries: Uint8Array, entryStart: number, entryEnd: number): boolean {
    if (end - start !== entryEnd - entryStart) return false;
    const lines = this.#lines;
    // Consecutive paths have a common beginning, so compare from the end.
    let [at, entryAt] = [end, entryEnd];
    while (at > start && lines[at - 1] === entries[entryAt - 1]) {
      at -= 1;
      entryAt -= 1;
    }
    return at === start;
  }

  #write(entries: Uint8Array, start: number, end: number): void {
    const lines = this.#lines;
    let to = this.#sizeBytes;
    for (let at = start; at < end; at++) lines[to++] = entries[at] ?? 0;
    this.#sizeBytes = to;
  }

  #makeRoom(bytes: number): void {
    if (this.#sizeBytes + bytes <= this.#lines.length) return;
    const lines = new Uint8Array(Math.max(this.#sizeBytes + bytes, 2 * this.#lines.length));
    lines.set(this.#lines);
    this.#lines = lines;
  }
}

/** The positions of an entry: its start and end, and the ends of its path and of the package name. */
interface EntryPlace {
  readonly at: number;
  readonly pathEnd: number;
  readonly nameEnd: number;
  readonly end: number;
}

/** Segments, and the lines after the last end: the last segment of the index, or the start of another one. */
export interface Recut {
  readonly ended: readonly ContentsSegment[];
  readonly rest: ContentsSegment | undefined;
}

/** Entries to remove from a segment and to add. An entry in both is added. */
export interface ContentsEdits {
  readonly removed: Iterable<ContentsEntry>;
  readonly added: Iterable<ContentsEntry>;
}

/**
 * Cuts changed lines again. Memory contains the lines and the changes, but few entries at a time.
 * @param open the lines before the segment, since the last end
 * @param old the segment itself
 * @returns without a rest, the next segment is unchanged; otherwise it must be cut again after the rest
 */
export async function recut(
  open: Uint8Array,
  old: Uint8Array,
  edits: ContentsEdits,
  cut?: ContentsCut,
): Promise<Recut> {
  const removed = new Set(edits.removed);
  function* kept(): Generator<ContentsEntry, void> {
    for (const lines of [open, old]) for (const entry of entriesOf(lines)) if (!removed.has(entry)) yield entry;
  }
  const cutter = new ContentsCutter(cut);
  const runs = [chunksOf(kept()), chunksOf([...edits.added].sort())];
  for await (const batch of mergeRuns(runs)) cutter.add(batch);
  return cutter.finish();
}

/** The width of a path in columns: continuation bytes of UTF-8 take none. */
function columnsOf(bytes: Uint8Array, start: number, end: number): number {
  let columns = 0;
  for (let at = start; at < end; at++) if (((bytes[at] ?? 0) & 0xc0) !== 0x80) columns += 1;
  return columns;
}

/** FNV-1a, 32 bits. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}

const latin1 = (bytes: Uint8Array): string => asBuffer(bytes).toString("latin1");
