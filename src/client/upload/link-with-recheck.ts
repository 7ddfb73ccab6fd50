// Sets links and checks them again later: another gateway can overwrite the first links of a directory.
import { sleep } from "../../base/abort.ts";
import type { Clock } from "../../base/clock.ts";
import type { Entry } from "../../storage/tree.ts";

/** The entries of a directory before and after setting the missing links. */
export interface LinkChange {
  readonly before: ReadonlyMap<string, Entry>;
  /** All names in the directory afterwards. */
  readonly after: ReadonlySet<string>;
}

/**
 * A gateway that loses a race for a directory retries after e, e² and e³ seconds (each normally distributed, σ = 0.12
 * of the value), with the contents that it read at first. If the directory had entries, the gateway notices the
 * conflict and responds with 500. If it was empty, the gateway overwrites entries that another gateway has confirmed as
 * written. Measured with Tahoe-LAFS 1.20.
 * @see Tahoe-LAFS, allmydata/mutable/filenode.py: BackoffAgent, MutableFileVersion._modify_once
 */
const recheckIntervalMs = 5_000;
/** Two retries: if all entries are younger than this, a gateway that still retries may have read an empty directory. */
const youngMs = 12_000;
/** All three retries: how long a directory is checked if another writer was detected. */
const contestedMs = 35_000;

/** Sets the links of one directory. */
interface DirectoryLinker {
  /** Sets the missing links; called again if they may have been overwritten. */
  readonly link: () => Promise<LinkChange>;
}

/** @param waiting called once with the directories that must be checked again; not called if there are none */
export async function linkWithRecheck<T extends DirectoryLinker>(
  linkers: readonly T[],
  waiting: (young: readonly T[]) => void,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  const unconfirmed = new Map<T, ReadonlySet<string>>();
  for (const linker of linkers) {
    const { before, after } = await linker.link();
    if (isYoung(before, clock())) unconfirmed.set(linker, after);
  }
  if (unconfirmed.size === 0) return;
  waiting([...unconfirmed.keys()]);
  const endMs = clock() + contestedMs;
  const contested = new Set<T>();
  while (unconfirmed.size > 0) {
    await sleep(recheckIntervalMs, signal);
    for (const [linker, previous] of unconfirmed) {
      const { before, after } = await linker.link();
      if (previous.size !== before.size || [...previous].some((name) => !before.has(name))) contested.add(linker);
      if (!contested.has(linker) || clock() >= endMs) unconfirmed.delete(linker);
      else unconfirmed.set(linker, after);
    }
  }
}

/** A subdirectory has no known age: it counts as old. */
const isYoung = (entries: ReadonlyMap<string, Entry>, nowMs: number): boolean =>
  [...entries.values()].every((entry) => entry.kind === "file" && nowMs - entry.linkedAtMs < youngMs);
