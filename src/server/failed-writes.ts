// What keeps a server up while its state directory takes no more.
import type { Log } from "../base/log.ts";
import { stackWithoutCaps } from "../http/error-responses.ts";

/**
 * A full disk fails a commit of lmdb's, and with it promises that lmdb alone holds: they would end the process. Who
 * waits for a write is told by its own promise; what is published stays served.
 */
export function outliveFailedWrites(log: Log): void {
  process.on("unhandledRejection", (reason) => {
    // It may come from anywhere, also from a library that quotes a URL with a cap in it.
    log.error({ error: stackWithoutCaps(reason) }, "unhandled promise rejection");
  });
}
