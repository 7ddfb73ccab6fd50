// Stores the last Date of each suite in a file beside the database, so that it survives the loss of the database:
// clients ignore a Release with an older Date.

import { readFileSync } from "node:fs";
import { messageOf, systemCodeOf } from "../../base/errors.ts";
import { parseJsonIntegers } from "../../base/json-integers.ts";
import type { Log } from "../../base/log.ts";
import { replaceFile } from "../../base/replace-file.ts";

/** The last Date of each suite of all repositories. */
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

  /** Opens the file. A missing or unreadable file counts as empty. */
  static open(file: string, log: Log): LastDates {
    try {
      return new LastDates(file, parseJsonIntegers(readFileSync(file, "utf8")), log);
    } catch (thrown) {
      if (systemCodeOf(thrown) !== "ENOENT")
        log.warn({ file, error: messageOf(thrown) }, "the last Dates could not be read");
      return new LastDates(file, new Map(), log);
    }
  }

  /**
   * @param suite the suite's name with the repository's name before it, which makes it unique
   * @returns seconds since the epoch
   */
  get(suite: string): number | undefined {
    return this.#seconds.get(suite);
  }

  /** Stores a Date. The write happens in the background, because the database contains the Date too. */
  keep(suite: string, seconds: number): void {
    this.#seconds.set(suite, seconds);
    this.#isChanged = true;
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Resolves when all pending Dates are on disk or their write has failed. */
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

/** The later of two times; either of them may be unknown. */
export const latest = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.max(a, b);
