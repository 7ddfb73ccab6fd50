// Merges sorted runs of lines that are too many for memory.

/** One run: lines in order, a line feed behind each, in chunks that end where lines end. One character per byte. */
export type SortedRun = AsyncIterator<string>;

/** What was read of a run and not yet given. */
interface Buffered {
  readonly run: SortedRun;
  lines: readonly string[];
  /** How many of the lines were given. */
  given: number;
}

/**
 * Merges runs; memory holds one chunk of each. Lines compare by their bytes, so a line feed must not matter: a NUL is
 * the lowest character that they hold.
 * @returns all lines in order, in batches; equal ones of several runs stand side by side, perhaps in two batches
 */
export async function* mergeRuns(runs: readonly SortedRun[]): AsyncGenerator<readonly string[]> {
  let buffers: Buffered[] = runs.map((run) => ({ run, lines: [], given: 0 }));
  for (;;) {
    const open: Buffered[] = [];
    for (const buffered of buffers) if (await refill(buffered)) open.push(buffered);
    buffers = open;
    // Beyond the first end of what is at hand, another run may have lines that come before.
    const [bound] = buffers.map(({ lines }) => lines.at(-1) ?? "").sort();
    if (bound === undefined) return;
    // Several runs behind one another: the sorting finds and merges them.
    yield buffers.flatMap((buffered) => takeUpTo(bound, buffered)).sort();
  }
}

/** @returns false at the run's end */
async function refill(buffered: Buffered): Promise<boolean> {
  while (buffered.given === buffered.lines.length) {
    const step = await buffered.run.next();
    if (step.done === true) return false;
    buffered.lines = step.value.split("\n").slice(0, -1);
    buffered.given = 0;
  }
  return true;
}

function takeUpTo(bound: string, buffered: Buffered): readonly string[] {
  const { lines, given } = buffered;
  let [from, to] = [given, lines.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((lines[middle] ?? "") <= bound) from = middle + 1;
    else to = middle;
  }
  buffered.given = from;
  return lines.slice(given, from);
}
