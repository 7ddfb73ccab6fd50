// Surveys parts of the tree and publishes their changes. Each builder's directory is surveyed separately: one that
// cannot be read, or takes long to inspect, delays only its own builder.
import { addToCount } from "../../base/counts.ts";
import { endsWithin } from "../../base/ends-within.ts";
import { codeOf, errorOf, RepoError } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { StateName, Suite, TreePath } from "../../base/names.ts";
import { isWithin, joinPath, lastName, parentPath } from "../../base/names.ts";
import type { Catalog, FileChange, SurveyMetadata, UpdateObserver } from "../../catalog/catalog.ts";
import { packageKindOf } from "../../catalog/inspection/inspect.ts";
import type { Rejection } from "../../catalog/inspection/inspection.ts";
import type { BuilderDirectories } from "../../catalog/layout/builder-directories.ts";
import { distsPath, suitePath } from "../../catalog/layout/repository-layout.ts";
import type { Survey } from "../../catalog/survey.ts";
import { rejectionOf, survey } from "../../catalog/survey.ts";
import type { Compressor } from "../../indices/compression/compress.ts";
import type { Directory, Tree } from "../../storage/tree.ts";
import { StorageUnavailable } from "../../storage/tree.ts";
import type { PublishingObserver } from "../publishing-observer.ts";
import type { FileRefresher } from "../serve/claim-audit.ts";
import type { PassthroughSuites } from "../serve/passthrough-suites.ts";
import type { RejectedFile } from "../served-repository.ts";
import type { PublicationStore } from "../store/publication-store.ts";
import { BuilderQueues } from "./builder-queues.ts";
import type { Notices } from "./notices.ts";
import type { RefreshStatus } from "./refresh-status.ts";
import type { ServedSuite } from "./served-suite.ts";
import type { ServedSuites } from "./served-suites.ts";
import type { PublishedFiles, SuitePublisher } from "./suite-publisher.ts";
import { addedBy, removedBy } from "./suite-publisher.ts";
import type { TreeOutage } from "./tree-outage.ts";

/** The result of refreshing a path. All of it is published. */
interface Refreshed {
  readonly suites: readonly Suite[];
  /** Package files that are new, or have new bytes, in the publications made since. */
  readonly added: readonly TreePath[];
  readonly removed: readonly TreePath[];
}

/** The outcome of one survey of a path. */
interface SurveyOutcome {
  /** Directories below the path that have queues of their own. */
  readonly separate: Survey["separate"];
  readonly changes: readonly FileChange[];
  /** After a failure, the catalog stays as it was. */
  readonly failure: Error | undefined;
}

/** The first survey of a whole suite. */
interface FirstSurvey {
  readonly suite: ServedSuite;
  readonly begunMs: number;
  /** Receives the changes while the survey runs. */
  readonly seen: FileChange[];
  /** Resolves when each directory of the suite was surveyed; rejects if the builders' directories cannot be found. */
  readonly all: Promise<void>;
}

/**
 * How long after the start a publication of an earlier run stays although the state of some of its packages is unknown,
 * because a directory cannot be listed or the packages must be inspected again. Afterwards such packages are left out.
 */
const restartPatienceMs = 15 * 60 * 1000;
/**
 * How long the first publication of a suite, and a refresh of the whole tree, wait for directories that are still being
 * listed or inspected. Later publications contain the rest.
 */
const inspectionPatienceMs = 60_000;
/**
 * How often, in ms, the first survey checks whether all packages of the publication of an earlier run are known again.
 */
const restartStepMs = 2000;

interface RefresherOptions {
  readonly stateName: StateName;
  readonly tree: Tree;
  readonly catalog: Catalog;
  readonly builders: BuilderDirectories;
  readonly suites: ServedSuites;
  readonly passthrough: PassthroughSuites;
  readonly publisher: SuitePublisher;
  readonly notices: Notices;
  readonly status: RefreshStatus;
  readonly outage: TreeOutage;
  readonly store: PublicationStore;
  readonly compressor: Compressor;
  readonly observer: PublishingObserver;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Aborts what is running. */
  readonly signal: AbortSignal;
}

