// The files of the tree as the last surveys saw them, each with its finding. Surveys of parts of the tree update it.

import { endsWithin } from "../base/ends-within.ts";
import { forEachConcurrent } from "../base/for-each-concurrent.ts";
import type { TreePath } from "../base/names.ts";
import { coveringPath, isWithin, lastName } from "../base/names.ts";
import { itemsPerStep } from "../base/steps.ts";
import { yieldToEventLoop } from "../base/yield-to-event-loop.ts";
import type { FileEntry, OtherEntry } from "../storage/tree.ts";
import type { Examined, ExaminedFile, Examiner } from "./examiner.ts";
import type { CatalogFile } from "./files/catalog-file.ts";
import { digestOf, inspectionKeyOf, isSettled, kindOf, LeanEntry, partPaths } from "./files/catalog-file.ts";
import { FileIndex } from "./files/file-index.ts";
import { PathsByKey } from "./files/paths-by-key.ts";
import { packageKindOf } from "./inspection/inspect.ts";
import type { PackageKind } from "./inspection/inspection.ts";
import type { Layout } from "./layout/repository-layout.ts";
import { plainLayout } from "./layout/repository-layout.ts";
import type { ParsedMetadata } from "./metadata/claims.ts";
import type { Survey } from "./survey.ts";
import { hasMetadata } from "./survey.ts";
import { SurveyOrder } from "./survey-order.ts";

/**
 * A path whose file or finding changed. `before` equals `after` for a .dsc that did not change itself, but one of
 * whose parts did.
 */
export interface FileChange {
  readonly path: TreePath;
  readonly before: CatalogFile | undefined;
  readonly after: CatalogFile | undefined;
}

/** Concurrent examinations, including those that only read the inspection store: enough for several local batches. */
const concurrentExaminations = 160;

/** Receives the changes of an update, synchronously after the catalog has applied them. */
export type UpdateObserver = (
  changes: readonly FileChange[],
  /**
   * Files whose inspection is not finished. Their previous findings stay valid until it is. The set is the same for all
   * calls of an update, and shrinks meanwhile.
   */
  undecided: ReadonlySet<TreePath>,
) => void;

/** The metadata of an entry that a survey has seen. */
interface SurveyedMetadata {
  readonly parsed: ParsedMetadata | undefined;
  /** The file as the metadata describes it; undefined if the metadata does not replace an examination. */
  readonly file: CatalogFile | undefined;
}

/** The metadata that a survey has seen, by path, so that each is parsed once. */
export type SurveyMetadata = Map<TreePath, SurveyedMetadata>;

/**
 * The number of files (including the parts of source packages) that are applied at once. A batch may exceed it by the
 * parts of its last package.
 */
const maxFilesPerBatch = 1024;

/** The time in ms after which an update applies the files examined so far. It doubles with each batch. */
const firstBatchMs = 1000;

/** All files below `dists` with their findings. Suites derive their package lists from the changes it reports. */
export class Catalog {
  readonly layout: Layout;
  readonly surveyOrder = new SurveyOrder();
  readonly #examiner: Examiner;
  readonly #files = new FileIndex();
  /** The .dsc files that list a part, by the path of the part. */
  readonly #sourcesByPart = new PathsByKey<TreePath>();

  /** Files that the next survey examines again, even if their entries have not changed. */
  readonly #untrusted = new Set<TreePath>();
  /** Files whose finding comes from entry metadata that has not been compared with the bytes. */
  readonly #claimed = new Set<TreePath>();
  /** The number of batches that were applied. */
  #updateCount = 0;
  /** After a restart most files are in the inspection store: parsing metadata uses the CPU without ever waiting. */
  readonly #yieldNow = yieldToEventLoop();

  /** @param layout distinguishes suites whose names contain a slash from components */
  constructor(examiner: Examiner, layout: Layout = plainLayout) {
    this.layout = layout;
    this.#examiner = examiner;
  }

  /** @returns the file at a path; undefined if no survey has seen one there */
  file(path: TreePath): CatalogFile | undefined {
    return this.#files.get(path);
  }

