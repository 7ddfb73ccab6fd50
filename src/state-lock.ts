// One server to a state directory: a second one would serve what the first has swept away, and sign beside it. Whoever
// may write there can talk to it.
import type { FileHandle } from "node:fs/promises";
import { chmod, open, rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { messageOf, RepoError, systemCodeOf } from "./base/errors.ts";
import type { Log } from "./base/log.ts";

const socketName = "in-use";
/** The longest question, in bytes. */
const maxQuestionBytes = 64 * 1024;

/** Another server works in this state directory. */
class StateInUse extends RepoError {
  readonly code = "state/in-use";
}

/** Answers a question of whoever may write to the state directory. Never throws. */
export type Answer = (question: string) => Promise<string>;

const noAnswer: Answer = async () => "";

/**
 * Claims a state directory for this process. A socket is the claim, because the system takes it back from the dead
 * whatever killed them, and containers that share a directory see each other's.
 * A file system without sockets takes no claim, which is only logged.
 * @returns gives the directory back
 * @throws StateInUse
 */
export async function claimState(directory: string, log: Log, answer: Answer = noAnswer): Promise<() => Promise<void>> {
  const handle = await open(directory, "r");
  const path = socketPath(directory, handle);
  try {
    const asking = new Set<Socket>();
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      asking.add(socket.once("close", () => asking.delete(socket)));
      void reply(socket, answer);
    });
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
      if (await isAnswered(path)) throw new StateInUse(`another server works in the state directory ${directory}`);
      await rm(path, { force: true });
      await listen();
    }
    await chmod(path, 0o600);
    return async () => {
      // Node unlinks the socket as it closes it.
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of asking) socket.destroy();
      await closed;
      await handle.close();
    };
  } catch (thrown) {
    await handle.close();
    if (thrown instanceof StateInUse) throw thrown;
    log.warn({ directory, error: messageOf(thrown) }, "cannot make sure that no other server uses the state directory");
    return async () => {};
  }
}

/**
 * Asks the server that works in a state directory.
 * @returns undefined where none does
 */
export async function askServer(directory: string, question: string): Promise<string | undefined> {
  const handle = await open(directory, "r");
  try {
    const socket = await connected(socketPath(directory, handle));
    if (socket === undefined) return undefined;
    socket.end(question);
    return await text(socket);
  } finally {
    await handle.close();
  }
}

/** A socket's path has room for some 100 characters only; on Linux this one is short whatever the directory's is. */
const socketPath = (directory: string, { fd }: FileHandle): string =>
  process.platform === "linux" ? `/proc/self/fd/${fd}/${socketName}` : join(directory, socketName);

async function reply(socket: Socket, answer: Answer): Promise<void> {
  // Who has gone away needs no answer.
  socket.on("error", () => socket.destroy());
  const question = await questionOn(socket);
  if (question === "") socket.destroy();
  else socket.end(await answer(question));
}

/** @returns all that the other side sends; nothing where that is too long */
function questionOn(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    socket.on("data", (chunk: Buffer) => {
      bytes += chunk.byteLength;
      if (bytes > maxQuestionBytes) socket.destroy();
      else chunks.push(chunk);
    });
    socket.once("end", () => resolve(Buffer.concat(chunks).toString()));
    socket.once("close", () => resolve(""));
  });
}

/** Whether somebody listens on a socket: nobody does on one that was left by a killed server. */
async function isAnswered(path: string): Promise<boolean> {
  const socket = await connected(path);
  socket?.destroy();
  return socket !== undefined;
}

function connected(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path, () => resolve(socket));
    socket.once("error", () => resolve(undefined));
  });
}
