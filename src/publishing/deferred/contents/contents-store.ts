// Stores the input of each suite's last Contents on disk, so that the cost of the next run depends on the changes only.
import type { Database, RootDatabase } from "lmdb";
import type { StateName, Suite } from "../../../base/names.ts";
import { written } from "../../../base/state-errors.ts";
import type { YieldFunction } from "../../../base/yield-to-event-loop.ts";
import type { SegmentSizes } from "../../../indices/assemble.ts";
import type { PublishedIndex } from "../../store/publication.ts";
import { renderingVersion } from "./contents-tasks.ts";

/** One package in Contents. */
export interface ContentsMember {
  /** The group of packages that are always in the same indices. */
  readonly group: string;
  /** The package's name in Contents. */
  readonly location: string;
  /** The key of its inspection and of its file list in the inspection store. */
  readonly record: string;
}

/** A segment with the first path in it. */
export interface KeptSegment extends SegmentSizes {
  readonly first: string;
}

/** One index of the previous run. */
export interface KeptContents extends Omit<PublishedIndex, "segments"> {
  readonly segments: readonly KeptSegment[];
}

interface KeptIndices {
  /** The version with which the segments were rendered; undefined in records of older versions. */
  readonly renderingVersion?: string;
  readonly indices: readonly KeptContents[];
}

/** The changes of a run. */
export interface ContentsChange {
  readonly removed: Iterable<string>;
  readonly added: Iterable<readonly [key: string, ContentsMember]>;
  /** All current indices. */
  readonly indices: readonly KeptContents[];
}

/** A member with its key, as stored in a bucket. */
type KeyedMember = readonly [key: string, group: string, location: string, record: string];

/** The members and indices of each suite's last run. */
export class ContentsStore {
  /** The members by the first letter of their keys. Each run reads almost all of them and changes few. */
  readonly #buckets: Database<readonly KeyedMember[], string>;
  readonly #indices: Database<KeptIndices, string>;

  constructor(root: RootDatabase, name: StateName) {
    this.#buckets = root.openDB({ name: `${name}/contents-buckets` });
    this.#indices = root.openDB({ name: `${name}/contents-indices` });
  }

  /** The indices of the previous run; empty if there was none or if it used another rendering version. */
  indices(suite: Suite): readonly KeptContents[] {
    const kept = this.#indices.get(suite);
    return kept?.renderingVersion === renderingVersion ? kept.indices : [];
  }

  /**
   * All packages in the indices of the previous run, by key.
   * @param yieldNow awaited after each bucket, which takes some milliseconds in a large repository
   */
  async *members(suite: Suite, yieldNow: YieldFunction): AsyncGenerator<readonly [key: string, ContentsMember]> {
    const start = bucketName(suite, "");
    for (const { value } of this.#buckets.getRange({ start, end: `${start}\uffff`, snapshot: false })) {
      for (const [key, group, location, record] of value) yield [key, { group, location, record }];
      await yieldNow();
    }
  }

  /**
   * Stores the result of a run. If this is interrupted, no indices are stored, and the next run starts from nothing.
   */
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
      // In this order, each on disk before the next: indices must exist only together with all of their buckets.
      await this.#indices.remove(suite);
      const writing: Promise<unknown>[] = [];
      for (const [name, inBucket] of changes) {
        const kept = (this.#buckets.get(name) ?? []).filter(([key]) => !inBucket.has(key));
        const bucket = [...kept, ...[...inBucket.values()].filter((member) => member !== undefined)];
        writing.push(bucket.length === 0 ? this.#buckets.remove(name) : this.#buckets.put(name, bucket));
        // A single transaction would block requests.
        await yieldNow();
      }
      await Promise.all(writing);
      await this.#indices.put(suite, { renderingVersion, indices });
    });
  }
}

/** A slash in a suite's name would mix its buckets with those of another suite. */
const bucketName = (suite: Suite, key: string): string => `${suite.replaceAll("/", ":")}/${key.slice(0, 1)}`;