  /** The package directories (`binary-ARCH`, `source`) at or below a path, including empty ones. */
  packageDirectoriesWithin(path: TreePath): Iterable<TreePath> {
    return this.#files.packageDirectoriesWithin(path);
  }

  /** Whether a survey has seen this directory. */
  hasDirectory(path: TreePath): boolean {
    return this.#files.hasDirectory(path);
  }

  /** The files and directories directly in a directory, as the last survey of it saw them. */
  entriesIn(directory: TreePath): { readonly files: Iterable<CatalogFile>; readonly directories: Iterable<TreePath> } {
    return { files: this.#files.in(directory), directories: this.#files.directoriesIn(directory) };
  }

  /** Every file at or below a directory. The catalog may change meanwhile. */
  *filesWithin(directory: TreePath): Iterable<CatalogFile> {
    for (const each of this.#files.directoriesWithin(directory)) yield* this.#files.in(each);
  }

  /** Records that the bytes at a path differ from their finding. The next survey of the path inspects it again. */
  async markUntrusted(path: TreePath): Promise<void> {
    const file = this.file(path);
    if (file?.finding === undefined || file.entry.kind === "other") return;
    this.#untrusted.add(path);
    await this.#examiner.markUntrusted(file.entry);
  }

  /** Every file whose finding rests on its uploader's metadata alone. */
  *claims(): Iterable<CatalogFile> {
    for (const path of this.#claimed) {
      const file = this.file(path);
      if (file !== undefined) yield file;
    }
  }

  /** Records the result of comparing a claim with the bytes. The next survey examines a refuted one again. */
  resolveClaim(path: TreePath, verdict: "confirmed" | "refuted"): void {
    if (!this.#claimed.delete(path)) return;
    if (verdict === "refuted") this.#untrusted.add(path);
  }

  /**
   * Parses the metadata of entries for the `update` that follows, while the survey still lists other directories. It
   * reads no file.
   * @param metadata receives the results
   */
  async readMetadata(
    files: Iterable<readonly [TreePath, FileEntry]>,
    metadata: SurveyMetadata,
    signal: AbortSignal,
  ): Promise<void> {
    for (const [path, entry] of files) {
      const kind = packageKindOf(lastName(path));
      if (kind === undefined) continue;
      signal.throwIfAborted();
      const parsed = await this.#parsedMetadata(path, entry, metadata);
      if (this.#isSettled(path, entry, parsed?.key)) continue;
      const examined = await this.#examiner.examineMetadata({ path, entry, kind, parsed });
      if (examined !== undefined)
        metadata.set(path, { parsed, file: this.#fileOf(path, entry, parsed?.key, examined) });
    }
  }

  /**
   * Applies a survey: inspects new files, and removes files that are gone. If that takes long, finished files are
   * applied in batches before the rest. A known package whose new bytes cannot be read stays as it was; the next survey
   * tries again. Paths that a later survey has already covered are skipped. Updates from surveys of disjoint parts of
   * the tree may run concurrently.
   * @param surveyNumber from `surveyOrder.begin`, called before the survey
   * @param onChanges receives every change, in no particular order; it is called at least once
   * @param metadata the results of `readMetadata` for this survey
   * @throws errors of inspections; changes that were reported before stay applied
   */
  async update(
    survey: Survey,
    surveyNumber: number,
    onChanges: UpdateObserver,
    signal: AbortSignal,
    metadata: SurveyMetadata = new Map(),
  ): Promise<void> {
    const examined = new Map<TreePath, CatalogFile>();
    // Determined before files are added: these are not gone, and after a restart they are all files.
    const gone = [...this.#gonePaths(survey)];
    const possiblyNew = await this.#possiblyNew(survey);
    // The first report includes all undecided files, so that a suite is not published as empty before they are
    // examined.
    const undecided = new Set<TreePath>();
    for (const path of possiblyNew) if (packageKindOf(lastName(path)) !== undefined) undecided.add(path);
    const inspecting = this.#inspectNew(survey, possiblyNew, metadata, examined, undecided, signal);
    let batchMs = firstBatchMs;
    for (let isInspected = false; ; ) {
      if (!isInspected) {
        isInspected = await endsWithin(inspecting, batchMs);
        batchMs *= 2;
      }
      if (isInspected) await inspecting;
      const taken = await this.#nextBatch(survey, examined, isInspected);
      const batch = new Map(taken);
      await this.#examineRelated(survey, batch, signal);
      // No `await` from here to the end of the batch: concurrent updates would change the catalog in between.
      for (const [path, file] of taken) {
        undecided.delete(path);
        if (examined.get(path) === file) examined.delete(path);
      }
      const isLast = isInspected && examined.size === 0;
      const changes = this.#changesBy(survey, surveyNumber, batch, isLast ? gone : []);
      this.#apply(survey, surveyNumber, changes, isLast);
      onChanges([...changes, ...this.#sourcesOfChangedParts(changes)], undecided);
      if (isLast) return;
      await this.#yieldNow();
    }
  }

  /** The files to apply next. Their number is limited because applying them blocks the main thread. */
  async #nextBatch(
    survey: Survey,
    examined: ReadonlyMap<TreePath, CatalogFile>,
    isInspected: boolean,
  ): Promise<Map<TreePath, CatalogFile>> {
    const batch = new Map<TreePath, CatalogFile>();
    const add = (path: TreePath) => {
      const file = examined.get(path);
      if (file !== undefined) batch.set(path, file);
    };
    let untilYield = itemsPerStep;
    let partCount = 0;
    for (const [path, file] of examined) {
      if (batch.size + partCount >= maxFilesPerBatch) break;
      if (--untilYield <= 0) {
        untilYield = itemsPerStep;
        await this.#yieldNow();
      }
      if (!isInspected && !this.#isReady(file, examined, survey)) continue;
      add(path);
      const parts = partPaths(file);
      partCount += parts.length;
      untilYield -= parts.length;
      for (const each of parts) add(each);
    }
    return batch;
  }

  /** Whether a file may be applied before the others of its survey: a source package needs all its parts. */
  #isReady(file: CatalogFile, examined: ReadonlyMap<TreePath, CatalogFile>, { files }: Survey): boolean {
    return partPaths(file).every((path) => {
      const part = examined.get(path) ?? this.file(path);
      return part === undefined ? !files.has(path) : part.finding !== undefined;
    });
  }

  /**
   * @param examined receives each changed file
   * @param undecided holds the files with package names; unchanged ones are removed
   */
  async #inspectNew(
    survey: Survey,
    possiblyNew: readonly TreePath[],
    metadata: SurveyMetadata,
    examined: Map<TreePath, CatalogFile>,
    undecided: Set<TreePath>,
    signal: AbortSignal,
  ): Promise<void> {
    const examine = async (path: TreePath, request: ExaminationRequest): Promise<CatalogFile> => {
      const fromMetadata = this.#untrusted.has(path) ? undefined : metadata.get(path)?.file;
      const after = fromMetadata ?? (await this.#examine(path, request, signal));
      // A concurrent iteration may have examined it as a part.
      const isPart = request.kind === undefined && examined.get(path)?.finding !== undefined;
      if (after !== this.file(path) && !isPart) examined.set(path, after);
      return after;
    };
    const others = await this.#takeStored(survey, possiblyNew, examined);
    await forEachConcurrent(others, concurrentExaminations, async (path) => {
      const entry = survey.files.get(path);
      if (entry === undefined) return;
      // Each `await` of the few hundred thousand that a large repository needs after a restart takes CPU.
      const parsed = hasMetadata(entry) ? await this.#parsedMetadata(path, entry, metadata) : undefined;
      if (!this.#isSettled(path, entry, parsed?.key)) {
        const kind = packageKindOf(lastName(path)) ?? (this.#sourcesByPart.has(path) ? "part" : undefined);
        const after = await examine(path, { entry, kind, parsed, metadataKey: parsed?.key });
        for (const part of partPaths(after)) {
          const partEntry = survey.files.get(part);
          const known = examined.get(part) ?? this.file(part);
          if (partEntry === undefined || known?.finding !== undefined) continue;
          const ofPart = await this.#parsedMetadata(part, partEntry, metadata);
          await examine(part, { entry: partEntry, kind: "part", parsed: ofPart, metadataKey: ofPart?.key });
        }
      }
      if (!examined.has(path)) undecided.delete(path);
    });
  }

  /**
   * Takes binary packages that the catalog does not know yet from the inspection store: after a restart, nearly all.
   * @param examined receives them
   * @returns the other paths
   */
  async #takeStored(
    { files }: Survey,
    possiblyNew: readonly TreePath[],
    examined: Map<TreePath, CatalogFile>,
  ): Promise<readonly TreePath[]> {
    const others: TreePath[] = [];
    for (let at = 0; at < possiblyNew.length; at += itemsPerStep) {
      await this.#yieldNow();
      const wanted: ExaminedFile[] = [];
      for (const path of possiblyNew.slice(at, at + itemsPerStep)) {
        const entry = files.get(path);
        const isWanted = entry?.kind === "file" && !hasMetadata(entry) && this.file(path) === undefined;
        if (isWanted && packageKindOf(lastName(path)) === "binary") wanted.push({ path, entry, kind: "binary" });
        else others.push(path);
      }
      for (const [index, finding] of this.#examiner.storedFindings(wanted).entries()) {
        const { path, entry } = wanted[index] as ExaminedFile;
        if (finding === undefined) others.push(path);
        else examined.set(path, this.#fileOf(path, entry, undefined, { finding, claimed: false }));
      }
    }
    return others;
  }

  /**
   * Examines files that the new batch makes relevant: the parts of a .dsc, which cannot be recognised by their names,
   * and claims to digests that other files have too.
   * @param batch receives the examined files
   */
  async #examineRelated(survey: Survey, batch: Map<TreePath, CatalogFile>, signal: AbortSignal): Promise<void> {
    const examinedPaths = new Set<TreePath>();
    for (let seenUpdateCount: number | undefined; ; ) {
      const contested = seenUpdateCount === this.#updateCount ? [] : this.#contestedClaims(survey, batch);
      const requests = [...this.#wantedParts(batch), ...contested].filter(([{ path }]) => !examinedPaths.has(path));
      if (requests.length === 0) return;
      seenUpdateCount = this.#updateCount;
      await forEachConcurrent(requests, concurrentExaminations, async ([file, kind, claimKey]) => {
        const { path, entry, metadataKey } = file;
        examinedPaths.add(path);
        // Changes are reported to the surveyed suite only: files of other suites wait for their own survey.
        if (claimKey !== undefined && this.layout.suiteOf(path) !== this.layout.suiteOf(survey.path))
          return await this.markUntrusted(path);
        const after = await this.#examine(path, { entry, kind, metadataKey, claimKey }, signal);
        const isSame = (batch.get(path) ?? this.file(path)) === file;
        if (isSame && after !== this.file(path)) batch.set(path, after);
      });
    }
  }

  /** Files that a .dsc lists and that are not examined yet. */
  *#wantedParts(batch: ReadonlyMap<TreePath, CatalogFile>): Iterable<readonly [CatalogFile, "part", undefined]> {
    const isWanted = (file: CatalogFile | undefined): file is CatalogFile =>
      file !== undefined && file.finding === undefined && file.entry.kind === "file";
    for (const file of batch.values()) {
      if (isWanted(file) && this.#sourcesByPart.has(file.path)) yield [file, "part", undefined];
      for (const path of partPaths(file)) {
        const wanted = batch.get(path) ?? this.file(path);
        if (isWanted(wanted)) yield [wanted, "part", undefined];
      }
    }
  }

  /** The files whose listing differs from the catalog, or that have metadata: usually few of a large directory. */
  async #possiblyNew({ files }: Survey): Promise<readonly TreePath[]> {
    const possiblyNew: TreePath[] = [];
    let untilYield = itemsPerStep;
    for (const [path, entry] of files) {
      if (hasMetadata(entry) || !this.#isSettled(path, entry, undefined)) possiblyNew.push(path);
      if (--untilYield > 0) continue;
      untilYield = itemsPerStep;
      await this.#yieldNow();
    }
    return possiblyNew;
  }

  /** @param metadataKey identifies the content of the entry's metadata */
  #isSettled(path: TreePath, entry: FileEntry | OtherEntry, metadataKey: string | undefined): boolean {
    const known = this.file(path);
    return known !== undefined && !this.#untrusted.has(path) && isSettled(known, entry, metadataKey);
  }

  /** Parses an entry's metadata, unless the survey has done that already. @returns undefined if there is none */
  async #parsedMetadata(
    path: TreePath,
    entry: FileEntry | OtherEntry,
    metadata: SurveyMetadata,
  ): Promise<ParsedMetadata | undefined> {
    if (!hasMetadata(entry)) return undefined;
    await this.#yieldNow();
    const known = metadata.get(path);
    if (known !== undefined) return known.parsed;
    const parsed = this.#examiner.claims.parse(entry);
    metadata.set(path, { parsed, file: undefined });
    return parsed;
  }

  async #examine(path: TreePath, request: ExaminationRequest, signal: AbortSignal): Promise<CatalogFile> {
    const { entry, kind, parsed, metadataKey, claimKey } = request;
    if (kind !== undefined && entry.kind === "file") {
      await this.#yieldNow();
      const examined = await this.#examiner.examine({ path, entry, kind, parsed }, signal, claimKey);
      return this.#fileOf(path, entry, metadataKey, examined);
    }
    const unexamined = { path, entry: this.#leanEntryOf(entry, parsed), claimed: false, metadataKey };
    if (kind === undefined || entry.kind === "file") return { ...unexamined, finding: undefined };
    return { ...unexamined, finding: { kind: "rejected", code: "not-a-file", text: entry.reason } };
  }

  #fileOf(path: TreePath, entry: FileEntry, metadataKey: string | undefined, examined: Examined): CatalogFile {
    const { finding, claimed } = examined;
    const known = this.file(path);
    const unreadable = finding.kind === "rejected" && finding.code === "unreadable";
    if (unreadable && known?.finding !== undefined && known.finding.kind !== "rejected") return known;
    return { path, entry: new LeanEntry(entry), claimed, metadataKey, finding };
  }

  /**
   * The entry to store for a file that no index needs yet. Metadata without stanzas is kept: it is short, and needed if
   * a .dsc lists the file later.
   */
  #leanEntryOf(entry: FileEntry | OtherEntry, parsed: ParsedMetadata | undefined): FileEntry | OtherEntry {
    if (entry.kind === "other") return entry;
    const metadata = parsed?.metadata;
    const isShort = metadata !== undefined && metadata.control === undefined && metadata.dsc === undefined;
    return isShort ? { ...entry, metadata } : new LeanEntry(entry);
  }

  /**
   * The claims to a digest that other bytes have or claim too. Only one can be true; until the bytes are read, requests
   * for the true one could receive the other.
   */
  *#contestedClaims(
    survey: Survey,
    examined: ReadonlyMap<TreePath, CatalogFile>,
  ): Iterable<readonly [CatalogFile, PackageKind | undefined, string | undefined]> {
    if (this.#claimed.size === 0 && ![...examined.values()].some(({ claimed }) => claimed)) return;
    const byDigest = new Map<string, CatalogFile[]>();
    for (const file of examined.values()) {
      const sha256 = digestOf(file);
      if (sha256 !== undefined) byDigest.set(sha256, [...(byDigest.get(sha256) ?? []), file]);
    }
    if (byDigest.size === 0) return;
    for (const [sha256, same] of byDigest) {
      const known = [...this.#files.withDigest(sha256)];
      const files = [...same, ...known.filter(({ path }) => !examined.has(path) && !isGone(path, survey))];
      if (files.length === 1) continue;
      const contents = new Set(files.map(({ entry }) => (entry.kind === "file" ? entry.content?.key : undefined)));
      if (contents.size <= 1) continue;
      for (const file of files) if (file.claimed) yield [file, kindOf(file), inspectionKeyOf(file)];
    }
  }

  /**
   * The changes that a batch makes to the current catalog.
   * @param gone the files to remove
   */
  #changesBy(
    survey: Survey,
    surveyNumber: number,
    batch: ReadonlyMap<TreePath, CatalogFile>,
    gone: readonly TreePath[],
  ): FileChange[] {
    const changes: FileChange[] = [];
    const isSuperseded = this.surveyOrder.supersededBy(surveyNumber);
    for (const path of gone) {
      const before = this.file(path);
      if (before !== undefined && !isSuperseded(path)) changes.push({ path, before, after: undefined });
    }
    for (const after of batch.values()) {
      const before = this.file(after.path);
      // A file outside of the survey was examined for its claim only, and may have been removed since.
      const isElsewhere = !isWithin(after.path, survey.path);
      if (isElsewhere ? before === undefined : isSuperseded(after.path)) continue;
      if (after !== before) changes.push({ path: after.path, before, after });
    }
    return changes;
  }

  /** The paths of the catalog's files that a survey did not find. */
  *#gonePaths(survey: Survey): Iterable<TreePath> {
    if (this.file(survey.path) !== undefined && !survey.files.has(survey.path)) yield survey.path;
    for (const directory of this.#files.directoriesWithin(survey.path)) {
      if (isUnseen(directory, survey)) continue;
      for (const { path } of this.#files.in(directory)) if (!survey.files.has(path)) yield path;
    }
  }

  #apply(survey: Survey, surveyNumber: number, changes: readonly FileChange[], isLast: boolean): void {
    this.#updateCount += 1;
    const isSuperseded = this.surveyOrder.supersededBy(surveyNumber);
    for (const directory of isLast ? this.#files.directoriesWithin(survey.path) : []) {
      const isGoneToo = !survey.directories.has(directory) && !isUnseen(directory, survey);
      if (isGoneToo && !isSuperseded(directory)) this.#files.removeDirectory(directory);
    }
    for (const directory of survey.directories) if (!isSuperseded(directory)) this.#files.addDirectory(directory);
    this.surveyOrder.applied(
      surveyNumber,
      survey.path,
      new Set([...survey.separate.keys(), ...survey.unlisted.keys()]),
    );
    for (const { path, before, after } of changes) {
      this.#untrusted.delete(path);
      if (after?.claimed) this.#claimed.add(path);
      else this.#claimed.delete(path);
      for (const part of partPaths(before)) this.#sourcesByPart.remove(part, path);
      for (const part of partPaths(after)) this.#sourcesByPart.add(part, path);
      if (after === undefined) this.#files.remove(path);
      else this.#files.set(after);
    }
  }

  /** Changes for .dsc files that did not change themselves, but one of whose parts did. */
  *#sourcesOfChangedParts(changes: readonly FileChange[]): Iterable<FileChange> {
    let reported: Set<TreePath> | undefined;
    for (const { path } of changes) {
      // Most paths are those of binary packages.
      if (!this.#sourcesByPart.has(path)) continue;
      reported ??= new Set(changes.map((change) => change.path));
      for (const sourcePath of this.#sourcesByPart.of(path)) {
        const source = this.file(sourcePath);
        if (reported.has(sourcePath) || source === undefined) continue;
        reported.add(sourcePath);
        yield { path: sourcePath, before: source, after: source };
      }
    }
  }
}

/** Whether a survey found nothing at this path. */
const isGone = (path: TreePath, survey: Survey): boolean =>
  isWithin(path, survey.path) && !survey.files.has(path) && !isUnseen(path, survey);

/** Whether a path is in a directory that a survey did not list. */
const isUnseen = (path: TreePath, { separate, unlisted }: Survey): boolean =>
  [separate, unlisted].some((directories) => directories.size > 0 && coveringPath(path, directories) !== undefined);

/** How to examine a file. */
interface ExaminationRequest {
  readonly entry: FileEntry | OtherEntry;
  readonly kind: PackageKind | undefined;
  /** The metadata of the entry, if it was parsed already. */
  readonly parsed?: ParsedMetadata | undefined;
  readonly metadataKey: string | undefined;
  /** The key of a claim to compare with the bytes. */
  readonly claimKey?: string | undefined;
}
