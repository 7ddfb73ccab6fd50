// What this server knows of the files of its tree, for the other servers of the same tree.
import { randomUUID } from "node:crypto";
import type { TreePath } from "../base/names.ts";
import { lastName, rootPath } from "../base/names.ts";
import { yieldToEventLoop } from "../base/yield-to-event-loop.ts";
import type { Catalog } from "./catalog.ts";
import type { Examiner } from "./examiner.ts";
import type { CatalogFile } from "./files/catalog-file.ts";
import { kindOf } from "./files/catalog-file.ts";
import { packageKindOf } from "./inspection/inspect.ts";
import type { Inspection } from "./inspection/inspection.ts";
import type { UntrustedMark } from "./shared-inspections.ts";

/** A file of the tree that this server has examined. */
export interface LocalInspection {
  /** The key under which servers share its inspection. */
  readonly key: string;
  /** Loads it from the disk. @returns undefined if only its uploader's metadata is known */
  readonly load: () => Inspection | undefined;
}

/** The inspections of one repository on this server. */
export class LocalInspections {
  readonly #catalog: Catalog;
  readonly #examiner: Examiner;
  readonly #yieldNow = yieldToEventLoop();

  constructor(catalog: Catalog, examiner: Examiner) {
    this.#catalog = catalog;
    this.#examiner = examiner;
  }

  /** The examined files of the tree, except mutable ones. */
  *inspections(): Iterable<LocalInspection> {
    for (const [file, contentKey] of this.#files()) {
      if (file.finding === undefined) continue;
      const kind = kindOf(file) ?? packageKindOf(lastName(file.path)) ?? "part";
      yield {
        key: this.#examiner.sharedKey(kind, contentKey),
        load: () => this.#examiner.storedInspection(kind, contentKey),
      };
    }
  }

  /** Marks for the contents whose metadata has turned out to be wrong. */
  *marks(): Iterable<UntrustedMark> {
    for (const [{ finding }, contentKey] of this.#files()) {
      if (finding?.kind !== "rejected" || finding.code !== "mismatch") continue;
      yield { contentKey, mark: this.#examiner.takenMark(contentKey) ?? randomUUID() };
    }
  }

  /**
   * Takes over marks of other servers, each once.
   * @returns the paths to refresh
   */
  async takeMarks(marks: readonly UntrustedMark[]): Promise<readonly TreePath[]> {
    const taken = new Set<string>();
    for (const mark of marks) {
      if (this.#examiner.takenMark(mark.contentKey) === mark.mark) continue;
      await this.#examiner.takeMark(mark);
      taken.add(mark.contentKey);
    }
    if (taken.size === 0) return [];
    const paths: TreePath[] = [];
    for (const [{ path }, contentKey] of this.#files()) {
      await this.#yieldNow();
      if (taken.has(contentKey)) paths.push(path);
    }
    for (const path of paths) await this.#catalog.markUntrusted(path);
    return paths;
  }

  /** The files of the tree that have content ids, with the keys of these. */
  *#files(): Iterable<readonly [file: CatalogFile, contentKey: string]> {
    for (const file of this.#catalog.filesWithin(rootPath)) {
      const { entry } = file;
      if (entry.kind === "file" && entry.content !== undefined) yield [file, entry.content.key];
    }
  }
}
