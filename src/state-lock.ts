// One server to a state directory: a second one would serve what the first has swept away, and sign beside it.
import { open, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { messageOf, RepoError, systemCodeOf } from "./base/errors.ts";
import type { Log } from "./base/log.ts";

const socketName = "in-use";

/** Another server works in this state directory. */
class StateInUse extends RepoError {
  readonly code = "state/in-use";
}

/**
 * Claims a state directory for this process. A socket is the claim, because the system takes it back from the dead
 * whatever killed them, and containers that share a directory see each other's.
 * A file system without sockets takes no claim, which is only logged.
 * @returns gives the directory back
 * @throws StateInUse
 */
export async function claimState(directory: string, log: Log): Promise<() => Promise<void>> {
  const handle = await open(directory, "r");
  // A socket's path has room for some 100 characters only; on Linux this one is short whatever the directory's is.
  const path = process.platform === "linux" ? `/proc/self/fd/${handle.fd}/${socketName}` : join(directory, socketName);
  try {
    const server = createServer((socket) => socket.destroy());
    // The claim alone must not keep the process alive.
    server.unref();
    const listen = () =>
      new Promise<void>((resolve, reject) => {
        server.once("error", reject).listen(path, () => {
          server.off("error", reject);
          resolve();
        });
      });
    try {
      await listen();
    } catch (thrown) {
      if (systemCodeOf(thrown) !== "EADDRINUSE") throw thrown;
      if (await answers(path)) throw new StateInUse(`another server works in the state directory ${directory}`);
      await rm(path, { force: true });
      await listen();
    }
    return async () => {
      // Node unlinks the socket as it closes it.
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await handle.close();
    };
  } catch (thrown) {
    await handle.close();
    if (thrown instanceof StateInUse) throw thrown;
    log.warn({ directory, error: messageOf(thrown) }, "cannot make sure that no other server uses the state directory");
    return async () => {};
  }
}

/** Whether somebody listens on a socket: nobody does on one that was left by a killed server. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
