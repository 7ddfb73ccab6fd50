// Notices for operators about a tree that can be served but is probably not what they want: a repository with ready-
// made indices, the root of a backup, a configured suite that does not exist.
import type { Log } from "../../base/log.ts";
import type { Suite, TreePath } from "../../base/names.ts";
import { isWithin, joinPath, parseTreePath, rootPath, tryJoinPath } from "../../base/names.ts";
import type { Catalog } from "../../catalog/catalog.ts";
import { packageKindOf } from "../../catalog/inspection/inspect.ts";
import { distsPath, suitePath } from "../../catalog/layout/repository-layout.ts";
import type { Directory, Tree } from "../../storage/tree.ts";
import { StorageUnavailable } from "../../storage/tree.ts";
import type { PassthroughSuites } from "../serve/passthrough-suites.ts";
import type { ServedSuite } from "./served-suite.ts";
import type { ServedSuites } from "./served-suites.ts";

/** A text for people. */
interface Notice {
  /** Undefined if the notice is about the whole tree. */
  readonly suite: Suite | undefined;
  readonly text: string;
}

/** The maximum number of names in one notice. */
const maxNamed = 5;
const poolPath = parseTreePath("pool");
/** The maximum number of directories of `pool` that are listed; beyond it, the notice says "more than". */
const maxPoolDirectories = 200;
/** How long the number of packages in `pool` is reused, in ms: counting them takes a listing for each directory. */
const poolCountMs = 15 * 60 * 1000;

const readyMade = ["Packages", "Sources"].flatMap((name) => ["", ".gz", ".xz", ".bz2"].map((form) => `${name}${form}`));

interface NoticesOptions {
  readonly tree: Tree;
  readonly catalog: Catalog;
  readonly suites: ServedSuites;
  readonly passthrough: PassthroughSuites;
  /** The suites that have a table in the configuration. */
  readonly configuredSuites: readonly Suite[];
  readonly log: Log;
  readonly now: () => number;
}

export class Notices {
  readonly #options: NoticesOptions;
  readonly #ofSuites = new Map<Suite, string>();
  #ofTree: readonly Notice[] = [];
  #pool: { readonly count: string; readonly atMs: number } | undefined;

  constructor(options: NoticesOptions) {
    this.#options = options;
  }

  /** Returns the notices about what is at, above or below a path. */
  about(path: TreePath): readonly Notice[] {
    const ofSuites = [...this.#ofSuites].map(([name, text]) => ({ suite: name, text }));
    return [...this.#ofTree, ...ofSuites].filter(({ suite }) => {
      const at = suite === undefined ? rootPath : suitePath(suite);
      return isWithin(path, at) || isWithin(at, path);
    });
  }

  /**
   * Updates the notices after a refresh. Parts of the tree that cannot be listed now are examined by a later refresh.
   * @param names the suites that were refreshed
   * @param wholeTree the listing of `dists`, which is undefined if there is none; undefined after a refresh of a part
   */
  async afterRefresh(
    names: readonly Suite[],
    wholeTree: { readonly dists: Directory | undefined } | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { suites } = this.#options;
    try {
      for (const name of names) {
        const suite = suites.get(name);
        if (suite !== undefined) await this.#afterSuite(suite, signal);
      }
      if (wholeTree !== undefined) await this.#afterWholeTree(wholeTree.dists, signal);
    } catch (thrown) {
      if (!(thrown instanceof StorageUnavailable) && !signal.aborted) throw thrown;
    }
  }

