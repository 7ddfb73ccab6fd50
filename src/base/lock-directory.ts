// A lock between processes in a directory. It is free again when the process that holds it is killed.
import { readdir, readFile, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { sleep } from "./abort.ts";
import { systemCodeOf } from "./errors.ts";
import { createFile } from "./replace-file.ts";

const pollMs = 50;

interface LockOptions {
  readonly signal: AbortSignal;
  /** Called once if another task holds the lock. @param pid the process of that task */
  readonly waiting?: (pid: number) => void;
}

/**
 * Runs a task while no other task, in this process or in another one on this machine, holds the lock of this name in
 * this directory.
 *
 * The lock is a series of files `.NAME.lock.1`, `.NAME.lock.2` and so on. The last one is valid: it names the process
 * that holds the lock, and is empty once the lock is released. A process that finds it released, or its holder dead,
 * creates the next file, which only one process can do. Only files before the last are removed: if a stale lock were
 * removed to make room for a new one, a slower process could remove the new one instead.
 */
export async function withLock<T>(
  directory: string,
  name: string,
  { signal, waiting }: LockOptions,
  task: () => Promise<T>,
): Promise<T> {
  const prefix = `.${name}.lock.`;
  const fileOf = (number: number): string => join(directory, `${prefix}${number}`);
  const numbers = async (): Promise<readonly number[]> =>
    (await readdir(directory))
      .filter((file) => file.startsWith(prefix))
      .map((file) => Number(file.slice(prefix.length)))
      .filter((number) => Number.isSafeInteger(number))
      .toSorted((one, two) => one - two);

  const acquire = async (): Promise<string> => {
    for (let isTold = false; ; ) {
      signal.throwIfAborted();
      const last = (await numbers()).at(-1) ?? 0;
      const holder = last === 0 ? "nobody" : await holderOf(fileOf(last));
      if (holder === "unknown") continue;
      if (holder !== "nobody") {
        if (!isTold) waiting?.(holder);
        isTold = true;
        await sleep(pollMs, signal);
        continue;
      }
      const own = last + 1;
      const started = await startOf(process.pid);
      if (!(await createFile(fileOf(own), `${process.pid} ${started ?? ""}\n`, { mode: 0o600 }))) continue;
      const known = await numbers();
      if (known.at(-1) === own) {
        for (const number of known) if (number < own) await rm(fileOf(number), { force: true });
        return fileOf(own);
      }
      // This process was slow: another one has created a later file meanwhile, and removed the file with our number.
      await rm(fileOf(own), { force: true });
    }
  };

  const file = await acquire();
  try {
    return await task();
  } finally {
    await truncate(file);
  }
}

/** The process that holds a lock; "unknown" if the file was removed because there is a later one. */
async function holderOf(file: string): Promise<number | "nobody" | "unknown"> {
  const text = await readFile(file, "utf8").catch((thrown: unknown) => {
    if (systemCodeOf(thrown) === "ENOENT") return undefined;
    throw thrown;
  });
  if (text === undefined) return "unknown";
  const [pid = "", started = ""] = text.trim().split(" ");
  if (pid === "") return "nobody";
  return isAlive(Number(pid)) && (started === "" || started === (await startOf(Number(pid)))) ? Number(pid) : "nobody";
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    // EPERM: the process exists, and belongs to another user.
    return systemCodeOf(thrown) === "EPERM";
  }
}

/**
 * When a process started, in units of the kernel. It distinguishes the process from a later one with the same pid.
 * @see proc_pid_stat(5), field 22
 */
async function startOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  // The second field is the name of the program in parentheses, which may contain any character.
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}
