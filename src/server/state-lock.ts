// Locks a state directory for one server: a second one would serve files that the first has removed, and sign other
// publications. Users who may write to the directory can send control commands to the server.
import { createHash, randomBytes } from "node:crypto";
import { chmod, link, lstat, open, rename, rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { connect, createServer } from "node:net";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { messageOf, RepoError, systemCodeOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { silentLog } from "../base/log.ts";
import { linkUnlessThere } from "../base/replace-file.ts";
import { socketPathIn } from "./state-directory.ts";

const socketName = "in-use";
/** The maximum length of a question, in bytes. */
const maxQuestionBytes = 64 * 1024;

/** Another server uses this state directory. */
class StateInUse extends RepoError {
  readonly code = "state/in-use";
}

/** Answers a question of a user who may write to the state directory, at once or in parts. Never throws. */
export type Answer = (question: string) => Promise<string | AsyncIterable<string>>;

const noAnswer: Answer = async () => "";

/**
 * Locks a state directory for this process. The lock is a socket that is listened on, because the kernel closes it
 * however the process dies, and because containers that share the directory see each other's sockets. On a file system
 * without sockets there is no lock, which is only logged.
 * @returns a function that unlocks the directory
 * @throws StateInUse
 */
export async function claimState(directory: string, log: Log, answer: Answer = noAnswer): Promise<() => Promise<void>> {
  const handle = await open(directory, "r");
  const socketAt = (name: string): string => socketPathIn(directory, handle, name);
  const draft = socketAt(`${socketName}.${randomBytes(6).toString("hex")}`);
  try {
    const connections = new Set<Socket>();
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      connections.add(socket.once("close", () => connections.delete(socket)));
      void reply(socket, answer);
    });
    // The lock alone must not keep the process alive.
    server.unref();
    // The socket first has a temporary name: before it is listened on, another server would take it for a stale one.
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen(draft, () => {
        server.off("error", reject);
        resolve();
      });
    });
    try {
      await chmod(draft, 0o600);
      if (!(await claimName(socketName, draft, socketAt)))
        throw new StateInUse(`another server uses the state directory ${directory}`);
    } catch (thrown) {
      server.close();
      throw thrown;
    } finally {
      await rm(draft, { force: true });
    }
    return async () => {
      await rm(socketAt(socketName), { force: true });
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of connections) socket.destroy();
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
 * Locks a state directory for a command, which must not run without the lock.
 * @param refusal makes the error for a directory that cannot be locked
 * @returns a function that unlocks the directory
 * @throws StateInUse, the error that `refusal` returns
 */
export async function claimStateForCommand(
  directory: string,
  refusal: (reason: string) => Error,
): Promise<() => Promise<void>> {
  const refuse = (_: object, reason: string): never => {
    throw refusal(reason);
  };
  return await claimState(directory, { ...silentLog, warn: refuse });
}

/**
 * Gives a name to a socket that is listened on, unless the name has a socket that is listened on. A stale socket is
 * only replaced by the process that has claimed a second name, derived from the stale file. So if several processes
 * find it stale at once, one of them replaces it, and no other one removes the replacement.
 * @returns whether the name was free or its socket stale
 */
async function claimName(name: string, draft: string, socketAt: (name: string) => string): Promise<boolean> {
  const path = socketAt(name);
  for (;;) {
    if (await linkUnlessThere(draft, path)) return true;
    const stale = await fileIdOf(path);
    if (stale === undefined) continue;
    if (await isAnswered(path)) return false;
    const replacementName = `${name}.${stale}`;
    if (!(await claimName(replacementName, draft, socketAt))) return false;
    try {
      if ((await fileIdOf(path)) !== stale) continue;
      const own = `${draft}.own`;
      await link(draft, own);
      await rename(own, path);
      return true;
    } finally {
      await rm(socketAt(replacementName), { force: true });
    }
  }
}

/** Returns an id that distinguishes a file from all others that had the same name; undefined if there is none. */
async function fileIdOf(path: string): Promise<string | undefined> {
  try {
    const { ino, birthtimeNs, mtimeNs } = await lstat(path, { bigint: true });
    // Short, because it becomes part of the path of a socket.
    return createHash("sha256").update(`${ino} ${birthtimeNs} ${mtimeNs}`).digest("hex").slice(0, 16);
  } catch (thrown) {
    if (systemCodeOf(thrown) === "ENOENT") return undefined;
    throw thrown;
  }
}

/**
 * Sends a question to the server that uses a state directory.
 * @returns the answer; undefined if no server runs
 */
export async function askServer(directory: string, question: string): Promise<string | undefined> {
  const answer = await openAnswer(directory, question);
  return answer && (await text(answer));
}

/**
 * Sends a question to the server that uses a state directory.
 * @returns the answer, which may be long; undefined if no server runs
 */
export async function openAnswer(directory: string, question: string): Promise<Readable | undefined> {
  const handle = await open(directory, "r");
  try {
    const socket = await connected(socketPathIn(directory, handle, socketName));
    return socket?.end(question);
  } finally {
    await handle.close();
  }
}

async function reply(socket: Socket, answer: Answer): Promise<void> {
  // The client has disconnected.
  socket.on("error", () => socket.destroy());
  const question = await questionOn(socket);
  if (question === "") {
    socket.destroy();
    return;
  }
  const response = await answer(question);
  if (typeof response === "string") socket.end(response);
  // An error has destroyed the socket, so that the client sees an incomplete answer.
  else await pipeline(response, socket).catch(() => undefined);
}

/** @returns the whole question; "" if it is too long */
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

/**
 * Whether a process listens on a socket. A killed server leaves a socket that no process listens on; a busy one is in
 * use.
 */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error) => resolve(!["ECONNREFUSED", "ENOENT"].includes(systemCodeOf(error) ?? "")));
  });
}

function connected(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path, () => resolve(socket));
    socket.once("error", () => resolve(undefined));
  });
}
