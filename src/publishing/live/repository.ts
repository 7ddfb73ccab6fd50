// A repository in service: refreshes its suites, and finds the resources that are requested.
import { setTimeout as sleep } from "node:timers/promises";
import { abortable } from "../../base/abort.ts";
import { backoffMs } from "../../base/backoff.ts";
import { messageOf } from "../../base/errors.ts";
import type { RepositoryName, Suite, TreePath } from "../../base/names.ts";
import { rootPath, tryParseTreePath } from "../../base/names.ts";
import { repeat } from "../../base/repeat.ts";
import type { SerialQueue } from "../../base/serial-queue.ts";
import { withResolvers } from "../../base/with-resolvers.ts";
import type { Catalog } from "../../catalog/catalog.ts";
import type { Examiner } from "../../catalog/examiner.ts";
import { inspectionKeyOf } from "../../catalog/files/catalog-file.ts";
import type { BuilderDirectories } from "../../catalog/layout/builder-directories.ts";
import type { Layout } from "../../catalog/layout/repository-layout.ts";
import { suitePath } from "../../catalog/layout/repository-layout.ts";
import type { LocalInspections } from "../../catalog/local-inspections.ts";
import type { UntrustedMark } from "../../catalog/shared-inspections.ts";
import type { FileListLimits, FilePaths } from "../../debian/file-list.ts";
import { decodeFileList } from "../../debian/file-list.ts";
import type { Replicas } from "../build/replicas.ts";
import type { BackgroundPriority } from "../deferred/background-priority.ts";
import type { PublishingObserver } from "../publishing-observer.ts";
import type { Resource } from "../resource.ts";
import type { ClaimAudit } from "../serve/claim-audit.ts";
import type { DirectoryListings } from "../serve/directory-listings.ts";
import type { PassthroughSuites } from "../serve/passthrough-suites.ts";
import type { PathResolver } from "../serve/path-resolver.ts";
import type { TreeFileResources } from "../serve/tree-file-resources.ts";
import type {
  ClientSession,
  DirectoryListing,
  KeptPublication,
  ListingRange,
  PingOutcome,
  PublicKey,
  RepositoryStatus,
  RequestContext,
  ServedRepository,
  SuiteCounts,
} from "../served-repository.ts";
import { NotSeenYet } from "../served-repository.ts";
import type { FirstOwnerStore } from "../store/first-owner-store.ts";
import type { Upload } from "../store/package-pool.ts";
import type { Manifest } from "../store/publication.ts";
import { statusOf, summaryOf } from "../store/publication.ts";
import type { PublicationStore } from "../store/publication-store.ts";
import type { SegmentStore } from "../store/segment-store.ts";
import type { Maintenance } from "./maintenance.ts";
import type { Notices } from "./notices.ts";
import type { RefreshStatus } from "./refresh-status.ts";
import type { Refresher } from "./refresher.ts";
import { reportPublication } from "./report-publication.ts";
import type { ServedSuite } from "./served-suite.ts";
import type { ServedSuites } from "./served-suites.ts";
import type { SharedSnapshots, SuiteRollback } from "./snapshot-control.ts";
import { SnapshotControl } from "./snapshot-control.ts";
import type { SuitePublisher } from "./suite-publisher.ts";
import type { TreeOutage } from "./tree-outage.ts";

interface RepositoryOptions {
  readonly name: RepositoryName;
  readonly key: PublicKey;
  readonly layout: Layout;
  readonly catalog: Catalog;
  readonly examiner: Pick<Examiner, "storedFileList">;
  /** What this server can tell others about the files of the tree. */
  readonly localInspections: LocalInspections;
  readonly fileListLimits: FileListLimits;
  readonly builders: BuilderDirectories;
  readonly store: PublicationStore;
  readonly firstOwners: FirstOwnerStore;
  readonly suites: ServedSuites;
  readonly passthrough: PassthroughSuites;
  readonly pathResolver: PathResolver;
  readonly directories: DirectoryListings;
  readonly treeFiles: TreeFileResources;
  readonly audit: ClaimAudit;
  readonly refresher: Refresher;
  readonly outage: TreeOutage;
  readonly status: RefreshStatus;
  readonly notices: Notices;
  readonly publisher: SuitePublisher;
  /** The queue in which everything is published. */
  readonly publishQueue: SerialQueue;
  readonly maintenance: Maintenance;
  readonly replicas: Replicas;
  readonly backgroundPriority: BackgroundPriority;
  readonly observer: PublishingObserver;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** How often one claim of an uploader is compared with the bytes; 0: only when the package is downloaded. */
  readonly scrubSeconds: number;
  readonly keepSeconds: number;
  /** Aborted by `stop`; the collaborators have its signal. */
  readonly stopping: AbortController;
}

