// One making of a suite's Contents: brings together what stands in an index, or what has changed in it.
import type { Suite } from "../../../base/names.ts";
import type { YieldFunction } from "../../../base/yield-to-event-loop.ts";
import type { Examiner } from "../../../catalog/examiner.ts";
import type { BinaryIndexEntry } from "../../../catalog/suite/index-entry.ts";
import type { SegmentReader } from "../../../indices/assemble.ts";
import type { PlannedContents } from "./contents-plan.ts";
import type { ContentsSegmentsOptions } from "./contents-segments.ts";
import { ContentsSegments } from "./contents-segments.ts";
import type { ContentsMember, ContentsStore, KeptContents, KeptSegment } from "./contents-store.ts";
import type { ListedPackages } from "./contents-tasks.ts";
import type { FileListSource } from "./file-list-source.ts";
import { ListPack } from "./file-list-source.ts";

export interface ContentsRunOptions extends ContentsSegmentsOptions {
  readonly state: ContentsStore;
  readonly examiner: Pick<Examiner, "storedFileList" | "markFileListInvalid">;
}

/** A package that Contents ought to hold. */
export interface WantedPackage {
  readonly item: BinaryIndexEntry;
  readonly group: string;
}

/** What to make: packages by their keys. */
export interface ContentsOrder {
  readonly suite: Suite;
  readonly wanted: ReadonlyMap<string, WantedPackage>;
  readonly removed: ReadonlyMap<string, ContentsMember>;
  /** Without those that have no list. */
  readonly added: ReadonlyMap<string, ContentsMember>;
  readonly yieldNow: YieldFunction;
  readonly signal: AbortSignal;
}

/** A package's list turned out to be none: it is refused now, and the next try gets along without it. */
export class ListRefused extends Error {}

/** Beyond so many changed packages an index is made from nothing: what they touch would be most of it. */
const maxChangedPackages = 500;
/** What goes to the sorting thread at once: in bytes of lists in their compact form, and in packages. */
const maxPackBytes = 1024 * 1024;
const maxPackPackages = 2000;

export class ContentsRun {
  readonly #parts: ContentsRunOptions;
  readonly #lists: FileListSource;
  readonly #order: ContentsOrder;
  readonly #builder: ContentsSegments;
  /** By group, the files of its sorted runs. */
  readonly #runs = new Map<string, readonly string[]>();
  /** By groups: one component's index is often the suite's as well. */
  readonly #segments = new Map<string, readonly KeptSegment[]>();
  #staying: ReadonlyMap<string, readonly ContentsMember[]> | undefined;

  constructor(parts: ContentsRunOptions, lists: FileListSource, order: ContentsOrder) {
    this.#parts = parts;
    this.#lists = lists;
    this.#order = order;
    this.#builder = new ContentsSegments(parts, order);
  }

