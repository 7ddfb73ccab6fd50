// Looks at the tree again and publishes what is new. Each builder's directory is looked at by itself: one that can't be
// read, or is long in inspection, holds up its own builder alone.
import { sleep } from "../base/abort.ts";
import { codeOf, LimitExceeded, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Suite, TreePath } from "../base/names.ts";
import { isWithin, joinPath, lastName, parentPath } from "../base/names.ts";
import type { BuilderDirectories } from "../catalog/builder-directories.ts";
import type { Catalog } from "../catalog/catalog.ts";
import { packageKindOf } from "../catalog/inspect.ts";
import type { Rejection } from "../catalog/inspection.ts";
import { distsPath, isPlace, suiteOf, suitePath } from "../catalog/layout.ts";
import type { Survey } from "../catalog/survey.ts";
import { rejectionOf, survey } from "../catalog/survey.ts";
import type { Tree } from "../storage/tree.ts";
import { StorageUnavailable } from "../storage/tree.ts";
import type { AsFoundSuites } from "./as-found.ts";
import { BuilderQueues } from "./builder-queues.ts";
import type { PublishingObserver } from "./events.ts";
import { RefreshQueue } from "./refresh-queue.ts";
import type { ServedSuite } from "./suite.ts";

/** What looking at a path again has brought, once it is servable. */
export interface Refreshed {
  readonly suites: readonly Suite[];
  /** Package files that are new, or have new bytes, in the publications made since. */
  readonly added: readonly TreePath[];
  readonly removed: readonly TreePath[];
}

/** What became of one look at a path. */
interface Looked {
  /** Directories below it that have queues of their own. */
  readonly apart: Survey["apart"];
  /** What was thrown; then what is known of the path stays. */
  readonly failure: Error | undefined;
}

/** What became of one attempt to publish a suite. */
interface Published {
  readonly added: readonly TreePath[];
  readonly removed: readonly TreePath[];
  /** What was thrown; then this suite is served as before, and what was seen is published by the next attempt. */
  readonly failure: Error | undefined;
}

/** The first look at all of a suite. */
interface FirstLook {
  readonly begunMs: number;
  /** Resolves when each of its directories was looked at; rejects if not even the builders' directories can be listed. */
  readonly all: Promise<void>;
}

/** The suites that are known, by name. */
export interface SuiteShelf {
  get(suite: Suite): ServedSuite | undefined;
  /** The suite, made known if it is new. */
  open(suite: Suite): ServedSuite;
  /** Takes a suite that is no more in the tree out of service. */
  close(suite: Suite): Promise<void>;
  names(): Iterable<Suite>;
}

/**
 * How long after the start a publication of an earlier run stays when one directory can't be listed: after that, its
 * builder's packages are left out, and no other builder waits for them.
 */
const unlistedPatienceMs = 15 * 60 * 1000;
/**
 * How long a suite's first publication, and a look at the whole tree, wait for directories that are still being listed
 * or inspected. These follow in later publications.
 */
const inspectionPatienceMs = 60_000;
/** How often it is seen after that whether the first publication has still to wait for a publication of an earlier run. */
const patienceStepMs = 1000;
/** How soon after a change it is published that nobody waits for, in ms: others may follow. */
const gatherMs = 1000;

interface RefresherParts {
  readonly tree: Tree;
  readonly catalog: Catalog;
  readonly builders: BuilderDirectories;
  /** Called before a look that may bring much. */
  readonly wake: () => void;
  readonly suites: SuiteShelf;
  readonly asFound: AsFoundSuites;
  /**
   * Told of what became of a look above the builders' directories.
   * @param apart directories below the path that are looked at on their own
   */
  readonly looked: (path: TreePath, failure: Error | undefined, apart: Survey["apart"]) => void;
  /** Told of what became of an attempt to publish a suite. */
  readonly tried: (suite: Suite, failure: Error | undefined) => void;
  /** To be awaited after suites were published, before the next ones are. */
  readonly published: (suites: readonly Suite[]) => Promise<void>;
  readonly observer: PublishingObserver;
  readonly log: Log;
  readonly now: () => number;
}