/** Files that are the same in each publication that has them. */
const isNamedByHash = /^pool\/SHA256\/|\/by-hash\//;

/**
 * How long a request waits until it is certain which publication is the current one, in ms: a load balancer needs some
 * time to notice that no server is ready, and then lets this one serve what it has.
 */
const maxDoubtMs = 3000;
const doubtPollMs = 100;

const firstSurvey = "the tree is being read for the first time";
/** The time from a failed refresh of the whole tree to the next one. It doubles each time, up to the poll interval. */
const retrySeconds = 10;

/** @see openRepository, which builds it */
export class Repository implements ServedRepository, SuiteRollback {
  readonly name: RepositoryName;
  readonly key: PublicKey;
  readonly audit: ClaimAudit;
  readonly snapshotControl: SnapshotControl;
  readonly #options: RepositoryOptions;
  readonly #suites: ServedSuites;
  readonly #refresher: Refresher;

  /** Serves the stored publications at once; the tree is first surveyed by `start` or `ping`. */
  constructor(options: RepositoryOptions) {
    this.#options = options;
    this.name = options.name;
    this.key = options.key;
    this.audit = options.audit;
    this.#suites = options.suites;
    this.#refresher = options.refresher;
    this.snapshotControl = new SnapshotControl(options.store, this);
  }

