// Looks at the tree again and publishes what is new. Each builder's directory is looked at by itself: one that can't be
// read, or is long in inspection, holds up its own builder alone.
import { endsWithin } from "../../base/ends-within.ts";
import { codeOf, errorOf, RepoError } from "../../base/errors.ts";
import type { Suite, TreePath } from "../../base/names.ts";
import { isWithin, joinPath, lastName, parentPath } from "../../base/names.ts";
import type { FileChange, UpdateObserver } from "../../catalog/catalog.ts";
import { packageKindOf } from "../../catalog/inspection/inspect.ts";
import type { Rejection } from "../../catalog/inspection/inspection.ts";
import type { BuilderDirectories } from "../../catalog/layout/builder-directories.ts";
import { distsPath, suitePath } from "../../catalog/layout/repository-layout.ts";
import type { Survey } from "../../catalog/survey.ts";
import { rejectionOf, survey } from "../../catalog/survey.ts";
import type { Directory, Tree } from "../../storage/tree.ts";
import type { PassthroughSuites } from "../serve/passthrough-suites.ts";
import type { RejectedFile } from "../served-repository.ts";
import type { PublicationStore } from "../store/publication-store.ts";
import { BuilderQueues } from "./builder-queues.ts";
import type { ServedSuite } from "./served-suite.ts";
import type { Published, SuitePublisherOptions } from "./suite-publisher.ts";
import { addedBy, removedBy, SuitePublisher } from "./suite-publisher.ts";

/** What looking at a path again has brought, once it is servable. */
export interface Refreshed {
  readonly suites: readonly Suite[];
  /** The tree's `dists` as it was listed; undefined where it is no directory, or the path lies in a suite. */
  readonly dists: Directory | undefined;
  /** Package files that are new, or have new bytes, in the publications made since. */
  readonly added: readonly TreePath[];
  readonly removed: readonly TreePath[];
}

/** What became of one look at a path. */
interface Looked {
  /** Directories below it that have queues of their own. */
  readonly apart: Survey["separate"];
  readonly changes: readonly FileChange[];
  /** What was thrown; then what is known of the path stays. */
  readonly failure: Error | undefined;
}

/** The first look at all of a suite. */
interface FirstLook {
  readonly begunMs: number;
  /** Gets the changes that it sees. */
  readonly seen: FileChange[];
  /** Resolves when each of its directories was looked at; rejects if not even the builders' directories can be listed. */
  readonly all: Promise<void>;
}

/**
 * How long after the start a publication of an earlier run stays while it is not known whether a directory can be listed,
 * or packages that it holds have to be inspected again: after that, they are left out until they are known.
 */
const restartPatienceMs = 15 * 60 * 1000;
/**
 * How long a suite's first publication, and a look at the whole tree, wait for directories that are still being listed
 * or inspected. These follow in later publications.
 */
const inspectionPatienceMs = 60_000;
/**
 * How often it is seen, in ms, whether all that a publication of an earlier run holds is known again: then the first
 * one of this run is made, whatever else is still being inspected.
 */
const restartStepMs = 2000;

interface RefresherOptions extends SuitePublisherOptions {
  readonly tree: Tree;
  readonly builders: BuilderDirectories;
  /** Called before a look that may bring much. */
  readonly wake: () => void;
  readonly store: Pick<PublicationStore, "entriesWithin">;
  readonly passthrough: PassthroughSuites;
  /**
   * Told of what became of a look above the builders' directories.
   * @param apart directories below the path that are looked at on their own
   */
  readonly looked: (path: TreePath, failure: Error | undefined, apart: Survey["separate"]) => void;
}

/** How many requests to look again may wait for each builder's directory: more than its pings bring in some minutes. */
const maxWaiting = 2000;

/** More is waited for than memory is to hold. */
class TooManyWaiting extends RepoError {
  readonly code = "publishing/busy";
  constructor(directory: TreePath) {
    super(`more than ${maxWaiting} pings wait for ${directory} already`);
  }
}

const nothingApart: Survey["separate"] = new Map();

/** How much is waited for. */
type Patience = "all" | "bounded";

