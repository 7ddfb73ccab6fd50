// A multimap from keys to paths that needs little memory if nearly every key has one path.
import type { TreePath } from "../../base/names.ts";

/** Maps each key to one or more paths. */
export class PathsByKey<Key> {
  /** A key with one path has no Set, which would take about 200 bytes. */
  readonly #paths = new Map<Key, TreePath | Set<TreePath>>();

  add(key: Key, path: TreePath): void {
    const paths = this.#paths.get(key);
    if (paths === undefined) this.#paths.set(key, path);
    else if (typeof paths !== "string") paths.add(path);
    else if (paths !== path) this.#paths.set(key, new Set([paths, path]));
  }

  remove(key: Key, path: TreePath): void {
    const paths = this.#paths.get(key);
    if (paths === undefined) return;
    if (typeof paths === "string" ? paths === path : paths.delete(path) && paths.size === 0) {
      this.#paths.delete(key);
    }
  }

  has(key: Key): boolean {
    return this.#paths.has(key);
  }

  *of(key: Key): Iterable<TreePath> {
    const paths = this.#paths.get(key);
    if (typeof paths === "string") yield paths;
    else if (paths !== undefined) yield* paths;
  }
}
