// Opens the state directory's database. It contains everything that must survive a kill at any moment.
import type { RootDatabase } from "lmdb";
import { open } from "lmdb";

/**
 * The maximum number of databases: the inspection store, and about ten for each repository and each flat repository.
 */
const maxDatabases = 4096;

/**
 * Opens or creates the database in a directory that no other process writes to.
 * @param path the directory
 */
export function openStateDatabase(path: string, { readOnly = false } = {}): RootDatabase {
  return open({ path, maxDbs: maxDatabases, noSubdir: false, readOnly });
}

/**
 * Closes the database when everything is written. If something read while lmdb's own `close` waits for the disk, a timer
 * of lmdb would throw, which ends the process.
 */
export async function closeStateDatabase(root: RootDatabase): Promise<void> {
  await root.flushed;
  await root.close();
}
