// Changes that wait for a publication. Where there are many, each publication takes some of each builder's.
import type { TreePath } from "../../base/names.ts";
import { isWithin, parentPath } from "../../base/names.ts";
import type { FileChange } from "../../catalog/catalog.ts";

/** What one publication takes in. The first of a server takes in all. */
interface BatchLimits {
  readonly maxChanges: number;
  /** Of the stanzas that are new, in bytes. */
  readonly maxStanzaBytes: number;
}

/** Some two or three segments, which are compressed in half a second: so long others wait for the next publication. */
const defaultBatchLimits: BatchLimits = { maxChanges: 1024, maxStanzaBytes: 2 ** 20 };

export class NotedChanges {
  readonly #builderOf: (directory: TreePath) => TreePath | undefined;
  readonly #limits: BatchLimits;
  /** In the order in which they were noted: later changes of one path build on earlier ones. */
  readonly #waiting = new Map<TreePath, FileChange[]>();
  #batch: FileChange[] = [];

  /** @param builderOf whose directory a directory with files is, or lies in */
  constructor(builderOf: (directory: TreePath) => TreePath | undefined, limits = defaultBatchLimits) {
    this.#builderOf = builderOf;
    this.#limits = limits;
  }

  get isEmpty(): boolean {
    return this.#batch.length === 0 && this.#waiting.size === 0;
  }

  /** Whether something at or below a path waits. */
  has(path: TreePath): boolean {
    const isThere = (change: FileChange) => isWithin(change.path, path);
    return this.#batch.some(isThere) || [...this.#waiting.values()].some((changes) => changes.some(isThere));
  }

  add(changes: readonly FileChange[]): void {
    let [directory, queue]: [TreePath | undefined, FileChange[]] = [undefined, []];
    for (const change of changes) {
      if (directory !== parentPath(change.path)) {
        directory = parentPath(change.path);
        const builder = this.#builderOf(directory) ?? directory;
        queue = this.#waiting.get(builder) ?? [];
        this.#waiting.set(builder, queue);
      }
      queue.push(change);
    }
  }

  /**
   * The next changes to publish: those of the last batch once more, unless it is `done`, and as many others as there is
   * room for, of all builders alike.
   * @param all whether there is room for all
   */
  next(all: boolean): readonly FileChange[] {
    const queues = [...this.#waiting].map(([builder, changes]) => ({ builder, changes, taken: 0 }));
    const { maxChanges, maxStanzaBytes } = all ? unlimited : this.#limits;
    let stanzaBytes = this.#batch.reduce((sum, change) => sum + stanzaBytesOf(change), 0);
    const hasRoom = () => this.#batch.length < maxChanges && stanzaBytes < maxStanzaBytes;
    for (let open = queues; open.length > 0 && hasRoom(); ) {
      for (const queue of open) {
        const change = queue.changes[queue.taken];
        if (change === undefined || !hasRoom()) continue;
        queue.taken += 1;
        this.#batch.push(change);
        stanzaBytes += stanzaBytesOf(change);
      }
      open = open.filter(({ changes, taken }) => taken < changes.length);
    }
    for (const { builder, changes, taken } of queues) {
      if (taken === changes.length) this.#waiting.delete(builder);
      else if (taken > 0) {
        // Who was served goes behind who was not.
        this.#waiting.delete(builder);
        this.#waiting.set(builder, changes.slice(taken));
      }
    }
    return this.#batch;
  }

  /** The last batch was published. */
  done(): void {
    this.#batch = [];
  }
}

const unlimited: BatchLimits = { maxChanges: Number.POSITIVE_INFINITY, maxStanzaBytes: Number.POSITIVE_INFINITY };

function stanzaBytesOf({ after }: FileChange): number {
  const finding = after?.finding;
  return finding?.kind === "binary" || finding?.kind === "source" ? finding.stanzaBytes : 0;
}
