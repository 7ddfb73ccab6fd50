// Runs an export after each publication of a repository, one run at a time.

import { sleep } from "../base/abort.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { RepositoryName } from "../base/names.ts";
import { RepeatedFailures } from "../base/repeated-failures.ts";

/** Receives the duration or the failure of each run. */
export interface ExportObserver {
  done(seconds: number): void;
  failed(): void;
}

export interface ExportAfterPublishOptions {
  readonly repository: RepositoryName;
  /** The participle of the action, for the log and the metrics, for example `exported`. */
  readonly done: string;
  /** Whether this server, of all replicas, exports now. */
  readonly isOurs: () => boolean;
  /** The export. @returns the changes, for the log; undefined if there are none */
  readonly work: (signal: AbortSignal) => Promise<object | undefined>;
  readonly observer: ExportObserver;
  readonly log: Log;
  readonly now: Clock;
}

/** The time from a failed run to the next one. */
const retryMs = 60_000;

export class ExportAfterPublish {
  readonly #options: ExportAfterPublishOptions;
  readonly #stopping = new AbortController();
  readonly #failures = new RepeatedFailures();
  #running: Promise<void> | undefined;
  #isRequested = false;

  constructor(options: ExportAfterPublishOptions) {
    this.#options = options;
  }

  /** Requests a run. Requests during a run are merged into one more run. */
  request(): void {
    if (!this.#options.isOurs()) return;
    this.#isRequested = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      // It may have been requested again since the run has looked last.
      if (this.#isRequested && !this.#stopping.signal.aborted) this.request();
    });
  }

  /** Aborts the run. The files that it has written stay consistent. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the server stops"));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (this.#isRequested && !signal.aborted && this.#options.isOurs()) {
      this.#isRequested = false;
      if ((await this.#work()) || signal.aborted) continue;
      this.#isRequested = true;
      await sleep(retryMs, signal).catch(() => undefined);
    }
  }

  async #work(): Promise<boolean> {
    const { repository, done, isOurs, work, observer, log, now } = this.#options;
    const begunMs = now();
    try {
      const changed = await work(this.#stopping.signal);
      observer.done((now() - begunMs) / 1000);
      const hadFailed = this.#failures.succeeded(done);
      if (changed !== undefined || hadFailed) log.info({ repository, ...changed }, done);
      return true;
    } catch (thrown) {
      // Another replica has taken over.
      if (!isOurs()) return true;
      if (!this.#stopping.signal.aborted) {
        observer.failed();
        if (this.#failures.isNew(done, thrown))
          log.error({ repository, err: thrown }, `could not be ${done}: ${messageOf(thrown)}`);
      }
      return false;
    }
  }
}
