// Makes the ed script of a pdiff, which turns one index into another. Only different segments are compared.
import type { YieldFunction } from "../../base/yield-to-event-loop.ts";
import type { Run } from "./common-runs.ts";
import { runsOf } from "./common-runs.ts";

/** A segment of an index with whole records. Equal ids mean equal bytes. */
export interface ScriptSegment {
  readonly id: string;
}

/** The end of a record, which is kept or replaced as a whole: a stanza in Packages and Sources, a line in Contents. */
export type RecordEnd = "\n\n" | "\n";

export interface ScriptOptions {
  /** Reads the plain bytes of a segment; not called for segments that both indices contain. */
  readonly read: (segmentId: string) => Uint8Array;
  readonly recordEnd: RecordEnd;
  /** The longest script, in bytes. */
  readonly maxBytes: number;
  readonly yieldNow: YieldFunction;
}

/** How many bytes of each index are compared in memory at once: some 25 ms of work. */
const windowBytes = 2 * 1024 ** 2;

/**
 * The commands a, c and d from the last line to the first, as `diff --ed` writes them and the rred method of apt reads
 * them. If more than some megabytes were removed at one place, the script may be longer than necessary.
 * @returns the script, empty for equal indices; undefined if it is too long, or if a line cannot be in an ed script
 * @throws what `yieldNow` throws
 */
export async function edScript(
  from: readonly ScriptSegment[],
  to: readonly (ScriptSegment & { readonly lines: number })[],
  { read, recordEnd, maxBytes, yieldNow }: ScriptOptions,
): Promise<Uint8Array | undefined> {
  const script = new Script();
  const idsOf = (segments: readonly ScriptSegment[]) => segments.map(({ id }) => id);
  for (const run of runsOf(idsOf(from), idsOf(to))) {
    if (run.kind === "same") {
      for (const { lines } of to.slice(...run.to)) script.keep(lines);
      continue;
    }
    for (const parts of compare(from.slice(...run.from), to.slice(...run.to), { read, recordEnd })) {
      for (const part of parts) {
        if (part.kind === "same") script.keep(countLines(part.text));
        else script.replace(countLines(part.removed), part.added);
      }
      if (script.bytes > maxBytes) return undefined;
      await yieldNow();
    }
  }
  const written = script.finish();
  return written === undefined || written.length > maxBytes ? undefined : written;
}

/** Collects a script, from the first line of the old index to the last. */
class Script {
  readonly #commands: string[] = [];
  /** The current line of the old index. */
  #line = 0;
  /** The current change. The next one is added to it if no line is kept between them. */
  #change: { readonly line: number; readonly removed: number; readonly added: string } | undefined;
  #isWritable = true;
  bytes = 0;

  keep(lines: number): void {
    this.#write();
    this.#line += lines;
  }

  replace(removedLines: number, added: string): void {
    const { line, removed, added: before } = this.#change ?? { line: this.#line, removed: 0, added: "" };
    this.#change = { line, removed: removed + removedLines, added: before + added };
    this.#line += removedLines;
    this.bytes += added.length;
  }

  finish(): Uint8Array | undefined {
    this.#write();
    return this.#isWritable ? Buffer.from(this.#commands.toReversed().join(""), "latin1") : undefined;
  }

  #write(): void {
    if (this.#change === undefined) return;
    const { line, removed, added } = this.#change;
    this.#change = undefined;
    // A line with a single dot would end the text of its command.
    if (added.startsWith(".\n") || added.includes("\n.\n")) this.#isWritable = false;
    const range = removed > 1 ? `${line + 1},${line + removed}` : `${line + 1}`;
    const text = added === "" ? "" : `${added}.\n`;
    const command = added === "" ? `${range}d\n` : removed === 0 ? `${line}a\n` : `${range}c\n`;
    this.#commands.push(command + text);
    this.bytes += command.length;
  }
}

/** The number of lines of a text, each ending with a line feed. */
function countLines(text: string): number {
  let count = 0;
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) count += 1;
  return count;
}

/** A part of the old index that is kept or replaced. */
type Part =
  | { readonly kind: "same"; readonly text: string }
  | { readonly kind: "different"; readonly removed: string; readonly added: string };

/** The records of some segments, read on demand. */
class Records {
  readonly #segments: Iterator<ScriptSegment>;
  readonly #read: ScriptOptions["read"];
  readonly #end: RecordEnd;
  #ended = false;
  /** Records that were read and not yet dropped. */
  items: readonly string[] = [];

  constructor(segments: readonly ScriptSegment[], { read, recordEnd }: Pick<ScriptOptions, "read" | "recordEnd">) {
    this.#segments = segments.values();
    this.#read = read;
    this.#end = recordEnd;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Reads until the window is full, or until the end. */
  fill(): void {
    const more: string[] = [];
    let bytes = lengthOf(this.items);
    while (bytes < windowBytes && !this.#ended) {
      const next = this.#segments.next();
      if (next.done === true) this.#ended = true;
      else {
        // Latin-1 preserves every byte, whatever the encoding of the text is.
        const text = Buffer.from(this.#read(next.value.id)).toString("latin1");
        more.push(...split(text, this.#end));
        bytes += text.length;
      }
    }
    this.items = [...this.items, ...more];
  }
}

/**
 * Compares one window of both indices after the other. Records after the last common one are compared again together
 * with the next window.
 */
function* compare(
  from: readonly ScriptSegment[],
  to: readonly ScriptSegment[],
  options: Pick<ScriptOptions, "read" | "recordEnd">,
): Iterable<readonly Part[]> {
  const [old, fresh] = [new Records(from, options), new Records(to, options)];
  const partOf = ({ kind, from: removed, to: added }: Run): Part => {
    const text = old.items.slice(...removed).join("");
    return kind === "same" ? { kind, text } : { kind, removed: text, added: fresh.items.slice(...added).join("") };
  };
  for (;;) {
    old.fill();
    fresh.fill();
    const runs = [...runsOf(old.items, fresh.items)];
    if (old.ended && fresh.ended) {
      yield runs.map(partOf);
      return;
    }
    const certain = runs.slice(0, runs.findLastIndex(({ kind }) => kind === "same") + 1);
    let {
      from: [, i],
      to: [, j],
    } = certain.at(-1) ?? nothing;
    if (lengthOf(old.items.slice(0, i)) + lengthOf(fresh.items.slice(0, j)) < windowBytes / 2) {
      // Almost nothing in common: treat both windows as entirely different.
      const rest = {
        kind: "different",
        from: [i, old.ended ? i : old.items.length],
        to: [j, fresh.ended ? j : fresh.items.length],
      } as const;
      [i, j] = [rest.from[1], rest.to[1]];
      certain.push(rest);
    }
    yield certain.map(partOf);
    old.items = old.items.slice(i);
    fresh.items = fresh.items.slice(j);
  }
}

const nothing = { from: [0, 0], to: [0, 0] } as const;

const lengthOf = (records: readonly string[]): number => records.reduce((sum, { length }) => sum + length, 0);

function split(text: string, end: RecordEnd): string[] {
  const records: string[] = [];
  let start = 0;
  while (start < text.length) {
    const found = text.indexOf(end, start);
    const next = found === -1 ? text.length : found + end.length;
    records.push(text.slice(start, next));
    start = next;
  }
  return records;
}
