// Changes that are not published yet. If there are very many, each publication contains some of every builder's.
import type { TreePath } from "../../base/names.ts";
import { isWithin, parentPath } from "../../base/names.ts";
import type { FileChange } from "../../catalog/catalog.ts";

/** The maximum size of the changes in one publication. The first publication after a start has no such limit. */
interface BatchLimits {
  readonly maxChanges: number;
  /** The total size of new stanzas, in bytes. */
  readonly maxStanzaBytes: number;
}

/**
 * About three segments, which are compressed in half a second. Later changes wait that long for the next publication.
 */
const defaultBatchLimits: BatchLimits = { maxChanges: 1024, maxStanzaBytes: 2 ** 20 };

export class UnpublishedChanges {
  readonly #builderOf: (directory: TreePath) => TreePath | undefined;
  readonly #limits: BatchLimits;
  /** By builder, in the order in which they were added: later changes of a path build on earlier ones. */
  readonly #waiting = new Map<TreePath, FileChange[]>();
  #batch: FileChange[] = [];

  /** @param builderOf returns the builder's directory that a directory is or is in */
  constructor(builderOf: (directory: TreePath) => TreePath | undefined, limits = defaultBatchLimits) {
    this.#builderOf = builderOf;
    this.#limits = limits;
  }

  get isEmpty(): boolean {
    return this.#batch.length === 0 && this.#waiting.size === 0;
  }

  /**
   * Remembers the changes at or below a path that wait now. Later ones do not count: where builders upload all the time,
   * there are always some.
   * @returns a function that tells, between publications, whether any of them still waits
   */
  waitingWithin(path: TreePath): () => boolean {
    const last = [...this.#waiting].flatMap(([builder, changes]) => {
      const change = changes.findLast((each) => isWithin(each.path, path));
      return change === undefined ? [] : [{ builder, change }];
    });
    return () => last.some(({ builder, change }) => this.#waiting.get(builder)?.includes(change) === true);
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
   * Returns the changes to publish next: those of the last batch again if it is not `done`, and as many others as fit,
   * the same number of each builder.
   * @param all whether the limits are ignored
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
        // Builders whose changes are in this batch go to the end of the queue.
        this.#waiting.delete(builder);
        this.#waiting.set(builder, changes.slice(taken));
      }
    }
    return this.#batch;
  }

  /** To be called when the last batch is published. */
  done(): void {
    this.#batch = [];
  }
}

const unlimited: BatchLimits = { maxChanges: Number.POSITIVE_INFINITY, maxStanzaBytes: Number.POSITIVE_INFINITY };

function stanzaBytesOf({ after }: FileChange): number {
  const finding = after?.finding;
  return finding?.kind === "binary" || finding?.kind === "source" ? finding.stanzaBytes : 0;
}
