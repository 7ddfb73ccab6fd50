// What keeps a server up while its state directory takes no more.
import type { Log } from "./base/log.ts";

/**
 * A full disk fails a commit of lmdb's, and with it promises that lmdb alone holds: they would end the process. Who
 * waits for a write is told by its own promise; what is published stays served.
 */
export function outliveFailedWrites(log: Log): void {
  process.on("unhandledRejection", (reason) => log.error({ err: reason }, "unhandled promise rejection"));
}
