// Cuts an ordered list into segments by its content, and after a change recuts only the segments concerned.
import { hash } from "node:crypto";
import type { Steps } from "../base/steps.ts";
import { itemsPerStep, runStepsAtOnce, sorted } from "../base/steps.ts";
import type { Ordered } from "./order.ts";
import { compareOrdered } from "./order.ts";

/** Consecutive items that are rendered and compressed separately. */
export interface Segment<T extends Ordered> {
  /** Lower-case hex SHA256 of the identities of the items: equal ids mean equal stanzas. */
  readonly id: string;
  readonly items: readonly T[];
}

/**
 * Where segments end: after `most` items, or, beyond `least` items, after one whose hash is a multiple of `oneIn`. For
 * long stanzas the bytes decide in the same way: after `mostBytes`, or, beyond `leastBytes`, with a probability of
 * about one end in so many bytes. (The item that reaches `mostBytes` is the last one.)
 */
export interface Ends {
  readonly least: number;
  /** A power of two. */
  readonly oneIn: number;
  readonly most: number;
  readonly leastBytes: number;
  readonly mostBytes: number;
}

/** How a list is cut: into one segment between two `large` ends, and into `small` segments after the last large end. */
export interface Cut {
  readonly small: Ends;
  readonly large: Ends;
}

const kibibyte = 2 ** 10;

/**
 * About 16 and 256 items. The minimum of `least` items keeps lengths close to their mean. Lengths count from the last
 * end, so a change normally moves no other end, and sometimes the next one or two. With real stanzas, segments of twice
 * the size would make the .xz 3 % smaller and a change in the middle twice as slow: see decision 0003.
 */
const defaultCut: Cut = {
  small: { least: 8, oneIn: 8, most: 64, leastBytes: 128 * kibibyte, mostBytes: 256 * kibibyte },
  // 512 stanzas of Debian are rarely so long. A segment is rendered, hashed and sent to a thread in one piece.
  large: { least: 192, oneIn: 64, most: 512, leastBytes: 1024 * kibibyte, mostBytes: 2048 * kibibyte },
};

/** Items to remove and to add. An added item replaces one with the same time and path. */
export interface ListChange<T extends Ordered> {
  readonly removed: Iterable<T>;
  readonly added: Iterable<T>;
}

/**
 * An immutable ordered list in segments. The segments depend only on the items and not on earlier changes. A list that
 * is derived from another one shares all equal segments with it.
 */
