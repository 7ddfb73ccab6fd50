// What an operator should know of a tree in which nothing is wrong, but which is not what it looks like: a repository that
// was made elsewhere, a backup's root, a suite that is not there.
import type { Log } from "../../base/log.ts";
import type { Suite, TreePath } from "../../base/names.ts";
import { isWithin, joinPath, parseTreePath, rootPath, tryJoinPath } from "../../base/names.ts";
import type { Catalog } from "../../catalog/catalog.ts";
import { packageKindOf } from "../../catalog/inspection/inspect.ts";
import { distsPath, suitePath } from "../../catalog/layout/repository-layout.ts";
import type { Directory, Tree } from "../../storage/tree.ts";
import type { ServedSuite } from "./served-suite.ts";

/** Something for people. */
export interface Notice {
  /** Undefined for what is about the whole tree. */
  readonly suite: Suite | undefined;
  readonly text: string;
}

/** So many names are told of. */
const maxNamed = 5;
const poolPath = parseTreePath("pool");
/** So many directories of `pool` are counted, then "more than" is said. */
const maxPoolDirectories = 200;
/** Counting takes a listing for each directory, so that its result is used for a while, in ms. */
const poolCountMs = 15 * 60 * 1000;

const readyMade = ["Packages", "Sources"].flatMap((name) => ["", ".gz", ".xz", ".bz2"].map((form) => `${name}${form}`));

interface NoticesParts {
  readonly tree: Tree;
  readonly catalog: Catalog;
  /** The suites that the configuration has a table for. */
  readonly configuredSuites: readonly Suite[];
  readonly log: Log;
  readonly now: () => number;
}

export class Notices {
  readonly #parts: NoticesParts;
  readonly #ofSuites = new Map<Suite, string>();
  #ofTree: readonly Notice[] = [];
  #pool: { readonly count: string; readonly atMs: number } | undefined;

  constructor(parts: NoticesParts) {
    this.#parts = parts;
  }

  /** Those about what lies at, above or below a path. */
  about(path: TreePath): readonly Notice[] {
    const ofSuites = [...this.#ofSuites].map(([name, text]) => ({ suite: name, text }));
    return [...this.#ofTree, ...ofSuites].filter(({ suite }) => {
      const at = suite === undefined ? rootPath : suitePath(suite);
      return isWithin(path, at) || isWithin(at, path);
    });
  }

  /** To be called after a suite was published. @throws StorageUnavailable; signal.reason */
  async afterSuite(suite: ServedSuite, signal: AbortSignal): Promise<void> {
    const text = await this.#textFor(suite, signal);
    const before = this.#ofSuites.get(suite.name);
    if (text === undefined) this.#ofSuites.delete(suite.name);
    else this.#ofSuites.set(suite.name, text);
    if (text !== undefined && text !== before) this.#parts.log.warn({ suite: suite.name }, text);
  }

  /**
   * To be called after a look at the whole tree.
   * @param holds whether the tree has a suite
   * @param dists as that look has listed it; undefined where the tree has none
   * @throws StorageUnavailable; signal.reason
   */
  async afterTree(
    holds: (suite: Suite) => boolean,
    names: Iterable<Suite>,
    dists: Directory | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    for (const name of this.#ofSuites.keys()) if (!holds(name)) this.#ofSuites.delete(name);
    const before = new Set(this.#ofTree.map(({ text }) => text));
    const absent = this.#parts.configuredSuites.filter((name) => !holds(name));
    const suites = [...names].toSorted();
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
    for (const { suite, text } of found) if (!before.has(text)) this.#parts.log.warn({ ...(suite && { suite }) }, text);
  }

  async #textFor(suite: ServedSuite, signal: AbortSignal): Promise<string | undefined> {
    const { current, name } = suite;
    const isEmpty = current === undefined || current.binaryPackages + current.sourcePackages === 0;
    if (!isEmpty || suite.isRolledBack || suite.uninspected > 0) return undefined;
    const path = suitePath(name);
    const { catalog } = this.#parts;
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

  /** @returns e.g. "12 packages"; undefined where there is no pool */
  async #countPool(signal: AbortSignal): Promise<string | undefined> {
    const { tree, now } = this.#parts;
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

  /** Packages, and directories that can't be suites, directly in `dists`. */
  #straysIn(dists: Directory): readonly string[] {
    const strays = [...dists.entries].filter(([name, entry]) => {
      if (entry.kind === "directory")
        return this.#parts.catalog.layout.suiteOf(joinPath(distsPath, name)) === undefined;
      return entry.kind === "other" || packageKindOf(name) !== undefined;
    });
    return [...strays.map(([name]) => name), ...(dists.invalidNames?.first ?? [])].toSorted();
  }

  async #isBackup(signal: AbortSignal): Promise<boolean> {
    const root = await this.#parts.tree.look(rootPath, signal);
    if (root?.kind !== "directory" || root.entries.has("dists")) return false;
    return ["Archives", "Latest"].every((name) => root.entries.get(name)?.kind === "directory");
  }
}
