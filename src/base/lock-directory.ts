// One process at a time in a directory's files, also where an earlier one was killed while it had the lock.
import { readdir, readFile, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { sleep } from "./abort.ts";
import { systemCodeOf } from "./errors.ts";
import { createFile } from "./replace-file.ts";

const pollMs = 50;

interface LockOptions {
  readonly signal: AbortSignal;
  /** Called once if another task has the lock. @param pid the process that it runs in */
  readonly waiting?: (pid: number) => void;
}

/**
 * Runs a task while no other task, in this process or another one of this machine, has the lock of this name in this
 * directory.
 *
 * The lock is a series of files `.NAME.lock.1`, `.NAME.lock.2` and so on. The last one counts: it names its holder, and
 * is empty once that has released it. Whoever finds it released, or its holder dead, makes the next file, which only one
 * can. Only files before the last are removed: if a stale lock were removed to make room for a new one, somebody slower
 * could remove the new one in its place.
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
      // We were slow: somebody has made a later one since we looked, and the number that we took was free again.
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

/** The process that holds a lock; "unknown" where the file has gone because there is a later one. */
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
    // EPERM: there is such a process, and it is another user's.
    return systemCodeOf(thrown) === "EPERM";
  }
}

/**
 * When a process started, in a unit of the system's: tells it from a later one with the same number.
 * @see proc_pid_stat(5), field 22
 */
async function startOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  // The second field is the program's name in parentheses, which may hold anything.
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}
