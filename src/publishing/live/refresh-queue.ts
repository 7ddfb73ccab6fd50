// Coalesces requests to look again: one run is under way, at most one waits, and everybody who asked gets the result of
// a run that began after the request.
import type { TreePath } from "../../base/names.ts";
import { coveringPath, parentPath, rootPath } from "../../base/names.ts";

/** A run that waits: its paths, none of them twice. */
interface WaitingRun<Result> {
  readonly paths: Set<TreePath>;
  readonly done: Promise<Result>;
}

/** A run has no more paths than these: a bound on memory. Where more are asked for, one path stands for all. */
const maxPathsInRun = 1000;

export class RefreshQueue<Result> {
  readonly #refresh: (paths: readonly TreePath[]) => Promise<Result>;
  readonly #whole: TreePath;
  /** Resolves when all that was asked for so far is done. */
  #tail: Promise<unknown> = Promise.resolve();
  #waiting: WaitingRun<Result> | undefined;
  /** How many runs and other tasks are under way or wait. */
  #tasks = 0;

  /**
   * @param refresh looks again at all these paths, of which none lies within another; never called twice at once
   * @param whole what is looked at in place of more than `maxPathsInRun` paths
   */
  constructor(refresh: (paths: readonly TreePath[]) => Promise<Result>, whole: TreePath = rootPath) {
    this.#refresh = refresh;
    this.#whole = whole;
  }

  /** Resolves with the result of the run that covered this path, and rejects with that run's error. */
  request(path: TreePath): Promise<Result> {
    // Until it runs, whoever asks meanwhile joins it.
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
    const done = this.alone(() => {
      this.#waiting = undefined;
      return this.#refresh(withoutNested(paths));
    });
    this.#waiting = { paths, done };
    return done;
  }

  /** Runs something else in its turn, while nothing is refreshed. */
  alone<T>(task: () => Promise<T>): Promise<T> {
    this.#tasks += 1;
    const done = this.#tail.then(task).finally(() => {
      this.#tasks -= 1;
    });
    // A run that nobody waits for must not end the server.
    this.#tail = done.catch(() => undefined);
    return done;
  }

  get isIdle(): boolean {
    return this.#tasks === 0;
  }

  /** Resolves when nothing runs or waits. */
  async idle(): Promise<void> {
    let seen: Promise<unknown> | undefined;
    while (seen !== this.#tail) {
      seen = this.#tail;
      await seen;
    }
  }
}

/** The work is proportional to the number of paths, and to how deep they lie. */
const withoutNested = (paths: ReadonlySet<TreePath>): TreePath[] =>
  [...paths].filter((path) => path === rootPath || coveringPath(parentPath(path), paths) === undefined);
