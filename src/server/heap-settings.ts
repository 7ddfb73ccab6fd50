// Limits the growth of the heap: a repository is surveyed once, with much garbage, and then served for months.
import { setFlagsFromString } from "node:v8";

/**
 * How much a heap may grow beyond its live size after the last collection, in percent. By default V8 lets it grow to a
 * multiple, which suits programs that allocate all the time.
 */
const heapGrowingPercent = 30;

/** Takes effect with the next collection, in all threads. */
export function keepHeapLean(): void {
  setFlagsFromString(`--heap-growing-percent=${heapGrowingPercent}`);
}
