// Cuts an ordered list into segments by its content alone, and recuts only where the list has changed.
import { createHash } from "node:crypto";
import type { Ordered } from "./order.ts";
import { compareOrdered } from "./order.ts";

/** A run of items that is rendered and compressed on its own. */
export interface Segment<T extends Ordered> {
  /** Lower-case hex SHA256 over the items' identities: equal ids, equal stanzas. */
  readonly id: string;
  readonly items: readonly T[];
}

/** Where segments end: after `most` items, or, beyond `least`, after an item whose hash says so once in `oneIn`. */
export interface Ends {
  readonly least: number;
  /** A power of two. */
  readonly oneIn: number;
  readonly most: number;
}

/** How fine a list is cut: `small` up to its last large end, one segment between two `large` ends. */
export interface Cut {
  readonly small: Ends;
  readonly large: Ends;
}

/**
 * About 16 and 256 items. Beginning to look for an end only after `least` items keeps lengths close to their mean, and
 * as lengths count from the last end, a change moves no other end, but for a chance of the next one or two.
 * Of real stanzas, twice as large segments would make the .xz 3 % smaller and a change in the middle twice as slow: see
 * decision 0003.
 */
const defaultCut: Cut = {
  small: { least: 8, oneIn: 8, most: 64 },
  large: { least: 192, oneIn: 64, most: 512 },
};

/** Items to take out and to put in. An added item takes the place of one with the same time and path. */
export interface ListChange<T extends Ordered> {
  readonly removed: Iterable<T>;
  readonly added: Iterable<T>;
}

/**
 * An immutable ordered list in segments. How it came about leaves no trace: equal items give equal segments. Lists made
 * from one another share all segments that are equal.
 */
export class SegmentedList<T extends Ordered> {
  readonly #cut: Cut;
  /** One segment per large end. */
  readonly #closed: readonly Segment<T>[];
  /** The small segments after the last large end. */
  readonly #open: readonly Segment<T>[];

  private constructor(cut: Cut, closed: readonly Segment<T>[], open: readonly Segment<T>[]) {
    this.#cut = cut;
    this.#closed = closed;
    this.#open = open;
  }

  /** @param items in any order */
  static build<T extends Ordered>(items: Iterable<T>, cut: Cut = defaultCut): SegmentedList<T> {
    return new SegmentedList<T>(cut, [], []).apply({ removed: [], added: items });
  }

  /** In the order of the index; concatenated they hold every item once. */
  segments(): readonly Segment<T>[] {
    return [...this.#closed, ...this.#open];
  }

  /** Removing what is not there changes nothing. Costs what the segments concerned hold, not what the list holds. */
  apply(change: ListChange<T>): SegmentedList<T> {
    let edits = editsOf(change);
    if (edits.length === 0) return this;
    const opened = new Map<string, Segment<T>>();
    const closed: Segment<T>[] = [];
    /** The items since the last large end that is certain. */
    let carried: readonly T[] = [];
    for (const group of this.#closed) {
      const here = countUpTo(edits, group.items.at(-1));
      if (here === 0 && carried.length === 0) {
        closed.push(group);
        continue;
      }
      opened.set(keyOf(group.id, group.items), group);
      const runs = split([...carried, ...merge(group.items, edits.slice(0, here))], this.#cut.large, "large");
      edits = edits.slice(here);
      carried = runs.rest;
      closed.push(...runs.ended.map((items) => segmentOf(items, opened)));
    }
    if (edits.length === 0 && carried.length === 0) return new SegmentedList(this.#cut, closed, this.#open);
    for (const segment of this.#open) opened.set(keyOf(segment.id, segment.items), segment);
    const tail = merge(
      this.#open.flatMap((segment) => segment.items),
      edits,
    );
    const large = split([...carried, ...tail], this.#cut.large, "large");
    const small = split(large.rest, this.#cut.small, "small");
    closed.push(...large.ended.map((items) => segmentOf(items, opened)));
    const open = [...small.ended, small.rest].filter((items) => items.length > 0);
    return new SegmentedList(
      this.#cut,
      closed,
      open.map((items) => segmentOf(items, opened)),
    );
  }
}

interface Edit<T> {
  readonly item: T;
  readonly kind: "remove" | "add";
}

/** In order, one per place: the last one said, and additions after removals. */
function editsOf<T extends Ordered>({ removed, added }: ListChange<T>): readonly Edit<T>[] {
  const edits: Edit<T>[] = [];
  for (const item of removed) edits.push({ item, kind: "remove" });
  for (const item of added) edits.push({ item, kind: "add" });
  edits.sort((a, b) => compareOrdered(a.item, b.item));
  return edits.filter(({ item }, index) => {
    const next = edits[index + 1];
    return next === undefined || compareOrdered(item, next.item) !== 0;
  });
}

/** How many edits from the first on stand at or before an item. */
function countUpTo<T extends Ordered>(edits: readonly Edit<T>[], last: T | undefined): number {
  const beyond = last === undefined ? 0 : edits.findIndex(({ item }) => compareOrdered(item, last) > 0);
  return beyond === -1 ? edits.length : beyond;
}

function merge<T extends Ordered>(items: readonly T[], edits: readonly Edit<T>[]): readonly T[] {
  const merged: T[] = [];
  let read = 0;
  for (const { item, kind } of edits) {
    for (; read < items.length && compareOrdered(items[read] as T, item) < 0; read++) merged.push(items[read] as T);
    if (read < items.length && compareOrdered(items[read] as T, item) === 0) read += 1;
    if (kind === "add") merged.push(item);
  }
  return merged.concat(items.slice(read));
}

interface Runs<T> {
  readonly ended: readonly (readonly T[])[];
  /** The items behind the last end. */
  readonly rest: readonly T[];
}

function split<T extends Ordered>(items: readonly T[], ends: Ends, kind: keyof Cut): Runs<T> {
  const ended: (readonly T[])[] = [];
  let start = 0;
  items.forEach((item, index) => {
    const length = index + 1 - start;
    if (length < ends.most && (length < ends.least || hashOf(item, kind) % ends.oneIn !== 0)) return;
    ended.push(items.slice(start, index + 1));
    start = index + 1;
  });
  return { ended, rest: items.slice(start) };
}

/** 32 bits of the identity, others for each kind of end, so that the two kinds are independent. */
function hashOf(item: Ordered, kind: keyof Cut): number {
  return Number.parseInt(kind === "large" ? item.identity.slice(0, 8) : item.identity.slice(8, 16), 16);
}

function segmentOf<T extends Ordered>(items: readonly T[], opened: ReadonlyMap<string, Segment<T>>): Segment<T> {
  const hash = createHash("sha256");
  for (const item of items) hash.update(item.identity);
  const id = hash.digest("hex");
  const old = opened.get(keyOf(id, items));
  return old?.items.every((item, index) => compareOrdered(item, items[index] as T) === 0) ? old : { id, items };
}

/** Equal bytes may have been linked twice or anew: then ids are the same, but places are not. */
const keyOf = <T extends Ordered>(id: string, [first]: readonly T[]): string =>
  `${id} ${first?.linkedAtMs} ${first?.path}`;
