// A queue of surveys for each builder's directory, so that no builder waits for a survey of another one's directory.
import { setImmediate } from "node:timers/promises";
import { FairQueue } from "../../base/fair-queue.ts";
import type { TreePath } from "../../base/names.ts";
import { coveringPath } from "../../base/names.ts";
import { RefreshQueue } from "./refresh-queue.ts";

/** How many directories are surveyed at once. Their listings are in memory meanwhile. */
const concurrentSurveys = 64;

/** The result for each path of a run. */
type Results<Result> = ReadonlyMap<TreePath, Result>;

export class BuilderQueues<Result> {
  readonly #survey: (owner: TreePath, path: TreePath) => Promise<Result>;
  readonly #signal: AbortSignal;
  readonly #queues = new Map<TreePath, RefreshQueue<Results<Result>>>();
  readonly #slots = new FairQueue({ limit: concurrentSurveys });
  /** The present runs by owner. */
  readonly #running = new Map<TreePath, Promise<unknown>>();

  /**
   * @param survey surveys a path; it is never called twice at once for the same owner, and returns failures as results
   * @param signal aborts what is running
   */
  constructor(survey: (owner: TreePath, path: TreePath) => Promise<Result>, signal: AbortSignal) {
    this.#survey = survey;
    this.#signal = signal;
  }

  /**
   * Resolves with the result of a survey that began after this call and covered the path.
   * @see Refresher, whose `#survey` is the function that the queues call
   * @param owner the directory whose queue is used
   */
  async request(owner: TreePath, path: TreePath): Promise<Result> {
    const queue = this.#queues.get(owner) ?? this.#open(owner);
    const results = await queue.request(path).finally(() => this.#closeIfIdle(owner, queue));
    const result = results.get(coveringPath(path, results) ?? path);
    if (result === undefined) throw new Error(`a survey of ${owner} did not cover ${path}`);
    return result;
  }

  /** Resolves when the present run of an owner has ended, and its result has had its effects; undefined: none runs. */
  present(owner: TreePath): Promise<unknown> | undefined {
    return this.#running.get(owner);
  }

  /** Resolves when nothing runs or waits. */
  async idle(): Promise<void> {
    while (this.#queues.size > 0) await Promise.all([...this.#queues.values()].map((queue) => queue.idle()));
  }

  #open(owner: TreePath): RefreshQueue<Results<Result>> {
    const queue = new RefreshQueue<Results<Result>>((paths) => this.#run(owner, paths), owner);
    this.#queues.set(owner, queue);
    return queue;
  }

  #closeIfIdle(owner: TreePath, queue: RefreshQueue<Results<Result>>): void {
    if (queue.isIdle && this.#queues.get(owner) === queue) this.#queues.delete(owner);
  }

  async #run(owner: TreePath, paths: readonly TreePath[]): Promise<Results<Result>> {
    const run = this.#slots.run(owner, this.#signal, async () => {
      const results = new Map<TreePath, Result>();
      for (const path of paths) results.set(path, await this.#survey(owner, path));
      return results;
    });
    const ended = run.catch(() => undefined).then(() => setImmediate());
    this.#running.set(owner, ended);
    return await run.finally(() => this.#running.delete(owner));
  }
}
