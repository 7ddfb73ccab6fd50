// Presents a flat repository (a directory of packages without `dists`) as a tree with one suite.
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

/** The directories above the package directories, with their entries. */
const parentDirectories: ReadonlyMap<TreePath, readonly string[]> = new Map([
  [suitePath(flatSuite), [flatComponent]],
  [parentPath(flatBinaries), [flatBinaries, flatSources].map((path) => pathNames(path).at(-1) ?? "")],
]);

const directoryOf = (entries: Iterable<readonly [string, Entry]>): Directory => ({
  kind: "directory",
  entries: new Map(entries),
});

/**
 * Presents binary packages as if they were in one package directory for all architectures, and all other files as if
 * they were in a directory for sources.
 */
export class FlatTree implements Tree {
  readonly #inner: Tree;
  readonly #root: TreePath;

  /**
   * @param root the directory of the packages; the tree's own root is flat only if it is not empty and has no `dists`
   */
  constructor(inner: Tree, root: TreePath) {
    this.#inner = inner;
    this.#root = root;
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
    const node = await this.#inner.look(this.#root, signal);
    const isFlat =
      node?.kind === "directory" && (this.#root !== rootPath || (node.entries.size > 0 && !node.entries.has("dists")));
    if (path === distsPath) return directoryOf(isFlat ? [[flatSuite, { kind: "directory" }]] : []);
    const names = isFlat ? parentDirectories.get(path) : undefined;
    return names && directoryOf(names.map((name) => [name, { kind: "directory" }]));
  }

  /** The path in the real tree; undefined for the directories above the package directories. */
  #realPath(path: TreePath): TreePath | undefined {
    const packageDirectory = [flatBinaries, flatSources].find((candidate) => isWithin(path, candidate));
    if (packageDirectory === undefined) return undefined;
    return pathNames(path).slice(pathNames(packageDirectory).length).reduce(joinPath, this.#root);
  }
}

/** Files that are not binary packages may belong to source packages. */
const isShownIn = (path: TreePath, file: TreePath): boolean =>
  isBinaryPackageName(file) === isWithin(path, flatBinaries);

/**
 * The paths in the flat tree at which a path of the real tree may appear.
 * @param root the directory of the flat repository
 * @returns an empty list for paths outside of it
 * @throws NameError if the path is too long after the flat tree's prefix is added
 */
export function flatPathsOf(path: TreePath, root: TreePath): readonly TreePath[] {
  if (isWithin(root, path)) return [rootPath];
  if (!isWithin(path, root) || isDists(path)) return [];
  const below = pathNames(path).slice(pathNames(root).length);
  return [flatBinaries, flatSources].map((packageDirectory) => {
    const flat = tryParseTreePath([packageDirectory, ...below].join("/"));
    if (flat !== undefined) return flat;
    throw new NameError(`${JSON.stringify(path.slice(0, 80))}… is too long for a path of a flat repository`);
  });
}

/** The path in the real tree for a path of the flat tree. */
export function realPathOf(path: TreePath, root: TreePath): TreePath {
  return pathNames(path).slice(pathNames(flatBinaries).length).reduce(joinPath, root);
}
