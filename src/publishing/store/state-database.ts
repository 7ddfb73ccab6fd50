// The state directory's database: everything that must survive a kill at any instant is in it.
import type { RootDatabase } from "lmdb";
import { open } from "lmdb";

/** Databases that one environment may hold: the ledger, and some ten for each repository and each flat one. */
const maxDatabases = 4096;

/**
 * Opens or makes the database in a directory that is the server's alone.
 * @param path a directory
 */
export function openStateDatabase(path: string, { readOnly = false } = {}): RootDatabase {
  return open({ path, maxDbs: maxDatabases, noSubdir: false, readOnly });
}
