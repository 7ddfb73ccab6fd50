// What turns one index into another, as the ed script of a pdiff: only segments that differ are looked into.
import type { YieldFunction } from "../../base/yield-to-event-loop.ts";
import type { Run } from "./common-runs.ts";
import { runsOf } from "./common-runs.ts";

/** One segment of an index, which ends with a record's end: equal ids, equal bytes. */
export interface ScriptSegment {
  readonly id: string;
}

/** What ends a record, the unit that is kept or replaced: in Packages and Sources a stanza, in Contents a line. */
export type RecordEnd = "\n\n" | "\n";

export interface ScriptOptions {
  /** Gives a segment's plain bytes; not asked for those that both indices hold. */
  readonly read: (segmentId: string) => Uint8Array;
  readonly recordEnd: RecordEnd;
  /** How long the script may become. */
  readonly maxBytes: number;
  readonly yieldNow: YieldFunction;
}

/** So much of each index is compared in memory at once, in bytes: some 25 ms of work. */
const windowBytes = 2 * 1024 ** 2;

/**
 * The commands a, c and d, from the last line to the first, as `diff --ed` writes them and apt's rred takes them. Where
 * more than some megabytes were taken out of one place, it may be longer than it need be.
 * @returns the script, empty for equal indices; undefined where it is too long, or where ed could not take a line
 * @throws what giving way throws
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

/** A script as it is written, from the first line of the old index to its last. */
class Script {
  readonly #commands: string[] = [];
  /** How many lines of the old index have been passed. */
  #line = 0;
  /** The change that the next one, where nothing is kept between them, belongs to. */
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
    // Such a line would end the text of its command.
    if (added.startsWith(".\n") || added.includes("\n.\n")) this.#isWritable = false;
    const range = removed > 1 ? `${line + 1},${line + removed}` : `${line + 1}`;
    const text = added === "" ? "" : `${added}.\n`;
    const command = added === "" ? `${range}d\n` : removed === 0 ? `${line}a\n` : `${range}c\n`;
    this.#commands.push(command + text);
    this.bytes += command.length;
  }
}

/** How many lines a text has, each ending with a line feed. */
function countLines(text: string): number {
  let count = 0;
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) count += 1;
  return count;
}

/** Some text of the old index: kept, or replaced. */
type Part =
  | { readonly kind: "same"; readonly text: string }
  | { readonly kind: "different"; readonly removed: string; readonly added: string };

/** The records of some segments, read as they are asked for. */
class Records {
  readonly #segments: Iterator<ScriptSegment>;
  readonly #read: ScriptOptions["read"];
  readonly #end: RecordEnd;
  #ended = false;
  /** What was read and not yet dropped. */
  items: readonly string[] = [];

  constructor(segments: readonly ScriptSegment[], { read, recordEnd }: Pick<ScriptOptions, "read" | "recordEnd">) {
    this.#segments = segments.values();
    this.#read = read;
    this.#end = recordEnd;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Reads on until there is a window's worth of items, or no more. */
  fill(): void {
    const more: string[] = [];
    let bytes = lengthOf(this.items);
    while (bytes < windowBytes && !this.#ended) {
      const next = this.#segments.next();
      if (next.done === true) this.#ended = true;
      else {
        // Latin-1 keeps every byte, whatever the text is encoded in.
        const text = Buffer.from(this.#read(next.value.id)).toString("latin1");
        more.push(...split(text, this.#end));
        bytes += text.length;
      }
    }
    this.items = [...this.items, ...more];
  }
}

/**
 * Compares a window of each after the other: what follows the last record that both windows hold is looked at again, with
 * what comes then.
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
      // Hardly anything in common: there is no better guess than that the windows have nothing to do with each other.
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
