// Stores the first owner of each package name of a suite, so that it survives a restart.
import { createHash } from "node:crypto";
import type { Database, RootDatabase } from "lmdb";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { StateName, Suite } from "../../base/names.ts";
import { written } from "../../base/state-errors.ts";
import type { FirstOwner, FirstOwners } from "../../catalog/suite/name-ownership.ts";

/** A lost record is restored from the tree: the owner is then the builder with the earliest link that still exists. */
export class FirstOwnerStore {
  readonly #owners: Database<FirstOwner, string>;
  readonly #log: Log;
  #changed: (key: string, owner: FirstOwner | undefined) => void = () => undefined;

  /** @param root the state directory's database */
  constructor(root: RootDatabase, repository: StateName, log: Log) {
    this.#owners = root.openDB({ name: `${repository}/held-names` });
    this.#log = log;
  }

  /** Calls a function at each change. @param changed gets the key in the database */
  onChange(changed: (key: string, owner: FirstOwner | undefined) => void): void {
    this.#changed = changed;
  }

  isEmpty(): boolean {
    const [key] = this.#owners.getKeys({ limit: 1 });
    return key === undefined;
  }

  /** All records, by their keys in the database, with all changes that were made before. */
  async all(): Promise<readonly (readonly [string, FirstOwner])[]> {
    await this.#owners.committed;
    return Array.from(this.#owners.getRange(), ({ key, value }) => [key, value] as const);
  }

  /** Replaces all records by those of another replica. To be called before the tree is read. */
  async replaceBy(records: ReadonlyMap<string, FirstOwner>): Promise<void> {
    const replace = (): void => {
      for (const key of Array.from(this.#owners.getKeys())) if (!records.has(key)) this.#owners.removeSync(key);
      for (const [key, owner] of records) this.#owners.putSync(key, owner);
    };
    await written(() => this.#owners.transaction(replace));
  }

  of(suite: Suite): FirstOwners {
    const keyOf = (name: string): string =>
      `${suite}/${createHash("sha256").update(name).digest("base64url").slice(0, 27)}`;
    /** Changes that are not on disk yet, or could not be written. */
    const unwritten = new Map<string, FirstOwner | undefined>();
    return {
      get: (name) => (unwritten.has(name) ? unwritten.get(name) : this.#owners.get(keyOf(name))),
      set: (name, owner) => {
        unwritten.set(name, owner);
        this.#changed(keyOf(name), owner);
        const writing = owner === undefined ? this.#owners.remove(keyOf(name)) : this.#owners.put(keyOf(name), owner);
        writing.then(
          () => {
            if (unwritten.get(name) === owner) unwritten.delete(name);
          },
          (thrown: unknown) =>
            this.#log.warn({ suite, error: messageOf(thrown) }, "the owner of a package name could not be stored"),
        );
      },
    };
  }
}
