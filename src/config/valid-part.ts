// Takes mistaken keys out of a parsed configuration file, so that everything else in it can still be checked.
import type { Path } from "./config-values.ts";

type Table = Record<PropertyKey, unknown>;

const isTable = (value: unknown): value is Table => typeof value === "object" && value !== null;

/** What is left of a configuration without its mistaken keys. */
export class ValidPart {
  #root: Table;
  /** The tables that lack a key, by their paths: what is said of their other keys may be a consequence of that. */
  readonly #incomplete = new Set<string>();
  #isRenumbered = false;

  /** @param root is copied */
  constructor(root: object) {
    this.#root = structuredClone(root) as Table;
  }

  get root(): Readonly<Record<string, unknown>> {
    return this.#root;
  }

  /** Whether a mistake at a path in what is left has nothing to do with what was taken out, and can be shown to people. */
  isGenuine(path: Path): boolean {
    return !this.#isRenumbered && !this.#incomplete.has(JSON.stringify(path.slice(0, -1)));
  }

  /**
   * Takes out the values at these paths, or the tables that lack a required key there. A repository stays, with another
   * name if necessary.
   * @returns whether anything is left that could be valid
   */
  remove(paths: readonly Path[]): boolean {
    const members = new Map<unknown[], Set<unknown>>();
    for (const path of paths) {
      const [top, index, key] = path;
      const repository = top === "repository" && key === "name" ? valueAt(this.#root, path.slice(0, 2)) : undefined;
      if (isTable(repository)) {
        repository.name = `number-${Number(index) + 1}`;
        continue;
      }
      const existing = this.#longestExisting(path);
      const last = existing.at(-1);
      if (last === undefined) return false;
      const holder = valueAt(this.#root, existing.slice(0, -1));
      if (Array.isArray(holder)) members.set(holder, (members.get(holder) ?? new Set()).add(last));
      else if (isTable(holder)) {
        delete holder[last];
        this.#incomplete.add(JSON.stringify(existing.slice(0, -1)));
      }
    }
    for (const [list, indexes] of members) {
      this.#isRenumbered = true;
      list.splice(0, list.length, ...list.filter((_member, index) => !indexes.has(index)));
    }
    return true;
  }

  /** The path itself, or the path of the table that lacks its last key, or of the value where a table should be. */
  #longestExisting(path: Path): Path {
    for (const [depth, step] of path.entries()) {
      const value = valueAt(this.#root, path.slice(0, depth));
      if (!isTable(value) || value[step] === undefined) return path.slice(0, depth);
    }
    return path;
  }
}

/** @returns undefined if there is nothing at the path */
export const valueAt = (root: unknown, path: Path): unknown =>
  path.reduce<unknown>((value, step) => (isTable(value) ? value[step] : undefined), root);
