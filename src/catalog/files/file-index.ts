// The catalog's files by path, directory and digest. The cost of a query is proportional to its result.
import type { TreePath } from "../../base/names.ts";
import { parentPath, rootPath } from "../../base/names.ts";
import { anyTreeLayout } from "../layout/repository-layout.ts";
import type { CatalogFile } from "./catalog-file.ts";
import { digestOf } from "./catalog-file.ts";
import { PathsByKey } from "./paths-by-key.ts";

/** A mutable index of files; directories may be known without files in them. */
export class FileIndex {
  readonly #directories = new Map<TreePath, Map<TreePath, CatalogFile>>();
  /** The child directories that are known or lead to known ones, by parent. */
  readonly #children = new Map<TreePath, Set<TreePath>>();
  /** Paths of files by the first 31 bits of their digests. */
  readonly #byDigestStart = new PathsByKey<number>();
  /** The last directory found: most calls are about files of one directory, and comparing is faster than hashing. */
  #last: { readonly directory: TreePath; readonly files: Map<TreePath, CatalogFile> } | undefined;

  get(path: TreePath): CatalogFile | undefined {
    return this.#filesIn(parentPath(path))?.get(path);
  }

  hasDirectory(path: TreePath): boolean {
    return this.#directories.has(path);
  }

  /** The files directly in a directory. */
  in(directory: TreePath): Iterable<CatalogFile> {
    return this.#directories.get(directory)?.values() ?? [];
  }

  /** The directories directly in a directory that are known or lead to known ones. */
  directoriesIn(directory: TreePath): Iterable<TreePath> {
    return this.#children.get(directory) ?? [];
  }

  /** Every known directory at or below a path. */
  *directoriesWithin(path: TreePath): Iterable<TreePath> {
    for (const pending = [path]; ; ) {
      const directory = pending.pop();
      if (directory === undefined) return;
      // Read the children before the yield, because the caller may remove the directory.
      pending.push(...(this.#children.get(directory) ?? []));
      if (this.#directories.has(directory)) yield directory;
    }
  }

  /** The known package directories at or below a path, without the directories below them. */
  *packageDirectoriesWithin(path: TreePath): Iterable<TreePath> {
    for (const pending = [path]; ; ) {
      const directory = pending.pop();
      if (directory === undefined) return;
      if (!anyTreeLayout.isPackageDirectory(directory)) pending.push(...(this.#children.get(directory) ?? []));
      else if (this.#directories.has(directory)) yield directory;
    }
  }

  /** The packages that have a digest. @param sha256 lower-case hex */
  *withDigest(sha256: string): Iterable<CatalogFile> {
    for (const path of this.#byDigestStart.of(digestStart(sha256))) {
      const file = this.get(path);
      if (file !== undefined && digestOf(file) === sha256) yield file;
    }
  }

  addDirectory(directory: TreePath): void {
    if (this.#filesIn(directory) !== undefined) return;
    this.#directories.set(directory, new Map());
    for (let at = directory; at !== rootPath; at = parentPath(at)) {
      const siblings = this.#children.get(parentPath(at));
      if (siblings?.has(at)) return;
      this.#children.set(parentPath(at), (siblings ?? new Set()).add(at));
    }
  }

  /** Removes a directory and the files in it, but not the directories below it. */
  removeDirectory(directory: TreePath): void {
    for (const file of this.in(directory)) this.#forgetDigest(file);
    this.#directories.delete(directory);
    this.#last = undefined;
    let at = directory;
    while (at !== rootPath && !this.#directories.has(at) && !this.#children.has(at)) {
      const siblings = this.#children.get(parentPath(at));
      siblings?.delete(at);
      if (siblings?.size === 0) this.#children.delete(parentPath(at));
      at = parentPath(at);
    }
  }

  /** Adds or replaces a file, and adds its directory. */
  set(file: CatalogFile): void {
    const directory = parentPath(file.path);
    this.addDirectory(directory);
    const files = this.#filesIn(directory);
    const before = files?.get(file.path);
    if (before !== undefined) this.#forgetDigest(before);
    files?.set(file.path, file);
    const sha256 = digestOf(file);
    if (sha256 !== undefined) this.#byDigestStart.add(digestStart(sha256), file.path);
  }

  remove(path: TreePath): void {
    const files = this.#directories.get(parentPath(path));
    const file = files?.get(path);
    if (file !== undefined) this.#forgetDigest(file);
    files?.delete(path);
  }

  #filesIn(directory: TreePath): Map<TreePath, CatalogFile> | undefined {
    if (this.#last?.directory === directory) return this.#last.files;
    const files = this.#directories.get(directory);
    if (files !== undefined) this.#last = { directory, files };
    return files;
  }

  #forgetDigest(file: CatalogFile): void {
    const sha256 = digestOf(file);
    if (sha256 !== undefined) this.#byDigestStart.remove(digestStart(sha256), file.path);
  }
}

/** The first 31 bits of a digest: V8 stores such small integers without allocating memory. */
const digestStart = (sha256: string): number => Number.parseInt(sha256.slice(0, 8), 16) >>> 1;
