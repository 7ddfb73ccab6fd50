// Waiting for work with a time limit.

/** @returns whether the work has ended in time, with or without an error; if not, it continues */
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
