// Merges sorted runs of lines that do not fit in memory. It works on bytes, because V8 would need more time for
// strings.

/** Sorted lines with a line feed after each, in chunks that end with whole lines. */
export type SortedRun = Iterator<Uint8Array> | AsyncIterator<Uint8Array>;

/** A run, and the position of its next line in the current chunk. */
interface OpenRun {
  readonly run: SortedRun;
  chunk: Uint8Array;
  at: number;
}

const lineFeed = 0x0a;

/** The size of a batch in bytes; larger only for a single longer line. */
const batchBytes = 256 * 1024;

/**
 * Merges runs; memory contains one chunk of each. Lines are compared by their bytes without the line feed.
 * @returns all lines in order, including equal ones; each batch is valid until the next one is requested
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
    // A loop, because `set` would create a view for each line.
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

/** @returns false at the end of the run */
async function refill(opened: OpenRun): Promise<boolean> {
  do {
    const step = await opened.run.next();
    if (step.done === true) return false;
    opened.chunk = step.value;
    opened.at = 0;
  } while (opened.chunk.length === 0);
  return true;
}

/** Moves a run down the heap until no line below it is smaller than its own. */
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

/** Whether the next line of a run is before that of another; a missing run is last. */
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
