// The lines of Contents, cut into segments by their paths alone: which packages bring which files.
import { asBuffer } from "../../base/as-buffer.ts";
import { mergeRuns } from "./merge-sorted-runs.ts";

/**
 * One file of one package: its path, the package's name and its section, NULs in between. Strings hold one character per
 * byte, so that comparing them orders bytes: by path, then by name, as dak does.
 */
export type ContentsEntry = string;

/** Where segments end: after so many bytes, or, beyond `leastBytes`, after a path whose hash says so once in `oneIn`. */
export interface ContentsCut {
  readonly leastBytes: number;
  readonly oneIn: number;
  readonly mostBytes: number;
}

/**
 * Some 500 kB. Of real Contents (148 MB) segments twice as long would make the .xz a tenth smaller, and what a package
 * touches, which is as much as its files lie apart, twice as slow to make.
 */
const defaultContentsCut: ContentsCut = { leastBytes: 256 * 1024, oneIn: 4096, mostBytes: 2 * 1024 * 1024 };

/** A run of lines that is compressed by itself. Its bytes depend on what stands in it and in no way on what changed. */
export interface ContentsSegment {
  /** The path of its first line. */
  readonly first: string;
  readonly plain: Uint8Array;
}

const separator = "\0";
const [nul, lineFeed, blank, comma] = [0x00, 0x0a, 0x20, 0x2c] as const;
/** Packages stand in this column, as in Debian's own Contents. */
const pathColumns = 55;

/** A Section that can stand in a line whose blanks and commas mean something. @see Debian Policy 2.4 */
const plainSection = /^[A-Za-z0-9][A-Za-z0-9.+_/-]{0,99}$/;

/** What Contents calls a package: `SECTION/PACKAGE`, or its name alone where its section is none. */
export const locationOf = (packageName: string, section: string | undefined): string =>
  section !== undefined && plainSection.test(section) ? `${section}/${packageName}` : packageName;

/** @param location as of `locationOf` */
export function entryOf(path: string, location: string): ContentsEntry {
  const at = location.lastIndexOf("/") + 1;
  return `${path}${separator}${location.slice(at)}${separator}${location.slice(0, at)}`;
}

export const pathOf = (entry: ContentsEntry): string => entry.slice(0, entry.indexOf(separator));

/**
 * Reads lines back, in their order and one by one: a long path that many packages bring is an entry of each of them, and
 * so a segment's entries together can be hundreds of times longer than the segment.
 * @param lines as `ContentsCutter` wrote them
 */
export function* entriesOf(lines: Uint8Array): Generator<ContentsEntry, void> {
  const text = latin1(lines);
  let at = 0;
  for (let lineEnd = text.indexOf("\n"); lineEnd !== -1; lineEnd = text.indexOf("\n", at)) {
    const blank = text.lastIndexOf(" ", lineEnd);
    // Character by character: an expression would look for the end from each blank of a path that is full of them.
    let end = blank;
    while (text[end - 1] === " ") end--;
    const path = text.slice(at, end);
    for (const location of text.slice(blank + 1, lineEnd).split(",")) yield entryOf(path, location);
    at = lineEnd + 1;
  }
}

/** Writes entries down, a line feed behind each. */
export const textOf = (entries: readonly ContentsEntry[]): Uint8Array =>
  Buffer.from(entries.map((entry) => `${entry}\n`).join(""), "latin1");

/** How many bytes of entries are written down at once, before the last of them. */
const chunkBytes = 256 * 1024;

/** As `textOf`, chunk by chunk, with the entries of no more than one in memory. */
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

/** How long the buffer for a segment is at first, in bytes: as long as most of them. */
const segmentBytes = 1024 * 1024;

/** Makes segments out of entries that come in order; one that comes twice counts once. */
export class ContentsCutter {
  readonly #cut: ContentsCut;
  /** The lines since the last end. */
  #lines = new Uint8Array(segmentBytes);
  #sizeBytes = 0;
  /** How long the path of the first of them is. */
  #firstBytes = 0;
  /** The last of them, to which packages may come yet: where its path begins and ends, and where its last package does. */
  #open: { readonly pathAt: number; readonly pathEnd: number; packageAt: number } | undefined;
  #ended: ContentsSegment[] = [];

  constructor(cut: ContentsCut = defaultContentsCut) {
    this.#cut = cut;
  }

  /** @param entries as of `textOf`, in order and behind those that came before */
  add(entries: Uint8Array): void {
    for (let at = 0; at < entries.length; ) {
      const pathEnd = entries.indexOf(nul, at);
      const nameEnd = entries.indexOf(nul, pathEnd + 1);
      const end = entries.indexOf(lineFeed, nameEnd + 1);
      this.#add(entries, { at, pathEnd, nameEnd, end });
      at = end + 1;
    }
  }

  /** Gives the segments that have ended since the last call. */
  take(): readonly ContentsSegment[] {
    const ended = this.#ended;
    this.#ended = [];
    return ended;
  }

  /** Gives what is left: segments that have ended, and the lines behind the last end. */
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

  /** Whether a part of the lines is the same as one of the entries. */
  #holds(start: number, end: number, entries: Uint8Array, entryStart: number, entryEnd: number): boolean {
    if (end - start !== entryEnd - entryStart) return false;
    const lines = this.#lines;
    // Paths that follow one another begin alike.
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

/** Where an entry begins and ends among others, and where its path and its package's name end. */
interface EntryPlace {
  readonly at: number;
  readonly pathEnd: number;
  readonly nameEnd: number;
  readonly end: number;
}

/** Segments, and the lines behind the last end: at an index's end the last segment, else the begin of one. */
export interface Recut {
  readonly ended: readonly ContentsSegment[];
  readonly rest: ContentsSegment | undefined;
}

/** What to take out of a segment, and to put in; what is put in stays, even if it is taken out as well. */
export interface ContentsEdits {
  readonly removed: Iterable<ContentsEntry>;
  readonly added: Iterable<ContentsEntry>;
}

/**
 * Cuts again where lines have changed. Memory holds the lines and the changes, and few of the lines' entries at a time.
 * @param open the lines before the segment, since the last end
 * @param old the segment itself
 * @returns without a rest, the segment's successor begins where it did; else it is to be cut again behind that
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

/** How many columns a path takes: in UTF-8 a character's further bytes take none. */
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
