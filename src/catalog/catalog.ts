// The tree as last seen, with what was found in each package file; updated from surveys of parts of it.

import { endsWithin } from "../base/ends-within.ts";
import { forEachConcurrent } from "../base/for-each-concurrent.ts";
import type { TreePath } from "../base/names.ts";
import { coveringPath, isWithin, lastName } from "../base/names.ts";
import { itemsPerStep } from "../base/steps.ts";
import { yieldToEventLoop } from "../base/yield-to-event-loop.ts";
import type { FileEntry, OtherEntry } from "../storage/tree.ts";
import type { Examined, Examiner } from "./examiner.ts";
import type { CatalogFile } from "./files/catalog-file.ts";
import { digestOf, inspectionKeyOf, isSettled, kindOf, LeanEntry, partPaths } from "./files/catalog-file.ts";
import { FileIndex } from "./files/file-index.ts";
import { PathsByKey } from "./files/paths-by-key.ts";
import { packageKindOf } from "./inspection/inspect.ts";
import type { PackageKind } from "./inspection/inspection.ts";
import type { Layout } from "./layout/repository-layout.ts";
import { plainLayout } from "./layout/repository-layout.ts";
import type { Survey } from "./survey.ts";
import { hasMetadata } from "./survey.ts";
import { SurveyOrder } from "./survey-order.ts";

/** A path whose file, finding or neighbours changed. `before` equals `after` where only a neighbour did. */
export interface FileChange {
  readonly path: TreePath;
  readonly before: CatalogFile | undefined;
  readonly after: CatalogFile | undefined;
}

/** How many examinations are under way at once, also those that only ask the ledger: some batches of local files. */
const concurrentExaminations = 160;

/** Is told of an update's changes, at once when they are made. */
export type UpdateObserver = (
  changes: readonly FileChange[],
  /** Files that are still being inspected; what is known of them stays meanwhile. */
  undecided: readonly TreePath[],
) => void;

/** So many files, those that source packages name among them, are taken in at once; and all of the last package. */
const maxFilesPerPart = 1024;

/** How long an update takes before what is decided by then is taken in, in ms; from then on twice as long each time. */
const firstPartMs = 1000;

export class Catalog {
  readonly layout: Layout;
  readonly surveyOrder = new SurveyOrder();
  readonly #examiner: Examiner;
  readonly #files = new FileIndex();
  /** By the path of a source package's part: the .dsc files that name it. */
  readonly #sourcesByPart = new PathsByKey<TreePath>();

  readonly #untrusted = new Set<TreePath>();
  /** Files that rest on their uploaders' word and were not held against their bytes. */
  readonly #claimed = new Set<TreePath>();
  /** What entries say that a survey under way has seen. */
  readonly #fromMetadata = new WeakMap<FileEntry | OtherEntry, CatalogFile>();
  /** How many updates were made, parts of them counted too. */
  #updateCount = 0;
  /** After a restart most files are in the ledger, and reading words is all work and no waiting. */
  readonly #yieldNow = yieldToEventLoop();

  /** @param layout tells suites with a slash from components */
  constructor(examiner: Examiner, layout: Layout = plainLayout) {
    this.layout = layout;
    this.#examiner = examiner;
  }

  file(path: TreePath): CatalogFile | undefined {
    return this.#files.get(path);
  }

  /** The directories at or below a path that feed indices, also empty ones. */
  packageDirectoriesWithin(path: TreePath): Iterable<TreePath> {
    return this.#files.packageDirectoriesWithin(path);
  }

  /** Whether a directory was seen. */
  hasDirectory(path: TreePath): boolean {
    return this.#files.hasDirectory(path);
  }

  /** Makes the next survey that sees this path inspect it anew: its bytes turned out not to be what was found in them. */
  async markUntrusted(path: TreePath): Promise<void> {
    const file = this.file(path);
    if (file?.finding === undefined || file.entry.kind === "other") return;
    this.#untrusted.add(path);
    await this.#examiner.markUntrusted(file.entry);
  }

