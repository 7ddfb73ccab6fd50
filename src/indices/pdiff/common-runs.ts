// Finds the common runs of two lists of texts, and the runs between them.

type Range = readonly [start: number, end: number];

/** Items that are in both lists, or the different items between them in each list. */
export interface Run {
  readonly kind: "same" | "different";
  readonly from: Range;
  readonly to: Range;
}

/** All runs, in the order of the lists. */
export function* runsOf(from: readonly string[], to: readonly string[]): Iterable<Run> {
  let [i, j] = [0, 0];
  for (const [nextI, nextJ] of [...commonOf(from, to), [from.length, to.length] as const]) {
    if (nextI > i || nextJ > j) yield { kind: "different", from: [i, nextI], to: [j, nextJ] };
    if (nextI < from.length) yield { kind: "same", from: [nextI, nextI + 1], to: [nextJ, nextJ + 1] };
    [i, j] = [nextI + 1, nextJ + 1];
  }
}

type Pair = readonly [inFrom: number, inTo: number];

/**
 * Pairs of equal items, ascending in both lists: the common start and end, and between them the longest increasing
 * sequence of items that are unique in each list. In practice all items are unique: no two stanzas of an index are
 * equal.
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

/** The position of each item, in the order of the list; undefined for an item that occurs more than once. */
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
  /** For each length, the end of the best sequence: that with the smallest position in the second list. */
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
