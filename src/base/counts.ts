// Counts by key, in maps that hold only what is counted: a key whose count comes to 0 is gone.

/** @param by may be negative */
export function addToCount<Key>(counts: Map<Key, number>, key: Key, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
