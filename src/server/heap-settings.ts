// Keeps this process' heap close to what is alive in it: a repository is looked at once, and then served for months.
import { setFlagsFromString } from "node:v8";

/**
 * How far a heap may grow beyond what was alive at its last collection, in per cent. V8 by itself lets it grow to a
 * multiple, which is for programs that allocate all the time.
 */
const heapGrowingPercent = 30;

/** From the next collection on, in all threads. */
export function keepHeapLean(): void {
  setFlagsFromString(`--heap-growing-percent=${heapGrowingPercent}`);
}
