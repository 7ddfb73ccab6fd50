// Which source packages name a file as one of theirs. Nearly every file is named by one, and there may be very many.
import type { TreePath } from "../base/names.ts";

export class WantedParts {
  /** A set only where several want the same file: it takes some 200 bytes. */
  readonly #sources = new Map<TreePath, TreePath | Set<TreePath>>();

  /** @param source the path of a .dsc */
  add(part: TreePath, source: TreePath): void {
    const known = this.#sources.get(part);
    if (known === undefined) this.#sources.set(part, source);
    else if (typeof known !== "string") known.add(source);
    else if (known !== source) this.#sources.set(part, new Set([known, source]));
  }

  remove(part: TreePath, source: TreePath): void {
    const known = this.#sources.get(part);
    if (known === undefined) return;
    if (typeof known === "string" ? known === source : known.delete(source) && known.size === 0) {
      this.#sources.delete(part);
    }
  }

  has(part: TreePath): boolean {
    return this.#sources.has(part);
  }

  /** The paths of the .dsc files that want a file. */
  *of(part: TreePath): Iterable<TreePath> {
    const known = this.#sources.get(part);
    if (typeof known === "string") yield known;
    else if (known !== undefined) yield* known;
  }
}
