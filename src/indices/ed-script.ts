// What turns one index into another, as the ed script of a pdiff: only segments that differ are looked into.
import { setImmediate } from "node:timers/promises";

/** One segment of an index, which ends with a line feed: equal ids, equal bytes. */
export interface ScriptSegment {
  readonly id: string;
  readonly uncompressedBytes: number;
}

/** What ends a record, the unit that is kept or replaced: in Packages and Sources a stanza, in Contents a line. */
export type RecordEnd = "\n\n" | "\n";

export interface ScriptOptions {
  /** Gives a segment's plain bytes; not asked for those that both indices hold. */
  readonly read: (segmentId: string) => Uint8Array;
  readonly recordEnd: RecordEnd;
  /** How long the script may become. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/** Neighbouring segments that differ are compared in memory: beyond so many bytes, old and new, a script is no gain. */
const maxComparedBytes = 16 * 1024 ** 2;

/**
 * The commands a, c and d, from the last line to the first, as `diff --ed` writes them and apt's rred takes them.
 * @returns the script, empty for equal indices; undefined where it is too long, or where ed could not take a line
 * @throws signal.reason when aborted
 */
export async function edScript(
  from: readonly ScriptSegment[],
  to: readonly (ScriptSegment & { readonly lines: number })[],
  { read, recordEnd, maxBytes, signal }: ScriptOptions,
): Promise<Uint8Array | undefined> {
  const commands: string[] = [];
  let bytes = 0;
  let line = 0;
  const idsOf = (segments: readonly ScriptSegment[]) => segments.map(({ id }) => id);
  const linesOf = new Map(to.map(({ id, lines }) => [id, lines]));
  for (const run of runsOf(idsOf(from), idsOf(to))) {
    if (run.kind === "same") {
      for (const id of run.items) line += linesOf.get(id) ?? 0;
      continue;
    }
    const [before, after] = [from.slice(...run.from), to.slice(...run.to)];
    if (sizeOf(before) + sizeOf(after) > maxComparedBytes) return undefined;
    // Latin-1 keeps every byte, whatever the text is encoded in.
    const recordsOf = (segments: readonly ScriptSegment[]) =>
      split(segments.map(({ id }) => Buffer.from(read(id)).toString("latin1")).join(""), recordEnd);
    const [old, fresh] = [recordsOf(before), recordsOf(after)];
    for (const part of runsOf(old, fresh)) {
      if (part.kind === "same") {
        line += countLines(part.items.join(""));
        continue;
      }
      const removed = countLines(old.slice(...part.from).join(""));
      const command = commandOf(line, removed, fresh.slice(...part.to).join(""));
      if (command === undefined) return undefined;
      commands.push(command);
      bytes += command.length;
      line += removed;
      if (bytes > maxBytes) return undefined;
    }
    // A large change takes a while, and requests must not wait for its end.
    await setImmediate(undefined, { signal });
  }
  return Buffer.from(commands.toReversed().join(""), "latin1");
}

/** @param line how many lines stand before the change */
function commandOf(line: number, removed: number, added: string): string | undefined {
  // Such a line would end the text of its command.
  if (added.startsWith(".\n") || added.includes("\n.\n")) return undefined;
  const range = removed > 1 ? `${line + 1},${line + removed}` : `${line + 1}`;
  if (added === "") return `${range}d\n`;
  return removed === 0 ? `${line}a\n${added}.\n` : `${range}c\n${added}.\n`;
}

/** How many lines a text has, each ending with a line feed. */
function countLines(text: string): number {
  let count = 0;
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) count += 1;
  return count;
}

const sizeOf = (segments: readonly ScriptSegment[]): number =>
  segments.reduce((sum, { uncompressedBytes }) => sum + uncompressedBytes, 0);

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

type Range = readonly [start: number, end: number];

/** Items that both lists have, or what stands between such items in the one and in the other. */
type Run =
  | { readonly kind: "same"; readonly items: readonly string[] }
  | { readonly kind: "different"; readonly from: Range; readonly to: Range };

/** In the order of the lists, from their first items to their last. */
function* runsOf(from: readonly string[], to: readonly string[]): Iterable<Run> {
  let [i, j] = [0, 0];
  for (const [nextI, nextJ] of [...commonOf(from, to), [from.length, to.length] as const]) {
    if (nextI > i || nextJ > j) yield { kind: "different", from: [i, nextI], to: [j, nextJ] };
    if (nextI < from.length) yield { kind: "same", items: from.slice(nextI, nextI + 1) };
    [i, j] = [nextI + 1, nextJ + 1];
  }
}

type Pair = readonly [inFrom: number, inTo: number];

/**
 * Pairs of equal items, ascending in both lists: what both begin and end with, and in between the longest ascending run
 * of items that each list has once. As good as all are such: no two stanzas of an index are equal.
 */
function commonOf(from: readonly string[], to: readonly string[]): readonly Pair[] {
  const shorter = Math.min(from.length, to.length);
  let head = 0;
  while (head < shorter && from[head] === to[head]) head += 1;
  let tail = 0;
  while (tail < shorter - head && from.at(-1 - tail) === to.at(-1 - tail)) tail += 1;
  const places = placesOf(to, head, to.length - tail);
  const candidates = [...placesOf(from, head, from.length - tail)].flatMap(([item, i]): readonly Pair[] => {
    const j = places.get(item);
    return i === undefined || j === undefined ? [] : [[i, j]];
  });
  return [
    ...Array.from({ length: head }, (_, n) => [n, n] as const),
    ...longestAscending(candidates),
    ...Array.from({ length: tail }, (_, n) => [from.length - tail + n, to.length - tail + n] as const),
  ];
}

/** Where each item stands; undefined for one that stands more than once. In the order of the list. */
function placesOf(items: readonly string[], start: number, end: number): ReadonlyMap<string, number | undefined> {
  const places = new Map<string, number | undefined>();
  for (let at = start; at < end; at++) {
    const item = items[at] ?? "";
    places.set(item, places.has(item) ? undefined : at);
  }
  return places;
}

/** @param pairs ascending in the first list */
function longestAscending(pairs: readonly Pair[]): readonly Pair[] {
  interface Link {
    readonly pair: Pair;
    readonly before: Link | undefined;
  }
  /** The ends of the best runs of each length: the one whose end stands foremost in the second list. */
  const ends: Link[] = [];
  for (const pair of pairs) {
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((ends[middle]?.pair[1] ?? 0) < pair[1]) low = middle + 1;
      else high = middle;
    }
    ends[low] = { pair, before: ends[low - 1] };
  }
  const run: Pair[] = [];
  for (let link = ends.at(-1); link !== undefined; link = link.before) run.push(link.pair);
  return run.toReversed();
}
