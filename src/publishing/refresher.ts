// Looks at the tree again and brings the suites concerned up to date, each on its own: one that fails keeps its last
// publication and does not hold up the others.
import { codeOf, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Suite, TreePath } from "../base/names.ts";
import { isWithin, joinPath, lastName, parentPath } from "../base/names.ts";
import type { Catalog } from "../catalog/catalog.ts";
import { packageKindOf } from "../catalog/inspect.ts";
import { distsPath, suiteOf, suitePath } from "../catalog/layout.ts";
import type { Survey } from "../catalog/survey.ts";
import { survey } from "../catalog/survey.ts";
import type { Tree } from "../storage/tree.ts";
import { StorageUnavailable } from "../storage/tree.ts";
import type { AsFoundSuites } from "./as-found.ts";
import type { PublishingObserver } from "./events.ts";
import type { ServedSuite } from "./suite.ts";

/** What one look at a part of a suite brought, or why it failed. */
export interface SuiteOutcome {
  readonly suite: Suite;
  readonly added: readonly TreePath[];
  readonly removed: readonly TreePath[];
  /** What was thrown; then this suite is served as before, and what was seen is published with its next look. */
  readonly failure: Error | undefined;
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

export class Refresher {
  readonly #tree: Tree;
  readonly #catalog: Catalog;
  readonly #wake: () => void;
  readonly #suites: SuiteShelf;
  readonly #asFound: AsFoundSuites;
  readonly #observer: PublishingObserver;
  readonly #log: Log;
  readonly #now: () => number;
  readonly #startedMs: number;

  constructor(parts: {
    readonly tree: Tree;
    readonly catalog: Catalog;
    /** Called before a look that may bring much. */
    readonly wake: () => void;
    readonly suites: SuiteShelf;
    readonly asFound: AsFoundSuites;
    readonly observer: PublishingObserver;
    readonly log: Log;
    readonly now: () => number;
  }) {
    this.#tree = parts.tree;
    this.#catalog = parts.catalog;
    this.#wake = parts.wake;
    this.#suites = parts.suites;
    this.#asFound = parts.asFound;
    this.#observer = parts.observer;
    this.#log = parts.log;
    this.#now = parts.now;
    this.#startedMs = parts.now();
  }

