// Generates Contents in the background: from nothing the first time, then from the previous ones and the changes.
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
import { ContentsRun, InvalidFileList } from "./contents-run.ts";
import type { ContentsMember, KeptContents } from "./contents-store.ts";
import type { FileListSourceOptions } from "./file-list-source.ts";
import { FileListSource } from "./file-list-source.ts";

/** The collaborators of `ContentsBuilder`. */
export interface ContentsBuilderOptions extends ContentsRunOptions, FileListSourceOptions {
  readonly suiteSettings: SuiteSettingsProvider;
  readonly examiner: ContentsRunOptions["examiner"] & FileListSourceOptions["examiner"];
  /** The algorithms that Release lists. */
  readonly releaseDigests: readonly DigestAlgorithm[];
}

/** How many file lists are read at once. Pings need the storage, too. */
const concurrentLists = 2;

/** Generates a suite's Contents, one run after another, and stores the result for the next run. */
export class ContentsBuilder implements DeferredGenerator {
  readonly name = "contents";
  readonly #options: ContentsBuilderOptions;
  readonly #lists: FileListSource;
  /**
   * The last assembled indices, by suite and path. Unchanged segments at the start of an index are not hashed again.
   */
  readonly #assembled = new Map<Suite, Map<string, AssembledIndex>>();

  constructor(options: ContentsBuilderOptions) {
    this.#options = options;
    this.#lists = new FileListSource(options);
  }

  async generate(request: DeferredRequest): Promise<DeferredFiles> {
    const { directory, suiteSettings } = this.#options;
    if (!suiteSettings.of(request.suite).contents) return { indices: [], blobs: [] };
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true, mode: 0o700 });
    try {
      for (;;) {
        try {
          return { indices: (await this.#indices(request)).map(withoutFirsts), blobs: [] };
        } catch (thrown) {
          if (!(thrown instanceof InvalidFileList)) throw thrown;
        }
      }
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  async #indices({ suite, current, entries, yieldNow, signal }: DeferredRequest): Promise<readonly KeptContents[]> {
    const { state } = this.#options;
    const known = this.#usable(state.indices(suite));
    const wanted = await wantedPackages(entries, yieldNow);
    const missing = new Map(wanted);
    const removed = new Map<string, ContentsMember>();
    for await (const [key, member] of state.members(suite, yieldNow))
      if (!missing.delete(key)) removed.set(key, member);
    const added = await this.#added(missing, yieldNow, signal);
    const planned = contentsOf(current, new Set([...wanted.values()].map(({ group }) => group)));
    const run = new ContentsRun(this.#options, this.#lists, { suite, wanted, removed, added, yieldNow, signal });
    const indices: KeptContents[] = [];
    const assembled = this.#assembled.get(suite) ?? new Map<string, AssembledIndex>();
    this.#assembled.set(suite, assembled);
    for (const each of planned) indices.push(await this.#index(assembled, each, known, run, indices, yieldNow));
    await this.#options.segments.written(segmentIdsOf(indices));
    const isSame = known.length === indices.length && indices.every((index) => known.includes(index));
    if (!isSame || removed.size > 0 || added.size > 0) {
      // Without a pause for pings: while this is incomplete, the next run would have to start from nothing.
      await state.save(suite, { removed: removed.keys(), added, indices }, yieldToEventLoop(signal));
    }
    const paths = new Set(indices.map((index) => indexPath(index, "plain")));
    for (const path of assembled.keys()) if (!paths.has(path)) assembled.delete(path);
    return indices;
  }

  /** The previous indices whose segments are all stored and whose digests include all configured algorithms. */
  #usable(indices: readonly KeptContents[]): readonly KeptContents[] {
    const { segments: store, releaseDigests } = this.#options;
    const hasDigests = ({ forms: { plain } }: KeptContents) =>
      releaseDigests.every((algorithm) => algorithm === "sha256" || plain.others?.[algorithm] !== undefined);
    return indices.filter((index) => hasDigests(index) && index.segments.every(({ id }) => store.has(id)));
  }

  /** The members for new packages, once their file lists are stored. */
  async #added(
    missing: ReadonlyMap<string, WantedPackage>,
    yieldNow: YieldFunction,
    signal: AbortSignal,
  ): Promise<Map<string, ContentsMember>> {
    const added = new Map<string, ContentsMember>();
    let failure: { readonly thrown: unknown } | undefined;
    await forEachConcurrent(missing, concurrentLists, async ([key, { entry, group }]) => {
      await yieldNow();
      try {
        if ((await this.#lists.listOf(entry, signal)) === undefined) return;
        const location = await this.#lists.locationOf(entry, signal);
        if (location !== undefined) added.set(key, { group, location, record: entry.inspectionKey });
      } catch (thrown) {
        signal.throwIfAborted();
        // The other lists are read anyway, so that the next attempt has them.
        failure ??= { thrown };
      }
    });
    if (failure !== undefined) throw failure.thrown;
    return added;
  }

  async #index(
    assembled: Map<string, AssembledIndex>,
    planned: PlannedContents,
    known: readonly KeptContents[],
    run: ContentsRun,
    finished: readonly KeptContents[],
    yieldNow: YieldFunction,
  ): Promise<KeptContents> {
    const { releaseDigests } = this.#options;
    const { directory, name } = planned;
    const before = known.find((index) => index.directory === directory && index.name === name);
    const segments = await run.segmentsOf(planned, before);
    const isSame = (index: KeptContents): boolean =>
      index.segments.length === segments.length && index.segments.every(({ id }, at) => id === segments[at]?.id);
    if (before !== undefined && isSame(before)) return before;
    const twin = finished.find(isSame);
    if (twin !== undefined) return { ...twin, directory, name };
    const path = indexPath(planned, "plain");
    const index = await assemble(segments, run.read, releaseDigests, assembled.get(path), yieldNow);
    assembled.set(path, index);
    return { ...publishedIndex({ directory, name, late: { maker: this.name } }, index), segments };
  }
}

/** The binary packages by the key of their lines in Contents. There may be many thousands. */
async function wantedPackages(
  entries: readonly IndexEntry[],
  yieldNow: YieldFunction,
): Promise<Map<string, WantedPackage>> {
  const wanted = new Map<string, WantedPackage>();
  for (const entry of entries) {
    if (entry.kind === "binary") wanted.set(keyOf(entry), { entry, group: groupOf(entry) });
    await yieldNow();
  }
  return wanted;
}

function withoutFirsts({ segments, ...index }: KeptContents): PublishedIndex {
  return { ...index, segments: segments.map(({ first: _first, ...sizes }) => sizes) };
}
