// One run that generates a suite's Contents: collects the packages of an index, or the changes to it.
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

/** The collaborators of `ContentsRun`. */
export interface ContentsRunOptions extends ContentsSegmentsOptions {
  readonly state: ContentsStore;
  readonly examiner: Pick<Examiner, "storedFileList" | "markFileListInvalid">;
}

/** A package that Contents should list. */
export interface WantedPackage {
  readonly entry: BinaryIndexEntry;
  readonly group: string;
}

/** The input of a run. Packages are identified by their keys. */
export interface ContentsRequest {
  readonly suite: Suite;
  readonly wanted: ReadonlyMap<string, WantedPackage>;
  readonly removed: ReadonlyMap<string, ContentsMember>;
  /** Without packages that have no file list. */
  readonly added: ReadonlyMap<string, ContentsMember>;
  readonly yieldNow: YieldFunction;
  readonly signal: AbortSignal;
}

/** The file list of a package is invalid. It is marked as invalid, and the next attempt skips it. */
export class InvalidFileList extends Error {}

/** With more changed packages, an index is generated from nothing, because most of its segments would change. */
const maxChangedPackages = 500;
/** The maximum that is sent to the sorting thread at once: bytes of compact file lists, and packages. */
const maxPackBytes = 1024 * 1024;
const maxPackPackages = 2000;

/** One run. It shares sorted runs and segments between the suite's indices. */
export class ContentsRun {
  readonly #options: ContentsRunOptions;
  readonly #lists: FileListSource;
  readonly #request: ContentsRequest;
  readonly #builder: ContentsSegments;
  /** The files of sorted runs, by group. */
  readonly #runs = new Map<string, readonly string[]>();
  /** By groups: the index of the only component is equal to that of the suite. */
  readonly #segments = new Map<string, readonly KeptSegment[]>();
  #remaining: ReadonlyMap<string, readonly ContentsMember[]> | undefined;

  constructor(options: ContentsRunOptions, lists: FileListSource, request: ContentsRequest) {
    this.#options = options;
    this.#lists = lists;
    this.#request = request;
    this.#builder = new ContentsSegments(options, request);
  }

