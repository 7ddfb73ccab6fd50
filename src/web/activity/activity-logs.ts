// The activity logs of all repositories of a server, by name. They outlive a change of the configuration.
import { join } from "node:path";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { ActivityLog } from "./activity-log.ts";

export class ActivityLogs {
  readonly #logs = new Map<string, ActivityLog>();
  readonly #options: { readonly log: Log; readonly now: Clock };

  constructor(options: { readonly log: Log; readonly now: Clock }) {
    this.#options = options;
  }

  /**
   * Returns the log of a repository, which is read from its file first.
   * @param directory the repository's directory in the state directory
   */
  open(name: string, directory: string): ActivityLog {
    const known = this.#logs.get(name);
    if (known !== undefined) return known;
    const opened = new ActivityLog({ ...this.#options, file: join(directory, "activity.json") });
    this.#logs.set(name, opened);
    return opened;
  }

  /** Counts requests. @param mount the first name of their paths, which may be that of a repository */
  answered(mount: string | undefined, requestClass: string, count?: number): void {
    if (mount !== undefined) this.#logs.get(mount)?.answered(requestClass, count);
  }

  /** Ends the log of a repository that is no longer served. */
  async close(name: string): Promise<void> {
    const closed = this.#logs.get(name);
    this.#logs.delete(name);
    await closed?.stop();
  }

  /** Writes all files. */
  async stop(): Promise<void> {
    await Promise.all([...this.#logs.keys()].map((name) => this.close(name)));
  }
}
