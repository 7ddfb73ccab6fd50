// Reports each new publication of a suite to the observer, whatever caused it: a change, a rollback, or a renewal.
import type { PublishingObserver } from "../publishing-observer.ts";
import type { ServedSuite } from "./served-suite.ts";

/**
 * Runs a task, and reports the current publication of a suite if it is another one afterwards.
 * @returns the result of the task, and the seconds that it took if there is a new publication
 */
export async function reportPublication<T>(
  suite: ServedSuite,
  { observer, now }: { readonly observer: PublishingObserver; readonly now: () => number },
  task: () => Promise<T>,
): Promise<{ readonly result: T; readonly seconds: number | undefined }> {
  const begunMs = now();
  const before = suite.current?.id;
  const result = await task();
  if (suite.current === undefined || suite.current.id === before) return { result, seconds: undefined };
  const seconds = (now() - begunMs) / 1000;
  observer.published(suite.name, seconds);
  return { result, seconds };
}
