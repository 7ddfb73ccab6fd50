// The tree as last seen, with what was found in each package file; updated from surveys, one at a time.

import { forEachAtMost } from "../base/bounded.ts";
import type { TreePath } from "../base/names.ts";
import { isWithin, joinPath, lastName, parentPath } from "../base/names.ts";
import type { FileEntry, OtherEntry } from "../storage/tree.ts";
import type { Examiner } from "./examiner.ts";
import type { Finding } from "./finding.ts";
import { findingOf } from "./finding.ts";
import { packageKindOf } from "./inspect.ts";
import type { PackageKind } from "./inspection.ts";
import type { Survey } from "./survey.ts";

/** A file and what is known of it. */
export interface CatalogFile {
  readonly path: TreePath;
  readonly entry: FileEntry | OtherEntry;
  /** The ledger's name of the inspection; undefined if there was none. */
  readonly record: string | undefined;
  /** Undefined for a file that no index asks for. */
  readonly finding: Finding | undefined;
}

/** A path whose file, finding or neighbours changed. `before` equals `after` where only a neighbour did. */
export interface FileChange {
  readonly path: TreePath;
  readonly before: CatalogFile | undefined;
  readonly after: CatalogFile | undefined;
}

/** How many examinations are under way at once, those that only ask the ledger among them. */
const concurrentExaminations = 64;

export class Catalog {
  readonly #examiner: Examiner;
  readonly #directories = new Map<TreePath, Map<string, CatalogFile>>();
  /** By the path of a source package's part: the .dsc files that name it. */
  readonly #wantedBy = new Map<TreePath, Set<TreePath>>();

  readonly #doubted = new Set<TreePath>();

  constructor(examiner: Examiner) {
    this.#examiner = examiner;
  }

  file(path: TreePath): CatalogFile | undefined {
    return this.#directories.get(parentPath(path))?.get(lastName(path));
  }

  /** All directories that may hold packages, also empty ones. */
  directories(): Iterable<TreePath> {
    return this.#directories.keys();
  }

  /** Whether a directory was seen. */
  hasDirectory(path: TreePath): boolean {
    return this.#directories.has(path);
  }

  /** Makes the next survey that sees this path inspect it anew: its bytes turned out not to be what was found in them. */
  async doubt(path: TreePath): Promise<void> {
    const record = this.file(path)?.record;
    if (record === undefined) return;
    this.#doubted.add(path);
    await this.#examiner.forget(record);
  }

