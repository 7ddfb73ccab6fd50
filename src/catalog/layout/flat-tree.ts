// A directory of packages without `dists`, shown as a tree of one suite: a flat repository.
import type { TreePath } from "../../base/names.ts";
import {
  flatSuite,
  isBinaryPackageName,
  isWithin,
  joinPath,
  NameError,
  parentPath,
  pathNames,
  rootPath,
  tryParseTreePath,
} from "../../base/names.ts";
import type { LocalFile } from "../../storage/local-file.ts";
import type { ByteRange, Directory, Entry, FileRef, Node, Tree } from "../../storage/tree.ts";
import { distsPath, flatBinaries, flatComponent, flatSources, isDists, suitePath } from "./repository-layout.ts";

/** Directories that stand above the packages, with what is in them. */
const above: ReadonlyMap<TreePath, readonly string[]> = new Map([
  [suitePath(flatSuite), [flatComponent]],
  [parentPath(flatBinaries), [flatBinaries, flatSources].map((path) => pathNames(path).at(-1) ?? "")],
]);

const directoryOf = (entries: Iterable<readonly [string, Entry]>): Directory => ({
  kind: "directory",
  entries: new Map(entries),
});

/** Binary packages show as if they were in one place for any architecture, and all else as in the place for sources. */
export class FlatTree implements Tree {
  readonly #inner: Tree;
  readonly #at: TreePath;

  /** @param at where the packages are; the root is a flat repository only while it holds something, and no `dists` */
  constructor(inner: Tree, at: TreePath) {
    this.#inner = inner;
    this.#at = at;
  }

  async look(path: TreePath, signal: AbortSignal): Promise<Node | undefined> {
    const real = this.#realPath(path);
    if (real === undefined) return await this.#lookAbove(path, signal);
    const node = await this.#inner.look(real, signal);
    if (node?.kind !== "directory") return node !== undefined && isShownIn(path, real) ? node : undefined;
    return directoryOf(
      [...node.entries].filter(([name, { kind }]) => kind === "directory" || isShownIn(path, joinPath(real, name))),
    );
  }

  open({ path, content }: FileRef, range: ByteRange | undefined, signal: AbortSignal): AsyncIterable<Uint8Array> {
    return this.#inner.open({ path: this.#realPath(path) ?? path, content }, range, signal);
  }

  localFile({ path, content }: FileRef): LocalFile | undefined {
    return this.#inner.localFile?.({ path: this.#realPath(path) ?? path, content });
  }

  async #lookAbove(path: TreePath, signal: AbortSignal): Promise<Node | undefined> {
    if (path === rootPath) return directoryOf([["dists", { kind: "directory" }]]);
    const node = await this.#inner.look(this.#at, signal);
    const isFlat =
      node?.kind === "directory" && (this.#at !== rootPath || (node.entries.size > 0 && !node.entries.has("dists")));
    if (path === distsPath) return directoryOf(isFlat ? [[flatSuite, { kind: "directory" }]] : []);
    const names = isFlat ? above.get(path) : undefined;
    return names && directoryOf(names.map((name) => [name, { kind: "directory" }]));
  }

  /** Where something of the packages' places is in the tree; undefined for the directories above them. */
  #realPath(path: TreePath): TreePath | undefined {
    const place = [flatBinaries, flatSources].find((candidate) => isWithin(path, candidate));
    if (place === undefined) return undefined;
    return pathNames(path).slice(pathNames(place).length).reduce(joinPath, this.#at);
  }
}

/** What announces no binary package may belong to a source package. */
const isShownIn = (path: TreePath, file: TreePath): boolean =>
  isBinaryPackageName(file) === isWithin(path, flatBinaries);

/**
 * Where in a flat tree something of the real tree is to be looked for.
 * @param at where the flat repository is
 * @returns nothing for what lies elsewhere
 * @throws NameError for a path that has no room for the names that a flat tree puts before it
 */
export function flatPathsOf(path: TreePath, at: TreePath): readonly TreePath[] {
  if (isWithin(at, path)) return [rootPath];
  if (!isWithin(path, at) || isDists(path)) return [];
  const below = pathNames(path).slice(pathNames(at).length);
  return [flatBinaries, flatSources].map((place) => {
    const flat = tryParseTreePath([place, ...below].join("/"));
    if (flat !== undefined) return flat;
    throw new NameError(`${JSON.stringify(path.slice(0, 80))}… is too long for a path of a flat repository`);
  });
}

/** Where in the real tree something of a flat tree is. */
export function realPathOf(path: TreePath, at: TreePath): TreePath {
  return pathNames(path).slice(pathNames(flatBinaries).length).reduce(joinPath, at);
}
