// Coalesces wishes to look again: one refresh runs, at most one waits, and every asker gets the answer of a run that
// began after it asked.
import type { TreePath } from "../base/names.ts";
import { isWithin } from "../base/names.ts";

/** What one run brought. */
interface Run<Result> {
  readonly paths: TreePath[];
  readonly done: Promise<Result>;
}

export class RefreshQueue<Result> {
  readonly #refresh: (paths: readonly TreePath[]) => Promise<Result>;
  /** Resolves when all that was asked for so far is done. */
  #tail: Promise<unknown> = Promise.resolve();
  #waiting: Run<Result> | undefined;

  /** @param refresh looks again at all these paths, of which none lies within another; never called twice at once */
  constructor(refresh: (paths: readonly TreePath[]) => Promise<Result>) {
    this.#refresh = refresh;
  }

  /** Resolves with the result of the run that covered this path, and rejects with that run's error. */
  request(path: TreePath): Promise<Result> {
    // Until it runs, whoever asks meanwhile joins it.
    if (this.#waiting !== undefined) {
      this.#waiting.paths.push(path);
      return this.#waiting.done;
    }
    const paths = [path];
    const done = this.alone(() => {
      this.#waiting = undefined;
      return this.#refresh(withoutNested(paths));
    });
    this.#waiting = { paths, done };
    return done;
  }

  /** Runs something else in its turn, while nothing is refreshed. */
  alone<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#tail.then(task);
    // A run that nobody waits for must not end the server.
    this.#tail = done.catch(() => undefined);
    return done;
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

function withoutNested(paths: readonly TreePath[]): TreePath[] {
  const unique = [...new Set(paths)];
  return unique.filter((path) => !unique.some((other) => other !== path && isWithin(path, other)));
}
