// A repository in service: keeps its suites up to date and finds what is asked of it.
import { abortable } from "../../base/abort.ts";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { RepositoryName, StateName, Suite, TreePath } from "../../base/names.ts";
import { coveringPath, isWithin, rootPath, tryParseTreePath } from "../../base/names.ts";
import type { Catalog } from "../../catalog/catalog.ts";
import type { Examiner } from "../../catalog/examiner.ts";
import type { BuilderDirectories } from "../../catalog/layout/builder-directories.ts";
import { distsPath, suitePath } from "../../catalog/layout/repository-layout.ts";
import type { IndexEntry } from "../../catalog/suite/index-entry.ts";
import type { Tree } from "../../storage/tree.ts";
import { StorageUnavailable } from "../../storage/tree.ts";
import type { PublishingObserver } from "../publishing-observer.ts";
import type { Resource } from "../resource.ts";
import type { ChangelogLimits } from "../serve/changelog-process.ts";
import { ChangelogResources } from "../serve/changelog-resources.ts";
import type { ClaimAudit } from "../serve/claim-audit.ts";
import type { IndexResources } from "../serve/index-resources.ts";
import type { PackageCache } from "../serve/package-cache.ts";
import type { PackageResources } from "../serve/package-resources.ts";
import { PassthroughSuites } from "../serve/passthrough-suites.ts";
import { PathResolver } from "../serve/path-resolver.ts";
import { TreeFileResources } from "../serve/tree-file-resources.ts";
import type {
  KeptPublication,
  PingOutcome,
  PublicKey,
  RepositoryStatus,
  RequestContext,
  ServedRepository,
} from "../served-repository.ts";
import { NotSeenYet } from "../served-repository.ts";
import type { Manifest } from "../store/publication.ts";
import { statusOf, summaryOf } from "../store/publication.ts";
import type { SegmentStore } from "../store/segment-store.ts";
import type { MaintenanceOptions } from "./maintenance.ts";
import { Maintenance } from "./maintenance.ts";
import { Notices } from "./notices.ts";
import type { Refreshed } from "./refresher.ts";
import { Refresher } from "./refresher.ts";
import type { SuiteParts } from "./served-suite.ts";
import { ServedSuite } from "./served-suite.ts";
import { SnapshotControl } from "./snapshot-control.ts";

export interface RepositoryOptions
  extends SuiteParts,
    Pick<
      MaintenanceOptions,
      "dateLagSeconds" | "keepSeconds" | "keptFiles" | "deferredGenerators" | "deferredTimes" | "backgroundPriority"
    > {
  readonly name: RepositoryName;
  readonly stateName: StateName;
  readonly key: PublicKey;
  readonly tree: Tree;
  readonly catalog: Catalog;
  readonly builders: BuilderDirectories;
  readonly wake: () => void;
  readonly indexResources: IndexResources;
  readonly packages: PackageResources;
  readonly cache: PackageCache;
  readonly changelogLimits: ChangelogLimits;
  readonly examiner: Examiner;
  /** The suites that the configuration has a table for. */
  readonly configuredSuites: readonly Suite[];
  readonly audit: ClaimAudit;
  readonly observer: PublishingObserver;
  readonly log: Log;
  /** How often one uploader's word is held against the bytes; 0: only when these come by. */
  readonly scrubSeconds: number;
}

/** A failure that nothing has mended yet. */
interface NotedError {
  readonly text: string;
  /** The path that could not be looked at; undefined for what is not about a look. */
  readonly lookedAt: TreePath | undefined;
}

const firstLook = "the tree is being looked at for the first time";
/** From a failed look at the whole tree to the next one; doubled each time, up to the time between polls. */
const retrySeconds = 10;

export class Repository implements ServedRepository {
  readonly name: RepositoryName;
  readonly key: PublicKey;
  readonly audit: ClaimAudit;
  readonly snapshotControl: SnapshotControl;
  readonly #parts: RepositoryOptions;
  readonly #suites = new Map<Suite, ServedSuite>();
  readonly #finder: PathResolver;
  readonly #treeFiles: TreeFileResources;
  readonly #passthrough: PassthroughSuites;
  readonly #refresher: Refresher;
  readonly #notices: Notices;
  readonly #maintenance: Maintenance;
  readonly #stopping = new AbortController();
  #poll: NodeJS.Timeout | undefined;
  #lookedAt = false;
  /** The last failure of each path that was looked at and of each suite that was to be published, until one succeeds. */
  readonly #errors = new Map<string, NotedError>();

