// Makes Contents in the background: from nothing the first time, then out of the last ones and what has changed.
import { mkdir, rm } from "node:fs/promises";
import { forEachConcurrent } from "../../../base/for-each-concurrent.ts";
import type { Suite } from "../../../base/names.ts";
import type { YieldFunction } from "../../../base/yield-to-event-loop.ts";
import { yieldToEventLoop } from "../../../base/yield-to-event-loop.ts";
import type { IndexEntry } from "../../../catalog/suite/index-entry.ts";
import type { DigestAlgorithm } from "../../../debian/digests.ts";
import type { AssembledIndex } from "../../../indices/assemble.ts";
import { assemble } from "../../../indices/assemble.ts";
import type { DeferredFiles, DeferredGenerator, DeferredRequest } from "../../build/deferred-files.ts";
import type { PublishedIndex } from "../../store/publication.ts";
import { indexPath, publishedIndex, segmentIdsOf } from "../../store/publication.ts";
import type { SuiteSettingsProvider } from "../../suite-settings.ts";
import type { PlannedContents } from "./contents-plan.ts";
import { contentsOf, groupOf, keyOf } from "./contents-plan.ts";
import type { ContentsRunOptions, WantedPackage } from "./contents-run.ts";
import { ContentsRun, ListRefused } from "./contents-run.ts";
import type { ContentsMember, KeptContents } from "./contents-store.ts";
import type { FileListSourceOptions } from "./file-list-source.ts";
import { FileListSource } from "./file-list-source.ts";

export interface ContentsBuilderOptions extends ContentsRunOptions, FileListSourceOptions {
  readonly suiteSettings: SuiteSettingsProvider;
  readonly examiner: ContentsRunOptions["examiner"] & FileListSourceOptions["examiner"];
  /** Release lists these. */
  readonly releaseDigests: readonly DigestAlgorithm[];
}

/** How many lists are fetched or read at once: pings need the storage, too. */
const concurrentLists = 2;

export class ContentsBuilder implements DeferredGenerator {
  readonly name = "contents";
  readonly #parts: ContentsBuilderOptions;
  readonly #lists: FileListSource;
  /** By suite and path, the indices as they were put together last: what the next ones begin with is not read again. */
  readonly #assembled = new Map<Suite, Map<string, AssembledIndex>>();

  constructor(parts: ContentsBuilderOptions) {
    this.#parts = parts;
    this.#lists = new FileListSource(parts);
  }

  async make(order: DeferredRequest): Promise<DeferredFiles> {
    const { directory, suiteSettings } = this.#parts;
    if (!suiteSettings.of(order.suite).contents) return { indices: [], blobs: [] };
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true, mode: 0o700 });
    try {
      for (;;) {
        try {
          return { indices: (await this.#make(order)).map(withoutFirsts), blobs: [] };
        } catch (thrown) {
          if (!(thrown instanceof ListRefused)) throw thrown;
        }
      }
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  async #make({ suite, current, items, yieldNow, signal }: DeferredRequest): Promise<readonly KeptContents[]> {
    const { state } = this.#parts;
    const known = this.#usable(state.indices(suite));
    const wanted = await wantedOf(items, yieldNow);
    const missing = new Map(wanted);
    const removed = new Map<string, ContentsMember>();
    for await (const [key, member] of state.members(suite, yieldNow))
      if (!missing.delete(key)) removed.set(key, member);
    const added = await this.#added(missing, yieldNow, signal);
    const asked = contentsOf(current, new Set([...wanted.values()].map(({ group }) => group)));
    const making = new ContentsRun(this.#parts, this.#lists, { suite, wanted, removed, added, yieldNow, signal });
    const indices: KeptContents[] = [];
    const lastOnes = this.#assembled.get(suite) ?? new Map<string, AssembledIndex>();
    this.#assembled.set(suite, lastOnes);
    for (const one of asked) indices.push(await this.#index(lastOnes, one, known, making, indices, yieldNow));
    await this.#parts.segments.written(segmentIdsOf(indices));
    const isSame = known.length === indices.length && indices.every((one) => known.includes(one));
    if (!isSame || removed.size > 0 || added.size > 0) {
      // No rest here: until all is saved there are no indices to go on from.
      await state.save(suite, { removed: removed.keys(), added, indices }, yieldToEventLoop(signal));
    }
    const paths = new Set(indices.map((index) => indexPath(index, "plain")));
    for (const path of lastOnes.keys()) if (!paths.has(path)) lastOnes.delete(path);
    return indices;
  }

  /** The indices whose segments are all here still, with the digests that are asked for now. */
  #usable(indices: readonly KeptContents[]): readonly KeptContents[] {
    const { segments: store, releaseDigests } = this.#parts;
    const hasDigests = ({ forms: { plain } }: KeptContents) =>
      releaseDigests.every((algorithm) => algorithm === "sha256" || plain.others?.[algorithm] !== undefined);
    return indices.filter(
      (index) => hasDigests(index) && index.segments.every(({ id }) => store.sizesOf(id) !== undefined),
    );
  }

  /** What stands for new packages, once their lists are at hand. */
  async #added(
    missing: ReadonlyMap<string, WantedPackage>,
    yieldNow: YieldFunction,
    signal: AbortSignal,
  ): Promise<Map<string, ContentsMember>> {
    const added = new Map<string, ContentsMember>();
    let failure: { readonly thrown: unknown } | undefined;
    await forEachConcurrent(missing, concurrentLists, async ([key, { item, group }]) => {
      await yieldNow();
      try {
        if ((await this.#lists.listOf(item, signal)) === undefined) return;
        const location = await this.#lists.locationOf(item, signal);
        if (location !== undefined) added.set(key, { group, location, record: item.inspectionKey });
      } catch (thrown) {
        signal.throwIfAborted();
        // The others' lists are brought all the same, so that the next try has them.
        failure ??= { thrown };
      }
    });
    if (failure !== undefined) throw failure.thrown;
    return added;
  }

  async #index(
    lastOnes: Map<string, AssembledIndex>,
    asked: PlannedContents,
    known: readonly KeptContents[],
    making: ContentsRun,
    made: readonly KeptContents[],
    yieldNow: YieldFunction,
  ): Promise<KeptContents> {
    const { releaseDigests } = this.#parts;
    const { directory, name } = asked;
    const before = known.find((one) => one.directory === directory && one.name === name);
    const segments = await making.segmentsOf(asked, before);
    const same = (one: KeptContents): boolean =>
      one.segments.length === segments.length && one.segments.every(({ id }, at) => id === segments[at]?.id);
    if (before !== undefined && same(before)) return before;
    const twin = made.find(same);
    if (twin !== undefined) return { ...twin, directory, name };
    const path = indexPath(asked, "plain");
    const assembled = await assemble(segments, making.read, releaseDigests, lastOnes.get(path), yieldNow);
    lastOnes.set(path, assembled);
    return { ...publishedIndex({ directory, name, late: { maker: this.name } }, assembled), segments };
  }
}

/** The binary packages by what they bring into Contents; some are of many thousands. */
async function wantedOf(items: readonly IndexEntry[], yieldNow: YieldFunction): Promise<Map<string, WantedPackage>> {
  const wanted = new Map<string, WantedPackage>();
  for (const item of items) {
    if (item.kind === "binary") wanted.set(keyOf(item), { item, group: groupOf(item) });
    await yieldNow();
  }
  return wanted;
}

function withoutFirsts({ segments, ...index }: KeptContents): PublishedIndex {
  return { ...index, segments: segments.map(({ first: _first, ...sizes }) => sizes) };
}
