// Paths by a key that nearly always has one, where there may be very many keys.
import type { TreePath } from "../../base/names.ts";

export class PathsByKey<Key> {
  /** A set only where a key has several: it takes some 200 bytes. */
  readonly #paths = new Map<Key, TreePath | Set<TreePath>>();

  add(key: Key, path: TreePath): void {
    const known = this.#paths.get(key);
    if (known === undefined) this.#paths.set(key, path);
    else if (typeof known !== "string") known.add(path);
    else if (known !== path) this.#paths.set(key, new Set([known, path]));
  }

  remove(key: Key, path: TreePath): void {
    const known = this.#paths.get(key);
    if (known === undefined) return;
    if (typeof known === "string" ? known === path : known.delete(path) && known.size === 0) {
      this.#paths.delete(key);
    }
  }

  has(key: Key): boolean {
    return this.#paths.has(key);
  }

  *of(key: Key): Iterable<TreePath> {
    const known = this.#paths.get(key);
    if (typeof known === "string") yield known;
    else if (known !== undefined) yield* known;
  }
}
