// Link times come from uploaders, so a time in the future must not have any advantage.
import type { FileEntry, OtherEntry } from "./tree.ts";

/** How far an uploader's clock may be ahead. */
export const maxClockSkewMs = 10 * 60 * 1000;

/**
 * Whether a link time is known. 0 means unknown: the entry has no time, or an impossible one. An unknown time counts as
 * the oldest if the newest link wins, and comes last if the first link wins.
 */
export const isKnownTime = (linkTimeMs: number): boolean => linkTimeMs > 0;

/**
 * Replaces link times in the future by 0 (unknown). The result depends on the tree and the clock only, so all replicas
 * decide alike. When the time has come, the entry gets its times back.
 * @param nowMs the current time in ms since the epoch
 * @returns the same entry if no time is in the future
 */
export function withPlausibleTimes<Timed extends FileEntry | OtherEntry>(entry: Timed, nowMs: number): Timed {
  if (entry.kind === "other") return entry;
  const latestMs = nowMs + maxClockSkewMs;
  const { linkedAtMs, relinkedAtMs } = entry;
  if (linkedAtMs <= latestMs && relinkedAtMs <= latestMs) return entry;
  return {
    ...entry,
    linkedAtMs: linkedAtMs <= latestMs ? linkedAtMs : 0,
    relinkedAtMs: relinkedAtMs <= latestMs ? relinkedAtMs : 0,
  };
}