export class SegmentedList<T extends Ordered> {
  readonly #cut: Cut;
  /** One segment for each large end. */
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
    return runStepsAtOnce(SegmentedList.building(items, cut));
  }

  /** As `build`, in steps. */
  static *building<T extends Ordered>(items: Iterable<T>, cut: Cut = defaultCut): Steps<SegmentedList<T>> {
    return yield* new SegmentedList<T>(cut, [], []).#withTail([], yield* inOrder([...items]), new Map());
  }

  /** In the order of the index; they contain every item once. */
  segments(): readonly Segment<T>[] {
    return [...this.#closed, ...this.#open];
  }

  /** Ignores removals of absent items. The cost depends on the segments concerned, not on the length of the list. */
  apply(change: ListChange<T>): SegmentedList<T> {
    return runStepsAtOnce(this.applying(change));
  }

  /** As `apply`, in steps. */
  *applying(change: ListChange<T>): Steps<SegmentedList<T>> {
    const edits = yield* editsOf(change);
    if (edits.length === 0) return this;
    const opened = new Map<string, Segment<T>>();
    const closed: Segment<T>[] = [];
    /** How many edits were applied. */
    let made = 0;
    /** The items since the last large end that cannot change any more. */
    let carried: readonly T[] = [];
    for (const group of this.#closed) {
      const upTo = countUpTo(edits, made, group.items.at(-1));
      if (upTo === made && carried.length === 0) {
        closed.push(group);
        continue;
      }
      opened.set(keyOf(group.id, group.items), group);
      const items = yield* merge(group.items, edits, made, upTo);
      const runs = yield* split([...carried, ...items], this.#cut.large, "large");
      made = upTo;
      carried = runs.rest;
      for (const run of runs.ended) closed.push(yield* segmentOf(run, opened));
    }
    if (made === edits.length && carried.length === 0) return new SegmentedList(this.#cut, closed, this.#open);
    for (const segment of this.#open) opened.set(keyOf(segment.id, segment.items), segment);
    const open = this.#open.flatMap((segment) => segment.items);
    const tail = yield* merge(open, edits, made, edits.length);
    return yield* this.#withTail(closed, [...carried, ...tail], opened);
  }

  /**
   * Cuts the items after some segments.
   * @param opened the segments that may be among the new ones, by their keys
   */
  *#withTail(
    closed: readonly Segment<T>[],
    tail: readonly T[],
    opened: ReadonlyMap<string, Segment<T>>,
  ): Steps<SegmentedList<T>> {
    const large = yield* split(tail, this.#cut.large, "large");
    const small = yield* split(large.rest, this.#cut.small, "small");
    const all = [...closed];
    for (const run of large.ended) all.push(yield* segmentOf(run, opened));
    const open: Segment<T>[] = [];
    for (const run of [...small.ended, small.rest]) if (run.length > 0) open.push(yield* segmentOf(run, opened));
    return new SegmentedList(this.#cut, all, open);
  }
}

/** The items in order, of those with the same position the last one. */
function* inOrder<T extends Ordered>(items: readonly T[]): Steps<readonly T[]> {
  // Most comparisons need the times only. In one array they are found faster than through the items.
  const times = new Float64Array(items.length);
  for (const [index, item] of items.entries()) {
    times[index] = item.linkedAtMs;
    if (index % itemsPerStep === 0) yield;
  }
  const compare = (a: number, b: number): number =>
    (times[a] ?? 0) - (times[b] ?? 0) || compareOrdered(items[a] as T, items[b] as T);
  const positions = yield* sorted([...items.keys()], compare);
  const found: T[] = [];
  for (const [index, position] of positions.entries()) {
    const next = positions[index + 1];
    if (next === undefined || compare(position, next) !== 0) found.push(items[position] as T);
    if (index % itemsPerStep === 0) yield;
  }
  return found;
}

interface Edit<T> {
  readonly item: T;
  readonly kind: "remove" | "add";
}

/** The edits in order, one for each position: additions override removals, and later ones override earlier ones. */
function* editsOf<T extends Ordered>({ removed, added }: ListChange<T>): Steps<readonly Edit<T>[]> {
  const edits: Edit<T>[] = [];
  for (const item of removed) edits.push({ item, kind: "remove" });
  for (const item of added) {
    edits.push({ item, kind: "add" });
    if (edits.length % itemsPerStep === 0) yield;
  }
  const inOrder = yield* sorted(edits, (a, b) => compareOrdered(a.item, b.item));
  const last: Edit<T>[] = [];
  let index = 0;
  for (const edit of inOrder) {
    const next = inOrder[++index];
    if (next === undefined || compareOrdered(edit.item, next.item) !== 0) last.push(edit);
    if (index % itemsPerStep === 0) yield;
  }
  return last;
}

/** How many edits are at or before an item. @param from a known lower bound */
function countUpTo<T extends Ordered>(edits: readonly Edit<T>[], from: number, last: T | undefined): number {
  if (last === undefined) return from;
  let count = from;
  for (let edit = edits[count]; edit !== undefined && compareOrdered(edit.item, last) <= 0; edit = edits[count])
    count++;
  return count;
}

/** @param from the index of the first edit; `to` is after the last one */
function* merge<T extends Ordered>(
  items: readonly T[],
  edits: readonly Edit<T>[],
  from: number,
  to: number,
): Steps<readonly T[]> {
  const merged: T[] = [];
  let read = 0;
  for (let at = from; at < to; at++) {
    const { item, kind } = edits[at] as Edit<T>;
    for (; read < items.length && compareOrdered(items[read] as T, item) < 0; read++) merged.push(items[read] as T);
    if (read < items.length && compareOrdered(items[read] as T, item) === 0) read += 1;
    if (kind === "add") merged.push(item);
    if (at % itemsPerStep === 0) yield;
  }
  return merged.concat(items.slice(read));
}

interface Runs<T> {
  readonly ended: readonly (readonly T[])[];
  /** The items after the last end. */
  readonly rest: readonly T[];
}

function* split<T extends Ordered>(items: readonly T[], ends: Ends, kind: keyof Cut): Steps<Runs<T>> {
  const ended: (readonly T[])[] = [];
  let [start, end, bytes] = [0, 0, 0];
  for (const item of items) {
    end += 1;
    bytes += item.stanzaBytes;
    if (end % itemsPerStep === 0) yield;
    if (!isEnd(item, end - start, bytes, ends, kind)) continue;
    ended.push(items.slice(start, end));
    start = end;
    bytes = 0;
  }
  return { ended, rest: items.slice(start) };
}

/** @param length the number of items since the last end, including this one; `bytes` likewise */
function isEnd(item: Ordered, length: number, bytes: number, ends: Ends, kind: keyof Cut): boolean {
  if (length >= ends.most || bytes >= ends.mostBytes) return true;
  if (length >= ends.least && hashOf(item, kind) % ends.oneIn === 0) return true;
  if (bytes < ends.leastBytes) return false;
  const share = item.stanzaBytes / (ends.mostBytes - ends.leastBytes);
  return hashOf(item, kind) < 2 * share * 2 ** 32;
}

/** 32 bits of the identity, different ones for small and large ends, so that both are independent. */
function hashOf(item: Ordered, kind: keyof Cut): number {
  return Number.parseInt(kind === "large" ? item.identity.slice(0, 8) : item.identity.slice(8, 16), 16);
}

function* segmentOf<T extends Ordered>(
  items: readonly T[],
  opened: ReadonlyMap<string, Segment<T>>,
): Steps<Segment<T>> {
  let identities = "";
  for (const item of items) identities += item.identity;
  yield;
  const id = hash("sha256", identities, "hex");
  const old = opened.get(keyOf(id, items));
  return old?.items.every((item, index) => compareOrdered(item, items[index] as T) === 0) ? old : { id, items };
}

/** Equal bytes may be linked twice or again: then ids are equal, but positions differ. */
const keyOf = <T extends Ordered>(id: string, [first]: readonly T[]): string =>
  `${id} ${first?.linkedAtMs} ${first?.path}`;
