// A database on a disk that is full for a while: a real disk cannot be filled and emptied as often as tests need it.
import { setTimeout as sleep } from "node:timers/promises";
import type { RootDatabase } from "lmdb";

/** In milliseconds: like those of a real database, writes fail when their caller has gone on. */
const failsAfterMs = 20;

async function failing(): Promise<never> {
  await sleep(failsAfterMs);
  throw new Error("Commit failed");
}

/**
 * A real database, whose transactions fail as on a full disk while `isFull()` returns true. Single writes, such as those
 * of the pool, succeed.
 */
export function fullWhile(root: RootDatabase, isFull: () => boolean): RootDatabase {
  return Object.create(root, {
    openDB: {
      value: (options: { readonly name: string }) => {
        const database = root.openDB(options);
        const transaction = database.transaction.bind(database);
        return Object.assign(database, {
          transaction: (action: () => void) => (isFull() ? failing() : transaction(action)),
        });
      },
    },
  }) as RootDatabase;
}
