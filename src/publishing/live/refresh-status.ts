// Records which refreshes of a repository have failed, and whether the whole tree was seen.
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { StateName, Suite, TreePath } from "../../base/names.ts";
import { coveringPath, isWithin } from "../../base/names.ts";

/** A failure after which no attempt has succeeded yet. */
interface RecordedFailure {
  readonly text: string;
  /** The path that could not be surveyed; undefined if publishing failed. */
  readonly path: TreePath | undefined;
}

export class RefreshStatus {
  readonly #repository: StateName;
  readonly #log: Log;
  /** The last failure of each path and of each suite, until an attempt succeeds. */
  readonly #failures = new Map<string, RecordedFailure>();
  #sawWholeTree = false;

  constructor(repository: StateName, log: Log) {
    this.#repository = repository;
    this.#log = log;
  }

  /** Whether the whole tree was surveyed since the start and nothing is left that failed. */
  get sawWholeTree(): boolean {
    return this.#sawWholeTree;
  }

  /** The message of the most recent failure; undefined if there is none. */
  get lastError(): string | undefined {
    return [...this.#failures.values()].at(-1)?.text;
  }

  /** To be called when a refresh of the whole tree has ended. @returns whether nothing is left that failed */
  noteWholeTree(): boolean {
    if (this.#failures.size > 0) return false;
    this.#sawWholeTree = true;
    return true;
  }

  /**
   * Records the outcome of a survey.
   * @param failure undefined after a success
   * @param separate directories below the path that are surveyed separately
   */
  noteSurvey(path: TreePath, failure: Error | undefined, separate: ReadonlyMap<TreePath, unknown>): void {
    if (failure === undefined) {
      for (const [key, { path: other }] of this.#failures) {
        const isCovered = other !== undefined && other !== path && isWithin(other, path);
        if (isCovered && coveringPath(other, separate) === undefined) this.#note(key, undefined);
      }
    }
    this.#note(`look ${path}`, failure, path);
  }

  /** Records the outcome of an attempt to publish a suite. @param failure undefined after a success */
  notePublishing(suite: Suite, failure: Error | undefined): void {
    this.#note(`publish ${suite}`, failure);
  }

  #note(about: string, failure: Error | undefined, path?: TreePath): void {
    const before = this.#failures.get(about)?.text;
    this.#failures.delete(about);
    if (failure !== undefined) this.#failures.set(about, { text: messageOf(failure), path });
    else if (before !== undefined)
      this.#log.info({ repository: this.#repository, about, after: before }, "up to date again");
  }
}
