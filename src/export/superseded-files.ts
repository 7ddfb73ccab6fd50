// Records since when files of a site have not been listed by any publication, so that they can be removed later.

import { mkdir, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { systemCodeOf } from "../base/errors.ts";
import { parseJsonIntegers } from "../base/json-integers.ts";
import { replaceFile } from "../base/replace-file.ts";

/** A JSON file in the site. If it is lost, files are removed later than necessary. */
export class SupersededFiles {
  readonly #file: string;
  /** Times in ms since the epoch, by path below the site's root. */
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

  /** Records a path, unless it is recorded already. @returns since when it is superseded, in ms since the epoch */
  add(path: string, nowMs: number): number {
    const sinceMs = this.#sinceMs.get(path) ?? nowMs;
    this.#sinceMs.set(path, sinceMs);
    return sinceMs;
  }

  /** Removes the record of a path that is listed again, or was deleted. */
  remove(path: string): void {
    this.#sinceMs.delete(path);
  }

  /** The paths with a prefix that were superseded before a time. */
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
