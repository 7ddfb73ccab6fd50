// The first links of a directory can be lost after they were set: so they are looked at again, and set again.
import { sleep } from "../../base/abort.ts";
import type { Clock } from "../../base/clock.ts";
import type { Entry } from "../../storage/tree.ts";

/** A directory before and after what was missing of its links was set. */
export interface Linked {
  readonly found: ReadonlyMap<string, Entry>;
  /** The names that it was left with. */
  readonly left: ReadonlySet<string>;
}

/**
 * A gateway that lost a race for a directory tries again after e s, then e² s, then e³ s (each normally distributed,
 * σ = 0.12 of it), with the contents that it read at first. Of a directory with entries it finds them gone, and says so
 * (500); of an empty one there is nothing to be found gone, and what another gateway was told is written goes. Measured
 * with Tahoe-LAFS 1.20.
 * @see Tahoe-LAFS, allmydata/mutable/filenode.py: BackoffAgent, MutableFileVersion._modify_once
 */
const lookAgainMs = 5_000;
/** Two such rounds: a directory whose entries are all younger may have been found empty by who tries still. */
const youngMs = 12_000;
/** All three of them, for a directory at which somebody else was seen to write. */
const contestedMs = 35_000;

/** One directory's links. */
interface Linking {
  /** Sets what is missing of them; called again where they may have been lost. */
  readonly link: () => Promise<Linked>;
}

/** @param waiting told, once, of those that have to be looked at again */
export async function linkWithRecheck<T extends Linking>(
  linkings: readonly T[],
  waiting: (young: readonly T[]) => void,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  const lefts = new Map<T, ReadonlySet<string>>();
  for (const linking of linkings) {
    const { found, left } = await linking.link();
    if (isYoung(found, clock())) lefts.set(linking, left);
  }
  if (lefts.size === 0) return;
  waiting([...lefts.keys()]);
  const endMs = clock() + contestedMs;
  const contested = new Set<T>();
  while (lefts.size > 0) {
    await sleep(lookAgainMs, signal);
    for (const [linking, before] of lefts) {
      const { found, left } = await linking.link();
      if (before.size !== found.size || [...before].some((name) => !found.has(name))) contested.add(linking);
      if (!contested.has(linking) || clock() >= endMs) lefts.delete(linking);
      else lefts.set(linking, left);
    }
  }
}

/** A directory in it does not tell its age: it counts as old. */
const isYoung = (entries: ReadonlyMap<string, Entry>, nowMs: number): boolean =>
  [...entries.values()].every((entry) => entry.kind === "file" && nowMs - entry.linkedAtMs < youngMs);
