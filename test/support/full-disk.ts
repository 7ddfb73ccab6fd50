// A database on a disk that is full for a while: a real disk cannot be filled and emptied as often as tests need it.
import type { RootDatabase } from "lmdb";

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
          transaction: (action: () => void) =>
            isFull() ? Promise.reject(new Error("Commit failed")) : transaction(action),
        });
      },
    },
  }) as RootDatabase;
}
