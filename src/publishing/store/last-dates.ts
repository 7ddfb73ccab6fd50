// The last Date of each suite, in a file beside the database: clients ignore an older one, so it outlives the database.
import { readFileSync } from "node:fs";
import { messageOf, systemCodeOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { replaceFile } from "../../base/replace-file.ts";

export class LastDates {
  readonly #file: string;
  readonly #log: Log;
  readonly #seconds: Map<string, number>;
  #writing: Promise<void> | undefined;
  #isChanged = false;

  private constructor(file: string, seconds: Map<string, number>, log: Log) {
    this.#file = file;
    this.#seconds = seconds;
    this.#log = log;
  }

  /** A file that is not there, or that can't be read, says nothing. */
  static open(file: string, log: Log): LastDates {
    try {
      const known: unknown = JSON.parse(readFileSync(file, "utf8"));
      const entries = Object.entries(known ?? {}).filter((entry): entry is [string, number] =>
        Number.isSafeInteger(entry[1]),
      );
      return new LastDates(file, new Map(entries), log);
    } catch (thrown) {
      if (systemCodeOf(thrown) !== "ENOENT")
        log.warn({ file, error: messageOf(thrown) }, "the last Dates are not known");
      return new LastDates(file, new Map(), log);
    }
  }

  /** @param suite with its repository's name, which no two share @returns seconds since the epoch */
  get(suite: string): number | undefined {
    return this.#seconds.get(suite);
  }

  /** Remembers a Date, soon also on disk: nobody waits for that, since the database has it too. */
  keep(suite: string, seconds: number): void {
    this.#seconds.set(suite, seconds);
    this.#isChanged = true;
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Resolves when what was to be remembered is on disk, or could not be written. */
  async written(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    while (this.#isChanged) {
      this.#isChanged = false;
      try {
        await replaceFile(this.#file, `${JSON.stringify(Object.fromEntries(this.#seconds))}\n`, { mode: 0o600 });
      } catch (thrown) {
        this.#log.warn({ file: this.#file, error: messageOf(thrown) }, "the last Dates could not be written");
      }
    }
  }
}

/** The later of two times, either of which may be unknown. */
export const latest = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.max(a, b);
