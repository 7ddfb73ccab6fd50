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
  #current: Promise<unknown> | undefined;
  #waiting: Run<Result> | undefined;

  /** @param refresh looks again at all these paths, of which none lies within another; never called twice at once */
  constructor(refresh: (paths: readonly TreePath[]) => Promise<Result>) {
    this.#refresh = refresh;
  }

  /** Resolves with the result of the run that covered this path, and rejects with that run's error. */
  request(path: TreePath): Promise<Result> {
    if (this.#waiting !== undefined) {
      this.#waiting.paths.push(path);
      return this.#waiting.done;
    }
    const paths = [path];
    const before = this.#current ?? Promise.resolve();
    const done = before.then(() => {
      this.#waiting = undefined;
      const run = this.#refresh(withoutNested(paths));
      this.#current = settled(run);
      return run;
    });
    // Until it runs, whoever asks meanwhile joins it; a run that nobody waits for must not end the server.
    this.#waiting = { paths, done };
    this.#current = settled(done);
    return done;
  }

  /** Resolves when nothing runs or waits. */
  async idle(): Promise<void> {
    while (this.#current !== undefined) {
      const current = this.#current;
      await current;
      if (current === this.#current) this.#current = undefined;
    }
  }
}

const settled = (promise: Promise<unknown>): Promise<unknown> => promise.catch(() => undefined);

function withoutNested(paths: readonly TreePath[]): TreePath[] {
  const unique = [...new Set(paths)];
  return unique.filter((path) => !unique.some((other) => other !== path && isWithin(path, other)));
}
