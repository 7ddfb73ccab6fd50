// Opens the state's database, or a new one where it is corrupt: what is in it comes back from the tree.

import { execFile } from "node:child_process";
import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { RootDatabase } from "lmdb";
import { z } from "zod";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { openStateDatabase } from "../publishing/store/state-database.ts";

/** Beside the database while somebody works with it, and after that if it was not closed. */
const openedMark = "database.opened";
/** What the mark says of a database that was found corrupt while it was in use. */
const foundCorrupt = "corrupt";
/** How the process that reads all of it says that something in it is broken. */
export const brokenExitCode = 3;

/** What a corrupt database makes lmdb say. */
const corruption = /MDB_(CORRUPTED|PAGE_NOTFOUND|INVALID|PANIC|VERSION_MISMATCH|BAD_TXN|PAGE_FULL|CURSOR_FULL)/;

/** Whether an error says that the database is corrupt. */
export const isCorruption = (thrown: unknown): boolean => {
  for (let at: unknown = thrown; at instanceof Error; at = at.cause) if (corruption.test(at.message)) return true;
  return false;
};

export interface SoundDatabase {
  readonly root: RootDatabase;
  /** @param isCorrupt whether it is to be set aside by who opens it next */
  close(isCorrupt: boolean): Promise<void>;
}

/**
 * Opens the database of a state directory that is claimed. One that is shorter than it says, or was not closed, is read to
 * its end first, by another process: a page that is missing would end this one without a word.
 */
export async function openSoundDatabase(stateDirectory: string, log: Log): Promise<SoundDatabase> {
  const path = join(stateDirectory, "database");
  const mark = join(stateDirectory, openedMark);
  const flaw = await flawOf(path, mark, log);
  if (flaw !== undefined) await setAside(path, flaw, log);
  await writeFile(mark, "", { mode: 0o600 }).catch((thrown: unknown) => {
    log.warn({ file: mark, error: messageOf(thrown) }, "the state directory can't be written");
  });
  const root = await opened(path, log);
  return {
    root,
    async close(isCorrupt) {
      if (isCorrupt) await writeFile(mark, foundCorrupt).catch(() => undefined);
      await root.close();
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

/** @returns undefined where the database is sound, or where there is none */
async function flawOf(path: string, mark: string, log: Log): Promise<string | undefined> {
  const file = join(path, "data.mdb");
  if (!existsSync(file)) return undefined;
  // There is none where the last one closed its database.
  const left = existsSync(mark) ? await readFile(mark, "utf8") : undefined;
  if (left === foundCorrupt) return "it was found corrupt while it was in use";
  // The last pages of a sound one may never have been written: then whoever reads it misses none.
  return left !== undefined || isShorterThanItSays(file) ? await readByAnother(path, log) : undefined;
}

/** Where a page of lmdb's begins to tell of the whole: in each of the first two pages, of which the newer one counts. */
const metaBytes = 24;
const metaMagic = 0xbe_ef_c0_de;
const metaFields = { pageBytes: 24, lastPage: 120, transaction: 128 } as const;

/** Whether a database lacks pages that it has according to its own words, or has no such words. */
function isShorterThanItSays(file: string): boolean {
  const head = Buffer.alloc(2 ** 17);
  const handle = openSync(file, "r");
  try {
    const read = readSync(handle, head, 0, head.length, 0);
    const pageBytes = head.readUInt32LE(metaBytes + metaFields.pageBytes);
    if (pageBytes < 512 || pageBytes > 2 ** 16 || read < 2 * pageBytes) return true;
    const metas = [metaBytes, pageBytes + metaBytes].filter((at) => head.readUInt32LE(at) === metaMagic);
    const told = metas.map((at) => ({
      transaction: head.readBigUInt64LE(at + metaFields.transaction),
      lastPage: head.readBigUInt64LE(at + metaFields.lastPage),
    }));
    const [newest] = told.toSorted((one, other) => (one.transaction < other.transaction ? 1 : -1));
    return newest === undefined || BigInt(statSync(file).size) < (newest.lastPage + 1n) * BigInt(pageBytes);
  } finally {
    closeSync(handle);
  }
}

/** What execFile adds to its error. */
const execFileFailure = z.object({ code: z.unknown(), signal: z.unknown(), stderr: z.unknown() }).partial();

/** What keeps the other process from telling is its own matter: then the database is taken for sound. */
async function readByAnother(path: string, log: Log): Promise<string | undefined> {
  const begunMs = performance.now();
  // Node 20 runs no TypeScript: where this file itself runs from src/ (in tests), that one comes from the build.
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

/** Keeps it for who wants to see what happened; only the newest one, for it may be large. */
async function setAside(path: string, flaw: string, log: Log): Promise<void> {
  const aside = `${path}.corrupt`;
  await rm(aside, { recursive: true, force: true });
  await rename(path, aside);
  log.error({ database: path, aside, flaw }, "the database is corrupt: it is set aside, and rebuilt from the tree");
}