  async #afterSuite(suite: ServedSuite, signal: AbortSignal): Promise<void> {
    const text = await this.#textFor(suite, signal);
    const before = this.#ofSuites.get(suite.name);
    if (text === undefined) this.#ofSuites.delete(suite.name);
    else this.#ofSuites.set(suite.name, text);
    if (text !== undefined && text !== before) this.#options.log.warn({ suite: suite.name }, text);
  }

  async #afterWholeTree(dists: Directory | undefined, signal: AbortSignal): Promise<void> {
    const { configuredSuites, suites: served, passthrough } = this.#options;
    const exists = (name: Suite) => served.has(name) || passthrough.includes(name);
    for (const name of this.#ofSuites.keys()) if (!exists(name)) this.#ofSuites.delete(name);
    const before = new Set(this.#ofTree.map(({ text }) => text));
    const absent = configuredSuites.filter((name) => !exists(name));
    const suites = [...served.names()].toSorted();
    const known = suites.join(", ") || "no suite";
    const found: Notice[] = absent.map((suite) => ({
      suite,
      text: `the configuration has a table for the suite ${suite}, which the tree does not have: it has ${known}`,
    }));
    if (suites.length === 0 && (await this.#isBackup(signal))) {
      const text =
        "this is the root of a `tahoe backup`, whose copies lie in Archives and Latest: serve the read cap of Latest, or of one of the Archives";
      found.push({ suite: undefined, text });
    }
    const strays = dists === undefined ? [] : this.#straysIn(dists);
    if (strays.length > 0) {
      const named = strays
        .slice(0, maxNamed)
        .map((name) => JSON.stringify(name))
        .join(", ");
      const more = strays.length > maxNamed ? ` and ${strays.length - maxNamed} more` : "";
      found.push({
        suite: undefined,
        text: `dists holds what belongs to no suite, and is not served: ${named}${more}`,
      });
    }
    this.#ofTree = found;
    for (const { suite, text } of found)
      if (!before.has(text)) this.#options.log.warn({ ...(suite && { suite }) }, text);
  }

  async #textFor(suite: ServedSuite, signal: AbortSignal): Promise<string | undefined> {
    const { current, name } = suite;
    const isEmpty = current === undefined || current.binaryPackages + current.sourcePackages === 0;
    if (!isEmpty || suite.isRolledBack || suite.inspectingCount > 0) return undefined;
    const path = suitePath(name);
    const { catalog } = this.#options;
    const hasIndices = (place: TreePath) => readyMade.some((file) => catalog.file(joinPath(place, file)) !== undefined);
    if (![...catalog.packageDirectoriesWithin(path)].some(hasIndices)) return undefined;
    const count = await this.#countPool(signal);
    const inPool = count === undefined ? "" : `; ${count} lie in pool/`;
    return (
      `${path} has ready-made indices and no package in its places${inPool}: link the packages below ` +
      `${path}/COMPONENT/binary-ARCH and ${path}/COMPONENT/source, or set indices = "prebuilt" for this suite, ` +
      "so that its indices are served unchanged"
    );
  }

  /** @returns for example "12 packages"; undefined if there is no pool */
  async #countPool(signal: AbortSignal): Promise<string | undefined> {
    const { tree, now } = this.#options;
    if (this.#pool !== undefined && now() - this.#pool.atMs < poolCountMs) return this.#pool.count;
    let packages = 0;
    let directories = 0;
    const waiting: TreePath[] = [poolPath];
    for (let at = waiting.pop(); at !== undefined && directories < maxPoolDirectories; at = waiting.pop()) {
      const node = await tree.look(at, signal);
      if (node?.kind !== "directory") {
        if (at === poolPath) return undefined;
        continue;
      }
      directories += 1;
      for (const [name, entry] of node.entries) {
        const below = entry.kind === "directory" ? tryJoinPath(at, name) : undefined;
        if (below !== undefined) waiting.push(below);
        else if (packageKindOf(name) !== undefined) packages += 1;
      }
    }
    const count = `${waiting.length > 0 ? "more than " : ""}${packages} packages`;
    this.#pool = { count, atMs: now() };
    return count;
  }

  /** Returns the names of packages, and of directories that cannot be suites, directly in `dists`. */
  #straysIn(dists: Directory): readonly string[] {
    const strays = [...dists.entries].filter(([name, entry]) => {
      if (entry.kind === "directory")
        return this.#options.catalog.layout.suiteOf(joinPath(distsPath, name)) === undefined;
      return entry.kind === "other" || packageKindOf(name) !== undefined;
    });
    return [...strays.map(([name]) => name), ...(dists.invalidNames?.examples ?? [])].toSorted();
  }

  async #isBackup(signal: AbortSignal): Promise<boolean> {
    const root = await this.#options.tree.look(rootPath, signal);
    if (root?.kind !== "directory" || root.entries.has("dists")) return false;
    return ["Archives", "Latest"].every((name) => root.entries.get(name)?.kind === "directory");
  }
}
