// Merges refresh requests: one run is active, at most one waits, and every caller gets the result of a run that began
// after its request.
import type { TreePath } from "../../base/names.ts";
import { coveringPath, parentPath, rootPath } from "../../base/names.ts";
import { SerialQueue } from "../../base/serial-queue.ts";

/** A run that waits. */
interface WaitingRun<Result> {
  readonly paths: Set<TreePath>;
  readonly done: Promise<Result>;
}

/** The maximum number of paths in a run, which bounds memory. Beyond it, one path stands for all. */
const maxPathsInRun = 1000;

export class RefreshQueue<Result> {
  readonly #refresh: (paths: readonly TreePath[]) => Promise<Result>;
  readonly #whole: TreePath;
  readonly #queue: SerialQueue;
  #waiting: WaitingRun<Result> | undefined;

  /**
   * @param refresh refreshes all these paths, none of which is within another; it is never called twice at once
   * @param whole the path that replaces more than `maxPathsInRun` paths
   * @param queue where the runs take their turn with other tasks
   */
  constructor(
    refresh: (paths: readonly TreePath[]) => Promise<Result>,
    whole: TreePath = rootPath,
    queue: SerialQueue = new SerialQueue(),
  ) {
    this.#refresh = refresh;
    this.#whole = whole;
    this.#queue = queue;
  }

  /** Resolves with the result of the run that covered this path. @throws the error of that run */
  request(path: TreePath): Promise<Result> {
    // Requests join the waiting run until it begins.
    if (this.#waiting !== undefined) {
      const { paths, done } = this.#waiting;
      paths.add(path);
      if (paths.size > maxPathsInRun) {
        paths.clear();
        paths.add(this.#whole);
      }
      return done;
    }
    const paths = new Set([path]);
    const done = this.#queue.run(() => {
      this.#waiting = undefined;
      return this.#refresh(withoutNested(paths));
    });
    this.#waiting = { paths, done };
    return done;
  }

  get isIdle(): boolean {
    return this.#queue.isIdle;
  }

  /** Resolves when nothing runs or waits. */
  async idle(): Promise<void> {
    await this.#queue.idle();
  }
}

/** Linear in the number of paths and in their depth. */
const withoutNested = (paths: ReadonlySet<TreePath>): TreePath[] =>
  [...paths].filter((path) => path === rootPath || coveringPath(parentPath(path), paths) === undefined);
