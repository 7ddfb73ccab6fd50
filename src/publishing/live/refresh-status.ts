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
  /** Whether the log has it, so that its end must be logged too. */
  isLogged: boolean;
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

  /**
   * Must be called when the failure of a survey is logged, so that its end is logged too.
   * @returns whether it must be logged, because it is the first one since the last success, or another one
   */
  noteLogged(path: TreePath): boolean {
    return this.#isNew(`look ${path}`);
  }

  /**
   * Records the outcome of an attempt to publish a suite.
   * @param failure undefined after a success
   * @returns whether the failure must be logged, because it is the first one since the last success, or another one
   */
  notePublishing(suite: Suite, failure: Error | undefined): boolean {
    this.#note(`publish ${suite}`, failure);
    return this.#isNew(`publish ${suite}`);
  }

  #isNew(about: string): boolean {
    const recorded = this.#failures.get(about);
    // Builders' directories are not recorded here.
    if (recorded === undefined) return true;
    const isNew = !recorded.isLogged;
    recorded.isLogged = true;
    return isNew;
  }

  #note(about: string, failure: Error | undefined, path?: TreePath): void {
    const before = this.#failures.get(about);
    this.#failures.delete(about);
    const text = failure && messageOf(failure);
    if (text !== undefined)
      this.#failures.set(about, { text, path, isLogged: before?.isLogged === true && before.text === text });
    else if (before?.isLogged === true)
      this.#log.info({ repository: this.#repository, about, after: before.text }, "up to date again");
  }
}
