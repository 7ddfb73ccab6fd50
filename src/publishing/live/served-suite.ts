// A suite in service: its package list is updated from the catalog, and its publication from the package list.
import type { Suite, TreePath } from "../../base/names.ts";
import { coveringPath, isWithin, rootPath } from "../../base/names.ts";
import { runSteps } from "../../base/steps.ts";
import { yieldToEventLoop } from "../../base/yield-to-event-loop.ts";
import type { Catalog, FileChange } from "../../catalog/catalog.ts";
import type { InspectLimits } from "../../catalog/inspection/inspect-limits.ts";
import type { Rejection } from "../../catalog/inspection/inspection.ts";
import type { BuilderDirectories } from "../../catalog/layout/builder-directories.ts";
import { suitePath } from "../../catalog/layout/repository-layout.ts";
import { shapeOf } from "../../catalog/layout/suite-shape.ts";
import type { DirectoryLimits } from "../../catalog/suite/directory-budget.ts";
import type { IndexEntry } from "../../catalog/suite/index-entry.ts";
import type { NameShare } from "../../catalog/suite/name-ownership.ts";
import { OverriddenEntries } from "../../catalog/suite/overrides.ts";
import { PackageList } from "../../catalog/suite/package-list.ts";
import type { ViewDifference, ViewRules } from "../../catalog/suite/suite-view.ts";
import { View, viewDifference } from "../../catalog/suite/suite-view.ts";
import type { DeferredFiles } from "../build/deferred-files.ts";
import type { Replicas } from "../build/replicas.ts";
import { noReplicas } from "../build/replicas.ts";
import type { SuiteBuilderOptions } from "../build/suite-builder.ts";
import { SuiteBuilder } from "../build/suite-builder.ts";
import type { PendingFile, RejectedFile } from "../served-repository.ts";
import type { FirstOwnerStore } from "../store/first-owner-store.ts";
import type { Manifest } from "../store/publication.ts";
import type { PublicationStore } from "../store/publication-store.ts";
import type { SuiteSettings } from "../suite-settings.ts";
import { UnpublishedChanges } from "./unpublished-changes.ts";

/** The changes in one publication. */
interface PublishedChanges {
  readonly changes: readonly FileChange[];
  /** Files that are rejected now and were not before, or for another reason. */
  readonly rejected: readonly RejectedFile[];
}