  /** Every file at or below a path. */
  *filesWithin(path: TreePath): Iterable<CatalogFile> {
    const single = this.file(path);
    if (single !== undefined) yield single;
    for (const [directory, files] of this.#directories) if (isWithin(directory, path)) yield* files.values();
  }

  /**
   * Takes in what a survey saw, inspecting what is new. All or nothing: when it throws, nothing has changed.
   * A known package whose new bytes can't be read stays as it was, and is tried again with the next survey.
   * @returns every change, in no particular order
   */
  async update(survey: Survey, signal: AbortSignal): Promise<FileChange[]> {
    const fresh = await this.#inspectNew(survey, signal);
    const changes: FileChange[] = [];
    for (const known of this.filesWithin(survey.path)) {
      if (!survey.files.has(known.path)) changes.push({ path: known.path, before: known, after: undefined });
    }
    for (const after of fresh.values()) changes.push({ path: after.path, before: this.file(after.path), after });
    this.#apply(survey, changes);
    return [...changes, ...this.#neighbours(changes)];
  }

  async #inspectNew(survey: Survey, signal: AbortSignal): Promise<Map<TreePath, CatalogFile>> {
    const fresh = new Map<TreePath, CatalogFile>();
    const examine = async (path: TreePath, entry: FileEntry | OtherEntry, kind: PackageKind | undefined) => {
      const after = await this.#examine(path, entry, kind, signal);
      if (after !== this.file(path)) fresh.set(path, after);
    };
    await forEachAtMost(survey.files, concurrentExaminations, async ([path, entry]) => {
      const known = this.file(path);
      if (known !== undefined && !this.#doubted.has(path) && isSettled(known, entry)) return;
      await examine(path, entry, packageKindOf(lastName(path)) ?? (this.#wantedBy.has(path) ? "part" : undefined));
    });

    // Only a .dsc tells which files beside it matter.
    const wanted = new Map<TreePath, FileEntry | OtherEntry>();
    for (const source of fresh.values()) {
      for (const path of partPaths(source)) {
        const part = fresh.get(path) ?? this.file(path);
        if (part !== undefined && part.finding === undefined) wanted.set(path, part.entry);
      }
    }
    await forEachAtMost(wanted, concurrentExaminations, ([path, entry]) => examine(path, entry, "part"));
    return fresh;
  }

  async #examine(
    path: TreePath,
    entry: FileEntry | OtherEntry,
    kind: PackageKind | undefined,
    signal: AbortSignal,
  ): Promise<CatalogFile> {
    const known = this.file(path);
    if (kind === undefined) return { path, entry, record: undefined, finding: undefined };
    if (entry.kind === "other") {
      return { path, entry, record: undefined, finding: { kind: "rejected", code: "not-a-file", text: entry.reason } };
    }
    const { record, inspection } = await this.#examiner.examine(path, entry, kind, signal);
    const finding = findingOf(inspection);
    const unreadable = finding.kind === "rejected" && finding.code === "unreadable";
    if (unreadable && known?.finding !== undefined && known.finding.kind !== "rejected") return known;
    return { path, entry, record, finding };
  }

  #apply(survey: Survey, changes: readonly FileChange[]): void {
    for (const directory of this.#directories.keys()) {
      if (isWithin(directory, survey.path) && !survey.directories.has(directory)) this.#directories.delete(directory);
    }
    for (const directory of survey.directories) this.#filesOf(directory);
    for (const { path, before, after } of changes) {
      this.#doubted.delete(path);
      for (const part of partPaths(before)) this.#wantedBy.get(part)?.delete(path);
      for (const part of partPaths(after)) {
        const wanting = this.#wantedBy.get(part) ?? new Set();
        this.#wantedBy.set(part, wanting.add(path));
      }
      if (after === undefined) this.#directories.get(parentPath(path))?.delete(lastName(path));
      else this.#filesOf(parentPath(path)).set(lastName(path), after);
    }
  }

  #filesOf(directory: TreePath): Map<string, CatalogFile> {
    const known = this.#directories.get(directory);
    if (known !== undefined) return known;
    const files = new Map<string, CatalogFile>();
    this.#directories.set(directory, files);
    return files;
  }

  /** The .dsc files that did not change themselves, but one of whose parts did. */
  *#neighbours(changes: readonly FileChange[]): Iterable<FileChange> {
    const told = new Set(changes.map((change) => change.path));
    for (const { path } of changes) {
      for (const wanting of this.#wantedBy.get(path) ?? []) {
        const source = this.file(wanting);
        if (told.has(wanting) || source === undefined) continue;
        told.add(wanting);
        yield { path: wanting, before: source, after: source };
      }
    }
  }
}

/** Whether nothing has to be looked at again: the same bytes under the same link, read before. */
function isSettled(known: CatalogFile, entry: FileEntry | OtherEntry): boolean {
  if (known.finding?.kind === "rejected" && known.finding.code === "unreadable") return false;
  if (known.entry.kind === "other" || entry.kind === "other") {
    return known.entry.kind === entry.kind;
  }
  return (
    known.entry.content?.key === entry.content?.key &&
    known.entry.sizeBytes === entry.sizeBytes &&
    known.entry.linkedAtMs === entry.linkedAtMs &&
    known.entry.relinkedAtMs === entry.relinkedAtMs
  );
}

/** Where the parts of a source package must lie: beside its .dsc. */
function partPaths(file: CatalogFile | undefined): readonly TreePath[] {
  if (file?.finding?.kind !== "source") return [];
  const directory = parentPath(file.path);
  return file.finding.parts.map((part) => joinPath(directory, part.name));
}
