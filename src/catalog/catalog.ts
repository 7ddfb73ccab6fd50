// The tree as last seen, with what was found in each package file; updated from surveys, one at a time.
import { forEachAtMost } from "../base/bounded.ts";
import type { TreePath } from "../base/names.ts";
import { isWithin, lastName, parentPath } from "../base/names.ts";
import { turns } from "../base/turns.ts";
import type { FileEntry, OtherEntry } from "../storage/tree.ts";
import type { Examined, Examiner } from "./examiner.ts";
import { packageKindOf } from "./inspect.ts";
import type { PackageKind } from "./inspection.ts";
import type { CatalogFile } from "./known-file.ts";
import { digestOf, fileRecordOf, isSettled, kindOf, LeanEntry, partPaths } from "./known-file.ts";
import { suiteOf } from "./layout.ts";
import type { Survey } from "./survey.ts";
import { hasWords } from "./survey.ts";

/** A path whose file, finding or neighbours changed. `before` equals `after` where only a neighbour did. */
export interface FileChange {
  readonly path: TreePath;
  readonly before: CatalogFile | undefined;
  readonly after: CatalogFile | undefined;
}

/** How many examinations are under way at once, also those that only ask the ledger: some batches of local files. */
const concurrentExaminations = 160;

export class Catalog {
  readonly #examiner: Examiner;
  readonly #directories = new Map<TreePath, Map<TreePath, CatalogFile>>();
  /** By the path of a source package's part: the .dsc files that name it. */
  readonly #wantedBy = new Map<TreePath, Set<TreePath>>();

  readonly #doubted = new Set<TreePath>();
  /** Files that rest on their uploaders' word and were not held against their bytes. */
  readonly #claimed = new Set<TreePath>();
  /** What entries say that a survey under way has seen. */
  readonly #expected = new WeakMap<FileEntry | OtherEntry, CatalogFile>();
  /** After a restart most files are in the ledger, and reading words is all work and no waiting. */
  readonly #giveWay = turns();

  constructor(examiner: Examiner) {
    this.#examiner = examiner;
  }

  file(path: TreePath): CatalogFile | undefined {
    return this.#directories.get(parentPath(path))?.get(path);
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
    const file = this.file(path);
    if (file?.finding === undefined || file.entry.kind === "other") return;
    this.#doubted.add(path);
    await this.#examiner.doubt(file.entry);
  }

  /** Every file of which only its uploader's word is known. */
  *claims(): Iterable<CatalogFile> {
    for (const path of this.#claimed) {
      const file = this.file(path);
      if (file !== undefined) yield file;
    }
  }

