// Follows the publications of a repository in service with work of its own: after each of them, one run at a time.
import { sleep } from "../base/abort.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { RepositoryName } from "../base/names.ts";

/** Told of each run: how long it took, or that it failed. */
export interface ExportObserver {
  done(seconds: number): void;
  failed(): void;
}

export interface ExportAfterPublishOptions {
  readonly repository: RepositoryName;
  /** What it does, for the log, e.g. `exported`. */
  readonly done: string;
  /** @returns what it changed, for the log; undefined if nothing */
  readonly work: (signal: AbortSignal) => Promise<object | undefined>;
  readonly observer: ExportObserver;
  readonly log: Log;
  readonly now: Clock;
}

/** From a failed run to the next try. */
const retryMs = 60_000;

export class ExportAfterPublish {
  readonly #parts: ExportAfterPublishOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #wanted = false;

  constructor(parts: ExportAfterPublishOptions) {
    this.#parts = parts;
  }

  /** Something was published. What is asked for while the work is under way is done by one more run. */
  request(): void {
    this.#wanted = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Abandons what is under way; what it writes stays whole. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the server stops"));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (this.#wanted && !signal.aborted) {
      this.#wanted = false;
      if ((await this.#work()) || signal.aborted) continue;
      this.#wanted = true;
      await sleep(retryMs, signal).catch(() => undefined);
    }
  }

  async #work(): Promise<boolean> {
    const { repository, done, work, observer, log, now } = this.#parts;
    const begunMs = now();
    try {
      const changed = await work(this.#stopping.signal);
      observer.done((now() - begunMs) / 1000);
      if (changed !== undefined) log.info({ repository, ...changed }, done);
      return true;
    } catch (thrown) {
      if (!this.#stopping.signal.aborted) {
        observer.failed();
        log.error({ repository, err: thrown }, `could not be ${done}: ${messageOf(thrown)}`);
      }
      return false;
    }
  }
}
