// Waiting for work, but not for ever.

/** @returns whether the work has ended by then, be it with a failure; it goes on if not */
export async function endsWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const later = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, ms), false);
  });
  const ended = work.then(
    () => true,
    () => true,
  );
  return await Promise.race([ended, later]).finally(() => clearTimeout(timer));
}
