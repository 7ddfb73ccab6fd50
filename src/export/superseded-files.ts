// Which files of a site are named no more, and since when, so that they go only after a while.

import { mkdir, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { systemCodeOf } from "../base/errors.ts";
import { parseJsonIntegers } from "../base/json-integers.ts";
import { replaceFile } from "../base/replace-file.ts";

/** A file beside the site that remembers. A lost one costs space for a while. */
export class SupersededFiles {
  readonly #file: string;
  /** In ms since the epoch, by path below the site's root. */
  readonly #sinceMs: Map<string, number>;

  private constructor(file: string, sinceMs: Map<string, number>) {
    this.#file = file;
    this.#sinceMs = sinceMs;
  }

  static async open(file: string): Promise<SupersededFiles> {
    try {
      return new SupersededFiles(file, parseJsonIntegers(await readFile(file, "utf8")));
    } catch (thrown) {
      if (thrown instanceof SyntaxError || systemCodeOf(thrown) === "ENOENT")
        return new SupersededFiles(file, new Map());
      throw thrown;
    }
  }

  /** Tells since when a path is named no more; the first telling counts. @returns ms since the epoch */
  add(path: string, nowMs: number): number {
    const sinceMs = this.#sinceMs.get(path) ?? nowMs;
    this.#sinceMs.set(path, sinceMs);
    return sinceMs;
  }

  /** It is named again, or gone. */
  remove(path: string): void {
    this.#sinceMs.delete(path);
  }

  /** The paths at or below a directory that have been named no more since before a moment. */
  supersededBefore(beforeMs: number, prefix: string): ReadonlySet<string> {
    return new Set(
      [...this.#sinceMs].flatMap(([path, ms]) => (ms < beforeMs && path.startsWith(prefix) ? [path] : [])),
    );
  }

  async save(): Promise<void> {
    await mkdir(dirname(this.#file), { recursive: true });
    await replaceFile(this.#file, JSON.stringify(Object.fromEntries(this.#sinceMs)));
  }
}
