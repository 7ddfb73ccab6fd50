// The index of packages of one repository, which follows its publications. Its database is a cache in the state
// directory.
import { sleep } from "../../base/abort.ts";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { SerialQueue } from "../../base/serial-queue.ts";
import type {
  DependentRow,
  DirectoryCount,
  FoundPackages,
  ListedRow,
  PackageIndex,
  PackageSearch,
  QueryName,
  ResolvedName,
  Slice,
  UploadSearch,
} from "../data/package-index.ts";
import type { CurrentSuite, Publications } from "../data/publications.ts";
import { listedSegments, publicPath, uploadOf } from "../data/publications.ts";
import type { Cut, Filters } from "../data/repository-data.ts";
import type { IndexRequest } from "./index-messages.ts";
import type { IndexThread } from "./index-thread.ts";
import { IndexUnavailable } from "./index-thread.ts";
import type { SegmentRef } from "./segment-ref.ts";
import { segmentKey } from "./segment-ref.ts";

/** How long after the start the index begins to follow, unless it is asked before, in ms. First, apt is served. */
const firstDelayMs = 5000;
/** How long after a publication the index follows it, in ms: whoever waits for the publication comes first. */
const restMs = 100;
/** How long after a failure the index is updated again, in ms, unless there is a publication before. */
const retryMs = 60_000;
/** How often a change is tried again if the database turns out to be corrupt. */
const maxResets = 2;

export interface SearchIndexOptions {
  readonly publications: Publications;
  readonly thread: Pick<IndexThread, "ask">;
  readonly file: string;
  readonly log: Log;
}

type WithoutFile<Request> = Request extends unknown ? Omit<Request, "file"> : never;

export class SearchIndex implements PackageIndex {
  readonly #options: SearchIndexOptions;
  readonly #stopping = new AbortController();
  readonly #queue = new SerialQueue();
  #isStarted = false;
  #isRequested = false;
  #isComplete = false;

  constructor(options: SearchIndexOptions) {
    this.#options = options;
  }

  /** Begins to follow the publications soon. */
  start(): void {
    const { signal } = this.#stopping;
    void sleep(firstDelayMs, signal).then(
      () => this.#begin(),
      () => undefined,
    );
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the server stops"));
    await this.#queue.idle();
  }

  /** Whether everything is indexed that was published when `changed` was called last. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** To be called after each publication. */
  changed(): void {
    if (!this.#isStarted || this.#isRequested || this.#stopping.signal.aborted) return;
    this.#isRequested = true;
    this.#isComplete = false;
    void this.#queue.run(() => this.#followSoon());
  }

  /** Resolves when the index has followed all changes. */
  async settled(): Promise<void> {
    this.#begin();
    await this.#queue.idle();
  }

  async filters(signal: AbortSignal): Promise<Filters> {
    return await this.#query("filters", [], signal);
  }

  async search(query: PackageSearch, signal: AbortSignal): Promise<FoundPackages> {
    return await this.#query("search", [query], signal);
  }

  async binaries(name: string, signal: AbortSignal): Promise<readonly ListedRow[]> {
    return await this.#query("binaries", [name], signal);
  }

  async source(name: string, signal: AbortSignal): ReturnType<PackageIndex["source"]> {
    return await this.#query("source", [name], signal);
  }

  async bySha256(sha256: string, signal: AbortSignal): Promise<ListedRow | undefined> {
    return await this.#query("bySha256", [sha256], signal);
  }

  async dependents(names: readonly string[], slice: Slice, signal: AbortSignal): Promise<Cut<DependentRow>> {
    return await this.#query("dependents", [names, slice], signal);
  }

  async resolve(names: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, ResolvedName>> {
    return await this.#query("resolve", [names], signal);
  }

  async descriptions(md5s: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    return await this.#query("descriptions", [md5s], signal);
  }

  async uploads(query: UploadSearch, signal: AbortSignal): Promise<Cut<ListedRow>> {
    return await this.#query("uploads", [query], signal);
  }

  async directories(signal: AbortSignal): Promise<readonly DirectoryCount[]> {
    return await this.#query("directories", [], signal);
  }

  /** @returns the result of the query, which the caller's type says */
  async #query<Result>(query: QueryName, parameters: readonly unknown[], signal: AbortSignal): Promise<Result> {
    this.#begin();
    try {
      return await this.#ask<Result>({ kind: "query", query, parameters }, signal);
    } catch (thrown) {
      if (thrown instanceof IndexUnavailable && thrown.isReset) this.changed();
      throw thrown;
    }
  }

  #begin(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.changed();
  }

  async #followSoon(): Promise<void> {
    const { signal } = this.#stopping;
    await sleep(restMs, signal).catch(() => undefined);
    if (!signal.aborted) await this.#follow();
  }

  /** Brings the index to the current publications. The work is proportional to the segments that differ. */
  async #follow(): Promise<void> {
    this.#isRequested = false;
    const { signal } = this.#stopping;
    for (let attempt = 0; attempt < maxResets; attempt++) {
      try {
        const current = [...this.#options.publications.current()];
        for (const suite of current) await this.#followSuite(suite, signal);
        const names = new Set(current.map(({ publicName }) => publicName));
        for (const suite of await this.#ask<readonly string[]>({ kind: "suites" }, signal)) {
          if (!names.has(suite)) await this.#ask({ kind: "finish", suite, publication: undefined, kept: [] }, signal);
        }
        this.#isComplete = !this.#isRequested;
        return;
      } catch (thrown) {
        if (signal.aborted) return;
        this.#options.log.error({ error: messageOf(thrown) }, "the index of packages could not be updated");
        if (thrown instanceof IndexUnavailable && thrown.isReset) continue;
        void sleep(retryMs, signal).then(
          () => this.changed(),
          () => undefined,
        );
        return;
      }
    }
  }

  async #followSuite(suite: CurrentSuite, signal: AbortSignal): Promise<void> {
    const { publicName, manifest } = suite;
    const known = await this.#ask<{ publication: string | undefined; segments: readonly SegmentRef[] }>(
      { kind: "state", suite: publicName },
      signal,
    );
    if (known.publication === manifest.id) return;
    const indexed = new Set(known.segments.map(segmentKey));
    const listed = new Map<string, SegmentRef>();
    for (const { id, ...place } of listedSegments(manifest)) {
      const segment = { suite: publicName, name: id, ...place };
      listed.set(segmentKey(segment), segment);
    }
    for (const [key, segment] of listed) if (!indexed.has(key)) await this.#add(suite, segment, signal);
    await this.#ask(
      { kind: "finish", suite: publicName, publication: manifest.id, kept: [...listed.values()] },
      signal,
    );
  }

  async #add(suite: CurrentSuite, segment: SegmentRef, signal: AbortSignal): Promise<void> {
    const bytes = new Uint8Array(suite.repository.segments.read(segment.name, "plain"));
    const prefix = publicPath(suite, "");
    const paths = await this.#ask<readonly string[]>({ kind: "parse", segment, bytes, prefix }, signal, [bytes.buffer]);
    const uploads = paths.map((path) => uploadOf(suite, path));
    await this.#ask({ kind: "add", segment, uploads }, signal);
  }

  async #ask<Result>(
    request: WithoutFile<IndexRequest>,
    signal: AbortSignal,
    moved: readonly ArrayBuffer[] = [],
  ): Promise<Result> {
    const { thread, file } = this.#options;
    return await thread.ask<Result>({ file, ...request }, signal, moved);
  }
}
