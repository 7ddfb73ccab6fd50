// The order of surveys: an earlier survey that takes longer must not overwrite the results of a later one.
import type { TreePath } from "../base/names.ts";
import { isWithin, parentPath, rootPath } from "../base/names.ts";

/**
 * The number of remembered paths. If there are more, the oldest is dropped, and an earlier survey of it could
 * overwrite newer results until the next survey.
 */
const maxApplied = 10_000;

interface AppliedSurvey {
  readonly surveyNumber: number;
  readonly unseen: ReadonlySet<TreePath>;
}

/** Numbers surveys, and tells for a survey which of its paths a later one has covered. */
export class SurveyOrder {
  #last = 0;
  /** The paths of running surveys by number, the earliest first. */
  readonly #running = new Map<number, TreePath>();
  /** Applied surveys by path, for as long as an earlier one that overlaps is running. */
  readonly #applied = new Map<TreePath, AppliedSurvey>();

  /** Call this before the first listing. @returns the survey's number; always pass it to `end` afterwards */
  begin(path: TreePath): number {
    this.#last += 1;
    this.#running.set(this.#last, path);
    return this.#last;
  }

  /** Call this when a survey has been applied or has failed. */
  end(surveyNumber: number): void {
    this.#running.delete(surveyNumber);
    const [earliest = Number.POSITIVE_INFINITY] = this.#running.keys();
    for (const [path, applied] of this.#applied) if (applied.surveyNumber < earliest) this.#applied.delete(path);
  }

  /**
   * Records that the catalog has applied a survey of a path, or is applying it.
   * @param unseen directories below the path that the survey did not list
   */
  applied(surveyNumber: number, path: TreePath, unseen: ReadonlySet<TreePath>): void {
    const overlaps = ([earlier, other]: readonly [number, TreePath]) =>
      earlier < surveyNumber && (isWithin(other, path) || isWithin(path, other));
    if (![...this.#running].some(overlaps)) return;
    if ((this.#applied.get(path)?.surveyNumber ?? 0) < surveyNumber) this.#applied.set(path, { surveyNumber, unseen });
    const [first] = this.#applied.keys();
    if (this.#applied.size > maxApplied && first !== undefined) this.#applied.delete(first);
  }

  /** @returns a function that tells whether a later applied survey covers a path */
  supersededBy(surveyNumber: number): (path: TreePath) => boolean {
    if (this.#applied.size === 0) return () => false;
    return (path) => {
      const above: TreePath[] = [];
      for (let at = path; ; at = parentPath(at)) {
        above.push(at);
        const applied = this.#applied.get(at);
        if (
          applied !== undefined &&
          applied.surveyNumber > surveyNumber &&
          !above.some((each) => applied.unseen.has(each))
        )
          return true;
        if (at === rootPath) return false;
      }
    };
  }
}
