// Keeps a site of plain files up to date with a repository in service: after each publication, one export at a time.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sleep } from "./base/abort.ts";
import type { Clock } from "./base/clock.ts";
import { messageOf } from "./base/errors.ts";
import type { Log } from "./base/log.ts";
import type { Repository } from "./publishing/repository.ts";
import { exportSite } from "./publishing/site-export.ts";

export interface SiteKeeperParts {
  readonly repository: Repository;
  /** The site's root. */
  readonly directory: string;
  readonly keepSeconds: number;
  /** Told of each export: how long it took, or that it failed. */
  readonly observer: { exported(seconds: number): void; exportFailed(): void };
  readonly log: Log;
  readonly now: Clock;
}

/** From a failed export to the next try. */
const retryMs = 60_000;

export class SiteKeeper {
  readonly #parts: SiteKeeperParts;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #wanted = false;

  constructor(parts: SiteKeeperParts) {
    this.#parts = parts;
  }

  /** Something was published. What is asked for while an export runs is done by one more. */
  request(): void {
    this.#wanted = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Abandons what is under way; the site stays whole. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the server stops"));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (this.#wanted && !signal.aborted) {
      this.#wanted = false;
      const well = await this.#export();
      if (well || signal.aborted) continue;
      this.#wanted = true;
      await sleep(retryMs, signal).catch(() => undefined);
    }
  }

  async #export(): Promise<boolean> {
    const { repository, directory, keepSeconds, observer, log, now } = this.#parts;
    const begunMs = now();
    try {
      const options = { directory, keepSeconds, now, signal: this.#stopping.signal };
      const { switched, packagesWritten } = await exportSite(repository, options);
      await writeFile(join(directory, "key.asc"), repository.key.armored);
      observer.exported((now() - begunMs) / 1000);
      if (switched.length > 0) log.info({ repository: repository.name, switched, packagesWritten }, "exported");
      return true;
    } catch (thrown) {
      if (!this.#stopping.signal.aborted) {
        observer.exportFailed();
        log.error({ repository: repository.name, err: thrown }, `could not be exported: ${messageOf(thrown)}`);
      }
      return false;
    }
  }
}