export interface ServedSuiteOptions {
  readonly store: PublicationStore;
  /** What the builders of all suites share. */
  readonly suiteBuilder: SuiteBuilderOptions;
  readonly firstOwners: FirstOwnerStore;
  /** The directories of the builders, which share the room in a publication and in the indices. */
  readonly builders: BuilderDirectories;
  readonly directoryLimits: DirectoryLimits;
  readonly inspectionLimits: InspectLimits;
  readonly catalog: Catalog;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export class ServedSuite {
  readonly name: Suite;
  readonly #builder: SuiteBuilder;
  readonly #view: View | undefined;
  readonly #settings: SuiteSettings;
  readonly #replicas: Replicas;
  readonly #overridden: OverriddenEntries;
  readonly #now: () => number;
  readonly #packageList: PackageList;
  #current: Manifest | undefined;
  /** The publication that the suite is rolled back to. */
  #past: Manifest | undefined;
  #surveyed = false;
  /** Whether the suite was withdrawn, and nothing was added to its package list since. */
  #isWithdrawn = false;
  /** The catalog reports each change once, so a failed attempt to publish must not lose any. */
  readonly #unpublished: UnpublishedChanges;
  /** By the path of an active survey: the files that it has seen and that are not inspected yet. */
  readonly #inspecting = new Map<TreePath, ReadonlySet<TreePath>>();
  /** Their number at the last change by `noteInspecting`. */
  #notedCount = 0;
  /** The directories that could not be listed by the last survey of them. */
  #unlisted: ReadonlyMap<TreePath, Rejection> = new Map();
  /** The files outside of package directories, and those with invalid names, as of the last survey. */
  #skipped: ReadonlyMap<TreePath, Rejection> = new Map();
  /** Sorted on first use, because status pages are requested often. */
  #rejected: readonly RejectedFile[] | undefined;
  /** Takes no abort signal: an update of the package list must not end halfway. */
  readonly #yieldNow = yieldToEventLoop();

  /** @param current the publication that is served until the tree was surveyed */
  constructor(name: Suite, current: Manifest | undefined, settings: SuiteSettings, options: ServedSuiteOptions) {
    const { store, now } = options;
    const pastId = store.pins.rolledBackTo(name);
    this.name = name;
    this.#builder = new SuiteBuilder(name, settings, options.suiteBuilder);
    this.#settings = settings;
    this.#replicas = options.suiteBuilder.replicas;
    this.#view = settings.view && new View(settings.view);
    this.#overridden = new OverriddenEntries(settings.overrides());
    this.#now = now;
    const builderOf = (directory: TreePath) => options.builders.of(directory);
    const { directoryLimits: directory, inspectionLimits: stanzas } = options;
    this.#unpublished = new UnpublishedChanges(builderOf);
    const ownership = {
      rules: () => settings.ownerRules(),
      firstOwners: options.firstOwners.of(name),
      startedMs: now(),
      now,
    };
    this.#packageList = new PackageList(ownership, { directory, stanzas, builderOf }, options.catalog.layout);
    this.#current = current;
    this.#past = pastId === undefined ? undefined : store.get(name, pastId);
  }

  get current(): Manifest | undefined {
    return this.#current;
  }

  /**
   * Whether the suite was published, or found unchanged, since the start. Directories of builders that are slow to list
   * may still be missing then.
   */
  get surveyed(): boolean {
    return this.#surveyed;
  }

  /** Adds changes of the catalog, in its order, to the next `publishChanges`. */
  addChanges(changes: readonly FileChange[]): void {
    this.#unpublished.add(changes);
  }

  /** Whether there are changes that are not published. */
  get hasChanges(): boolean {
    return !this.#unpublished.isEmpty;
  }

  /** @see UnpublishedChanges.waitingWithin */
  changesWaitingWithin(path: TreePath): () => boolean {
    return this.#unpublished.waitingWithin(path);
  }

  /**
   * Replaces the set of files that a survey of a path is still inspecting. The set may shrink between calls.
   * @param files none when the survey ends
   * @returns the number of files that are being inspected, if it has changed since the last call
   */
  noteInspecting(path: TreePath, files: ReadonlySet<TreePath>): number | undefined {
    if (files.size > 0) this.#inspecting.set(path, files);
    else this.#inspecting.delete(path);
    const before = this.#notedCount;
    this.#notedCount = this.inspectingCount;
    return this.#notedCount === before ? undefined : this.#notedCount;
  }

  /** Whether a path is in a directory that could not be listed by the last survey of it. */
  isUnlisted(path: TreePath): boolean {
    return this.#unlisted.size > 0 && coveringPath(path, this.#unlisted) !== undefined;
  }

  /** Whether every directory could be listed by the last survey of it. */
  get isFullyListed(): boolean {
    return this.#unlisted.size === 0;
  }

  /**
   * Replaces the directories at or below a path that could not be listed.
   * @param separate directories below the path that were surveyed separately and stay as they are
   * @returns the directories that could be listed before, or failed for another reason
   */
  noteUnlisted(
    path: TreePath,
    unlisted: ReadonlyMap<TreePath, Rejection>,
    separate: ReadonlyMap<TreePath, unknown>,
  ): RejectedFile[] {
    const before = this.#unlisted;
    this.#unlisted = this.#replaced(before, path, unlisted, separate);
    return newRejections(before, unlisted);
  }

  /**
   * Replaces the files at or below a path that were skipped.
   * @param separate directories below the path that were surveyed separately and stay as they are
   * @returns the files that were not skipped before, or for another reason
   */
  noteSkipped(
    path: TreePath,
    skipped: ReadonlyMap<TreePath, Rejection>,
    separate: ReadonlyMap<TreePath, unknown>,
  ): RejectedFile[] {
    const before = this.#skipped;
    this.#skipped = this.#replaced(before, path, skipped, separate);
    return newRejections(before, skipped);
  }

  #replaced(
    before: ReadonlyMap<TreePath, Rejection>,
    path: TreePath,
    found: ReadonlyMap<TreePath, Rejection>,
    separate: ReadonlyMap<TreePath, unknown>,
  ): ReadonlyMap<TreePath, Rejection> {
    if (before.size === 0 && found.size === 0) return before;
    this.#rejected = undefined;
    const stays = (each: TreePath) => !isWithin(each, path) || coveringPath(each, separate) !== undefined;
    return new Map([...[...before].filter(([each]) => stays(each)), ...found]);
  }