  /** Serves at once what the store has; the tree is first looked at by `start`. */
  constructor(parts: RepositoryOptions) {
    this.#parts = parts;
    this.name = parts.name;
    this.key = parts.key;
    this.audit = parts.audit;
    for (const manifest of parts.store.current()) {
      if (parts.suiteSettings.of(manifest.suite).indices === "prebuilt") continue;
      this.#openSuite(manifest.suite, manifest);
      parts.observer.restored(manifest.suite);
    }
    const isUnlisted = (path: TreePath) => [...this.#suites.values()].some((suite) => suite.isUnlisted(path));
    this.#treeFiles = new TreeFileResources({ ...parts, isUnlisted });
    this.#passthrough = new PassthroughSuites({ ...parts, treeFiles: this.#treeFiles }, this.#stopping.signal);
    this.#notices = new Notices(parts);
    this.#finder = new PathResolver({
      ...parts,
      treeFiles: this.#treeFiles,
      passthrough: this.#passthrough,
      changelogs: new ChangelogResources({ ...parts, published: () => this.#published() }, this.#stopping.signal),
      currentOf: (suite) => this.#suites.get(suite)?.current,
    });
    this.#refresher = new Refresher(
      {
        ...parts,
        passthrough: this.#passthrough,
        looked: (path, failure, apart) => this.#noteLook(path, failure, apart),
        tried: (suite, failure) => this.#noteError(`publish ${suite}`, failure),
        published: (suites) => this.#maintenance.afterRefresh(suites),
        suites: {
          get: (suite) => this.#suites.get(suite),
          open: (suite) => this.#suites.get(suite) ?? this.#openSuite(suite, undefined),
          close: async (suite) => {
            this.#suites.delete(suite);
            await parts.store.withdraw(suite, parts.now());
            parts.observer.withdrawn(suite);
          },
          names: () => this.#suites.keys(),
        },
      },
      this.#stopping.signal,
    );
    const alone = <T>(task: () => Promise<T>) => this.#refresher.alone(task);
    this.#maintenance = new Maintenance({ ...parts, suites: this.#suites, alone });
    this.snapshotControl = new SnapshotControl(parts.store, {
      alone,
      rollBack: async (past) => {
        const suite = this.#suites.get(past.suite) ?? this.#openSuite(past.suite, undefined);
        await suite.rollBack(past, this.#stopping.signal);
      },
      resume: async (suite) => {
        this.#suites.get(suite)?.resume();
        await this.ping(suitePath(suite), this.#stopping.signal);
      },
    });
  }

  /** Looks at the whole tree, now and every so often. Failures are logged and tried again. */
  start(pollSeconds: number): void {
    this.audit.start(this.#parts.scrubSeconds);
    this.#maintenance.start();
    this.#lookEvery(pollSeconds);
  }

  /** Ends looking, abandoning what is under way; the last publication is on disk. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the server stops"));
    clearTimeout(this.#poll);
    await Promise.all([this.audit.stop(), this.#maintenance.stop(), this.#passthrough.idle()]);
    await this.#refresher.idle();
  }

  /** Looks at one path soon, without anybody waiting for it. */
  requestRefresh(path: TreePath): void {
    if (!this.#stopping.signal.aborted) this.#refresh(path, "all").catch(() => undefined);
  }

  async ping(path: TreePath, signal: AbortSignal): Promise<PingOutcome> {
    const begunMs = this.#parts.now();
    this.#treeFiles.forget();
    const refreshed = await this.#parts.backgroundPriority.runInForeground(
      abortable(this.#refresh(path, "all"), signal),
    );
    this.#parts.observer.pingLive((this.#parts.now() - begunMs) / 1000);
    const suites = refreshed.suites.map((suite) => this.#suites.get(suite)).filter((suite) => suite !== undefined);
    return {
      publications: suites.flatMap(({ current }) => (current === undefined ? [] : [summaryOf(current)])),
      added: refreshed.added,
      removed: refreshed.removed,
      rejected: suites.flatMap((suite) => suite.rejectedWithin(path)),
      pending: suites.flatMap((suite) => suite.pending(path)),
      notices: this.#notices.about(path).map(({ text }) => text),
    };
  }

  async find(path: string, context: RequestContext): Promise<Resource | undefined> {
    const found = this.#finder.find(path, context.session);
    if (found !== undefined) return found;
    if (!this.#knowsAll(path)) throw new NotSeenYet(path, this.#lastError ?? firstLook);
    const { signal } = context;
    signal.throwIfAborted();
    return await abortable(this.#finder.findOther(path, signal), signal);
  }

  /** A publication that is still kept. */
  publication(suite: Suite, id: string): Manifest | undefined {
    return this.#parts.store.get(suite, id);
  }

  get segments(): SegmentStore {
    return this.#parts.store.segments;
  }

  /** The current publications. */
  *publications(): Iterable<Manifest> {
    for (const { current } of this.#suites.values()) if (current !== undefined) yield current;
  }

  /** Resolves when all that is made in the background was tried. @returns the suites that lack some of it */
  async deferredSettled(): Promise<ReadonlySet<Suite>> {
    return await this.#maintenance.deferredSettled();
  }

  /** The suites that are known. */
  suites(): Iterable<ServedSuite> {
    return this.#suites.values();
  }

  snapshots(): Iterable<KeptPublication> {
    return this.snapshotControl.snapshots();
  }

  status(): RepositoryStatus {
    const suites = [...this.#suites.values()];
    const suitesWithSlash = this.#parts.catalog.layout.nestedSuites;
    return {
      ...(suitesWithSlash.length > 0 && { suitesWithSlash }),
      suites: suites.flatMap(({ current }) => (current === undefined ? [] : [statusOf(current)])),
      rejected: [...suites.flatMap((suite) => suite.rejected()), ...this.#passthrough.rejects()],
      untoldRejections: suites.reduce((sum, suite) => sum + suite.rejectedCount - suite.rejected().length, 0),
      pending: suites.flatMap((suite) => suite.pending()),
      notices: this.#notices.about(rootPath).map(({ text }) => text),
      notReady:
        this.#lookedAt || suites.some(({ current }) => current !== undefined)
          ? undefined
          : (this.#lastError ?? firstLook),
      lastError: this.#lastError,
    };
  }

  /** @param failures how many looks have failed in a row: a grid that is back soon is seen soon */
  #lookEvery(pollSeconds: number, failures = 0): void {
    void this.#refresh(rootPath, "bounded")
      .then(
        () => true,
        () => false,
      )
      .then((well) => {
        if (this.#stopping.signal.aborted) return;
        const seconds = well ? pollSeconds : Math.min(pollSeconds, retrySeconds * 2 ** failures);
        this.#poll = setTimeout(() => this.#lookEvery(pollSeconds, well ? 0 : failures + 1), seconds * 1000);
      });
  }

  /** Whether what is not found here is not there. Before the first whole look only what lies in a seen suite is known. */
  #knowsAll(path: string): boolean {
    if (this.#lookedAt || !/^(dists|pool|changelogs)\//.test(path)) return true;
    const treePath = tryParseTreePath(path);
    const suite = treePath === undefined ? undefined : this.#parts.catalog.layout.suiteOf(treePath);
    if (!path.startsWith("dists/") || suite === undefined) return false;
    return this.#suites.get(suite)?.surveyed === true || this.#passthrough.includes(suite);
  }

  #published(): { readonly state: string; readonly items: Iterable<IndexEntry> } {
    const suites = [...this.#suites.values()];
    const state = suites.map(({ name, current }) => `${name} ${current?.id}`).join();
    const items = function* () {
      for (const suite of suites) yield* suite.items();
    };
    return { state, items: items() };
  }

  #openSuite(name: Suite, current: Manifest | undefined): ServedSuite {
    const suite = new ServedSuite(name, current, this.#parts);
    this.#suites.set(name, suite);
    return suite;
  }

  /** @throws what `Refresher.refresh` throws */
  async #refresh(path: TreePath, patience: "all" | "bounded"): Promise<Refreshed> {
    const refreshed = await this.#refresher.refresh(path, patience);
    await this.#notice(path, refreshed);
    if (isWithin(distsPath, path) && this.#errors.size === 0) this.#lookedAt = true;
    return refreshed;
  }

  /** What can't be looked at for it now is looked at next time. */
  async #notice(path: TreePath, { suites, dists }: Refreshed): Promise<void> {
    const { signal } = this.#stopping;
    try {
      for (const name of suites) {
        const suite = this.#suites.get(name);
        if (suite !== undefined) await this.#notices.afterSuite(suite, signal);
      }
      if (isWithin(distsPath, path))
        await this.#notices.afterTree((name) => this.#holds(name), this.#suites.keys(), dists, signal);
    } catch (thrown) {
      if (!(thrown instanceof StorageUnavailable) && !signal.aborted) throw thrown;
    }
  }

  #holds(name: Suite): boolean {
    return this.#suites.has(name) || this.#passthrough.includes(name);
  }

  get #lastError(): string | undefined {
    return [...this.#errors.values()].at(-1)?.text;
  }

  #noteLook(path: TreePath, failure: Error | undefined, apart: ReadonlyMap<TreePath, unknown>): void {
    if (failure === undefined) {
      for (const [known, { lookedAt: other }] of this.#errors) {
        const isSeen = other !== undefined && other !== path && isWithin(other, path);
        if (isSeen && coveringPath(other, apart) === undefined) this.#noteError(known, undefined);
      }
    }
    this.#noteError(`look ${path}`, failure, path);
  }

  #noteError(about: string, thrown: unknown, lookedAt?: TreePath): void {
    const before = this.#errors.get(about)?.text;
    this.#errors.delete(about);
    if (thrown !== undefined) this.#errors.set(about, { text: messageOf(thrown), lookedAt });
    else if (before !== undefined)
      this.#parts.log.info({ repository: this.#parts.stateName, about, after: before }, "up to date again");
  }
}
