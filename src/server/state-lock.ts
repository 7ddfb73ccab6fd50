// One server to a state directory: a second one would serve what the first has swept away, and sign beside it. Whoever
// may write there can talk to it.
import { createHash, randomBytes } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { chmod, link, lstat, open, rename, rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { messageOf, RepoError, systemCodeOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { linkUnlessThere } from "../base/replace-file.ts";

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
  const socketAt = (name: string): string => socketPath(directory, handle, name);
  const draft = socketAt(`${socketName}.${randomBytes(6).toString("hex")}`);
  try {
    const asking = new Set<Socket>();
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      asking.add(socket.once("close", () => asking.delete(socket)));
      void reply(socket, answer);
    });
    // The claim alone must not keep the process alive.
    server.unref();
    // Under a name of its own first, so that no one sees a socket on which nobody listens yet and takes it for a dead one's.
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen(draft, () => {
        server.off("error", reject);
        resolve();
      });
    });
    try {
      await chmod(draft, 0o600);
      if (!(await claimName(socketName, draft, socketAt)))
        throw new StateInUse(`another server works in the state directory ${directory}`);
    } catch (thrown) {
      server.close();
      throw thrown;
    } finally {
      await rm(draft, { force: true });
    }
    return async () => {
      await rm(socketAt(socketName), { force: true });
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
 * Puts a socket that is listened on under a name, unless one stands there that is listened on too. A dead one may be replaced
 * only by who holds the name that is made of it: so of several that find it dead at once, one replaces it, and none takes
 * away what another has put in its place meanwhile.
 * @returns whether the name was free or its holder dead
 */
async function claimName(name: string, draft: string, socketAt: (name: string) => string): Promise<boolean> {
  const path = socketAt(name);
  for (;;) {
    if (await linkUnlessThere(draft, path)) return true;
    const dead = await identityOf(path);
    if (dead === undefined) continue;
    if (await isAnswered(path)) return false;
    const right = `${name}.${dead}`;
    if (!(await claimName(right, draft, socketAt))) return false;
    try {
      if ((await identityOf(path)) !== dead) continue;
      const own = `${draft}.own`;
      await link(draft, own);
      await rename(own, path);
      return true;
    } finally {
      await rm(socketAt(right), { force: true });
    }
  }
}

/** Tells a file from every other that has or had its name; undefined where there is none. */
async function identityOf(path: string): Promise<string | undefined> {
  try {
    const { ino, birthtimeNs, mtimeNs } = await lstat(path, { bigint: true });
    // Short, since it becomes a part of a socket's path.
    return createHash("sha256").update(`${ino} ${birthtimeNs} ${mtimeNs}`).digest("hex").slice(0, 16);
  } catch (thrown) {
    if (systemCodeOf(thrown) === "ENOENT") return undefined;
    throw thrown;
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
const socketPath = (directory: string, { fd }: FileHandle, name = socketName): string =>
  process.platform === "linux" ? `/proc/self/fd/${fd}/${name}` : join(directory, name);

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

/** Whether somebody listens on a socket: nobody does on one that was left by a killed server. A busy one is no dead one. */
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