  /**
   * @param paths of which none lies within another
   * @throws StorageUnavailable if not even the list of suites can be had
   */
  async refresh(paths: readonly TreePath[], signal: AbortSignal): Promise<SuiteOutcome[]> {
    const bySuite = new Map<Suite, TreePath[]>();
    const look = (suite: Suite, path: TreePath) => {
      if (this.#asFound.holds(suite)) this.#asFound.check(suite);
      else bySuite.set(suite, [...(bySuite.get(suite) ?? []), path]);
    };
    for (const path of paths) {
      const suite = suiteOf(path);
      if (suite !== undefined) look(suite, path);
      else if (isWithin(distsPath, path))
        for (const each of await this.#listSuites(signal)) look(each, suitePath(each));
    }
    const outcomes: SuiteOutcome[] = [];
    for (const [suite, parts] of bySuite) outcomes.push(await this.#refreshSuite(suite, parts, signal));
    return outcomes;
  }

  /** The suites in the tree and those that were there before. */
  async #listSuites(signal: AbortSignal): Promise<Set<Suite>> {
    const suites = new Set(this.#suites.names());
    const dists = await this.#tree.look(distsPath, signal);
    if (dists?.kind !== "directory") return suites;
    for (const [name, entry] of dists.entries) {
      const suite = entry.kind === "directory" ? suiteOf(joinPath(distsPath, name)) : undefined;
      if (suite !== undefined) suites.add(suite);
    }
    return suites;
  }

  async #refreshSuite(name: Suite, paths: readonly TreePath[], signal: AbortSignal): Promise<SuiteOutcome> {
    const begunMs = this.#now();
    try {
      const suite = this.#suites.open(name);
      for (const path of suite.surveyed ? paths.map((each) => this.#knownAbove(each)) : [suitePath(name)]) {
        if (this.#mayBringMuch(suite, path)) this.#wake();
        const seen = await survey(this.#tree, path, signal, this.#now(), (files) =>
          this.#catalog.expect(files, signal),
        );
        this.#tellUnlisted(suite, seen);
        suite.note(await this.#catalog.update(this.#withKnown(seen), signal));
      }
      const before = suite.current?.id;
      const { changes, rejected } = await suite.follow(this.#catalog, signal);
      for (const { code } of rejected) this.#observer.rejected(code);
      this.#observer.pending(name, suite.pending().length);
      if (suite.current === undefined) await this.#suites.close(name);
      else if (suite.current.id === before && suite.seenWhole && !suite.isRolledBack) this.#observer.confirmed(name);
      const added = changes.filter(({ before: was, after }) => after?.finding !== undefined && after !== was);
      const removed = changes.filter(({ before: was, after }) => was?.finding !== undefined && after === undefined);
      if (suite.current !== undefined && suite.current.id !== before) {
        const seconds = (this.#now() - begunMs) / 1000;
        this.#observer.published(name, seconds);
        const counts = { added: added.length, removed: removed.length, rejected: rejected.length };
        this.#log.info({ suite: name, publication: suite.current.id, ...counts, seconds }, "published");
      }
      return {
        suite: name,
        added: added.map(({ path }) => path).toSorted(),
        removed: removed.map(({ path }) => path).toSorted(),
        failure: undefined,
      };
    } catch (thrown) {
      const failure = thrown instanceof Error ? thrown : new Error(messageOf(thrown));
      if (!signal.aborted) {
        const code = codeOf(failure);
        this.#observer.refreshFailed(code);
        this.#log.error({ suite: name, code, err: failure }, "the suite could not be brought up to date");
      }
      return { suite: name, added: [], removed: [], failure };
    }
  }

  /** @throws StorageUnavailable while a publication of an earlier run is not yet to be replaced by one with less in it */
  #tellUnlisted(suite: ServedSuite, { path, unlisted }: Survey): void {
    for (const rejected of suite.noteUnlisted(path, unlisted)) {
      this.#observer.rejected(rejected.code);
      this.#log.warn({ suite: suite.name, ...rejected }, "a directory could not be listed");
    }
    const [lost] = unlisted;
    if (lost === undefined || suite.surveyed || suite.current === undefined) return;
    if (this.#now() - this.#startedMs < unlistedPatienceMs) {
      throw new StorageUnavailable(lost[0], lost[1].text, { transient: true });
    }
  }

  /** What was seen, and of directories that could not be listed, what was seen last. */
  #withKnown(seen: Survey): Survey {
    if (seen.unlisted.size === 0) return seen;
    const directories = new Set(seen.directories);
    const files = new Map(seen.files);
    for (const lost of seen.unlisted.keys()) {
      for (const directory of this.#catalog.directories()) if (isWithin(directory, lost)) directories.add(directory);
      for (const { path, entry } of this.#catalog.filesWithin(lost)) files.set(path, entry);
    }
    return { ...seen, directories, files };
  }

  /** Whether this is a suite's first look, or one at a directory that nobody has seen. */
  #mayBringMuch(suite: ServedSuite, path: TreePath): boolean {
    const isFile = packageKindOf(lastName(path)) !== undefined;
    return suite.current === undefined || (suite.surveyed && !isFile && !this.#catalog.hasDirectory(path));
  }

  /** The nearest known directory: of a path whose parents are new too, these must be seen with it. */
  #knownAbove(path: TreePath): TreePath {
    let at = path;
    while (suiteOf(parentPath(at)) !== undefined && !this.#catalog.hasDirectory(parentPath(at))) at = parentPath(at);
    return at;
  }
}