  /**
   * Refreshes the whole tree now and periodically. Failures are logged and retried.
   * @returns the message of the first refresh's failure, when it has ended; undefined after a success
   */
  start(pollSeconds: number): Promise<string | undefined> {
    this.audit.start(this.#options.scrubSeconds, () => this.#options.replicas.isPublisher);
    this.#options.maintenance.start();
    return this.#pollEvery(pollSeconds);
  }

  /** Stops refreshing and aborts what is running. The last publication is on disk. */
  async stop(): Promise<void> {
    const { audit, maintenance, passthrough, publisher, publishQueue, stopping } = this.#options;
    stopping.abort(new Error("the server stops"));
    await Promise.all([audit.stop(), maintenance.stop(), passthrough.idle()]);
    publisher.cancelScheduled();
    await this.#refresher.idle();
    await publishQueue.idle();
  }

  async ping(path: TreePath, signal: AbortSignal): Promise<PingOutcome> {
    const { treeFiles, backgroundPriority, notices, observer, now } = this.#options;
    const begunMs = now();
    treeFiles.invalidate();
    const refreshed = await backgroundPriority.runInForeground(abortable(this.#refresher.refresh(path, "all"), signal));
    observer.pingLive((now() - begunMs) / 1000);
    const suites = refreshed.suites.map((suite) => this.#suites.get(suite)).filter((suite) => suite !== undefined);
    return {
      publications: suites.flatMap(({ current }) => (current === undefined ? [] : [summaryOf(current)])),
      added: refreshed.added,
      removed: refreshed.removed,
      rejected: suites.flatMap((suite) => suite.rejectedWithin(path)),
      pending: suites.flatMap((suite) => suite.pending(path)),
      notices: notices.about(path).map(({ text }) => text),
    };
  }

  findNow(path: string, session: ClientSession | undefined): Resource | undefined {
    const { pathResolver, replicas } = this.#options;
    const isKnown = replicas.settling() === undefined && pathResolver.awaitedBefore(path, session) === undefined;
    return isKnown || isNamedByHash.test(path) ? pathResolver.find(path, session) : undefined;
  }

  async find(path: string, context: RequestContext): Promise<Resource | undefined> {
    const { pathResolver, status } = this.#options;
    await this.#settled(path, context);
    await pathResolver.awaitedBefore(path, context.session);
    const found = pathResolver.find(path, context.session);
    if (found !== undefined) return found;
    if (this.#isAwaitingPublisher(path)) throw new NotSeenYet(path, "the other replicas have not published it yet");
    if (!this.#isSurveyed(path)) throw new NotSeenYet(path, status.lastError ?? firstSurvey);
    const { signal } = context;
    signal.throwIfAborted();
    return await abortable(pathResolver.findOther(path, signal), signal);
  }

  async list(path: string, range: ListingRange, signal: AbortSignal): Promise<DirectoryListing | undefined> {
    return await abortable(this.#options.directories.list(path, range, signal), signal);
  }

  /** Lists only the generated files of a directory. */
  listGenerated(path: string, range: ListingRange): DirectoryListing | undefined {
    return this.#options.directories.listGenerated(path, range);
  }

  /** Returns a publication that is still kept. */
  publication(suite: Suite, id: string): Manifest | undefined {
    return this.#options.store.get(suite, id);
  }

  get segments(): SegmentStore {
    return this.#options.store.segments;
  }

  /** Returns the id of a kept publication. @param when its id, the name of a pin, or a time */
  snapshotId(suite: Suite, when: string): string | undefined {
    return this.#options.store.idAt(suite, when);
  }

  /** Finds the link of a file that a kept publication lists. @param path below the root of the repository */
  uploadOf(path: string): Upload | undefined {
    return this.#options.store.pool.uploadOf(path);
  }

  /** Returns the builder's directory that contains a directory; undefined if there is none. */
  builderOf(directory: TreePath): TreePath | undefined {
    return this.#options.builders.of(directory);
  }

  /** Returns the paths of the files in a package, if they are known without reading it. */
  fileListOf(path: TreePath): FilePaths | undefined {
    const { catalog, examiner, fileListLimits } = this.#options;
    const file = catalog.file(path);
    const key = file && inspectionKeyOf(file);
    const list = key === undefined ? undefined : examiner.storedFileList(key);
    return list && decodeFileList(list, fileListLimits);
  }

  /** What this server can tell others about the files of the tree. */
  get localInspections(): LocalInspections {
    return this.#options.localInspections;
  }

  /** Takes over what other servers have found to be wrong, and refreshes the files concerned in the background. */
  async takeMarks(marks: readonly UntrustedMark[]): Promise<void> {
    for (const path of await this.localInspections.takeMarks(marks)) this.#refresher.requestRefresh(path);
  }

  /** Whether Contents or pdiffs of the current publication of a suite are still to be generated. */
  isAwaitingDeferredFiles(suite: ServedSuite): boolean {
    return this.#options.maintenance.isAwaitingDeferredFiles(suite);
  }

  /** Returns the current publications. */
  *publications(): Iterable<Manifest> {
    for (const { current } of this.#suites) if (current !== undefined) yield current;
  }

  /** Resolves when every deferred file was tried. @returns the suites that lack some */
  async deferredSettled(): Promise<ReadonlySet<Suite>> {
    return await this.#options.maintenance.deferredSettled();
  }

  suites(): Iterable<ServedSuite> {
    return this.#suites;
  }

  snapshots(): Iterable<KeptPublication> {
    return this.snapshotControl.snapshots();
  }

  get notReady(): string | undefined {
    const { status } = this.#options;
    const suites = [...this.#suites];
    const isReady =
      suites.some(({ current }) => current !== undefined) ||
      (status.sawWholeTree && !suites.some(({ isAwaitingPublisher }) => isAwaitingPublisher));
    return isReady ? undefined : (status.lastError ?? firstSurvey);
  }

  status(): RepositoryStatus {
    const { layout, passthrough, notices, status } = this.#options;
    const suites = [...this.#suites];
    const suitesWithSlash = layout.nestedSuites;
    return {
      suites: suites.flatMap(({ current }) => (current === undefined ? [] : [statusOf(current)])),
      ...(suitesWithSlash.length > 0 && { suitesWithSlash }),
      rejected: [...suites.flatMap((suite) => suite.rejected()), ...passthrough.rejects()],
      untoldRejections: suites.reduce((sum, suite) => sum + suite.rejectedCount - suite.rejected().length, 0),
      pending: suites.flatMap((suite) => suite.pending()),
      notices: notices.about(rootPath).map(({ text }) => text),
      notReady: this.notReady,
      lastError: status.lastError,
    };
  }

  /** The numbers of packages in each suite now. */
  *suiteCounts(): Iterable<SuiteCounts> {
    for (const { name, current, surveyed, rejectedCount } of this.#suites) {
      yield { suite: name, published: current, rejectedFiles: surveyed ? rejectedCount : undefined };
    }
    yield* this.#options.passthrough.suiteCounts();
  }

  async whileNothingIsPublished<T>(task: () => Promise<T>): Promise<T> {
    return await this.#options.publishQueue.run(task);
  }

  /** Lets all replicas execute commands for snapshots. */
  shareSnapshots(shared: SharedSnapshots): void {
    this.snapshotControl.share(shared);
  }

  async rollBack(past: Manifest): Promise<void> {
    const suite = this.#suites.open(past.suite);
    await reportPublication(suite, this.#options, () => suite.rollBack(past, this.#options.stopping.signal));
  }

  async resume(suite: Suite): Promise<void> {
    this.#suites.get(suite)?.resume();
    await this.ping(suitePath(suite), this.#options.stopping.signal);
  }

  /** The stored publications of this repository. */
  get store(): PublicationStore {
    return this.#options.store;
  }

  /** The current publication of a suite. */
  currentOf(suite: Suite): Manifest | undefined {
    return this.#suites.get(suite)?.current;
  }

  /**
   * Serves a publication of another replica whose content is stored.
   * @param servedMs when that replica began to serve it, in ms since the epoch
   */
  async adopt(manifest: Manifest, servedMs: number): Promise<void> {
    await this.#options.store.publish(manifest, servedMs);
    // Until the publication is stored, the object of a suite that was withdrawn before may be dropped.
    const suite = this.#suites.open(manifest.suite);
    await reportPublication(suite, this.#options, async () => suite.adopt(manifest));
  }

  /** Takes a suite out of service that another replica has taken out of service. @param dateSeconds its last Date */
  async adoptWithdrawal(suite: Suite, nowMs: number, dateSeconds: number): Promise<void> {
    await this.#options.store.noteDate(suite, dateSeconds);
    await this.#suites.withdraw(suite, nowMs, dateSeconds);
  }

  /** The first owners of package names. */
  get firstOwners(): FirstOwnerStore {
    return this.#options.firstOwners;
  }

  /** How long the files of a publication stay readable after the next publication. */
  get keepSeconds(): number {
    return this.#options.keepSeconds;
  }

  /** Whether the tree could not be read at the last attempt. */
  get isTreeAway(): boolean {
    return this.#options.outage.isAway;
  }

  /** Tries whether the tree can be read. */
  async checkTree(): Promise<boolean> {
    return !(await this.#refresher.isTreeAway());
  }

  /** Refreshes the whole tree. @throws StorageUnavailable */
  async refreshAll(): Promise<void> {
    await this.#refresher.refresh(rootPath, "bounded");
  }

  /** Publishes every suite as this server knows it. Failures are logged and retried by the next refresh. */
  async publishAll(): Promise<void> {
    const { publisher, maintenance } = this.#options;
    for (const name of this.#suites.names()) await publisher.publish(name, suitePath(name)).catch(() => undefined);
    await maintenance.renewNow();
  }

  /** Removes old publications, if that is due. For a repository that is not refreshed while another replica publishes. */
  async removeOld(): Promise<void> {
    const { publishQueue, maintenance, stopping } = this.#options;
    if (!stopping.signal.aborted) await publishQueue.run(() => maintenance.afterRefresh([]));
  }

  /**
   * Resolves when no newer publication is current elsewhere. If this cannot be found out, another server is to answer;
   * without a load balancer that would ask it, this one serves what it has.
   * @throws NotSeenYet
   */
  async #settled(path: string, { session, signal }: RequestContext): Promise<void> {
    const { replicas } = this.#options;
    const begunMs = performance.now();
    while ((await replicas.settling()) === false && session?.canAskOthers === true) {
      if (performance.now() - begunMs > maxDoubtMs)
        throw new NotSeenYet(path, "other servers may have published meanwhile, and cannot be asked");
      await sleep(doubtPollMs, undefined, { signal });
    }
  }

  #isAwaitingPublisher(path: string): boolean {
    const treePath = path.startsWith("dists/") ? tryParseTreePath(path) : undefined;
    const suite = treePath === undefined ? undefined : this.#options.layout.suiteOf(treePath);
    return suite !== undefined && this.#suites.get(suite)?.isAwaitingPublisher === true;
  }

  /** Refreshes the whole tree periodically. After a failure the next refresh follows soon. */
  #pollEvery(pollSeconds: number): Promise<string | undefined> {
    const pollMs = pollSeconds * 1000;
    const { promise: first, resolve: ended } = withResolvers<string | undefined>();
    let failures = 0;
    const poll = async (): Promise<number> => {
      try {
        await this.#refresher.refresh(rootPath, "bounded");
        ended(undefined);
        failures = 0;
        return pollMs;
      } catch (thrown) {
        ended(messageOf(thrown));
        failures += 1;
        return backoffMs(failures, { firstDelayMs: retrySeconds * 1000, maxDelayMs: pollMs });
      }
    };
    void repeat(poll, { firstDelayMs: 0, signal: this.#options.stopping.signal });
    return first;
  }

  /**
   * Whether a path that is not found does not exist. Before the whole tree was seen, only surveyed suites are known.
   */
  #isSurveyed(path: string): boolean {
    const { layout, passthrough, status } = this.#options;
    if (status.sawWholeTree || !/^(dists|pool|changelogs)\//.test(path)) return true;
    const treePath = tryParseTreePath(path);
    const suite = treePath === undefined ? undefined : layout.suiteOf(treePath);
    if (!path.startsWith("dists/") || suite === undefined) return false;
    return this.#suites.get(suite)?.surveyed === true || passthrough.includes(suite);
  }
}