/** The maximum number of refreshes that wait for each builder's directory: more than its pings in some minutes. */
const maxWaiting = 2000;

/** More requests wait than memory may hold. */
class TooManyWaiting extends RepoError {
  readonly code = "publishing/busy";
  constructor(directory: TreePath) {
    super(`more than ${maxWaiting} pings wait for ${directory} already`);
  }
}

const nothingSeparate: Survey["separate"] = new Map();

/** Whether a refresh waits for slow directories. */
type Patience = "all" | "bounded";

export class Refresher implements FileRefresher {
  readonly #options: RefresherOptions;
  readonly #surveys: BuilderQueues<SurveyOutcome>;
  readonly #startedMs: number;
  readonly #firstSurveys = new Map<Suite, FirstSurvey>();
  /** By suite, the directories whose separate surveys have not ended; true if the content of the directory is known. */
  readonly #active = new Map<Suite, Map<TreePath, boolean>>();
  /** The storage identity of directories that are surveyed separately, so that links back to them are not followed. */
  readonly #identities = new Map<TreePath, string>();
  /** Whether the whole tree can be read, while this is being found out. */
  #check: Promise<void> | undefined;
  /** The number of refreshes that wait for each owner of a path. */
  readonly #waiting = new Map<TreePath, number>();

  constructor(options: RefresherOptions) {
    this.#options = options;
    this.#startedMs = options.now();
    this.#surveys = new BuilderQueues((owner, path) => this.#survey(owner, path), options.signal);
  }