  /** Reads generated segments. The bytes are valid until the next call. */
  readonly read: SegmentReader = (id, form) =>
    (form === "plain" ? this.#builder.plainOf(id) : undefined) ?? this.#options.segments.readTransient(id, form);

  /**
   * Generates the segments of an index.
   * @param before the same index in the previous run
   * @throws InvalidFileList
   */
  async segmentsOf({ groups }: PlannedContents, before: KeptContents | undefined): Promise<readonly KeptSegment[]> {
    const name = [...groups].toSorted().join();
    const segments = this.#segments.get(name) ?? (await this.#generate(groups, before));
    this.#segments.set(name, segments);
    return segments;
  }

  async #generate(groups: ReadonlySet<string>, before: KeptContents | undefined): Promise<readonly KeptSegment[]> {
    const isIn = ({ group }: ContentsMember): boolean => groups.has(group);
    const removed = [...this.#request.removed.values()].filter(isIn);
    const added = [...this.#request.added.values()].filter(isIn);
    if (before !== undefined) {
      if (removed.length + added.length === 0) return before.segments;
      const segments = await this.#update(before, removed, added, groups);
      if (segments !== undefined) return segments;
    }
    const files: string[] = [];
    for (const group of groups) files.push(...(await this.#runsOf(group)));
    return await this.#builder.fromRuns(files);
  }

  /** @returns undefined if the index must be generated from nothing, or if that is cheaper */
  async #update(
    before: KeptContents,
    removed: readonly ContentsMember[],
    added: readonly ContentsMember[],
    groups: ReadonlySet<string>,
  ): Promise<readonly KeptSegment[] | undefined> {
    if (before.segments.length === 0 || removed.length + added.length > maxChangedPackages) return undefined;
    // Another version, or a package with the same name elsewhere, may have the same line, which must then stay.
    const remaining = await this.#remainingMembers();
    const locations = new Set(removed.map(({ location }) => location));
    const others = [...locations].flatMap((location) => remaining.get(location) ?? []);
    const kept = [...added, ...others.filter(({ group }) => groups.has(group))];
    const [removedPack, addedPack] = [this.#packed(removed), this.#packed(kept)];
    if (removedPack === undefined || addedPack === undefined) return undefined;
    const outcome = await this.#builder.update(before.segments, removedPack.packed(), addedPack.packed());
    if (outcome === undefined || "segments" in outcome) return outcome?.segments;
    return await this.#rejectLists(outcome.malformed.map((index) => kept[index]));
  }

  /** @returns undefined if a file list is no longer stored */
  #packed(members: readonly ContentsMember[]): ListPack | undefined {
    const pack = new ListPack();
    for (const { location, record } of members) {
      const list = this.#options.examiner.storedFileList(record);
      if (list === undefined) return undefined;
      pack.add(location, list);
    }
    return pack;
  }

  /** The unchanged members of the previous Contents that have the location of a removed one, by location. */
  async #remainingMembers(): Promise<ReadonlyMap<string, readonly ContentsMember[]>> {
    if (this.#remaining !== undefined) return this.#remaining;
    const { suite, wanted, removed, yieldNow } = this.#request;
    const remaining = new Map<string, ContentsMember[]>();
    for (const { location } of removed.values()) remaining.set(location, []);
    if (remaining.size > 0) {
      for await (const [key, member] of this.#options.state.members(suite, yieldNow)) {
        if (wanted.has(key)) remaining.get(member.location)?.push(member);
      }
    }
    this.#remaining = remaining;
    return remaining;
  }

  /** Sorts all packages of a group, once for all indices that list them. */
  async #runsOf(group: string): Promise<readonly string[]> {
    const known = this.#runs.get(group);
    if (known !== undefined) return known;
    const { wanted, yieldNow, signal } = this.#request;
    const files: string[] = [];
    let pack = new ListPack();
    let members: ContentsMember[] = [];
    let sorting: Promise<void> = Promise.resolve();
    const sort = async (packed: ListedPackages, packedMembers: readonly ContentsMember[]): Promise<void> => {
      const sorted = await this.#builder.sort(packed);
      if (sorted.malformed.length > 0) await this.#rejectLists(sorted.malformed.map((index) => packedMembers[index]));
      files.push(...sorted.files);
    };
    /** One pack is collected while the previous one is sorted. */
    const sendPack = async (): Promise<void> => {
      await sorting;
      sorting = sort(pack.packed(), members);
      sorting.catch(() => undefined);
      pack = new ListPack();
      members = [];
    };
    try {
      for await (const [key, member] of this.#membersOf(group)) {
        const entry = wanted.get(key)?.entry;
        if (entry === undefined) continue;
        await yieldNow();
        const list = this.#options.examiner.storedFileList(member.record) ?? (await this.#lists.listOf(entry, signal));
        if (list === undefined) continue;
        pack.add(member.location, list);
        members.push(member);
        if (pack.sizeBytes >= maxPackBytes || members.length >= maxPackPackages) await sendPack();
      }
      if (members.length > 0) await sendPack();
    } finally {
      // The caller deletes the directory, so sorting must have ended before.
      await sorting.catch(() => undefined);
    }
    await sorting;
    this.#runs.set(group, files);
    return files;
  }

  async *#membersOf(group: string): AsyncGenerator<readonly [key: string, ContentsMember]> {
    const { suite, added, yieldNow } = this.#request;
    for (const [key, member] of added) if (member.group === group) yield [key, member];
    for await (const [key, member] of this.#options.state.members(suite, yieldNow)) {
      if (member.group === group) yield [key, member];
    }
  }

  async #rejectLists(members: readonly (ContentsMember | undefined)[]): Promise<never> {
    for (const member of members)
      if (member !== undefined) await this.#options.examiner.markFileListInvalid(member.record);
    throw new InvalidFileList("the file list of a package is invalid");
  }
}