const nothingApart: Survey["apart"] = new Map();

/** How much is waited for. */
type Patience = "all" | "bounded";

export class Refresher {
  readonly #parts: RefresherParts;
  readonly #looks: BuilderQueues<Looked>;
  readonly #publishing: RefreshQueue<ReadonlyMap<TreePath, Published>>;
  readonly #signal: AbortSignal;
  readonly #startedMs: number;
  readonly #firstLooks = new Map<Suite, FirstLook>();
  /** Looks at directories that were handed on and are not done, by suite; true: these were listed. */
  readonly #underWay = new Map<Suite, Map<TreePath, boolean>>();
  /** Of directories that were handed on, so that a link to one from below is not followed. */
  readonly #identities = new Map<TreePath, string>();
  /** Suites with changes that nobody waits for. */
  readonly #gathering = new Map<Suite, NodeJS.Timeout>();

  /** @param signal ends what is under way */
  constructor(parts: RefresherParts, signal: AbortSignal) {
    this.#parts = parts;
    this.#signal = signal;
    this.#startedMs = parts.now();
    this.#looks = new BuilderQueues((owner, path) => this.#look(owner, path), signal);
    this.#publishing = new RefreshQueue((paths) => this.#publish(paths), distsPath);
  }

  /**
   * Resolves when what lies at or below a path is servable. Directories of builders that can't be listed are rejections
   * of their suite, unless the path lies within.
   * @param patience "bounded": directories that take longer than `inspectionPatienceMs` follow later
   * @throws StorageUnavailable if the path, or what stands above the builders' directories, could not be read; what
   * publishing throws
   */
  async refresh(path: TreePath, patience: Patience): Promise<Refreshed> {
    const suites = await this.#suitesAt(path);
    const outcomes = await Promise.allSettled(suites.map((suite) => this.#refreshSuite(suite, path, patience)));
    const published: Published[] = [];
    for (const outcome of outcomes) {
      if (outcome.status === "rejected") throw outcome.reason;
      published.push(outcome.value);
    }
    const within = (paths: readonly TreePath[]) => paths.filter((each) => isWithin(each, path));
    return {
      suites,
      added: within(published.flatMap(({ added }) => added)).toSorted(),
      removed: within(published.flatMap(({ removed }) => removed)).toSorted(),
    };
  }

  /** Runs a task while nothing is published. */
  alone<T>(task: () => Promise<T>): Promise<T> {
    return this.#publishing.alone(task);
  }

  /** Resolves when nothing is looked at or published. */
  async idle(): Promise<void> {
    for (const timer of this.#gathering.values()) clearTimeout(timer);
    await this.#looks.idle();
    await this.#publishing.idle();
  }

  /** The suites that a path lies in or holds, but for those that are served as found. */
  async #suitesAt(path: TreePath): Promise<Suite[]> {
    const suite = suiteOf(path);
    const suites = suite === undefined ? (isWithin(distsPath, path) ? await this.#listSuites() : []) : [suite];
    return [...suites].filter((each) => {
      if (!this.#parts.asFound.holds(each)) return true;
      this.#parts.asFound.check(each);
      return false;
    });
  }

  /** The suites in the tree and those that were there before. */
  async #listSuites(): Promise<Set<Suite>> {
    const suites = new Set(this.#parts.suites.names());
    const dists = await this.#lookAtDists();
    if (dists?.kind !== "directory") return suites;
    for (const [name, entry] of dists.entries) {
      const suite = entry.kind === "directory" ? suiteOf(joinPath(distsPath, name)) : undefined;
      if (suite !== undefined) suites.add(suite);
    }
    return suites;
  }

  async #lookAtDists(): ReturnType<Tree["look"]> {
    const { tree, looked, observer, log } = this.#parts;
    try {
      const dists = await tree.look(distsPath, this.#signal);
      const apart =
        dists?.kind === "directory" ? [...dists.entries.keys()].map((name) => joinPath(distsPath, name)) : [];
      looked(distsPath, undefined, new Map(apart.map((path) => [path, undefined])));
      return dists;
    } catch (thrown) {
      const failure = thrown instanceof Error ? thrown : new Error(messageOf(thrown));
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
    const looked = isFirst && wanted === suitePath(name) ? first?.all : this.#lookAt(this.#knownAbove(wanted), wanted);
    if (looked !== undefined) await (patience === "all" ? looked : this.#endsWithin(looked, inspectionPatienceMs));
    if (first !== undefined) await this.#firstSeen(suite, first);
    return await this.#published(name);
  }

  #beginFirstLook(name: Suite): FirstLook {
    const all = this.#lookAt(suitePath(name), suitePath(name));
    const first = { begunMs: this.#parts.now(), all };
    this.#firstLooks.set(name, first);
    // Whoever asks after a failure begins again.
    all.catch(() => this.#firstLooks.delete(name));
    return first;
  }

  /** Resolves when a suite's first publication may be made. @throws StorageUnavailable while it may not */
  async #firstSeen(suite: ServedSuite, { begunMs, all }: FirstLook): Promise<void> {
    let waitMs = inspectionPatienceMs - (this.#parts.now() - begunMs);
    while (!(await this.#endsWithin(all, waitMs)) && !suite.surveyed && this.#mustWaitFor(suite))
      waitMs = patienceStepMs;
    const [lost] = suite.unlisted();
    if (lost === undefined || suite.surveyed || suite.current === undefined || !this.#isPatient()) return;
    throw new StorageUnavailable(lost[0], lost[1].text, { transient: true });
  }

  /** Whether a suite lacks too much to be published before its first look has ended. */
  #mustWaitFor(suite: ServedSuite): boolean {
    for (const [directory, isListed] of this.#underWay.get(suite.name) ?? []) {
      const isNeeded = !this.#isBuilders(directory) || (suite.current !== undefined && this.#isPatient());
      if (!isListed && isNeeded) return true;
    }
    return false;
  }

  /** Whether a publication of an earlier run is not yet to be replaced by one with less in it. */
  #isPatient(): boolean {
    return this.#parts.now() - this.#startedMs < unlistedPatienceMs;
  }

  /** @returns whether it has ended by then @throws what it throws by then */
  async #endsWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
    work.catch(() => undefined);
    const over = new AbortController();
    const later = sleep(Math.max(0, ms), AbortSignal.any([this.#signal, over.signal])).then(() => false);
    later.catch(() => undefined);
    return await Promise.race([work.then(() => true), later]).finally(() => over.abort());
  }

  /**
   * Looks at a directory or file, and at all below it that has queues of its own.
   * @param wanted what is waited for: some of what lies at or below `at`
   * @throws what kept the path, or what is above the builders' directories, from being looked at
   */
  async #lookAt(at: TreePath, wanted: TreePath): Promise<void> {
    const { apart, failure } = await this.#looks.request(this.#ownerOf(at), at);
    if (failure !== undefined) throw failure;
    const waitedFor: Promise<void>[] = [];
    for (const [child, identity] of apart) {
      // The look may have been at more than this path.
      if (!isWithin(child, at)) continue;
      if (identity !== undefined) this.#identities.set(child, identity);
      const isWithinChild = isWithin(wanted, child);
      const looked = this.#lookAtChild(child, isWithinChild ? wanted : child).catch((thrown: unknown) => {
        if (isWithinChild || !this.#isBuilders(child) || rejectionOrUndefined(thrown) === undefined) throw thrown;
      });
      looked.catch(() => undefined);
      if (isWithinChild || isWithin(child, wanted)) waitedFor.push(looked);
    }
    for (const outcome of await Promise.allSettled(waitedFor)) if (outcome.status === "rejected") throw outcome.reason;
  }

  async #lookAtChild(child: TreePath, wanted: TreePath): Promise<void> {
    const suite = suiteOf(child);
    const underWay = (suite && this.#underWay.get(suite)) ?? new Map<TreePath, boolean>();
    if (suite !== undefined) this.#underWay.set(suite, underWay);
    underWay.set(child, false);
    await this.#lookAt(child, wanted).finally(() => {
      underWay.delete(child);
      this.#identities.delete(child);
    });
  }

  /** One look at a path, in its owner's turn. */
  async #look(owner: TreePath, path: TreePath): Promise<Looked> {
    const { catalog, suites, tree } = this.#parts;
    const name = suiteOf(path);
    if (name === undefined) return { apart: nothingApart, failure: undefined };
    const signal = this.#signal;
    const look = catalog.looks.begin(path);
    try {
      if (this.#mayBringMuch(suites.open(name), path)) this.#parts.wake();
      const seen = await survey(tree, path, signal, this.#parts.now(), {
        seen: (files) => catalog.expect(files, signal),
        isApart: (directory) => this.#ownerOf(directory) !== owner,
        identity: this.#identities.get(path),
      });
      const underWay = this.#underWay.get(name);
      if (underWay?.has(path)) underWay.set(path, true);
      this.#tellUnlisted(suites.open(name), path, seen.unlisted, seen.apart);
      const tell: Parameters<Catalog["update"]>[2] = (changes, undecided) => {
        // A suite may have been taken out of service, and be back.
        const suite = suites.open(name);
        suite.note(changes);
        suite.noteUndecided(path, undecided);
        if (changes.length > 0) this.#publishSoon(name);
      };
      await catalog.update(seen, look, tell, signal);
      if (!this.#isBuilders(owner)) this.#parts.looked(path, undefined, seen.apart);
      return { apart: seen.apart, failure: undefined };
    } catch (thrown) {
      return { apart: nothingApart, failure: this.#failedLook(owner, path, name, thrown) };
    } finally {
      suites.get(name)?.noteUndecided(path, []);
      catalog.looks.end(look);
    }
  }

  #failedLook(owner: TreePath, path: TreePath, name: Suite, thrown: unknown): Error {
    const failure = thrown instanceof Error ? thrown : new Error(messageOf(thrown));
    if (this.#signal.aborted) return failure;
    const { catalog, suites, observer, log } = this.#parts;
    const code = codeOf(failure);
    observer.refreshFailed(code);
    const isDirectory = path === owner || catalog.hasDirectory(path);
    const rejection = isDirectory ? rejectionOrUndefined(thrown) : undefined;
    if (rejection !== undefined)
      this.#tellUnlisted(suites.open(name), path, new Map([[path, rejection]]), nothingApart);
    else log.error({ suite: name, path, code, err: failure }, "a path could not be looked at");
    if (!this.#isBuilders(owner)) this.#parts.looked(path, failure, nothingApart);
    return failure;
  }

  #tellUnlisted(
    suite: ServedSuite,
    path: TreePath,
    unlisted: ReadonlyMap<TreePath, Rejection>,
    apart: Survey["apart"],
  ): void {
    for (const rejected of suite.noteUnlisted(path, unlisted, apart)) {
      this.#parts.observer.rejected(rejected.code);
      this.#parts.log.warn({ suite: suite.name, ...rejected }, "a directory could not be listed");
    }
  }

  /** Publishes what was seen of a suite, unless somebody who waits for it is quicker. */
  #publishSoon(name: Suite): void {
    if (this.#gathering.has(name) || this.#parts.suites.get(name)?.surveyed !== true || this.#signal.aborted) return;
    const publish = () => void this.#publishing.request(suitePath(name)).catch(() => undefined);
    this.#gathering.set(name, setTimeout(publish, gatherMs));
  }

  /** @throws what publishing throws */
  async #published(name: Suite): Promise<Published> {
    const published = (await this.#publishing.request(suitePath(name))).get(suitePath(name));
    if (published?.failure !== undefined) throw published.failure;
    return published ?? { added: [], removed: [], failure: undefined };
  }

  async #publish(paths: readonly TreePath[]): Promise<ReadonlyMap<TreePath, Published>> {
    const names = paths.includes(distsPath) ? this.#parts.suites.names() : paths.map(suiteOf);
    const published = new Map<TreePath, Published>();
    for (const name of names) {
      const suite = name && this.#parts.suites.get(name);
      if (suite !== undefined) published.set(suitePath(suite.name), await this.#publishSuite(suite));
    }
    await this.#parts.published([...published.keys()].flatMap((path) => suiteOf(path) ?? []));
    return published;
  }

  async #publishSuite(suite: ServedSuite): Promise<Published> {
    const { catalog, observer, log, now } = this.#parts;
    const { name } = suite;
    const begunMs = now();
    clearTimeout(this.#gathering.get(name));
    this.#gathering.delete(name);
    try {
      const before = suite.current?.id;
      const { changes, rejected } = await suite.follow(catalog, this.#signal);
      this.#firstLooks.delete(name);
      for (const { code } of rejected) observer.rejected(code);
      observer.pending(name, suite.pending().length);
      if (suite.current === undefined && !suite.hasChanges) await this.#parts.suites.close(name);
      else if (suite.current?.id === before && suite.seenWhole && !suite.isRolledBack) observer.confirmed(name);
      const added = changes.filter(({ before: was, after }) => after?.finding !== undefined && after !== was);
      const removed = changes.filter(({ before: was, after }) => was?.finding !== undefined && after === undefined);
      if (suite.current !== undefined && suite.current.id !== before) {
        const seconds = (now() - begunMs) / 1000;
        observer.published(name, seconds);
        const counts = { added: added.length, removed: removed.length, rejected: rejected.length };
        log.info({ suite: name, publication: suite.current.id, ...counts, seconds }, "published");
      }
      this.#parts.tried(name, undefined);
      return { added: added.map(({ path }) => path), removed: removed.map(({ path }) => path), failure: undefined };
    } catch (thrown) {
      const failure = thrown instanceof Error ? thrown : new Error(messageOf(thrown));
      if (!this.#signal.aborted) {
        const code = codeOf(failure);
        observer.refreshFailed(code);
        log.error({ suite: name, code, err: failure }, "the suite could not be brought up to date");
      }
      this.#parts.tried(name, failure);
      return { added: [], removed: [], failure };
    }
  }

  /** Whose queue a path is looked at in: its builder's, else its suite's. */
  #ownerOf(path: TreePath): TreePath {
    const { builders, catalog } = this.#parts;
    const isFile = packageKindOf(lastName(path)) !== undefined || catalog.file(path) !== undefined;
    const directory = isFile && !catalog.hasDirectory(path) ? parentPath(path) : path;
    const suite = suiteOf(path);
    return builders.of(directory) ?? (suite === undefined ? distsPath : suitePath(suite));
  }

  /** Whether a builder, and not the operator, answers for a directory. */
  #isBuilders(directory: TreePath): boolean {
    const { builders } = this.#parts;
    return builders.isConfigured(directory) || (builders.of(directory) === directory && !isPlace(directory));
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
    while (suiteOf(parentPath(at)) !== undefined && !isKnown(parentPath(at))) at = parentPath(at);
    return at;
  }
}

/** Undefined for what says nothing about the directory itself. */
function rejectionOrUndefined(thrown: unknown): Rejection | undefined {
  const isOfStorage = (thrown instanceof StorageUnavailable && !thrown.shortage) || thrown instanceof LimitExceeded;
  return isOfStorage ? rejectionOf(thrown) : undefined;
}
