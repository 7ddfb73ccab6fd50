// Stores which past publications an administrator selected: pinned publications, and the targets of rollbacks.
import type { Database, RootDatabase } from "lmdb";
import type { StateName, Suite } from "../../base/names.ts";
import { parseSuiteOrFlat } from "../../base/names.ts";
import { written } from "../../base/state-errors.ts";
import { parseSuiteKey, suiteKey } from "./suite-keys.ts";

/** A publication that is kept forever under a name. */
export interface Pin {
  readonly suite: Suite;
  readonly name: string;
  /** The publication's id. */
  readonly id: string;
}

/** The pins and rollbacks of one repository. */
export class SnapshotPins {
  readonly #ids: Database<string, string>;
  readonly #rolledBackTo: Database<string, string>;

  /** @param root the state directory's database */
  constructor(root: RootDatabase, repository: StateName) {
    this.#ids = root.openDB({ name: `${repository}/pins` });
    this.#rolledBackTo = root.openDB({ name: `${repository}/rolled-back` });
  }

  /** The id of the publication with this name. */
  idOf(suite: Suite, name: string): string | undefined {
    return this.#ids.get(suiteKey(suite, name));
  }

  async pin({ suite, name, id }: Pin): Promise<void> {
    await written(() => this.#ids.put(suiteKey(suite, name), id));
  }

  async unpin(suite: Suite, name: string): Promise<void> {
    await written(() => this.#ids.remove(suiteKey(suite, name)));
  }

  *all(): Iterable<Pin> {
    for (const { key, value } of this.#ids.getRange()) {
      const [suite, name] = parseSuiteKey(key);
      yield { suite, name, id: value };
    }
  }

  /** The id of the publication whose content a suite serves instead of the tree's; undefined without a rollback. */
  rolledBackTo(suite: Suite): string | undefined {
    return this.#rolledBackTo.get(suite);
  }

  async rollBack(suite: Suite, id: string): Promise<void> {
    await written(() => this.#rolledBackTo.put(suite, id));
  }

  async resume(suite: Suite): Promise<void> {
    await written(() => this.#rolledBackTo.remove(suite));
  }

  /** Every suite that is rolled back, with the id of the publication. */
  *rolledBack(): Iterable<readonly [Suite, string]> {
    for (const { key, value } of this.#rolledBackTo.getRange()) yield [parseSuiteOrFlat(key), value];
  }
}

/** Whether a text has the form of a publication's id, e.g. `20261122T134500Z`, which is also used for times. */
export const isMoment = (text: string): boolean => /^\d{8}T\d{6}Z$/.test(text);

/** Whether a text is a valid name for a pin. */
export const isPinName = (text: string): boolean => /^[a-z0-9][a-z0-9._-]{0,63}$/i.test(text) && !isMoment(text);