  /**
   * Surveys a path and resolves when the changes at or below it are published. Directories of builders that cannot be
   * listed become rejections, except for the directory that the path is in.
   * @param patience "bounded": do not wait for directories that take longer than `inspectionPatienceMs`
   * @throws TooManyWaiting; StorageUnavailable if the path, or a directory above the builders' directories, cannot be
   *   read; errors of publishing
   */
  async refresh(path: TreePath, patience: Patience): Promise<Refreshed> {
    const owner = this.#ownerOf(path);
    if ((this.#waiting.get(owner) ?? 0) >= maxWaiting) throw new TooManyWaiting(owner);
    addToCount(this.#waiting, owner, 1);
    try {
      return await this.#refresh(path, patience);
    } finally {
      addToCount(this.#waiting, owner, -1);
    }
  }

  /** Refreshes a path in the background. */
  requestRefresh(path: TreePath): void {
    if (!this.#options.signal.aborted) this.refresh(path, "all").catch(() => undefined);
  }

  /** Resolves when no survey runs. */
  async idle(): Promise<void> {
    await this.#surveys.idle();
  }

  async #refresh(path: TreePath, patience: Patience): Promise<Refreshed> {
    const { notices, status, observer, signal } = this.#options;
    const isWholeTree = isWithin(distsPath, path);
    const dists = isWholeTree ? await this.#listDists() : undefined;
    const suites = this.#suitesAt(path, dists);
    const outcomes = await Promise.allSettled(suites.map((suite) => this.#refreshSuite(suite, path, patience)));
    const published: PublishedFiles[] = [];
    for (const outcome of outcomes) {
      if (outcome.status === "rejected") throw outcome.reason;
      published.push(outcome.value);
    }
    await notices.afterRefresh(suites, isWholeTree ? { dists } : undefined, signal);
    if (isWholeTree && status.noteWholeTree()) observer.surveyed();
    const sortedWithin = (kind: keyof PublishedFiles) => {
      const within = published.flatMap((files) => files[kind].filter((each) => isWithin(each, path)));
      return [...new Set(within)].toSorted();
    };
    // Computed on use: after a restart these are all files, and a poll does not need them.
    return {
      suites,
      get added() {
        return sortedWithin("added");
      },
      get removed() {
        return sortedWithin("removed");
      },
    };
  }

  /** The suites that contain the path or are below it, except those with prebuilt indices, which are checked. */
  #suitesAt(path: TreePath, dists: Directory | undefined): Suite[] {
    const { catalog, passthrough } = this.#options;
    const suite = catalog.layout.suiteOf(path);
    const below = isWithin(distsPath, path) ? this.#suitesIn(dists) : [];
    const suites = suite === undefined ? below : new Set([suite, ...catalog.layout.nestedWithin(path)]);
    return [...suites].filter((each) => {
      if (!passthrough.includes(each)) return true;
      passthrough.check(each);
      return false;
    });
  }

  /** The suites in the tree and those in service. */
  #suitesIn(dists: Directory | undefined): Set<Suite> {
    const { catalog, suites } = this.#options;
    const found = new Set([...suites.names(), ...catalog.layout.nestedSuites]);
    for (const [name, entry] of dists?.entries ?? []) {
      const suite = entry.kind === "directory" ? catalog.layout.suiteOf(joinPath(distsPath, name)) : undefined;
      if (suite !== undefined) found.add(suite);
    }
    return found;
  }

  async #listDists(): Promise<Directory | undefined> {
    const { tree, stateName, status, outage, observer, log, signal } = this.#options;
    try {
      const node = await tree.look(distsPath, signal);
      const dists = node?.kind === "directory" ? node : undefined;
      const separate = [...(dists?.entries.keys() ?? [])].map((name) => joinPath(distsPath, name));
      observer.polled(true);
      outage.noteSuccess(stateName);
      status.noteSurvey(distsPath, undefined, new Map(separate.map((path) => [path, undefined])));
      return dists;
    } catch (thrown) {
      const failure = errorOf(thrown);
      if (!signal.aborted) {
        observer.polled(false);
        observer.refreshFailed(codeOf(failure));
        status.noteSurvey(distsPath, failure, nothingSeparate);
        if (failure instanceof StorageUnavailable) outage.noteFailure(stateName, failure);
        else if (status.noteLogged(distsPath)) log.error({ err: failure }, "the directory dists could not be listed");
      }
      throw failure;
    }
  }

  async #refreshSuite(name: Suite, path: TreePath, patience: Patience): Promise<PublishedFiles> {
    const { suites, publisher } = this.#options;
    const suite = suites.open(name);
    const wanted = isWithin(path, suitePath(name)) ? path : suitePath(name);
    let first = this.#firstSurveyOf(suite);
    const isFirst = !suite.surveyed && first === undefined;
    if (isFirst) first = this.#beginFirstSurvey(suite);
    // A poll is content with a first survey that a ping has begun just before.
    const joined = wanted === suitePath(name) && (isFirst || patience === "bounded") ? first : undefined;
    // Some of the changes may be published before the others.
    const seen: FileChange[] = joined?.seen ?? [];
    const surveyed = joined?.all ?? this.#surveyWanted(wanted, seen);
    if (patience === "all" || (await endsWithin(surveyed, inspectionPatienceMs))) await surveyed;
    if (first !== undefined) await this.#untilPublishable(first);
    try {
      const published = await publisher.publish(name, wanted);
      return {
        added: addedBy(seen, suites.get(name)).concat(published.added),
        removed: removedBy(seen).concat(published.removed),
      };
    } finally {
      if (suite.surveyed && this.#firstSurveys.get(name)?.suite === suite) this.#firstSurveys.delete(name);
    }
  }

  /** The first survey of a suite, if it runs or was not published yet. */
  #firstSurveyOf(suite: ServedSuite): FirstSurvey | undefined {
    const known = this.#firstSurveys.get(suite.name);
    return suite.surveyed || known?.suite !== suite ? undefined : known;
  }

  #beginFirstSurvey(suite: ServedSuite): FirstSurvey {
    const path = suitePath(suite.name);
    const seen: FileChange[] = [];
    const all = this.#surveyAll(path, path, seen);
    const first = { suite, begunMs: this.#options.now(), seen, all };
    this.#firstSurveys.set(suite.name, first);
    // After a failure, the next refresh begins another one.
    all.catch(() => {
      if (this.#firstSurveys.get(suite.name) === first) this.#firstSurveys.delete(suite.name);
    });
    return first;
  }

  /** Resolves when the first publication of a suite may be made. @throws the error of the first survey */
  async #untilPublishable({ suite, begunMs, all }: FirstSurvey): Promise<void> {
    const { store, now } = this.#options;
    const patienceMs = suite.current === undefined ? inspectionPatienceMs : restartStepMs;
    if (await endsWithin(all, patienceMs - (now() - begunMs))) return await all;
    const before = suite.current && (await store.entriesWithin(suitePath(suite.name), suite.current));
    while (!suite.surveyed && this.#mustWaitFor(suite, before)) {
      if (await endsWithin(all, restartStepMs)) return await all;
    }
    for (const [directory, isKnown] of this.#active.get(suite.name) ?? []) {
      if (!isKnown) this.#noteInspecting(suite, directory, new Set([directory]));
    }
  }

  /**
   * Whether too much of a suite is unknown to publish it before its first survey has ended.
   * @param before the package files of its publication of an earlier run
   */
  #mustWaitFor(suite: ServedSuite, before: ReadonlyMap<TreePath, unknown> | undefined): boolean {
    const keepsEarlier = before !== undefined && this.#isPatient();
    for (const [directory, isKnown] of this.#active.get(suite.name) ?? []) {
      if (!isKnown && (keepsEarlier || !this.#isBuilders(directory))) return true;
    }
    return keepsEarlier && suite.inspecting().some((path) => before.has(path));
  }

  /** Whether a publication of an earlier run must not be replaced yet by one with fewer packages. */
  #isPatient(): boolean {
    return this.#options.now() - this.#startedMs < restartPatienceMs;
  }

  /** Surveys a path, with the new directories above it. */
  async #surveyWanted(wanted: TreePath, seen: FileChange[]): Promise<void> {
    let at = this.#knownAbove(wanted);
    // A survey of directories above must end before another one of them begins. Afterwards they are known: otherwise a
    // ping soon after a start would survey the whole suite a second time.
    for (let present = this.#surveyAbove(at, wanted); present !== undefined; present = this.#surveyAbove(at, wanted)) {
      await present;
      const below = this.#knownAbove(wanted);
      if (below === at) break;
      at = below;
    }
    await this.#surveyAll(at, wanted, seen);
  }

  /** Resolves when the present survey of directories above a wanted path has ended; undefined if there is none. */
  #surveyAbove(at: TreePath, wanted: TreePath): Promise<unknown> | undefined {
    return at === wanted ? undefined : this.#surveys.present(this.#ownerOf(at));
  }