  /** Settles a claim. One that was belied is examined anew by the next survey that sees it. */
  settleClaim(path: TreePath, verdict: "confirmed" | "belied"): void {
    if (!this.#claimed.delete(path)) return;
    if (verdict === "belied") this.#doubted.add(path);
  }

  /** Every file at or below a path. */
  *filesWithin(path: TreePath): Iterable<CatalogFile> {
    const single = this.file(path);
    if (single !== undefined) yield single;
    for (const [directory, files] of this.#directories) if (isWithin(directory, path)) yield* files.values();
  }

  /**
   * Reads what entries say of their files, for the `update` that follows, while other directories are on their way.
   * Reads no bytes.
   */
  async expect(files: Iterable<readonly [TreePath, FileEntry]>, signal: AbortSignal): Promise<void> {
    for (const [path, entry] of files) {
      const kind = packageKindOf(lastName(path));
      if (kind === undefined) continue;
      signal.throwIfAborted();
      const said = await this.#wordsOf(entry);
      if (this.#isSettled(path, entry, said)) continue;
      const examined = await this.#examiner.examineWords({ path, entry, kind });
      if (examined !== undefined) this.#expected.set(entry, this.#fileOf(path, entry, said, examined));
    }
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
    const examine = async (path: TreePath, asked: Asked) => {
      const expected = this.#doubted.has(path) ? undefined : this.#expected.get(asked.entry);
      const after = expected ?? (await this.#examine(path, asked, signal));
      if (after !== this.file(path)) fresh.set(path, after);
    };
    await forEachAtMost(this.#perhapsNew(survey), concurrentExaminations, async ([path, entry]) => {
      const said = await this.#wordsOf(entry);
      if (this.#isSettled(path, entry, said)) return;
      const kind = packageKindOf(lastName(path)) ?? (this.#wantedBy.has(path) ? "part" : undefined);
      await examine(path, { entry, kind, said });
    });

    // Only a .dsc tells which files beside it matter.
    const wanted = new Map<TreePath, Asked>();
    for (const source of fresh.values()) {
      for (const path of partPaths(source)) {
        const part = fresh.get(path) ?? this.file(path);
        if (part === undefined || part.finding !== undefined) continue;
        wanted.set(path, { entry: part.entry, kind: "part", said: part.said });
      }
    }
    await forEachAtMost(wanted, concurrentExaminations, ([path, asked]) => examine(path, asked));

    await forEachAtMost([...this.#contested(survey, fresh)], concurrentExaminations, async (file) => {
      const { path, entry, said } = file;
      // Changes are told to the suite that was surveyed: files of others wait for a survey of their own.
      if (suiteOf(path) !== suiteOf(survey.path)) await this.doubt(path);
      else await examine(path, { entry, kind: kindOf(file), said, claimRecord: fileRecordOf(file) });
    });
    return fresh;
  }

  /** What its listing does not show to be settled: of a large directory that is next to nothing. */
  *#perhapsNew({ files }: Survey): Iterable<readonly [TreePath, FileEntry | OtherEntry]> {
    for (const file of files) {
      const [path, entry] = file;
      if (hasWords(entry) || !this.#isSettled(path, entry, undefined)) yield file;
    }
  }

  /** @param said names what its metadata says */
  #isSettled(path: TreePath, entry: FileEntry | OtherEntry, said: string | undefined): boolean {
    const known = this.file(path);
    return known !== undefined && !this.#doubted.has(path) && isSettled(known, entry, said);
  }

  /** Names what an entry's metadata says. */
  async #wordsOf(entry: FileEntry | OtherEntry): Promise<string | undefined> {
    if (!hasWords(entry)) return undefined;
    await this.#giveWay();
    return this.#examiner.claims.wordsOf(entry)?.key;
  }

  async #examine(path: TreePath, asked: Asked, signal: AbortSignal): Promise<CatalogFile> {
    const { entry, kind, said, claimRecord } = asked;
    if (kind !== undefined && entry.kind === "file") {
      await this.#giveWay();
      const examined = await this.#examiner.examine({ path, entry, kind }, signal, claimRecord);
      return this.#fileOf(path, entry, said, examined);
    }
    const unexamined = { path, entry: this.#withoutText(entry), claimed: false, said };
    if (kind === undefined || entry.kind === "file") return { ...unexamined, finding: undefined };
    return { ...unexamined, finding: { kind: "rejected", code: "not-a-file", text: entry.reason } };
  }

  #fileOf(path: TreePath, entry: FileEntry, said: string | undefined, examined: Examined): CatalogFile {
    const { finding, claimed } = examined;
    const known = this.file(path);
    const unreadable = finding.kind === "rejected" && finding.code === "unreadable";
    if (unreadable && known?.finding !== undefined && known.finding.kind !== "rejected") return known;
    return { path, entry: new LeanEntry(entry), claimed, said, finding };
  }

  /** Of a file that no index asks for yet: should it come to be a part, what was said of it is short, and needed. */
  #withoutText(entry: FileEntry | OtherEntry): FileEntry | OtherEntry {
    if (entry.kind === "other") return entry;
    const metadata = this.#examiner.claims.wordsOf(entry)?.metadata;
    const isShort = metadata !== undefined && metadata.control === undefined && metadata.dsc === undefined;
    return isShort ? { ...entry, metadata } : new LeanEntry(entry);
  }

  /**
   * The claims to a digest that other bytes have too, or claim: only one can be true, and until it is known which,
   * requests for the true one could be sent to the other.
   */
  *#contested(survey: Survey, fresh: ReadonlyMap<TreePath, CatalogFile>): Iterable<CatalogFile> {
    if (this.#claimed.size === 0 && ![...fresh.values()].some(({ claimed }) => claimed)) return;
    const byDigest = new Map<string, CatalogFile[]>();
    for (const file of fresh.values()) {
      const sha256 = digestOf(file);
      if (sha256 !== undefined) byDigest.set(sha256, [...(byDigest.get(sha256) ?? []), file]);
    }
    if (byDigest.size === 0) return;
    for (const files of this.#directories.values()) {
      for (const file of files.values()) {
        if (fresh.has(file.path) || (isWithin(file.path, survey.path) && !survey.files.has(file.path))) continue;
        byDigest.get(digestOf(file) ?? "")?.push(file);
      }
    }
    for (const files of [...byDigest.values()].filter(({ length }) => length > 1)) {
      const contents = new Set(files.map(({ entry }) => (entry.kind === "file" ? entry.content?.key : undefined)));
      if (contents.size > 1) yield* files.filter(({ claimed }) => claimed);
    }
  }

  #apply(survey: Survey, changes: readonly FileChange[]): void {
    for (const directory of this.#directories.keys()) {
      if (isWithin(directory, survey.path) && !survey.directories.has(directory)) this.#directories.delete(directory);
    }
    for (const directory of survey.directories) this.#filesOf(directory);
    for (const { path, before, after } of changes) {
      this.#doubted.delete(path);
      if (after?.claimed) this.#claimed.add(path);
      else this.#claimed.delete(path);
      for (const part of partPaths(before)) this.#wantedBy.get(part)?.delete(path);
      for (const part of partPaths(after)) {
        const wanting = this.#wantedBy.get(part) ?? new Set();
        this.#wantedBy.set(part, wanting.add(path));
      }
      if (after === undefined) this.#directories.get(parentPath(path))?.delete(path);
      else this.#filesOf(parentPath(path)).set(path, after);
    }
  }

  #filesOf(directory: TreePath): Map<TreePath, CatalogFile> {
    const known = this.#directories.get(directory);
    if (known !== undefined) return known;
    const files = new Map<TreePath, CatalogFile>();
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

/** What is asked of a file. */
interface Asked {
  readonly entry: FileEntry | OtherEntry;
  readonly kind: PackageKind | undefined;
  readonly said: string | undefined;
  /** The record of a claim that the bytes are to prove. */
  readonly claimRecord?: string | undefined;
}
