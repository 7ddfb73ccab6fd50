// The lines of Contents, cut into segments by their paths alone: which packages bring which files.

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

/** Reads lines back. @param lines as `ContentsCutter` wrote them */
export function entriesOf(lines: Uint8Array): ContentsEntry[] {
  return latin1(lines)
    .split("\n")
    .slice(0, -1)
    .flatMap((line) => {
      const blank = line.lastIndexOf(" ");
      // Character by character: an expression would look for the end from each blank of a path that is full of them.
      let end = blank;
      while (line[end - 1] === " ") end--;
      const path = line.slice(0, end);
      return line
        .slice(blank + 1)
        .split(",")
        .map((location) => entryOf(path, location));
    });
}

/** Makes segments out of entries that come in order; one that comes twice counts once. */
export class ContentsCutter {
  readonly #cut: ContentsCut;
  #path: string | undefined;
  #locations: string[] = [];
  #lines: string[] = [];
  #first = "";
  #sizeBytes = 0;
  #ended: ContentsSegment[] = [];

  constructor(cut: ContentsCut = defaultContentsCut) {
    this.#cut = cut;
  }

  add(entry: ContentsEntry): void {
    const [path = "", name = "", section = ""] = entry.split(separator);
    const location = `${section}${name}`;
    if (path !== this.#path) {
      this.#endLine();
      this.#path = path;
      this.#locations = [location];
    } else if (this.#locations.at(-1) !== location) {
      this.#locations.push(location);
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

  #endLine(): void {
    const path = this.#path;
    if (path === undefined) return;
    const line = `${padded(path)} ${this.#locations.join(",")}\n`;
    this.#path = undefined;
    if (this.#lines.length === 0) this.#first = path;
    this.#lines.push(line);
    this.#sizeBytes += line.length;
    const { leastBytes, oneIn, mostBytes } = this.#cut;
    if (this.#sizeBytes < leastBytes || (this.#sizeBytes < mostBytes && hashOf(path) % oneIn !== 0)) return;
    const segment = this.#takeLines();
    if (segment !== undefined) this.#ended.push(segment);
  }

  #takeLines(): ContentsSegment | undefined {
    if (this.#lines.length === 0) return undefined;
    const segment = { first: this.#first, plain: Buffer.from(this.#lines.join(""), "latin1") };
    this.#lines = [];
    this.#sizeBytes = 0;
    return segment;
  }
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
 * Cuts again where lines have changed.
 * @param open the lines before the segment, since the last end
 * @param old the segment itself
 * @returns without a rest, the segment's successor begins where it did; else it is to be cut again behind that
 */
export function recut(open: Uint8Array, old: Uint8Array, edits: ContentsEdits, cut?: ContentsCut): Recut {
  const entries = new Set(entriesOf(open).concat(entriesOf(old)));
  for (const entry of edits.removed) entries.delete(entry);
  for (const entry of edits.added) entries.add(entry);
  const cutter = new ContentsCutter(cut);
  for (const entry of [...entries].sort()) cutter.add(entry);
  return cutter.finish();
}

/** In UTF-8 a character's further bytes take no column. */
function padded(path: string): string {
  const furtherBytes = path.match(/[\x80-\xbf]/g)?.length ?? 0;
  return path.padEnd(pathColumns + furtherBytes);
}

/** FNV-1a, 32 bits. */
function hashOf(path: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < path.length; at++) hash = Math.imul(hash ^ path.charCodeAt(at), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