  /**
   * Serves a publication that another replica has made and that is stored, unless a later one is served already. Of two
   * with the same Date, the other one counts. The next build starts from nothing.
   */
  adopt(manifest: Manifest): void {
    this.#builder.reset();
    if (this.#current?.dateSeconds === manifest.dateSeconds) this.#current = manifest;
    else this.#take(manifest);
  }

  /** Serves no publication any more until there is another one, whose build starts from nothing. */
  withdraw(): void {
    this.#builder.reset();
    this.#current = undefined;
    this.#isWithdrawn = true;
  }

  /**
   * Whether the catalog has no directory for packages of the suite, and every change is published. Otherwise the suite
   * must stay in service: another object would not learn which files the catalog knows already.
   */
  isGone(catalog: Catalog): boolean {
    const places = catalog.packageDirectoriesWithin(suitePath(this.name));
    return !this.hasChanges && shapeOf(places, this.name, undefined, catalog.layout).components.length === 0;
  }

  /**
   * Whether there are packages that the replica that publishes has not published yet. Those that are still listed after
   * a withdrawal are gone from the tree.
   */
  get isAwaitingPublisher(): boolean {
    if (this.#replicas === noReplicas || this.#current !== undefined || this.#isWithdrawn) return false;
    const [first] = this.#packageList.entries();
    return first !== undefined;
  }

  #take(manifest: Manifest): void {
    if (this.#current === undefined || manifest.dateSeconds > this.#current.dateSeconds) this.#current = manifest;
  }

  /**
   * Updates the package list, and publishes it unless the suite is rolled back or another replica publishes. If there are very many changes, only
   * some of them are published.
   * @returns the changes that were published
   * @throws what building and storing throw; then the last publication stays
   */
  async publishChanges(catalog: Catalog, signal: AbortSignal): Promise<PublishedChanges> {
    // After a failure, the package list gets some changes twice, which has no effect. Others may be added meanwhile.
    const changes = this.#unpublished.next(!this.#surveyed);
    const listed = await runSteps(
      this.#packageList.applying(changes, (path) => catalog.file(path)),
      this.#yieldNow,
    );
    if (changes.some(({ after }) => after !== undefined)) this.#isWithdrawn = false;
    if (listed.rejectionsChanged) this.#rejected = undefined;
    const visible = this.#view?.apply(listed, this.#now()) ?? listed;
    const change = this.#overridden.apply(visible, this.#settings.overrides(), () => this.#visible());
    this.#surveyed = true;
    const places = [...catalog.packageDirectoriesWithin(suitePath(this.name))];
    if (this.#past !== undefined || !this.#replicas.isPublisher) this.#builder.reset();
    else {
      const built = await this.#builder.build({
        change,
        entries: () => this.entries(),
        newestLinkMs: this.#packageList.newestLinkMs,
        shape: shapeOf(places, this.name, this.#packageList.emptyPackageDirectories(), catalog.layout),
        current: this.#current,
        signal,
      });
      // A suite without any directory for packages stays in service until the other replicas know that it is withdrawn.
      if (built !== undefined) this.#take(built);
    }
    this.#unpublished.done();
    return { changes, rejected: listed.rejected.map(rejectedFile) };
  }

  /**
   * Publishes the same packages again.
   * @param options.deferred deferred files to add, and the generator that replaces its earlier files by them
   */
  async republish(options: {
    readonly deferred?: readonly [generator: string, DeferredFiles];
    readonly signal: AbortSignal;
  }): Promise<void> {
    if (this.#current !== undefined && this.#replicas.isPublisher)
      this.#take(await this.#builder.amend(this.#current, options));
  }

  /** Publishes again if the publication is due to expire, or if the suite must still be rolled back. */
  async renew(signal: AbortSignal): Promise<void> {
    if (!this.#replicas.isPublisher) return;
    if (this.#past !== undefined && this.#current?.rolledBackTo !== this.#past.id)
      this.#take(await this.#builder.rollBack(this.#past, this.#current, signal));
    else if (this.#current !== undefined && this.#builder.isRenewalDue(this.#current)) await this.republish({ signal });
  }

  /** Serves the content of an earlier publication, independent of the tree, until `resume`. */
  async rollBack(past: Manifest, signal: AbortSignal): Promise<void> {
    this.#past = past;
    await this.renew(signal);
  }

  /** Lets the next `publishChanges` publish the content of the tree. */
  resume(): void {
    this.#past = undefined;
  }

  get isRolledBack(): boolean {
    return this.#past !== undefined;
  }

  /** Whether any package name has an owner. */
  get hasOwners(): boolean {
    return this.#packageList.hasOwners;
  }

  /** Returns the owners and the publishers of each package name, sorted by name; none if no name has an owner. */
  shares(): Iterable<NameShare> {
    return this.#packageList.shares();
  }

  /** The entries of the indices. */
  entries(): Iterable<IndexEntry> {
    return this.#overridden.shown(this.#visible());
  }

  /** The entries that the view does not hide, without overrides. */
  #visible(): Iterable<IndexEntry> {
    return this.#view?.entries() ?? this.#packageList.entries();
  }

  /** What a builder's directory uses of each limit, and the limits; undefined if it has no packages here. */
  budgetOf(builder: TreePath): ReturnType<PackageList["budgetOf"]> {
    return this.#packageList.budgetOf(builder);
  }

  /** Returns the packages of a name that the view hides. */
  *hiddenByView(name: string): Iterable<IndexEntry> {
    if (this.#view === undefined) return;
    const visible = new Set<IndexEntry>();
    for (const entry of this.#view.entries()) if (entry.package === name) visible.add(entry);
    for (const entry of this.#packageList.entries()) if (entry.package === name && !visible.has(entry)) yield entry;
  }

  /** Whether the view must hide packages that have become too old, which the next `publishChanges` does. */
  get isViewDue(): boolean {
    return this.#surveyed && this.#view?.isDue(this.#now()) === true;
  }

  /** Returns what other view rules would hide and show, without overrides. @param rules undefined: no rules */
  preview(rules: ViewRules | undefined): ViewDifference {
    return viewDifference(this.#packageList.entries(), this.#visible(), rules, this.#now());
  }

  /**
   * Returns the source packages at or below a path that wait for files, and the files in inspection, sorted by path.
   */
  pending(within: TreePath = rootPath): readonly PendingFile[] {
    const found: PendingFile[] = [];
    for (const [path, { missing }] of this.#packageList.pending())
      if (isWithin(path, within)) found.push({ path, missing });
    for (const [surveyed, files] of this.#inspecting) {
      // Another builder may have very many files, none of which need to be compared.
      if (!isWithin(surveyed, within) && !isWithin(within, surveyed)) continue;
      for (const path of files) if (isWithin(path, within)) found.push({ path, missing: [], inspecting: true });
    }
    return found.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  /** The number of source packages that wait for files. */
  get pendingSources(): number {
    return this.#packageList.pending().size;
  }

  /** The files that are being inspected or wait for inspection, if that takes longer than usual. */
  inspecting(): readonly TreePath[] {
    return [...this.#inspecting.values()].flatMap((files) => [...files]);
  }

  /** The number of these files. */
  get inspectingCount(): number {
    return [...this.#inspecting.values()].reduce((total, files) => total + files.size, 0);
  }

  isRejected(path: TreePath): boolean {
    return this.#packageList.rejections().has(path);
  }

  /** Returns the rejected files, sorted by path; if there are too many, the most recent ones. */
  rejected(): readonly RejectedFile[] {
    this.#rejected ??= this.#rejectedWithin(rootPath);
    return this.#rejected;
  }

  /** Returns the rejected files at or below a path, sorted by path; if there are too many, the most recent ones. */
  rejectedWithin(path: TreePath): readonly RejectedFile[] {
    if (this.rejectedCount > maxRejectedListed) return this.#rejectedWithin(path);
    return this.rejected().filter((file) => isWithin(file.path, path));
  }

  #rejectedWithin(path: TreePath): readonly RejectedFile[] {
    const listed: RejectedFile[] = [];
    for (const rejected of [...this.#unlisted, ...this.#skipped, ...[...this.#packageList.rejections()].reverse()]) {
      if (listed.length >= maxRejectedListed) break;
      if (isWithin(rejected[0], path)) listed.push(rejectedFile(rejected));
    }
    return listed.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  /** The number of rejected files. */
  get rejectedCount(): number {
    return this.#packageList.rejections().size + this.#unlisted.size + this.#skipped.size;
  }
}

/** The maximum number of rejected files in one response or page. */
const maxRejectedListed = 5000;

function newRejections(
  before: ReadonlyMap<TreePath, Rejection>,
  now: Iterable<readonly [TreePath, Rejection]>,
): RejectedFile[] {
  const isNew = ([path, { code, text }]: readonly [TreePath, Rejection]): boolean => {
    const known = before.get(path);
    return known?.code !== code || known.text !== text;
  };
  return [...now].filter(isNew).map(rejectedFile);
}

const rejectedFile = ([path, { code, text }]: readonly [TreePath, Rejection]): RejectedFile => ({
  path,
  code,
  reason: text,
});
