// Opens the database of a state directory. A corrupt one is set aside, and a new one is filled from the tree.
import { execFile } from "node:child_process";
import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { RootDatabase } from "lmdb";
import { z } from "zod";
import type { ErrorCode } from "../base/error-codes.ts";
import { codeOf, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { closeStateDatabase, openStateDatabase } from "../publishing/store/state-database.ts";
import { databaseIn } from "./state-directory.ts";

/** A file beside the database that exists while it is open, and afterwards if it was not closed. */
const openedMark = "database.opened";
/** The content of the mark if the database turned out to be corrupt while it was open. */
const foundCorrupt = "corrupt";
/** The exit code of the process that checks the database, if the database is corrupt. */
export const brokenExitCode = 3;

/** Error messages of lmdb for a corrupt database. */
const corruption = /MDB_(CORRUPTED|PAGE_NOTFOUND|INVALID|PANIC|VERSION_MISMATCH|BAD_TXN|PAGE_FULL|CURSOR_FULL)/;

/** Whether an error, or one of its causes, means that the database is corrupt. */
export const isCorruption = (thrown: unknown): boolean => {
  for (let at: unknown = thrown; at instanceof Error; at = at.cause)
    if (corruption.test(at.message) || codeOf(at) === damageCode) return true;
  return false;
};

/** The code of the error that says that a publication in the database is not as it was stored. */
const damageCode: ErrorCode = "publishing/damaged";

export interface SoundDatabase {
  readonly root: RootDatabase;
  /** @param isCorrupt whether the next start must set the database aside */
  close(isCorrupt: boolean): Promise<void>;
}

/**
 * Opens the database of a locked state directory. If it is shorter than its header says, or was not closed, another
 * process reads it completely first: a missing page would kill this process without a message.
 */
export async function openSoundDatabase(stateDirectory: string, log: Log): Promise<SoundDatabase> {
  const path = databaseIn(stateDirectory);
  const mark = join(stateDirectory, openedMark);
  const flaw = await flawOf(path, mark, log);
  if (flaw !== undefined) await setAside(path, flaw, log);
  await writeFile(mark, "", { mode: 0o600 }).catch((thrown: unknown) => {
    log.warn({ file: mark, error: messageOf(thrown) }, "the state directory cannot be written");
  });
  const root = await opened(path, log);
  return {
    root,
    async close(isCorrupt) {
      if (isCorrupt) await writeFile(mark, foundCorrupt).catch(() => undefined);
      await closeStateDatabase(root);
      if (!isCorrupt) await rm(mark, { force: true });
    },
  };
}

async function opened(path: string, log: Log): Promise<RootDatabase> {
  try {
    return openStateDatabase(path);
  } catch (thrown) {
    if (!isCorruption(thrown)) throw thrown;
    await setAside(path, messageOf(thrown), log);
    return openStateDatabase(path);
  }
}

/** @returns undefined if the database is sound or does not exist */
async function flawOf(path: string, mark: string, log: Log): Promise<string | undefined> {
  const file = join(path, "data.mdb");
  if (!existsSync(file)) return undefined;
  // The mark does not exist if the last server closed the database.
  const left = existsSync(mark) ? await readFile(mark, "utf8") : undefined;
  if (left === foundCorrupt) return "it was found corrupt while it was in use";
  // A sound database may be shorter than its header says, because unused pages at the end are not written.
  return left !== undefined || isShorterThanHeader(file) ? await checkInProcess(path, log) : undefined;
}

/** The offset of the meta data in each of the first two pages of an lmdb file, of which the newer one is valid. */
const metaBytes = 24;
const metaMagic = 0xbe_ef_c0_de;
const metaFields = { pageBytes: 24, lastPage: 120, transaction: 128 } as const;

/** Whether a database file has fewer pages than its meta data says, or no valid meta data. */
function isShorterThanHeader(file: string): boolean {
  const head = Buffer.alloc(2 ** 17);
  const handle = openSync(file, "r");
  try {
    const read = readSync(handle, head, 0, head.length, 0);
    const pageBytes = head.readUInt32LE(metaBytes + metaFields.pageBytes);
    if (pageBytes < 512 || pageBytes > 2 ** 16 || read < 2 * pageBytes) return true;
    const metas = [metaBytes, pageBytes + metaBytes].filter((at) => head.readUInt32LE(at) === metaMagic);
    const found = metas.map((at) => ({
      transaction: head.readBigUInt64LE(at + metaFields.transaction),
      lastPage: head.readBigUInt64LE(at + metaFields.lastPage),
    }));
    const [newest] = found.toSorted((one, other) => (one.transaction < other.transaction ? 1 : -1));
    return newest === undefined || BigInt(statSync(file).size) < (newest.lastPage + 1n) * BigInt(pageBytes);
  } finally {
    closeSync(handle);
  }
}

/** The properties that execFile adds to its error. */
const execFileFailure = z.object({ code: z.unknown(), signal: z.unknown(), stderr: z.unknown() }).partial();

/** Checks the database in another process. If that process cannot run, the database counts as sound. */
async function checkInProcess(path: string, log: Log): Promise<string | undefined> {
  const begunMs = performance.now();
  // Node 20 cannot run TypeScript: if this file runs from src/ (in tests), the script is taken from the build.
  const built = import.meta.url.endsWith(".ts") ? "../../dist/server/state-check-worker.js" : "state-check-worker.js";
  const script = fileURLToPath(new URL(built, import.meta.url));
  try {
    await promisify(execFile)(process.execPath, [script, path], { env: {} });
    log.info({ seconds: (performance.now() - begunMs) / 1000 }, "the database was not closed last time, and is sound");
    return undefined;
  } catch (thrown) {
    const { code, signal, stderr } = execFileFailure.catch({}).parse(thrown);
    if (code === brokenExitCode) return String(stderr).trim();
    if (signal === "SIGBUS" || signal === "SIGSEGV" || signal === "SIGABRT") return `reading it ends with ${signal}`;
    log.warn({ error: messageOf(thrown) }, "the database could not be checked");
    return undefined;
  }
}

/** Keeps the corrupt database for diagnosis; only the newest one, because it may be large. */
async function setAside(path: string, flaw: string, log: Log): Promise<void> {
  const aside = `${path}.corrupt`;
  await rm(aside, { recursive: true, force: true });
  await rename(path, aside);
  log.error({ database: path, aside, flaw }, "the database is corrupt: it is set aside, and rebuilt from the tree");
}
