// Merges sorted runs of lines that are too many for memory. As bytes, since V8 would be at work on strings for longer.

/** One run: lines in order, a line feed behind each, in chunks that end where lines end. */
export type SortedRun = Iterator<Uint8Array> | AsyncIterator<Uint8Array>;

/** A run, and where its next line begins in what was read of it. */
interface OpenRun {
  readonly run: SortedRun;
  chunk: Uint8Array;
  at: number;
}

const lineFeed = 0x0a;

/** How many bytes of lines are given at once; more only where one line is longer. */
const batchBytes = 256 * 1024;

/**
 * Merges runs; memory holds one chunk of each. Lines compare by their bytes, as if nothing stood behind them.
 * @returns all lines in order, equal ones side by side; in batches that hold until the next is asked for
 */
export async function* mergeRuns(runs: readonly SortedRun[]): AsyncGenerator<Uint8Array> {
  const heap: OpenRun[] = [];
  for (const run of runs) {
    const opened = { run, chunk: new Uint8Array(0), at: 0 };
    if (await refill(opened)) heap.push(opened);
  }
  for (let at = heap.length >> 1; at >= 0; at--) sink(heap, at);
  let batch = new Uint8Array(batchBytes);
  let filled = 0;
  for (let [least] = heap; least !== undefined; [least] = heap) {
    const length = least.chunk.indexOf(lineFeed, least.at) + 1 - least.at;
    if (filled + length > batch.length) {
      yield batch.subarray(0, filled);
      filled = 0;
      if (length > batch.length) batch = new Uint8Array(length);
    }
    const { chunk, at } = least;
    // A loop: `set` would make a view with each line, for V8 to collect.
    for (let byte = 0; byte < length; byte++) batch[filled + byte] = chunk[at + byte] ?? 0;
    filled += length;
    least.at += length;
    if (least.at === chunk.length && !(await refill(least))) {
      const last = heap.pop();
      if (last !== undefined && last !== least) heap[0] = last;
    }
    sink(heap, 0);
  }
  if (filled > 0) yield batch.subarray(0, filled);
}

/** @returns false at the run's end */
async function refill(opened: OpenRun): Promise<boolean> {
  do {
    const step = await opened.run.next();
    if (step.done === true) return false;
    opened.chunk = step.value;
    opened.at = 0;
  } while (opened.chunk.length === 0);
  return true;
}

/** Moves one run down to where no line below it comes before its own. */
function sink(heap: OpenRun[], from: number): void {
  const moved = heap[from];
  if (moved === undefined) return;
  let at = from;
  for (;;) {
    const left = 2 * at + 1;
    const child = isBefore(heap[left + 1], heap[left]) ? left + 1 : left;
    const below = heap[child];
    if (below === undefined || !isBefore(below, moved)) break;
    heap[at] = below;
    at = child;
  }
  heap[at] = moved;
}

/** Whether the next line of one comes before that of the other; no run comes after all. */
function isBefore(one: OpenRun | undefined, other: OpenRun | undefined): boolean {
  if (one === undefined || other === undefined) return false;
  const { chunk: left, at: leftAt } = one;
  const { chunk: right, at: rightAt } = other;
  for (let at = 0; ; at++) {
    const byte = left[leftAt + at] ?? lineFeed;
    const otherByte = right[rightAt + at] ?? lineFeed;
    if (byte !== otherByte) return byte === lineFeed || (otherByte !== lineFeed && byte < otherByte);
    if (byte === lineFeed) return false;
  }
}
