// What the last Contents of each suite were made from, on disk: so that the next ones cost what has changed.
import type { Database, RootDatabase } from "lmdb";
import type { StateName, Suite } from "../../../base/names.ts";
import { written } from "../../../base/state-errors.ts";
import type { YieldFunction } from "../../../base/yield-to-event-loop.ts";
import type { SegmentSizes } from "../../../indices/assemble.ts";
import type { PublishedIndex } from "../../store/publication.ts";
import { renderingVersion } from "./contents-tasks.ts";

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

interface KeptIndices {
  /** How their segments were rendered. Without it, as it once was, they may be of any. */
  readonly renderingVersion?: string;
  readonly indices: readonly KeptContents[];
}

/** What a making has changed. */
export interface ContentsChange {
  readonly removed: Iterable<string>;
  readonly added: Iterable<readonly [key: string, ContentsMember]>;
  /** All indices that there are now. */
  readonly indices: readonly KeptContents[];
}

/** A member with its key, as it stands in a bucket. */
type KeyedMember = readonly [key: string, group: string, location: string, record: string];

export class ContentsStore {
  /** Members by the first letter of their keys: as good as all are read each time, and few of them change. */
  readonly #buckets: Database<readonly KeyedMember[], string>;
  readonly #indices: Database<KeptIndices, string>;

  constructor(root: RootDatabase, name: StateName) {
    this.#buckets = root.openDB({ name: `${name}/contents-buckets` });
    this.#indices = root.openDB({ name: `${name}/contents-indices` });
  }

  /** The indices that were made last; none if there never were, or if they would be rendered in another way today. */
  indices(suite: Suite): readonly KeptContents[] {
    const kept = this.#indices.get(suite);
    return kept?.renderingVersion === renderingVersion ? kept.indices : [];
  }

  /**
   * Every package that the indices hold, by its key.
   * @param yieldNow one bucket of a large repository takes some milliseconds
   */
  async *members(suite: Suite, yieldNow: YieldFunction): AsyncGenerator<readonly [key: string, ContentsMember]> {
    const start = bucketName(suite, "");
    for (const { value } of this.#buckets.getRange({ start, end: `${start}\uffff`, snapshot: false })) {
      for (const [key, group, location, record] of value) yield [key, { group, location, record }];
      await yieldNow();
    }
  }

  /** Keeps what was made. Where that is cut short, there are no indices, and the next ones are made from nothing. */
  async save(suite: Suite, { removed, added, indices }: ContentsChange, yieldNow: YieldFunction): Promise<void> {
    const changes = new Map<string, Map<string, KeyedMember | undefined>>();
    const note = (key: string, member: KeyedMember | undefined): void => {
      const name = bucketName(suite, key);
      const inBucket = changes.get(name) ?? new Map<string, KeyedMember | undefined>();
      changes.set(name, inBucket.set(key, member));
    };
    for (const key of removed) note(key, undefined);
    for (const [key, { group, location, record }] of added) note(key, [key, group, location, record]);
    await written(async () => {
      // One after the other, each on disk before the next is begun: there are indices only where all buckets fit them.
      await this.#indices.remove(suite);
      const writing: Promise<unknown>[] = [];
      for (const [name, inBucket] of changes) {
        const kept = (this.#buckets.get(name) ?? []).filter(([key]) => !inBucket.has(key));
        const bucket = [...kept, ...[...inBucket.values()].filter((member) => member !== undefined)];
        writing.push(bucket.length === 0 ? this.#buckets.remove(name) : this.#buckets.put(name, bucket));
        // One transaction over them all would hold up requests.
        await yieldNow();
      }
      await Promise.all(writing);
      await this.#indices.put(suite, { renderingVersion, indices });
    });
  }
}

/** A slash in a suite's name would put its buckets among those of another suite. */
const bucketName = (suite: Suite, key: string): string => `${suite.replaceAll("/", ":")}/${key.slice(0, 1)}`;
