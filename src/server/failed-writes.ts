// Keeps a server running while nothing can be written to its state directory.
import type { Log } from "../base/log.ts";

/**
 * Logs unhandled promise rejections, which would otherwise end the process. A full disk fails a commit of lmdb, which
 * then rejects promises of its own that no caller can handle. Callers see the failure in the promises of their writes,
 * and publications stay served.
 */
export function outliveFailedWrites(log: Log): void {
  process.on("unhandledRejection", (reason) => {
    // It may come from a library that quotes a URL with a cap.
    log.error({ err: reason }, "unhandled promise rejection");
  });
}