  /** Every file of which only its uploader's word is known. */
  *claims(): Iterable<CatalogFile> {
    for (const path of this.#claimed) {
      const file = this.file(path);
      if (file !== undefined) yield file;
    }
  }

  /** Settles a claim. One that was belied is examined anew by the next survey that sees it. */
  resolveClaim(path: TreePath, verdict: "confirmed" | "belied"): void {
    if (!this.#claimed.delete(path)) return;
    if (verdict === "belied") this.#untrusted.add(path);
  }

  /**
   * Reads what entries say of their files, for the `update` that follows, while other directories are on their way.
   * Reads no bytes.
   */
  async readMetadata(files: Iterable<readonly [TreePath, FileEntry]>, signal: AbortSignal): Promise<void> {
    for (const [path, entry] of files) {
      const kind = packageKindOf(lastName(path));
      if (kind === undefined) continue;
      signal.throwIfAborted();
      const said = await this.#metadataKeyOf(entry);
      if (this.#isSettled(path, entry, said)) continue;
      const examined = await this.#examiner.examineMetadata({ path, entry, kind });
      if (examined !== undefined) this.#fromMetadata.set(entry, this.#fileOf(path, entry, said, examined));
    }
  }

  /**
   * Takes in what a survey saw, inspecting what is new. Where that takes long, what is ready is taken in before the rest.
   * A known package whose new bytes can't be read stays as it was, and is tried again with the next survey. Of what a
   * later look has seen, nothing is taken in. Surveys of parts that do not overlap may be taken in at the same time.
   * @param look as `looks` gave it when the survey began
   * @param tell is told of every change, in no particular order; at least once
   * @throws what an inspection throws; what was told of until then stays
   */
  async update(survey: Survey, look: number, tell: UpdateObserver, signal: AbortSignal): Promise<void> {
    const fresh = new Map<TreePath, CatalogFile>();
    const perhapsNew = await this.#possiblyNew(survey);
    // Whoever is told of no change is told with it what is still to come: a suite is not published for empty before.
    const undecided = new Set<TreePath>();
    for (const [path] of perhapsNew) if (packageKindOf(lastName(path)) !== undefined) undecided.add(path);
    const inspecting = this.#inspectNew(survey, perhapsNew, fresh, undecided, signal);
    let partMs = firstPartMs;
    for (let isInspected = false; ; ) {
      if (!isInspected) {
        isInspected = await endsWithin(inspecting, partMs);
        partMs *= 2;
      }
      if (isInspected) await inspecting;
      const taken = await this.#nextPart(survey, fresh, isInspected);
      const part = new Map(taken);
      await this.#examineRelated(survey, part, signal);
      // Nothing is awaited from here to the end of the part: others take in what they saw meanwhile.
      for (const [path, file] of taken) {
        undecided.delete(path);
        if (fresh.get(path) === file) fresh.delete(path);
      }
      const isLast = isInspected && fresh.size === 0;
      const changes = this.#changesBy(survey, look, part, isLast);
      this.#apply(survey, look, changes, isLast);
      tell([...changes, ...this.#sourcesOfChangedParts(changes)], [...undecided]);
      if (isLast) return;
      await this.#yieldNow();
    }
  }

  /** What may be taken in now, and not too much of it at once: the main thread is at nothing else meanwhile. */
  async #nextPart(
    survey: Survey,
    fresh: ReadonlyMap<TreePath, CatalogFile>,
    isInspected: boolean,
  ): Promise<Map<TreePath, CatalogFile>> {
    const part = new Map<TreePath, CatalogFile>();
    const take = (path: TreePath) => {
      const file = fresh.get(path);
      if (file !== undefined) part.set(path, file);
    };
    let untilTurn = itemsPerStep;
    let named = 0;
    for (const [path, file] of fresh) {
      if (part.size + named >= maxFilesPerPart) break;
      if (--untilTurn <= 0) {
        untilTurn = itemsPerStep;
        await this.#yieldNow();
      }
      if (!isInspected && !this.#isReady(file, fresh, survey)) continue;
      take(path);
      const beside = partPaths(file);
      named += beside.length;
      untilTurn -= beside.length;
      for (const each of beside) take(each);
    }
    return part;
  }

  /** Whether a file may be taken in before others of its survey: a source package only together with its parts. */
  #isReady(file: CatalogFile, fresh: ReadonlyMap<TreePath, CatalogFile>, { files }: Survey): boolean {
    return partPaths(file).every((path) => {
      const part = fresh.get(path) ?? this.file(path);
      return part === undefined ? !files.has(path) : part.finding !== undefined;
    });
  }

  /**
   * @param fresh gets what is found, file by file
   * @param undecided holds the files that announce packages: those in which nothing is new are removed
   */
  async #inspectNew(
    survey: Survey,
    perhapsNew: readonly (readonly [TreePath, FileEntry | OtherEntry])[],
    fresh: Map<TreePath, CatalogFile>,
    undecided: Set<TreePath>,
    signal: AbortSignal,
  ): Promise<void> {
    const examine = async (path: TreePath, asked: ExaminationRequest): Promise<CatalogFile> => {
      const expected = this.#untrusted.has(path) ? undefined : this.#fromMetadata.get(asked.entry);
      const after = expected ?? (await this.#examine(path, asked, signal));
      // It may have been examined as a part meanwhile.
      const isPart = asked.kind === undefined && fresh.get(path)?.finding !== undefined;
      if (after !== this.file(path) && !isPart) fresh.set(path, after);
      return after;
    };
    await forEachConcurrent(perhapsNew, concurrentExaminations, async ([path, entry]) => {
      const said = await this.#metadataKeyOf(entry);
      if (!this.#isSettled(path, entry, said)) {
        const kind = packageKindOf(lastName(path)) ?? (this.#sourcesByPart.has(path) ? "part" : undefined);
        const after = await examine(path, { entry, kind, said });
        for (const part of partPaths(after)) {
          const partEntry = survey.files.get(part);
          const known = fresh.get(part) ?? this.file(part);
          if (partEntry === undefined || known?.finding !== undefined) continue;
          await examine(part, { entry: partEntry, kind: "part", said: await this.#metadataKeyOf(partEntry) });
        }
      }
      if (!fresh.has(path)) undecided.delete(path);
    });
  }

  /**
   * Examines what became of interest by what is about to be taken in: the parts of a .dsc, of which no name tells that
   * they are any, and claims to digests that others have too.
   * @param part gets what is found
   */
  async #examineRelated(survey: Survey, part: Map<TreePath, CatalogFile>, signal: AbortSignal): Promise<void> {
    const tried = new Set<TreePath>();
    for (let seenUpdates: number | undefined; ; ) {
      const contested = seenUpdates === this.#updateCount ? [] : this.#contestedClaims(survey, part);
      const asked = [...this.#wantedParts(part), ...contested].filter(([{ path }]) => !tried.has(path));
      if (asked.length === 0) return;
      seenUpdates = this.#updateCount;
      await forEachConcurrent(asked, concurrentExaminations, async ([file, kind, claimRecord]) => {
        const { path, entry, metadataKey: said } = file;
        tried.add(path);
        // Changes are told to the suite that was surveyed: files of others wait for a survey of their own.
        if (claimRecord !== undefined && this.layout.suiteOf(path) !== this.layout.suiteOf(survey.path))
          return await this.markUntrusted(path);
        const after = await this.#examine(path, { entry, kind, said, claimRecord }, signal);
        const isSame = (part.get(path) ?? this.file(path)) === file;
        if (isSame && after !== this.file(path)) part.set(path, after);
      });
    }
  }

  /** Only a .dsc tells which files beside it matter. */
  *#wantedParts(part: ReadonlyMap<TreePath, CatalogFile>): Iterable<readonly [CatalogFile, "part", undefined]> {
    const isWanted = (file: CatalogFile | undefined): file is CatalogFile =>
      file !== undefined && file.finding === undefined && file.entry.kind === "file";
    for (const file of part.values()) {
      if (isWanted(file) && this.#sourcesByPart.has(file.path)) yield [file, "part", undefined];
      for (const path of partPaths(file)) {
        const wanted = part.get(path) ?? this.file(path);
        if (isWanted(wanted)) yield [wanted, "part", undefined];
      }
    }
  }

  /** What its listing does not show to be settled: of a large directory that is next to nothing. */
  async #possiblyNew({ files }: Survey): Promise<readonly (readonly [TreePath, FileEntry | OtherEntry])[]> {
    const perhapsNew: (readonly [TreePath, FileEntry | OtherEntry])[] = [];
    let untilTurn = itemsPerStep;
    for (const file of files) {
      const [path, entry] = file;
      if (hasMetadata(entry) || !this.#isSettled(path, entry, undefined)) perhapsNew.push(file);
      if (--untilTurn > 0) continue;
      untilTurn = itemsPerStep;
      await this.#yieldNow();
    }
    return perhapsNew;
  }

  /** @param said names what its metadata says */
  #isSettled(path: TreePath, entry: FileEntry | OtherEntry, said: string | undefined): boolean {
    const known = this.file(path);
    return known !== undefined && !this.#untrusted.has(path) && isSettled(known, entry, said);
  }

  /** Names what an entry's metadata says. */
  async #metadataKeyOf(entry: FileEntry | OtherEntry): Promise<string | undefined> {
    if (!hasMetadata(entry)) return undefined;
    await this.#yieldNow();
    return this.#examiner.claims.metadataOf(entry)?.key;
  }

  async #examine(path: TreePath, asked: ExaminationRequest, signal: AbortSignal): Promise<CatalogFile> {
    const { entry, kind, said, claimRecord } = asked;
    if (kind !== undefined && entry.kind === "file") {
      await this.#yieldNow();
      const examined = await this.#examiner.examine({ path, entry, kind }, signal, claimRecord);
      return this.#fileOf(path, entry, said, examined);
    }
    const unexamined = { path, entry: this.#leanEntryOf(entry), claimed: false, metadataKey: said };
    if (kind === undefined || entry.kind === "file") return { ...unexamined, finding: undefined };
    return { ...unexamined, finding: { kind: "rejected", code: "not-a-file", text: entry.reason } };
  }

  #fileOf(path: TreePath, entry: FileEntry, said: string | undefined, examined: Examined): CatalogFile {
    const { finding, claimed } = examined;
    const known = this.file(path);
    const unreadable = finding.kind === "rejected" && finding.code === "unreadable";
    if (unreadable && known?.finding !== undefined && known.finding.kind !== "rejected") return known;
    return { path, entry: new LeanEntry(entry), claimed, metadataKey: said, finding };
  }

  /** Of a file that no index asks for yet: should it come to be a part, what was said of it is short, and needed. */
  #leanEntryOf(entry: FileEntry | OtherEntry): FileEntry | OtherEntry {
    if (entry.kind === "other") return entry;
    const metadata = this.#examiner.claims.metadataOf(entry)?.metadata;
    const isShort = metadata !== undefined && metadata.control === undefined && metadata.dsc === undefined;
    return isShort ? { ...entry, metadata } : new LeanEntry(entry);
  }

  /**
   * The claims to a digest that other bytes have too, or claim: only one can be true, and until it is known which,
   * requests for the true one could be sent to the other.
   */
  *#contestedClaims(
    survey: Survey,
    fresh: ReadonlyMap<TreePath, CatalogFile>,
  ): Iterable<readonly [CatalogFile, PackageKind | undefined, string | undefined]> {
    if (this.#claimed.size === 0 && ![...fresh.values()].some(({ claimed }) => claimed)) return;
    const byDigest = new Map<string, CatalogFile[]>();
    for (const file of fresh.values()) {
      const sha256 = digestOf(file);
      if (sha256 !== undefined) byDigest.set(sha256, [...(byDigest.get(sha256) ?? []), file]);
    }
    if (byDigest.size === 0) return;
    for (const [sha256, same] of byDigest) {
      const known = [...this.#files.withDigest(sha256)];
      const files = [...same, ...known.filter(({ path }) => !fresh.has(path) && !isGone(path, survey))];
      if (files.length === 1) continue;
      const contents = new Set(files.map(({ entry }) => (entry.kind === "file" ? entry.content?.key : undefined)));
      if (contents.size <= 1) continue;
      for (const file of files) if (file.claimed) yield [file, kindOf(file), inspectionKeyOf(file)];
    }
  }

  /** What a part of an update changes, as things are now. @param isLast then what is gone goes */
  #changesBy(survey: Survey, look: number, part: ReadonlyMap<TreePath, CatalogFile>, isLast: boolean): FileChange[] {
    const changes: FileChange[] = [];
    const isOvertaken = this.surveyOrder.supersededBy(look);
    for (const known of isLast ? this.#goneFiles(survey) : []) {
      if (!isOvertaken(known.path)) changes.push({ path: known.path, before: known, after: undefined });
    }
    for (const after of part.values()) {
      const before = this.file(after.path);
      // What lies elsewhere was examined for its claim alone, and may be gone by now.
      const isElsewhere = !isWithin(after.path, survey.path);
      if (isElsewhere ? before === undefined : isOvertaken(after.path)) continue;
      if (after !== before) changes.push({ path: after.path, before, after });
    }
    return changes;
  }

  /** The known files of which a survey tells that they are not there. */
  *#goneFiles(survey: Survey): Iterable<CatalogFile> {
    const single = this.file(survey.path);
    if (single !== undefined && !survey.files.has(survey.path)) yield single;
    for (const directory of this.#files.directoriesWithin(survey.path)) {
      if (isUnseen(directory, survey)) continue;
      for (const file of this.#files.in(directory)) if (!survey.files.has(file.path)) yield file;
    }
  }

  #apply(survey: Survey, look: number, changes: readonly FileChange[], isLast: boolean): void {
    this.#updateCount += 1;
    const isOvertaken = this.surveyOrder.supersededBy(look);
    for (const directory of isLast ? this.#files.directoriesWithin(survey.path) : []) {
      const isGoneToo = !survey.directories.has(directory) && !isUnseen(directory, survey);
      if (isGoneToo && !isOvertaken(directory)) this.#files.removeDirectory(directory);
    }
    for (const directory of survey.directories) if (!isOvertaken(directory)) this.#files.addDirectory(directory);
    this.surveyOrder.applied(look, survey.path, new Set([...survey.separate.keys(), ...survey.unlisted.keys()]));
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

  /** The .dsc files that did not change themselves, but one of whose parts did. */
  *#sourcesOfChangedParts(changes: readonly FileChange[]): Iterable<FileChange> {
    const told = new Set(changes.map((change) => change.path));
    for (const { path } of changes) {
      for (const wanting of this.#sourcesByPart.of(path)) {
        const source = this.file(wanting);
        if (told.has(wanting) || source === undefined) continue;
        told.add(wanting);
        yield { path: wanting, before: source, after: source };
      }
    }
  }
}

/** Whether a survey tells that nothing is at this path. */
const isGone = (path: TreePath, survey: Survey): boolean =>
  isWithin(path, survey.path) && !survey.files.has(path) && !isUnseen(path, survey);

/** Whether a path lies in a directory of which a survey tells nothing. */
const isUnseen = (path: TreePath, { separate: apart, unlisted }: Survey): boolean =>
  [apart, unlisted].some((told) => told.size > 0 && coveringPath(path, told) !== undefined);

/** What is asked of a file. */
interface ExaminationRequest {
  readonly entry: FileEntry | OtherEntry;
  readonly kind: PackageKind | undefined;
  readonly said: string | undefined;
  /** The record of a claim that the bytes are to prove. */
  readonly claimRecord?: string | undefined;
}
