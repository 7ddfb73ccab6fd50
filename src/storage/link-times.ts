// Link times are an uploader's word: one that is later than now must win nothing.
import type { FileEntry, OtherEntry } from "./tree.ts";

/** How far an uploader's clock may run ahead of ours. */
export const maxClockSkewMs = 10 * 60 * 1000;

/**
 * A link time of 0 stands for "unknown": the entry has none, or one that cannot be true. It is the oldest possible where
 * the newest link wins, and comes last where the first link wins.
 */
export const isKnownTime = (linkTimeMs: number): boolean => linkTimeMs > 0;

/**
 * Makes times in the future unknown. What depends on them is a function of the tree and the clock: every replica that
 * looks at the same tree decides alike, and an entry becomes an ordinary one once, when its time has come.
 * @param nowMs the moment of the look, in ms since the epoch
 * @returns the same entry where its times can be true
 */
export function withPossibleTimes<Known extends FileEntry | OtherEntry>(entry: Known, nowMs: number): Known {
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
