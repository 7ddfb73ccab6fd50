// Logs once when the tree of a repository cannot be read any more, and once when it can be read again.
import type { Clock } from "../../base/clock.ts";
import { codeOf, messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { RepositoryName, StateName } from "../../base/names.ts";

/** A repository and the flat ones in its tree share it. */
export class TreeOutage {
  readonly #repository: RepositoryName;
  readonly #log: Log;
  readonly #now: Clock;
  /** Those that could not list the tree at their last attempt. */
  readonly #affected = new Set<StateName>();
  #sinceMs = 0;

  constructor(repository: RepositoryName, log: Log, now: Clock) {
    this.#repository = repository;
    this.#log = log;
    this.#now = now;
  }

  /** Whether the tree cannot be read, so that a failure of one of its paths says nothing about that path. */
  get isAway(): boolean {
    return this.#affected.size > 0;
  }

  /**
   * Must be called when another configuration of the repository replaces the present one, with other flat repositories.
   * An outage goes on until `to` lists the tree.
   * @returns this outage
   */
  handOver(to: StateName): TreeOutage {
    if (this.isAway) {
      this.#affected.clear();
      this.#affected.add(to);
    }
    return this;
  }

  /** Must be called when the tree could not be listed. */
  noteFailure(by: StateName, thrown: unknown): void {
    const isNew = !this.isAway;
    this.#affected.add(by);
    if (!isNew) return;
    this.#sinceMs = this.#now();
    const context = { repository: this.#repository, code: codeOf(thrown), reason: messageOf(thrown) };
    this.#log.error(context, "the tree is away: what was published is still served");
  }

  /** Must be called when the tree was listed. */
  noteSuccess(by: StateName): void {
    if (!this.#affected.delete(by) || this.isAway) return;
    const awaySeconds = (this.#now() - this.#sinceMs) / 1000;
    this.#log.info({ repository: this.#repository, awaySeconds }, "the tree is back");
  }
}