export class Refresher {
  readonly #parts: RefresherOptions;
  readonly #looks: BuilderQueues<Looked>;
  readonly #publisher: SuitePublisher;
  readonly #signal: AbortSignal;
  readonly #startedMs: number;
  readonly #firstLooks = new Map<Suite, FirstLook>();
  /** Looks at directories that were handed on and are not done, by suite; true: it is known what is in these. */
  readonly #underWay = new Map<Suite, Map<TreePath, boolean>>();
  /** Of directories that were handed on, so that a link to one from below is not followed. */
  readonly #identities = new Map<TreePath, string>();
  /** How many wait for a look at a path of each owner. */
  readonly #waiting = new Map<TreePath, number>();

  /** @param signal ends what is under way */
  constructor(parts: RefresherOptions, signal: AbortSignal) {
    this.#parts = parts;
    this.#signal = signal;
    this.#startedMs = parts.now();
    this.#looks = new BuilderQueues((owner, path) => this.#look(owner, path), signal);
    this.#publisher = new SuitePublisher(parts, (suite) => this.#firstLooks.delete(suite), signal);
  }

  /**
   * Resolves when what lies at or below a path is servable. Directories of builders that can't be listed are rejections
   * of their suite, unless the path lies within.
   * @param patience "bounded": directories that take longer than `inspectionPatienceMs` follow later
   * @throws TooManyWaiting; StorageUnavailable if the path, or what stands above the builders' directories, could not be
   *   read; what publishing throws
   */
  async refresh(path: TreePath, patience: Patience): Promise<Refreshed> {
    const owner = this.#ownerOf(path);
    const waiting = this.#waiting.get(owner) ?? 0;
    if (waiting >= maxWaiting) throw new TooManyWaiting(owner);
    this.#waiting.set(owner, waiting + 1);
    try {
      return await this.#refresh(path, patience);
    } finally {
      const left = (this.#waiting.get(owner) ?? 1) - 1;
      if (left > 0) this.#waiting.set(owner, left);
      else this.#waiting.delete(owner);
    }
  }

  async #refresh(path: TreePath, patience: Patience): Promise<Refreshed> {
    const dists = isWithin(distsPath, path) ? await this.#listDists() : undefined;
    const suites = this.#suitesAt(path, dists);
    const outcomes = await Promise.allSettled(suites.map((suite) => this.#refreshSuite(suite, path, patience)));
    const published: Published[] = [];
    for (const outcome of outcomes) {
      if (outcome.status === "rejected") throw outcome.reason;
      published.push(outcome.value);
    }
    const inOrder = (paths: readonly TreePath[]) =>
      [...new Set(paths.filter((each) => isWithin(each, path)))].toSorted();
    // Put in order only where somebody asks: after a restart these are all files, and nobody does.
    return {
      suites,
      dists,
      get added() {
        return inOrder(published.flatMap(({ added }) => added));
      },
      get removed() {
        return inOrder(published.flatMap(({ removed }) => removed));
      },
    };
  }

  /** Runs a task while nothing is published. */
  alone<T>(task: () => Promise<T>): Promise<T> {
    return this.#publisher.alone(task);
  }

  /** Resolves when nothing is looked at or published. */
  async idle(): Promise<void> {
    this.#publisher.stopGathering();
    await this.#looks.idle();
    await this.#publisher.idle();
  }

  /** The suites that a path lies in or holds, but for those that are served as found. */
  #suitesAt(path: TreePath, dists: Directory | undefined): Suite[] {
    const { layout } = this.#parts.catalog;
    const suite = layout.suiteOf(path);
    const above = isWithin(distsPath, path) ? this.#suitesIn(dists) : [];
    const suites = suite === undefined ? above : new Set([suite, ...layout.nestedWithin(path)]);
    return [...suites].filter((each) => {
      if (!this.#parts.passthrough.includes(each)) return true;
      this.#parts.passthrough.check(each);
      return false;
    });
  }

  /** The suites in the tree and those that were there before. */
  #suitesIn(dists: Directory | undefined): Set<Suite> {
    const suites = new Set([...this.#parts.suites.names(), ...this.#parts.catalog.layout.nestedSuites]);
    for (const [name, entry] of dists?.entries ?? []) {
      const suite =
        entry.kind === "directory" ? this.#parts.catalog.layout.suiteOf(joinPath(distsPath, name)) : undefined;
      if (suite !== undefined) suites.add(suite);
    }
    return suites;
  }

  async #listDists(): Promise<Directory | undefined> {
    const { tree, looked, observer, log } = this.#parts;
    try {
      const node = await tree.look(distsPath, this.#signal);
      const dists = node?.kind === "directory" ? node : undefined;
      const apart = [...(dists?.entries.keys() ?? [])].map((name) => joinPath(distsPath, name));
      looked(distsPath, undefined, new Map(apart.map((path) => [path, undefined])));
      return dists;
    } catch (thrown) {
      const failure = errorOf(thrown);
      if (!this.#signal.aborted) {
        observer.refreshFailed(codeOf(failure));
        log.error({ err: failure }, "the tree could not be looked at");
        looked(distsPath, failure, nothingApart);
      }
      throw failure;
    }
  }

  async #refreshSuite(name: Suite, path: TreePath, patience: Patience): Promise<Published> {
    const suite = this.#parts.suites.open(name);
    const wanted = isWithin(path, suitePath(name)) ? path : suitePath(name);
    let first = suite.surveyed ? undefined : this.#firstLooks.get(name);
    const isFirst = !suite.surveyed && first === undefined;
    if (isFirst) first = this.#beginFirstLook(name);
    // Part of what is seen on the way may be published before the rest.
    const isWhole = isFirst && wanted === suitePath(name);
    const seen: FileChange[] = isWhole && first !== undefined ? first.seen : [];
    const looked = isWhole ? first?.all : this.#lookAt(this.#knownAbove(wanted), wanted, seen);
    if (looked !== undefined && (patience === "all" || (await endsWithin(looked, inspectionPatienceMs)))) await looked;
    if (first !== undefined) await this.#firstSeen(suite, first);
    const published = await this.#publisher.published(name, wanted);
    const added = addedBy(seen, this.#parts.suites.get(name)).concat(published.added);
    return { ...published, added, removed: removedBy(seen).concat(published.removed) };
  }

  #beginFirstLook(name: Suite): FirstLook {
    const seen: FileChange[] = [];
    const all = this.#lookAt(suitePath(name), suitePath(name), seen);
    const first = { begunMs: this.#parts.now(), seen, all };
    this.#firstLooks.set(name, first);
    // Whoever asks after a failure begins again.
    all.catch(() => this.#firstLooks.delete(name));
    return first;
  }

  /** Resolves when a suite's first publication may be made. @throws what kept the first look from being made */
  async #firstSeen(suite: ServedSuite, { begunMs, all }: FirstLook): Promise<void> {
    const patienceMs = suite.current === undefined ? inspectionPatienceMs : restartStepMs;
    if (await endsWithin(all, patienceMs - (this.#parts.now() - begunMs))) return await all;
    const { store } = this.#parts;
    const before = suite.current && (await store.entriesWithin(suitePath(suite.name), suite.current));
    while (!suite.surveyed && this.#mustWaitFor(suite, before)) {
      if (await endsWithin(all, restartStepMs)) return await all;
    }
    for (const [directory, isKnown] of this.#underWay.get(suite.name) ?? []) {
      if (!isKnown) this.#noteUndecided(suite, directory, [directory]);
    }
  }

  /**
   * Whether a suite lacks too much to be published before its first look has ended.
   * @param before what its publication of an earlier run holds
   */
  #mustWaitFor(suite: ServedSuite, before: ReadonlyMap<TreePath, unknown> | undefined): boolean {
    const isNeeded = before !== undefined && this.#isPatient();
    for (const [directory, isKnown] of this.#underWay.get(suite.name) ?? []) {
      if (!isKnown && (isNeeded || !this.#isBuilders(directory))) return true;
    }
    return isNeeded && suite.undecided().some((path) => before.has(path));
  }

  /** Whether a publication of an earlier run is not yet to be replaced by one with less in it. */
  #isPatient(): boolean {
    return this.#parts.now() - this.#startedMs < restartPatienceMs;
  }

  /**
   * Looks at a directory or file, and at all below it that has queues of its own.
   * @param wanted what is waited for: some of what lies at or below `at`
   * @param seen gets the changes
   * @throws what kept the path, or what is above the builders' directories, from being looked at
   */
  async #lookAt(at: TreePath, wanted: TreePath, seen: FileChange[]): Promise<void> {
    const { apart, changes, failure } = await this.#looks.request(this.#ownerOf(at), at);
    for (const change of changes) seen.push(change);
    if (failure !== undefined) throw failure;
    const waitedFor: Promise<void>[] = [];
    for (const [child, identity] of apart) {
      // The look may have been at more than this path.
      if (!isWithin(child, at)) continue;
      if (identity !== undefined) this.#identities.set(child, identity);
      const isWithinChild = isWithin(wanted, child);
      const looked = this.#lookAtChild(child, isWithinChild ? wanted : child, seen).catch((thrown: unknown) => {
        if (isWithinChild || !this.#isBuilders(child) || rejectionOf(thrown) === undefined) throw thrown;
      });
      looked.catch(() => undefined);
      if (isWithinChild || isWithin(child, wanted)) waitedFor.push(looked);
    }
    for (const outcome of await Promise.allSettled(waitedFor)) if (outcome.status === "rejected") throw outcome.reason;
  }

  async #lookAtChild(child: TreePath, wanted: TreePath, seen: FileChange[]): Promise<void> {
    const suite = this.#parts.catalog.layout.suiteOf(child);
    const underWay = (suite && this.#underWay.get(suite)) ?? new Map<TreePath, boolean>();
    if (suite !== undefined) this.#underWay.set(suite, underWay);
    underWay.set(child, false);
    await this.#lookAt(child, wanted, seen).finally(() => {
      underWay.delete(child);
      this.#identities.delete(child);
    });
  }

  /** One look at a path, in its owner's turn. */
  async #look(owner: TreePath, path: TreePath): Promise<Looked> {
    const { catalog, suites, tree } = this.#parts;
    const name = this.#parts.catalog.layout.suiteOf(path);
    const all: FileChange[] = [];
    if (name === undefined) return { apart: nothingApart, changes: all, failure: undefined };
    const signal = this.#signal;
    const look = catalog.surveyOrder.begin(path);
    try {
      if (this.#mayBringMuch(suites.open(name), path)) this.#parts.wake();
      const seen = await survey(tree, path, signal, this.#parts.now(), {
        onFilesSeen: (files) => catalog.readMetadata(files, signal),
        layout: catalog.layout,
        isSeparate: (directory) => this.#ownerOf(directory) !== owner,
        identity: this.#identities.get(path),
      });
      await this.#takeUnlisted(name, path, seen.unlisted, seen.separate);
      this.#takePassedOver(name, seen);
      await catalog.update(seen, look, this.#teller(name, path, all), signal);
      if (!this.#isBuilders(owner)) this.#parts.looked(path, undefined, seen.separate);
      return { apart: seen.separate, changes: all, failure: undefined };
    } catch (thrown) {
      return { apart: nothingApart, changes: all, failure: await this.#failedLook(owner, path, name, thrown) };
    } finally {
      this.#endLook(name, path, look);
    }
  }

  #endLook(name: Suite, path: TreePath, look: number): void {
    const suite = this.#parts.suites.get(name);
    if (suite !== undefined) this.#noteUndecided(suite, path, []);
    this.#parts.catalog.surveyOrder.end(look);
  }

  /** Takes in what an update of the catalog tells. @param all gets every change */
  #teller(name: Suite, path: TreePath, all: FileChange[] = []): UpdateObserver {
    return (changes, undecided) => {
      // The suite may have been taken out of service, and be back.
      const suite = this.#parts.suites.open(name);
      const underWay = this.#underWay.get(name);
      if (underWay?.has(path)) underWay.set(path, true);
      suite.note(changes);
      for (const change of changes) all.push(change);
      this.#noteUndecided(suite, path, undecided);
      // Whoever asked for just this path publishes what came of it at the end.
      if (changes.length > 0 && (undecided.length > 0 || underWay?.has(path))) this.#publisher.publishSoon(name);
    };
  }

  async #failedLook(owner: TreePath, path: TreePath, name: Suite, thrown: unknown): Promise<Error> {
    const failure = errorOf(thrown);
    if (this.#signal.aborted) return failure;
    const { catalog, observer, log } = this.#parts;
    const code = codeOf(failure);
    observer.refreshFailed(code);
    const isDirectory = path === owner || catalog.hasDirectory(path);
    const rejection = isDirectory ? rejectionOf(thrown) : undefined;
    if (rejection !== undefined) await this.#takeUnlisted(name, path, new Map([[path, rejection]]), nothingApart);
    else log.error({ suite: name, path, code, err: failure }, "a path could not be looked at");
    if (!this.#isBuilders(owner)) this.#parts.looked(path, failure, nothingApart);
    return failure;
  }

  #noteUndecided(suite: ServedSuite, path: TreePath, files: readonly TreePath[]): void {
    const before = suite.uninspected;
    suite.noteUndecided(path, files);
    if (suite.uninspected !== before) this.#parts.observer.inspecting(suite.name, suite.uninspected);
  }

  async #takeUnlisted(
    name: Suite,
    path: TreePath,
    unlisted: ReadonlyMap<TreePath, Rejection>,
    apart: Survey["separate"],
  ): Promise<void> {
    const suite = this.#parts.suites.open(name);
    for (const directory of unlisted.keys()) await this.#recall(suite, directory);
    this.#tellRejected(name, suite.noteUnlisted(path, unlisted, apart), "a directory could not be listed");
  }

  #takePassedOver(name: Suite, { path, skipped: passedOver, separate: apart }: Survey): void {
    const rejected = this.#parts.suites.open(name).notePassedOver(path, passedOver, apart);
    this.#tellRejected(name, rejected, "something in the tree is in no index");
  }

