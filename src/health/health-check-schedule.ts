// Checks all objects of a tree periodically while the server runs, and renews their leases, so that storage servers do
// not delete them.
import { readFile } from "node:fs/promises";
import { z } from "zod";
import type { Clock } from "../base/clock.ts";
import { codeOf, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { repeat } from "../base/repeat.ts";
import { RepeatedFailures } from "../base/repeated-failures.ts";
import { replaceFile } from "../base/replace-file.ts";
import type { HealthCheck, HealthObserver } from "../storage/health.ts";
import type { Tree } from "../storage/tree.ts";
import { deepCheck } from "./deep-check.ts";

/** Storage servers that expire leases do so after 31 days by default, so three rounds may fail. */
export const defaultCheckSeconds = 7 * 24 * 3600;

/** A delay after the start, when the server reads from the grid to build indices. */
const minFirstDelaySeconds = 300;
const delayAfterFailureSeconds = 3600;
/** Few, because requests of APT use the same gateway. */
const concurrentChecks = 2;
/** The number of unhealthy objects that one round logs; the metrics count all. */
const maxLoggedObjects = 100;

/** Collaborators and settings of the schedule. */
export interface HealthCheckScheduleOptions {
  readonly tree: Tree;
  readonly health: HealthCheck;
  /** The time from the end of one round to the start of the next. */
  readonly checkSeconds: number;
  /** The path of a file that stores the result of the last round. */
  readonly file: string;
  readonly observer: HealthObserver;
  /** Whether this server, of all replicas, makes the rounds now. */
  readonly isOurs: () => boolean;
  readonly log: Log;
  readonly now: Clock;
}

const lastRound = z.object({
  endedAtSeconds: z.number().nonnegative(),
  counts: z.object({
    healthy: z.number(),
    unhealthy: z.number(),
    lost: z.number(),
    unchecked: z.number(),
    repaired: z.number(),
    renewed: z.number(),
  }),
});

/** The rounds of one repository, one at a time. */
export class HealthCheckSchedule {
  readonly #options: HealthCheckScheduleOptions;
  readonly #stopping = new AbortController();
  readonly #failures = new RepeatedFailures();
  #rounds: Promise<void> = Promise.resolve();

  constructor(options: HealthCheckScheduleOptions) {
    this.#options = options;
  }

  /** Schedules the first round for when it is due, but not before some minutes after the start. */
  async start(): Promise<void> {
    const { checkSeconds, observer, now } = this.#options;
    const last = await this.#readLast();
    if (last !== undefined) observer.ended(last.counts, last.endedAtSeconds);
    const dueInSeconds = last === undefined ? 0 : last.endedAtSeconds + checkSeconds - now() / 1000;
    const firstDelaySeconds = Math.min(checkSeconds, Math.max(minFirstDelaySeconds, dueInSeconds));
    this.#rounds = repeat(async () => (await this.#runRound()) * 1000, {
      firstDelayMs: firstDelaySeconds * 1000,
      signal: this.#stopping.signal,
    });
  }

  /** Aborts a running round, and waits for its end. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the server stops"));
    await this.#rounds;
  }

  /** @returns the time in seconds until the next round */
  async #runRound(): Promise<number> {
    const { tree, health, checkSeconds, file, observer, isOurs, log, now } = this.#options;
    const { signal } = this.#stopping;
    if (!isOurs()) return Math.min(checkSeconds, delayAfterFailureSeconds);
    let logged = 0;
    try {
      const counts = await deepCheck(
        {
          tree,
          health,
          options: { verify: false, repair: false },
          concurrency: concurrentChecks,
          onChecked({ path, kind, health: { state, ...rest } }) {
            observer.checked(state);
            if (state !== "healthy" && ++logged <= maxLoggedObjects)
              log.warn({ path, kind, state, ...rest }, "not healthy");
          },
        },
        signal,
      );
      const endedAtSeconds = now() / 1000;
      observer.ended(counts, endedAtSeconds);
      this.#failures.succeeded("check");
      log.info(counts, "all objects checked");
      await replaceFile(file, JSON.stringify({ endedAtSeconds, counts }));
      return checkSeconds;
    } catch (thrown) {
      if (!signal.aborted) {
        observer.failed();
        if (this.#failures.isNew("check", thrown))
          log.error({ code: codeOf(thrown), why: messageOf(thrown) }, "object check failed");
      }
      return Math.min(checkSeconds, delayAfterFailureSeconds);
    }
  }

  /** @returns undefined if there is none, or it cannot be read: then a round is due */
  async #readLast(): Promise<z.infer<typeof lastRound> | undefined> {
    try {
      return lastRound.parse(JSON.parse(await readFile(this.#options.file, "utf8")));
    } catch {
      return undefined;
    }
  }
}
