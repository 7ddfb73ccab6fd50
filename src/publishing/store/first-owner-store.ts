// Stores the first owner of each package name of a suite, so that it survives a restart.
import { createHash } from "node:crypto";
import type { Database, RootDatabase } from "lmdb";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { StateName, Suite } from "../../base/names.ts";
import type { FirstOwner, FirstOwners } from "../../catalog/suite/name-ownership.ts";

/** A lost record is restored from the tree: the owner is then the builder with the earliest link that still exists. */
export class FirstOwnerStore {
  readonly #holders: Database<FirstOwner, string>;
  readonly #log: Log;

  /** @param root the state directory's database */
  constructor(root: RootDatabase, repository: StateName, log: Log) {
    this.#holders = root.openDB({ name: `${repository}/held-names` });
    this.#log = log;
  }

  of(suite: Suite): FirstOwners {
    const keyOf = (name: string): string =>
      `${suite}/${createHash("sha256").update(name).digest("base64url").slice(0, 27)}`;
    /** Changes that are not on disk yet, or could not be written. */
    const unwritten = new Map<string, FirstOwner | undefined>();
    return {
      get: (name) => (unwritten.has(name) ? unwritten.get(name) : this.#holders.get(keyOf(name))),
      set: (name, holder) => {
        unwritten.set(name, holder);
        const writing =
          holder === undefined ? this.#holders.remove(keyOf(name)) : this.#holders.put(keyOf(name), holder);
        writing.then(
          () => {
            if (unwritten.get(name) === holder) unwritten.delete(name);
          },
          (thrown: unknown) =>
            this.#log.warn({ suite, error: messageOf(thrown) }, "the owner of a package name could not be stored"),
        );
      },
    };
  }
}
