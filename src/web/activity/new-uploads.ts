// Finds the times of uploads since the last call, at little cost if nothing changed.
import type { RepositoryData } from "../data/repository-data.ts";
import { maxPageEntries } from "../data/repository-data.ts";

/** At the first call a large repository has very many uploads. */
const maxPages = 25;

/** @returns a function that returns the times of uploads after a time, in seconds since the epoch, the newest first */
export function newUploadsOf(
  data: Pick<RepositoryData, "uploads" | "stateId" | "isIndexing">,
): (afterSeconds: number, signal: AbortSignal) => Promise<readonly number[]> {
  let lastState: string | undefined;
  return async (afterSeconds, signal) => {
    const state = data.stateId();
    // While the index is being built, the newest uploads may be missing, and would never be counted.
    if (state === lastState || data.isIndexing()) return [];
    const times: number[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < maxPages; page += 1) {
      const { entries, next } = await data.uploads({ limit: maxPageEntries, cursor }, signal);
      const newer = entries.flatMap(({ uploadedSeconds = 0 }) =>
        uploadedSeconds > afterSeconds ? [uploadedSeconds] : [],
      );
      times.push(...newer);
      if (next === undefined || newer.length < entries.length) break;
      cursor = next;
    }
    lastState = state;
    return times;
  };
}