  /**
   * Surveys a directory or file, and every directory below it that has a queue of its own.
   * @param wanted the part at or below `at` that the result waits for
   * @param seen receives the changes
   * @throws the error of the path, or of a directory above the builders' directories
   */
  async #surveyAll(at: TreePath, wanted: TreePath, seen: FileChange[]): Promise<void> {
    const { separate, changes, failure } = await this.#surveys.request(this.#ownerOf(at), at);
    for (const change of changes) seen.push(change);
    if (failure !== undefined) throw failure;
    const awaited: Promise<void>[] = [];
    for (const [child, identity] of separate) {
      // The survey may have covered more than this path.
      if (!isWithin(child, at)) continue;
      if (identity !== undefined) this.#identities.set(child, identity);
      const isWithinChild = isWithin(wanted, child);
      const surveyed = this.#surveyChild(child, isWithinChild ? wanted : child, seen).catch((thrown: unknown) => {
        if (isWithinChild || !this.#isBuilders(child) || rejectionOf(thrown) === undefined) throw thrown;
      });
      surveyed.catch(() => undefined);
      if (isWithinChild || isWithin(child, wanted)) awaited.push(surveyed);
    }
    for (const outcome of await Promise.allSettled(awaited)) if (outcome.status === "rejected") throw outcome.reason;
  }

  async #surveyChild(child: TreePath, wanted: TreePath, seen: FileChange[]): Promise<void> {
    const suite = this.#options.catalog.layout.suiteOf(child);
    const active = (suite && this.#active.get(suite)) ?? new Map<TreePath, boolean>();
    if (suite !== undefined) this.#active.set(suite, active);
    active.set(child, false);
    await this.#surveyAll(child, wanted, seen).finally(() => {
      active.delete(child);
      this.#identities.delete(child);
    });
  }

  /** Surveys a path once, in the queue of its owner. */
  async #survey(owner: TreePath, path: TreePath): Promise<SurveyOutcome> {
    const { catalog, suites, tree, status, compressor, now, signal } = this.#options;
    const name = catalog.layout.suiteOf(path);
    const all: FileChange[] = [];
    if (name === undefined) return { separate: nothingSeparate, changes: all, failure: undefined };
    const order = catalog.surveyOrder.begin(path);
    const metadata: SurveyMetadata = new Map();
    try {
      if (this.#mayBeLarge(suites.open(name), path)) compressor.wake();
      const found = await survey(tree, path, signal, now(), {
        onFilesSeen: (files) => catalog.readMetadata(files, metadata, signal),
        layout: catalog.layout,
        isSeparate: (directory) => this.#ownerOf(directory) !== owner,
        identity: this.#identities.get(path),
      });
      await this.#noteUnlisted(name, path, found.unlisted, found.separate);
      this.#noteSkipped(name, found);
      await catalog.update(found, order, this.#changeRecorder(name, path, all), signal, metadata);
      if (!this.#isBuilders(owner)) status.noteSurvey(path, undefined, found.separate);
      return { separate: found.separate, changes: all, failure: undefined };
    } catch (thrown) {
      return { separate: nothingSeparate, changes: all, failure: await this.#noteFailure(owner, path, name, thrown) };
    } finally {
      this.#endSurvey(name, path, order);
    }
  }

  #endSurvey(name: Suite, path: TreePath, order: number): void {
    const { catalog, suites } = this.#options;
    const suite = suites.get(name);
    if (suite !== undefined) this.#noteInspecting(suite, path, new Set());
    catalog.surveyOrder.end(order);
  }

  /** Returns a function that records the changes of a catalog update. @param all receives every change */
  #changeRecorder(name: Suite, path: TreePath, all: FileChange[] = []): UpdateObserver {
    return (changes, inspecting) => {
      // The suite may have been taken out of service and put back meanwhile.
      const suite = this.#options.suites.open(name);
      const active = this.#active.get(name);
      if (active?.has(path)) active.set(path, true);
      suite.addChanges(changes);
      for (const change of changes) all.push(change);
      this.#noteInspecting(suite, path, inspecting);
      // A request for exactly this path publishes its changes at the end.
      if (changes.length > 0 && (inspecting.size > 0 || active?.has(path))) this.#options.publisher.publishSoon(name);
    };
  }

  async #noteFailure(owner: TreePath, path: TreePath, name: Suite, thrown: unknown): Promise<Error> {
    const failure = errorOf(thrown);
    const { catalog, status, observer, signal } = this.#options;
    if (signal.aborted) return failure;
    const code = codeOf(failure);
    observer.refreshFailed(code);
    const isDirectory = path === owner || catalog.hasDirectory(path);
    const rejection = isDirectory ? rejectionOf(thrown) : undefined;
    if (rejection !== undefined) await this.#noteUnlisted(name, path, new Map([[path, rejection]]), nothingSeparate);
    else void this.#logSurveyFailure(name, path, failure);
    if (!this.#isBuilders(owner)) status.noteSurvey(path, failure, nothingSeparate);
    return failure;
  }

  async #logSurveyFailure(suite: Suite, path: TreePath, failure: Error): Promise<void> {
    const { status, log, signal } = this.#options;
    if (failure instanceof StorageUnavailable && (await this.isTreeAway())) return;
    if (signal.aborted || !status.noteLogged(path)) return;
    log.error({ suite, path, code: codeOf(failure), err: failure }, "a path could not be surveyed");
  }

  /** Whether the whole tree cannot be read, which is logged once. Only one check runs at a time. */
  async isTreeAway(): Promise<boolean> {
    const { tree, stateName, outage, signal } = this.#options;
    if (outage.isAway) return true;
    this.#check ??= tree
      .look(distsPath, signal)
      .then(
        () => undefined,
        (thrown: unknown) => {
          if (thrown instanceof StorageUnavailable && !signal.aborted) outage.noteFailure(stateName, thrown);
        },
      )
      .finally(() => {
        this.#check = undefined;
      });
    await this.#check;
    return outage.isAway;
  }

  #noteInspecting(suite: ServedSuite, path: TreePath, files: ReadonlySet<TreePath>): void {
    const count = suite.noteInspecting(path, files);
    if (count !== undefined) this.#options.observer.inspecting(suite.name, count);
  }

  async #noteUnlisted(
    name: Suite,
    path: TreePath,
    unlisted: ReadonlyMap<TreePath, Rejection>,
    separate: Survey["separate"],
  ): Promise<void> {
    const suite = this.#options.suites.open(name);
    for (const directory of unlisted.keys()) await this.#restoreEntries(suite, directory);
    const rejected = suite.noteUnlisted(path, unlisted, separate);
    this.#countRejected(rejected);
    if (rejected.length > 0) void this.#logUnlisted(name, rejected);
  }

  async #logUnlisted(name: Suite, rejected: readonly RejectedFile[]): Promise<void> {
    const isTreeAway = rejected.some(({ code }) => code === "unreadable") && (await this.isTreeAway());
    const { status, log, signal } = this.#options;
    if (isTreeAway || signal.aborted) return;
    for (const each of rejected) {
      log.warn({ suite: name, ...each }, "a directory could not be listed");
      status.noteLogged(each.path);
    }
  }

  #noteSkipped(name: Suite, { path, skipped, separate }: Survey): void {
    const rejected = this.#options.suites.open(name).noteSkipped(path, skipped, separate);
    this.#countRejected(rejected);
    for (const each of rejected) {
      this.#options.log.warn({ suite: name, ...each }, "something in the tree is in no index");
    }
  }

  #countRejected(rejected: readonly RejectedFile[]): void {
    for (const { code } of rejected) this.#options.observer.rejected(code);
  }

  /** Assumes that a directory that cannot be listed has the files of the publication of an earlier run. */
  async #restoreEntries(suite: ServedSuite, directory: TreePath): Promise<void> {
    const { catalog, store, signal } = this.#options;
    if (suite.surveyed || suite.current === undefined || catalog.hasDirectory(directory)) return;
    const files = await store.entriesWithin(directory, suite.current);
    if (files.size === 0) return;
    const directories = new Set([directory]);
    for (const path of files.keys()) {
      for (let at = parentPath(path); isWithin(at, directory); at = parentPath(at)) directories.add(at);
    }
    const order = catalog.surveyOrder.begin(directory);
    try {
      const assumed = {
        path: directory,
        directories,
        files,
        unlisted: new Map(),
        skipped: new Map(),
        separate: nothingSeparate,
      };
      await catalog.update(assumed, order, this.#changeRecorder(suite.name, directory), signal);
    } finally {
      this.#endSurvey(suite.name, directory, order);
    }
  }

  /** The directory in whose queue a path is surveyed: that of its builder, or else that of its suite. */
  #ownerOf(path: TreePath): TreePath {
    const { builders, catalog } = this.#options;
    const isFile = packageKindOf(lastName(path)) !== undefined || catalog.file(path) !== undefined;
    const directory = isFile && !catalog.hasDirectory(path) ? parentPath(path) : path;
    const suite = catalog.layout.suiteOf(path);
    return builders.of(directory) ?? (suite === undefined ? distsPath : suitePath(suite));
  }

  /** Whether a builder, not the operator, is responsible for a directory. */
  #isBuilders(directory: TreePath): boolean {
    const { builders, catalog } = this.#options;
    return (
      builders.isConfigured(directory) ||
      (builders.of(directory) === directory && !catalog.layout.isPackageDirectory(directory))
    );
  }

  /** Whether this is the first survey of a suite, or one of a directory that was never surveyed. */
  #mayBeLarge(suite: ServedSuite, path: TreePath): boolean {
    if (!suite.surveyed) return suite.current === undefined && path === suitePath(suite.name);
    return packageKindOf(lastName(path)) === undefined && !this.#options.catalog.hasDirectory(path);
  }

  /** The path to survey: new directories above a new path must be surveyed with it. */
  #knownAbove(path: TreePath): TreePath {
    const { catalog } = this.#options;
    const { layout } = catalog;
    let at = path;
    while (layout.suiteOf(parentPath(at)) === layout.suiteOf(path) && !catalog.hasDirectory(parentPath(at)))
      at = parentPath(at);
    return at;
  }
}
