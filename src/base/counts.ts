// Counts by key. A map contains only counts other than 0.

/** @param by may be negative */
export function addToCount<Key>(counts: Map<Key, number>, key: Key, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
