// What the last Contents of each suite were made from, on disk: so that the next ones cost what has changed.
import { setImmediate } from "node:timers/promises";
import type { Database, RootDatabase } from "lmdb";
import type { RepositoryName, Suite } from "../base/names.ts";
import { written } from "../base/state.ts";
import type { SegmentSizes } from "../indices/assemble.ts";
import type { PublishedIndex } from "./publication.ts";

/** One package in Contents. */
export interface ContentsMember {
  /** The packages that always stand in the same indices. */
  readonly group: string;
  /** What Contents calls it. */
  readonly location: string;
  /** The ledger's name of the inspection, and of the list. */
  readonly record: string;
}

/** A segment, and the first path in it. */
export interface KeptSegment extends SegmentSizes {
  readonly first: string;
}

/** One index as it was made last. */
export interface KeptContents extends Omit<PublishedIndex, "segments"> {
  readonly segments: readonly KeptSegment[];
}

/** What a making has changed. */
export interface ContentsChange {
  readonly removed: Iterable<string>;
  readonly added: Iterable<readonly [key: string, ContentsMember]>;
  /** All indices that there are now. */
  readonly indices: readonly KeptContents[];
}

/** The event loop gets its turn after so many members. */
const membersBetweenTurns = 500;

export class ContentsState {
  readonly #members: Database<ContentsMember, string>;
  readonly #indices: Database<readonly KeptContents[], string>;

  constructor(root: RootDatabase, name: RepositoryName) {
    this.#members = root.openDB({ name: `${name}/contents-members` });
    this.#indices = root.openDB({ name: `${name}/contents` });
  }

  /** The indices that were made last; none if there never were. */
  indices(suite: Suite): readonly KeptContents[] {
    return this.#indices.get(suite) ?? [];
  }

  /** @returns undefined for a package that the indices do not hold */
  member(suite: Suite, key: string): ContentsMember | undefined {
    return this.#members.get(memberKey(suite, key));
  }

  /** Every package that the indices hold, by its key. */
  async *members(suite: Suite): AsyncGenerator<readonly [key: string, ContentsMember]> {
    const start = memberKey(suite, "");
    let untilTurn = membersBetweenTurns;
    for (const { key, value } of this.#members.getRange({ start, end: `${start}\uffff`, snapshot: false })) {
      yield [key.slice(start.length), value];
      if (--untilTurn > 0) continue;
      untilTurn = membersBetweenTurns;
      await setImmediate();
    }
  }

  /**
   * Keeps what was made. Where that is cut short, there are no indices, and the next ones are made from nothing: one
   * transaction over many members would hold up requests.
   */
  async save(suite: Suite, { removed, added, indices }: ContentsChange): Promise<void> {
    await written(async () => {
      await this.#indices.remove(suite);
      let untilTurn = membersBetweenTurns;
      for (const change of this.#changes(suite, removed, added)) {
        if (--untilTurn > 0) continue;
        untilTurn = membersBetweenTurns;
        await change;
      }
      await this.#indices.put(suite, indices);
    });
  }

  *#changes(suite: Suite, removed: ContentsChange["removed"], added: ContentsChange["added"]) {
    for (const key of removed) yield this.#members.remove(memberKey(suite, key));
    for (const [key, member] of added) yield this.#members.put(memberKey(suite, key), member);
  }
}

const memberKey = (suite: Suite, key: string): string => `${suite}/${key}`;
