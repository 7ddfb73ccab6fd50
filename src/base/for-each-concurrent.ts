// Work on many things, a bounded number of them at a time: memory grows with the bound, not with the many.

/**
 * Calls `work` for each item, at most `limit` at once, and starts no more after the first failure.
 * @throws what `work` throws first, once all that was started has ended
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