  /** Reads what was made. It holds until the next reading. */
  readonly read: SegmentReader = (id, form) =>
    (form === "plain" ? this.#builder.plainOf(id) : undefined) ?? this.#parts.segments.glimpse(id, form);

  /**
   * @param before the same index as it was made last
   * @throws ListRefused
   */
  async segmentsOf({ groups }: PlannedContents, before: KeptContents | undefined): Promise<readonly KeptSegment[]> {
    const name = [...groups].toSorted().join();
    const segments = this.#segments.get(name) ?? (await this.#made(groups, before));
    this.#segments.set(name, segments);
    return segments;
  }

  async #made(groups: ReadonlySet<string>, before: KeptContents | undefined): Promise<readonly KeptSegment[]> {
    const isIn = ({ group }: ContentsMember): boolean => groups.has(group);
    const removed = [...this.#order.removed.values()].filter(isIn);
    const added = [...this.#order.added.values()].filter(isIn);
    if (before !== undefined) {
      if (removed.length + added.length === 0) return before.segments;
      const segments = await this.#fromLast(before, removed, added, groups);
      if (segments !== undefined) return segments;
    }
    const files: string[] = [];
    for (const group of groups) files.push(...(await this.#runsOf(group)));
    return await this.#builder.fromRuns(files);
  }

  /** @returns undefined where it must be, or had better be, made from nothing */
  async #fromLast(
    before: KeptContents,
    removed: readonly ContentsMember[],
    added: readonly ContentsMember[],
    groups: ReadonlySet<string>,
  ): Promise<readonly KeptSegment[] | undefined> {
    if (before.segments.length === 0 || removed.length + added.length > maxChangedPackages) return undefined;
    // Another version, or the same name elsewhere, may bring the same line: then it stays.
    const staying = await this.#stayingMembers();
    const locations = new Set(removed.map(({ location }) => location));
    const others = [...locations].flatMap((location) => staying.get(location) ?? []);
    const brought = [...added, ...others.filter(({ group }) => groups.has(group))];
    const [out, into] = [this.#packed(removed), this.#packed(brought)];
    if (out === undefined || into === undefined) return undefined;
    const outcome = await this.#builder.fromLast(before.segments, out.packed(), into.packed());
    if (outcome === undefined || "segments" in outcome) return outcome?.segments;
    return await this.#refuse(outcome.malformed.map((index) => brought[index]));
  }

  /** @returns undefined where a list has been lost */
  #packed(members: readonly ContentsMember[]): ListPack | undefined {
    const pack = new ListPack();
    for (const { location, record } of members) {
      const list = this.#parts.examiner.storedFileList(record);
      if (list === undefined) return undefined;
      pack.add(location, list);
    }
    return pack;
  }

  /** Of what was in the last Contents and stays, all that is called as something that goes. */
  async #stayingMembers(): Promise<ReadonlyMap<string, readonly ContentsMember[]>> {
    if (this.#staying !== undefined) return this.#staying;
    const { suite, wanted, removed, yieldNow } = this.#order;
    const staying = new Map<string, ContentsMember[]>();
    for (const { location } of removed.values()) staying.set(location, []);
    if (staying.size > 0) {
      for await (const [key, member] of this.#parts.state.members(suite, yieldNow)) {
        if (wanted.has(key)) staying.get(member.location)?.push(member);
      }
    }
    this.#staying = staying;
    return staying;
  }

  /** Sorts all packages of a group, once for all indices that they stand in. */
  async #runsOf(group: string): Promise<readonly string[]> {
    const known = this.#runs.get(group);
    if (known !== undefined) return known;
    const { wanted, yieldNow, signal } = this.#order;
    const files: string[] = [];
    let pack = new ListPack();
    let members: ContentsMember[] = [];
    let sorting: Promise<void> = Promise.resolve();
    const sort = async (packed: ListedPackages, packedMembers: readonly ContentsMember[]): Promise<void> => {
      const sorted = await this.#builder.sort(packed);
      if (sorted.malformed.length > 0) await this.#refuse(sorted.malformed.map((index) => packedMembers[index]));
      files.push(...sorted.files);
    };
    /** One pack is gathered while the one before is sorted. */
    const sendPack = async (): Promise<void> => {
      await sorting;
      sorting = sort(pack.packed(), members);
      sorting.catch(() => undefined);
      pack = new ListPack();
      members = [];
    };
    try {
      for await (const [key, member] of this.#membersOf(group)) {
        const item = wanted.get(key)?.item;
        if (item === undefined) continue;
        await yieldNow();
        const list = this.#parts.examiner.storedFileList(member.record) ?? (await this.#lists.listOf(item, signal));
        if (list === undefined) continue;
        pack.add(member.location, list);
        members.push(member);
        if (pack.sizeBytes >= maxPackBytes || members.length >= maxPackPackages) await sendPack();
      }
      if (members.length > 0) await sendPack();
    } finally {
      // Nobody takes the directory away from under it.
      await sorting.catch(() => undefined);
    }
    await sorting;
    this.#runs.set(group, files);
    return files;
  }

  async *#membersOf(group: string): AsyncGenerator<readonly [key: string, ContentsMember]> {
    const { suite, added, yieldNow } = this.#order;
    for (const [key, member] of added) if (member.group === group) yield [key, member];
    for await (const [key, member] of this.#parts.state.members(suite, yieldNow)) {
      if (member.group === group) yield [key, member];
    }
  }

  async #refuse(members: readonly (ContentsMember | undefined)[]): Promise<never> {
    for (const member of members)
      if (member !== undefined) await this.#parts.examiner.markFileListInvalid(member.record);
    throw new ListRefused("a package's list of files was none");
  }
}