  #tellRejected(suite: Suite, rejected: readonly RejectedFile[], text: string): void {
    for (const each of rejected) {
      this.#parts.observer.rejected(each.code);
      this.#parts.log.warn({ suite, ...each }, text);
    }
  }

  /** Takes what a publication of an earlier run holds of a directory that can't be listed for what is in it. */
  async #recall(suite: ServedSuite, directory: TreePath): Promise<void> {
    const { catalog, store } = this.#parts;
    if (suite.surveyed || suite.current === undefined || catalog.hasDirectory(directory)) return;
    const files = await store.entriesWithin(directory, suite.current);
    if (files.size === 0) return;
    const directories = new Set([directory]);
    for (const path of files.keys()) {
      for (let at = parentPath(path); isWithin(at, directory); at = parentPath(at)) directories.add(at);
    }
    const look = catalog.surveyOrder.begin(directory);
    try {
      const recalled = {
        path: directory,
        directories,
        files,
        unlisted: new Map(),
        skipped: new Map(),
        separate: nothingApart,
      };
      await catalog.update(recalled, look, this.#teller(suite.name, directory), this.#signal);
    } finally {
      this.#endLook(suite.name, directory, look);
    }
  }

  /** Whose queue a path is looked at in: its builder's, else its suite's. */
  #ownerOf(path: TreePath): TreePath {
    const { builders, catalog } = this.#parts;
    const isFile = packageKindOf(lastName(path)) !== undefined || catalog.file(path) !== undefined;
    const directory = isFile && !catalog.hasDirectory(path) ? parentPath(path) : path;
    const suite = this.#parts.catalog.layout.suiteOf(path);
    return builders.of(directory) ?? (suite === undefined ? distsPath : suitePath(suite));
  }

  /** Whether a builder, and not the operator, answers for a directory. */
  #isBuilders(directory: TreePath): boolean {
    const { builders } = this.#parts;
    return (
      builders.isConfigured(directory) ||
      (builders.of(directory) === directory && !this.#parts.catalog.layout.isPackageDirectory(directory))
    );
  }

  /** Whether this is a suite's first look, or one at a directory that nobody has seen. */
  #mayBringMuch(suite: ServedSuite, path: TreePath): boolean {
    if (!suite.surveyed) return suite.current === undefined && path === suitePath(suite.name);
    return packageKindOf(lastName(path)) === undefined && !this.#parts.catalog.hasDirectory(path);
  }

  /** The nearest known directory: of a path whose parents are new too, these must be seen with it. */
  #knownAbove(path: TreePath): TreePath {
    let at = path;
    const isKnown = (directory: TreePath) => this.#parts.catalog.hasDirectory(directory);
    const { layout } = this.#parts.catalog;
    while (layout.suiteOf(parentPath(at)) === layout.suiteOf(path) && !isKnown(parentPath(at))) at = parentPath(at);
    return at;
  }
}
