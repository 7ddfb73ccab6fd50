// Keeps a tree's objects on their grid while the server runs: every so often each is checked and its leases are renewed.
import { readFile } from "node:fs/promises";
import { z } from "zod";
import type { Clock } from "../base/clock.ts";
import { codeOf, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { repeat } from "../base/repeat.ts";
import { replaceFile } from "../base/replace-file.ts";
import type { HealthCheck, HealthObserver } from "../storage/health.ts";
import type { Tree } from "../storage/tree.ts";
import { deepCheck } from "./deep-check.ts";

/** Storage servers that expire leases do so after 31 days: three rounds may fail before. */
export const defaultCheckSeconds = 7 * 24 * 3600;

/** Not at once: after a start the grid has indices to bring. */
const minFirstDelaySeconds = 300;
const delayAfterFailureSeconds = 3600;
/** Few, because APT waits for the same gateway. */
const concurrentChecks = 2;
/** How many objects that are not healthy a round names in the log; the metrics count them all. */
const maxNamedObjects = 100;

export interface HealthCheckScheduleOptions {
  readonly tree: Tree;
  readonly health: HealthCheck;
  /** From the end of one round to the next. */
  readonly checkSeconds: number;
  /** Remembers the last round over a restart. */
  readonly file: string;
  readonly observer: HealthObserver;
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

/** One repository's rounds, one after the other. */
export class HealthCheckSchedule {
  readonly #options: HealthCheckScheduleOptions;
  readonly #stopping = new AbortController();
  #rounds: Promise<void> = Promise.resolve();

  constructor(options: HealthCheckScheduleOptions) {
    this.#options = options;
  }

  /** The first round comes when it is due, and some minutes after the start at the earliest. */
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

  /** Abandons a round that is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the server stops"));
    await this.#rounds;
  }

  /** @returns when the next one is due, in seconds from now */
  async #runRound(): Promise<number> {
    const { tree, health, checkSeconds, file, observer, log, now } = this.#options;
    const { signal } = this.#stopping;
    let named = 0;
    try {
      const counts = await deepCheck(
        {
          tree,
          health,
          options: { verify: false, repair: false },
          concurrency: concurrentChecks,
          onChecked({ path, kind, health: { state, ...rest } }) {
            observer.checked(state);
            if (state !== "healthy" && ++named <= maxNamedObjects)
              log.warn({ path, kind, state, ...rest }, "not healthy");
          },
        },
        signal,
      );
      const endedAtSeconds = now() / 1000;
      observer.ended(counts, endedAtSeconds);
      log.info(counts, "every object was checked");
      await replaceFile(file, JSON.stringify({ endedAtSeconds, counts }));
      return checkSeconds;
    } catch (thrown) {
      if (!signal.aborted) {
        observer.failed();
        log.error({ code: codeOf(thrown), why: messageOf(thrown) }, "the objects could not be checked to the end");
      }
      return Math.min(checkSeconds, delayAfterFailureSeconds);
    }
  }

  /** @returns undefined where there is none, or none that can be read: then a round is due */
  async #readLast(): Promise<z.infer<typeof lastRound> | undefined> {
    try {
      return lastRound.parse(JSON.parse(await readFile(this.#options.file, "utf8")));
    } catch {
      return undefined;
    }
  }
}
