// Work on many items with bounded concurrency: memory use depends on the bound, not on the number of items.

/**
 * Calls `work` for each item, at most `limit` at a time, and starts no more calls after the first failure.
 * @throws the first error of `work`, once all started calls have ended
 */
export async function forEachConcurrent<T>(
  items: Iterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = items[Symbol.iterator]();
  let failed: { readonly thrown: unknown } | undefined;
  async function take(): Promise<void> {
    for (let next = waiting.next(); !next.done && failed === undefined; next = waiting.next()) {
      try {
        await work(next.value);
      } catch (thrown) {
        failed ??= { thrown };
      }
    }
  }
  await Promise.all(Array.from({ length: limit }, take));
  if (failed !== undefined) throw failed.thrown;
}
