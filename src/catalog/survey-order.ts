// The order of looks at the tree: what a later look has seen is not undone by an earlier one that took longer.
import type { TreePath } from "../base/names.ts";
import { isWithin, parentPath, rootPath } from "../base/names.ts";

/** So many paths are remembered: of the first among more, an earlier look would undo what was seen, until the next. */
const maxApplied = 10_000;

interface AppliedSurvey {
  readonly look: number;
  readonly untold: ReadonlySet<TreePath>;
}

export class SurveyOrder {
  #last = 0;
  /** The paths of looks under way by number, the earliest first. */
  readonly #underWay = new Map<number, TreePath>();
  /** By the path of a look that was taken in, as long as an earlier one that overlaps is under way. */
  readonly #applied = new Map<TreePath, AppliedSurvey>();

  /** To be called before the first listing. @returns the look's number, to be given to `end` in every case */
  begin(path: TreePath): number {
    this.#last += 1;
    this.#underWay.set(this.#last, path);
    return this.#last;
  }

  end(look: number): void {
    this.#underWay.delete(look);
    const [earliest = Number.POSITIVE_INFINITY] = this.#underWay.keys();
    for (const [path, taken] of this.#applied) if (taken.look < earliest) this.#applied.delete(path);
  }

  /**
   * What this look has seen at and below a path is in the catalog, or will be.
   * @param untold directories below the path of which it tells nothing
   */
  applied(look: number, path: TreePath, untold: ReadonlySet<TreePath>): void {
    const overlaps = ([earlier, other]: readonly [number, TreePath]) =>
      earlier < look && (isWithin(other, path) || isWithin(path, other));
    if (![...this.#underWay].some(overlaps)) return;
    if ((this.#applied.get(path)?.look ?? 0) < look) this.#applied.set(path, { look, untold });
    const [first] = this.#applied.keys();
    if (this.#applied.size > maxApplied && first !== undefined) this.#applied.delete(first);
  }

  /** Whether a later look was taken in that covers a path. */
  supersededBy(look: number): (path: TreePath) => boolean {
    if (this.#applied.size === 0) return () => false;
    return (path) => {
      const above: TreePath[] = [];
      for (let at = path; ; at = parentPath(at)) {
        above.push(at);
        const taken = this.#applied.get(at);
        if (taken !== undefined && taken.look > look && !above.some((each) => taken.untold.has(each))) return true;
        if (at === rootPath) return false;
      }
    };
  }
}
