// The files of the tree as last seen, by path, by directory and by digest: what one look asks costs what it is about.
import type { TreePath } from "../../base/names.ts";
import { parentPath, rootPath } from "../../base/names.ts";
import { anyTreeLayout } from "../layout/repository-layout.ts";
import type { CatalogFile } from "./catalog-file.ts";
import { digestOf } from "./catalog-file.ts";
import { PathsByKey } from "./paths-by-key.ts";

export class FileIndex {
  readonly #directories = new Map<TreePath, Map<TreePath, CatalogFile>>();
  /** By directory, whether known or only on the way to one: the directories in it that are either. */
  readonly #children = new Map<TreePath, Set<TreePath>>();
  /** By the beginning of a digest: the files that have one of these, in most cases one. */
  readonly #byDigest = new PathsByKey<number>();

  get(path: TreePath): CatalogFile | undefined {
    return this.#directories.get(parentPath(path))?.get(path);
  }

  hasDirectory(path: TreePath): boolean {
    return this.#directories.has(path);
  }

  /** The files directly in a directory. */
  in(directory: TreePath): Iterable<CatalogFile> {
    return this.#directories.get(directory)?.values() ?? [];
  }

  /** Every known directory at or below a path. */
  *directoriesWithin(path: TreePath): Iterable<TreePath> {
    for (const waiting = [path]; ; ) {
      const directory = waiting.pop();
      if (directory === undefined) return;
      // Before it is given: it may be forgotten then.
      waiting.push(...(this.#children.get(directory) ?? []));
      if (this.#directories.has(directory)) yield directory;
    }
  }

  /** Every known directory at or below a path that feeds an index; what is below one of these is passed over. */
  *packageDirectoriesWithin(path: TreePath): Iterable<TreePath> {
    for (const waiting = [path]; ; ) {
      const directory = waiting.pop();
      if (directory === undefined) return;
      if (!anyTreeLayout.isPackageDirectory(directory)) waiting.push(...(this.#children.get(directory) ?? []));
      else if (this.#directories.has(directory)) yield directory;
    }
  }

  /** Every file that is served under a digest. @param sha256 lower-case hex */
  *withDigest(sha256: string): Iterable<CatalogFile> {
    for (const path of this.#byDigest.of(beginningOf(sha256))) {
      const file = this.get(path);
      if (file !== undefined && digestOf(file) === sha256) yield file;
    }
  }

  addDirectory(directory: TreePath): void {
    if (this.#directories.has(directory)) return;
    this.#directories.set(directory, new Map());
    for (let at = directory; at !== rootPath; at = parentPath(at)) {
      const siblings = this.#children.get(parentPath(at));
      if (siblings?.has(at)) return;
      this.#children.set(parentPath(at), (siblings ?? new Set()).add(at));
    }
  }

  /** Forgets a directory with the files in it. Directories below it are their own. */
  removeDirectory(directory: TreePath): void {
    for (const file of this.in(directory)) this.#forgetDigest(file);
    this.#directories.delete(directory);
    let at = directory;
    while (at !== rootPath && !this.#directories.has(at) && !this.#children.has(at)) {
      const siblings = this.#children.get(parentPath(at));
      siblings?.delete(at);
      if (siblings?.size === 0) this.#children.delete(parentPath(at));
      at = parentPath(at);
    }
  }

  /** Its directory is known from now on. */
  set(file: CatalogFile): void {
    const directory = parentPath(file.path);
    this.addDirectory(directory);
    const files = this.#directories.get(directory);
    const before = files?.get(file.path);
    if (before !== undefined) this.#forgetDigest(before);
    files?.set(file.path, file);
    const sha256 = digestOf(file);
    if (sha256 !== undefined) this.#byDigest.add(beginningOf(sha256), file.path);
  }

  remove(path: TreePath): void {
    const files = this.#directories.get(parentPath(path));
    const file = files?.get(path);
    if (file !== undefined) this.#forgetDigest(file);
    files?.delete(path);
  }

  #forgetDigest(file: CatalogFile): void {
    const sha256 = digestOf(file);
    if (sha256 !== undefined) this.#byDigest.remove(beginningOf(sha256), file.path);
  }
}

/** 31 bits of a digest: as a key, a small integer takes no memory of its own. */
const beginningOf = (sha256: string): number => Number.parseInt(sha256.slice(0, 8), 16) >>> 1;
