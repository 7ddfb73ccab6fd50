// What is kept of a repository's past on purpose: publications that were pinned by name, and those that suites are
// rolled back to.
import type { Database, RootDatabase } from "lmdb";
import type { RepositoryName, Suite } from "../../base/names.ts";
import { parseSuiteOrFlat } from "../../base/names.ts";
import { parseSuiteKey, suiteKey } from "./suite-keys.ts";

/** A publication that is kept for ever under a name. */
export interface Pin {
  readonly suite: Suite;
  readonly name: string;
  /** The publication's. */
  readonly id: string;
}

export class SnapshotPins {
  readonly #ids: Database<string, string>;
  readonly #rolledBackTo: Database<string, string>;

  /** @param root the state directory's database */
  constructor(root: RootDatabase, repository: RepositoryName) {
    this.#ids = root.openDB({ name: `${repository}/pins` });
    this.#rolledBackTo = root.openDB({ name: `${repository}/rolled-back` });
  }

  /** The id of the publication that has this name. */
  idOf(suite: Suite, name: string): string | undefined {
    return this.#ids.get(suiteKey(suite, name));
  }

  async pin({ suite, name, id }: Pin): Promise<void> {
    await this.#ids.put(suiteKey(suite, name), id);
  }

  async unpin(suite: Suite, name: string): Promise<void> {
    await this.#ids.remove(suiteKey(suite, name));
  }

  *all(): Iterable<Pin> {
    for (const { key, value } of this.#ids.getRange()) {
      const [suite, name] = parseSuiteKey(key);
      yield { suite, name, id: value };
    }
  }

  /** The id of the publication whose content a suite is to serve; undefined: what the tree holds. */
  rolledBackTo(suite: Suite): string | undefined {
    return this.#rolledBackTo.get(suite);
  }

  async rollBack(suite: Suite, id: string): Promise<void> {
    await this.#rolledBackTo.put(suite, id);
  }

  async resume(suite: Suite): Promise<void> {
    await this.#rolledBackTo.remove(suite);
  }

  /** Every suite that is rolled back, with the publication's id. */
  *rolledBack(): Iterable<readonly [Suite, string]> {
    for (const { key, value } of this.#rolledBackTo.getRange()) yield [parseSuiteOrFlat(key), value];
  }
}

/** Whether this is a publication's id, or a moment in the same form: e.g. `20261122T134500Z`. */
export const isMoment = (text: string): boolean => /^\d{8}T\d{6}Z$/.test(text);

/** Whether a pin may have this name. */
export const isPinName = (text: string): boolean => /^[a-z0-9][a-z0-9._-]{0,63}$/i.test(text) && !isMoment(text);
