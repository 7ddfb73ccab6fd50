// The list of kept publications as JSON. It is older than the API, and kept for scripts.
import type { KeptPublication, ServedRepository } from "../../publishing/served-repository.ts";

/** The list has this many publications of each suite, the newest ones, and all pinned ones. */
const maxListed = 1000;

/** The value of `snapshots/index.json`. */
export function snapshotsJson(repository: ServedRepository): object {
  const { rows, omitted } = newest(repository.snapshots(), maxListed);
  const snapshots = rows.map(({ suite, id, servedSeconds, isCurrent, pins }) => ({
    suite,
    id,
    servedSeconds,
    current: isCurrent,
    pins,
  }));
  return { snapshots, omitted };
}

/** @param kept grouped by suite, the newest first */
function newest(kept: Iterable<KeptPublication>, max: number) {
  const rows: KeptPublication[] = [];
  const counts = new Map<string, number>();
  let omitted = 0;
  for (const one of kept) {
    const count = counts.get(one.suite) ?? 0;
    counts.set(one.suite, count + 1);
    if (count < max || one.pins.length > 0) rows.push(one);
    else omitted += 1;
  }
  return { rows, omitted };
}
