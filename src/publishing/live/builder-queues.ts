// A queue of looks for each builder's directory: nobody waits for a look at another's.
import { FairQueue } from "../../base/fair-queue.ts";
import type { TreePath } from "../../base/names.ts";
import { coveringPath } from "../../base/names.ts";
import { RefreshQueue } from "./refresh-queue.ts";

/** How many directories are looked at at once: what their listings hold is in memory meanwhile. */
const concurrentLooks = 64;

/** What became of each path of a run. */
type Results<Result> = ReadonlyMap<TreePath, Result>;

export class BuilderQueues<Result> {
  readonly #look: (owner: TreePath, path: TreePath) => Promise<Result>;
  readonly #signal: AbortSignal;
  readonly #queues = new Map<TreePath, RefreshQueue<Results<Result>>>();
  readonly #slots = new FairQueue({ limit: concurrentLooks });

  /**
   * @param look looks at a path of an owner; never called twice at once for the same owner; failures are results
   * @param signal ends what is under way
   */
  constructor(look: (owner: TreePath, path: TreePath) => Promise<Result>, signal: AbortSignal) {
    this.#look = look;
    this.#signal = signal;
  }

  /**
   * Resolves with the result of a look that began after this and covered the path.
   * @param owner the directory whose queue it is
   */
  async request(owner: TreePath, path: TreePath): Promise<Result> {
    const queue = this.#queues.get(owner) ?? this.#open(owner);
    const results = await queue.request(path).finally(() => this.#closeIfIdle(owner, queue));
    const result = results.get(coveringPath(path, results) ?? path);
    if (result === undefined) throw new Error(`a look at ${owner} did not cover ${path}`);
    return result;
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
    return await this.#slots.run(owner, this.#signal, async () => {
      const results = new Map<TreePath, Result>();
      for (const path of paths) results.set(path, await this.#look(owner, path));
      return results;
    });
  }
}
