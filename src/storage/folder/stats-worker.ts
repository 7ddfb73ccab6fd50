// The worker thread that stats the files of a large directory. Results are sent in parts, so that receiving each part
// blocks the main thread only briefly.
import { lstatSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import type { FileStat, StatRequest, Stats } from "./stats.ts";
import { fileStat, isAbsence } from "./stats.ts";

/** The number of results in one message. */
const partLength = 1000;

const { directory, names } = workerData as StatRequest;

function statAt(name: string): FileStat | undefined {
  try {
    return fileStat(lstatSync(`${directory}/${name}`, { bigint: true }));
  } catch (thrown) {
    if (isAbsence(thrown)) return undefined;
    throw thrown;
  }
}

for (let at = 0; at < names.length; at += partLength) {
  const part: Stats = names.slice(at, at + partLength).map(statAt);
  parentPort?.postMessage(part);
}
