// How many files of each place a suite's indices take, and how many they reject, kept up to date change by change.
import { addToCount } from "../../base/counts.ts";
import type { TreePath } from "../../base/names.ts";
import { parentPath } from "../../base/names.ts";
import type { Rejection } from "../inspection/inspection.ts";
import type { Layout } from "../layout/repository-layout.ts";

export class PackageDirectoryCounts {
  readonly #layout: Layout;
  readonly #taken = new Map<TreePath, number>();
  readonly #rejected = new Map<TreePath, number>();
  /** The place around each directory that holds files. */
  readonly #places = new Map<TreePath, TreePath | undefined>();

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  countTaken(path: TreePath, by: 1 | -1): void {
    this.#count(this.#taken, path, by);
  }

  countRejected(path: TreePath, { code }: Rejection, by: 1 | -1): void {
    // A file that could not be read may be a package.
    if (code !== "unreadable") this.#count(this.#rejected, path, by);
  }

  /** The places that hold files of which every one is rejected. */
  withoutPackages(): ReadonlySet<TreePath> {
    return new Set([...this.#rejected.keys()].filter((place) => !this.#taken.has(place)));
  }

  #count(counts: Map<TreePath, number>, path: TreePath, by: 1 | -1): void {
    const directory = parentPath(path);
    if (!this.#places.has(directory)) this.#places.set(directory, this.#layout.packageDirectoryPath(directory));
    const place = this.#places.get(directory);
    if (place !== undefined) addToCount(counts, place, by);
  }
}
