// Counts of the listed and the rejected files of each package directory, updated with each change.
import { addToCount } from "../../base/counts.ts";
import type { TreePath } from "../../base/names.ts";
import { parentPath } from "../../base/names.ts";
import type { Rejection } from "../inspection/inspection.ts";
import type { Layout } from "../layout/repository-layout.ts";

/** Counts files to find package directories with rejected files only. */
export class PackageDirectoryCounts {
  readonly #layout: Layout;
  readonly #taken = new Map<TreePath, number>();
  readonly #rejected = new Map<TreePath, number>();
  /** The package directory of each directory with files. */
  readonly #packageDirectories = new Map<TreePath, TreePath | undefined>();
  /** The last one: most calls are about files of one directory. */
  #last: { readonly directory: TreePath; readonly packageDirectory: TreePath | undefined } | undefined;

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  countTaken(path: TreePath, by: 1 | -1): void {
    this.#count(this.#taken, path, by);
  }

  countRejected(path: TreePath, { code }: Rejection, by: 1 | -1): void {
    // Unreadable files are not counted, because they may be packages.
    if (code !== "unreadable") this.#count(this.#rejected, path, by);
  }

  /** The package directories that contain rejected files and no listed ones. */
  withoutPackages(): ReadonlySet<TreePath> {
    return new Set([...this.#rejected.keys()].filter((directory) => !this.#taken.has(directory)));
  }

  #count(counts: Map<TreePath, number>, path: TreePath, by: 1 | -1): void {
    const directory = parentPath(path);
    if (this.#last?.directory !== directory)
      this.#last = { directory, packageDirectory: this.#packageDirectoryOf(directory) };
    const { packageDirectory } = this.#last;
    if (packageDirectory !== undefined) addToCount(counts, packageDirectory, by);
  }

  #packageDirectoryOf(directory: TreePath): TreePath | undefined {
    if (!this.#packageDirectories.has(directory))
      this.#packageDirectories.set(directory, this.#layout.packageDirectoryPath(directory));
    return this.#packageDirectories.get(directory);
  }
}
