// One suite under refresh: its snapshot follows the catalog, and its current publication follows the snapshot.
import type { Suite, TreePath } from "../../base/names.ts";
import { coveringPath, isWithin, rootPath } from "../../base/names.ts";
import { inTurns } from "../../base/steps.ts";
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
import type { SuiteBuilder } from "../build/suite-builder.ts";
import type { PendingFile, RejectedFile } from "../served-repository.ts";
import type { FirstOwnerStore } from "../store/first-owner-store.ts";
import type { Manifest } from "../store/publication.ts";
import type { PublicationStore } from "../store/publication-store.ts";
import type { SuiteSettings, SuiteSettingsProvider } from "../suite-settings.ts";
import { NotedChanges } from "./noted-changes.ts";

/** What one success of following brought. */
interface Followed {
  readonly changes: readonly FileChange[];
  /** Files that came to be rejected. */
  readonly rejected: readonly RejectedFile[];
}

export interface SuiteParts {
  readonly store: PublicationStore;
  /** Makes the builder of one suite's publications. */
  readonly builderOf: (suite: Suite) => SuiteBuilder;
  readonly suiteSettings: SuiteSettingsProvider;
  readonly heldNames: FirstOwnerStore;
  /** Whose directories there are: publications, and the indices, are shared out by these. */
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
  readonly #overridden: OverriddenEntries;
  readonly #now: () => number;
  readonly #snapshot: PackageList;
  #current: Manifest | undefined;
  #past: Manifest | undefined;
  #surveyed = false;
  /** Not yet published. The catalog tells of each change once, so none may be lost to a look that fails. */
  readonly #noted: NotedChanges;
  /** By the path of a look under way: what it has seen and not yet inspected. */
  readonly #undecided = new Map<TreePath, readonly TreePath[]>();
  /** Directories that could not be listed when they were last looked at. */
  #unlisted: ReadonlyMap<TreePath, Rejection> = new Map();
  /** What lies in no place for packages, or can't be named, as it was last seen. */
  #passedOver: ReadonlyMap<TreePath, Rejection> = new Map();
  /** Sorted when they are first asked for, because a page may be asked for often. */
  #rejected: readonly RejectedFile[] | undefined;
  /** No one has a turn in the midst of the snapshot's change alone: it is not to be left half made. */
  readonly #yieldNow = yieldToEventLoop();

  /** @param current what is served until the tree was looked at */
  constructor(name: Suite, current: Manifest | undefined, parts: SuiteParts) {
    const { store, now } = parts;
    const settings = parts.suiteSettings.of(name);
    const pastId = store.pins.rolledBackTo(name);
    this.name = name;
    this.#builder = parts.builderOf(name);
    this.#settings = settings;
    this.#view = settings.view && new View(settings.view);
    this.#overridden = new OverriddenEntries(settings.overrides());
    this.#now = now;
    const builderOf = (directory: TreePath) => parts.builders.of(directory);
    const { directoryLimits: directory, inspectionLimits: stanzas } = parts;
    this.#noted = new NotedChanges(builderOf);
    const ownership = {
      rules: () => settings.ownerRules(),
      held: parts.heldNames.of(name),
      startedMs: now(),
      now,
    };
    this.#snapshot = new PackageList(ownership, { directory, stanzas, builderOf }, parts.catalog.layout);
    this.#current = current;
    this.#past = pastId === undefined ? undefined : store.get(name, pastId);
  }

  get current(): Manifest | undefined {
    return this.#current;
  }

  /** Whether the whole suite was seen since the start: before, no part of it can be brought up to date alone. */
  get surveyed(): boolean {
    return this.#surveyed;
  }

  /** Takes in what the catalog has seen, in its order, for the next `follow`. */
  note(changes: readonly FileChange[]): void {
    this.#noted.add(changes);
  }

  /** Whether something was noted that no `follow` has taken in. */
  get hasChanges(): boolean {
    return !this.#noted.isEmpty;
  }

  /** Whether some of it is at or below a path. */
  hasChangesWithin(path: TreePath): boolean {
    return this.#noted.has(path);
  }

  /** Takes in which files a look at a path is still inspecting; none when it has ended. */
  noteUndecided(path: TreePath, files: readonly TreePath[]): void {
    if (files.length > 0) this.#undecided.set(path, files);
    else this.#undecided.delete(path);
  }

  /** Whether a path lies in a directory that could not be listed when it was last looked at. */
  isUnlisted(path: TreePath): boolean {
    return this.#unlisted.size > 0 && coveringPath(path, this.#unlisted) !== undefined;
  }

  /** Whether every directory could be listed when it was last looked at. */
  get seenWhole(): boolean {
    return this.#unlisted.size === 0;
  }

  /**
   * Takes in which directories at or below a path could not be listed.
   * @param apart directories below the path of which nothing is told
   * @returns those that could be before, or for another reason could not
   */
  noteUnlisted(
    path: TreePath,
    unlisted: ReadonlyMap<TreePath, Rejection>,
    apart: ReadonlyMap<TreePath, unknown>,
  ): RejectedFile[] {
    const before = this.#unlisted;
    this.#unlisted = this.#replaced(before, path, unlisted, apart);
    return newRejections(before, unlisted);
  }

  /**
   * Takes in what at or below a path was passed over.
   * @param apart directories below the path of which nothing is told
   * @returns what was not before, or for another reason
   */
  notePassedOver(
    path: TreePath,
    passedOver: ReadonlyMap<TreePath, Rejection>,
    apart: ReadonlyMap<TreePath, unknown>,
  ): RejectedFile[] {
    const before = this.#passedOver;
    this.#passedOver = this.#replaced(before, path, passedOver, apart);
    return newRejections(before, passedOver);
  }

  #replaced(
    before: ReadonlyMap<TreePath, Rejection>,
    path: TreePath,
    found: ReadonlyMap<TreePath, Rejection>,
    apart: ReadonlyMap<TreePath, unknown>,
  ): ReadonlyMap<TreePath, Rejection> {
    if (before.size === 0 && found.size === 0) return before;
    this.#rejected = undefined;
    const stays = (each: TreePath) => !isWithin(each, path) || coveringPath(each, apart) !== undefined;
    return new Map([...[...before].filter(([each]) => stays(each)), ...found]);
  }

  /**
   * Brings the snapshot up to date, and the publication unless the suite is rolled back; where much was noted, with some
   * of it. Throws where that can't be built; then the last one stays.
   * @returns what was taken in
   */
  async follow(catalog: Catalog, signal: AbortSignal): Promise<Followed> {
    // After a failure the snapshot gets some of them again, which changes nothing. More may be noted meanwhile.
    const changes = this.#noted.next(!this.#surveyed);
    const held = await inTurns(
      this.#snapshot.applying(changes, (path) => catalog.file(path)),
      this.#yieldNow,
    );
    if (held.changesRejections) this.#rejected = undefined;
    const visible = this.#view?.apply(held, this.#now()) ?? held;
    const change = this.#overridden.apply(visible, this.#settings.overrides(), () => this.#visible());
    this.#surveyed = true;
    const places = [...catalog.packageDirectoriesWithin(suitePath(this.name))];
    if (this.#past !== undefined) this.#builder.forget();
    else {
      this.#current = await this.#builder.build({
        change,
        entries: () => this.items(),
        newestLinkMs: this.#snapshot.newestLinkMs,
        shape: shapeOf(places, this.name, this.#snapshot.emptyPackageDirectories(), catalog.layout),
        current: this.#current,
        signal,
      });
    }
    this.#noted.done();
    return { changes, rejected: held.rejected.map(rejectedFile) };
  }

  /** Publishes the same packages again, with what was made for them in the background. */
  async amend(order: {
    readonly deferred?: readonly [generator: string, DeferredFiles];
    readonly signal: AbortSignal;
  }): Promise<void> {
    if (this.#current !== undefined) this.#current = await this.#builder.amend(this.#current, order);
  }

  /** Publishes the same again before clients would believe it no more, or what it is to be rolled back to. */
  async renew(signal: AbortSignal): Promise<void> {
    if (this.#past !== undefined && this.#current?.rolledBackTo !== this.#past.id)
      this.#current = await this.#builder.rollBack(this.#past, this.#current, signal);
    else if (this.#current !== undefined && this.#builder.isRenewalDue(this.#current)) await this.amend({ signal });
  }

  /** Serves what a publication held, whatever the tree holds, until it is told to resume. */
  async rollBack(past: Manifest, signal: AbortSignal): Promise<void> {
    this.#past = past;
    await this.renew(signal);
  }

  /** The next `follow` publishes what the tree holds. */
  resume(): void {
    this.#past = undefined;
  }

  get isRolledBack(): boolean {
    return this.#past !== undefined;
  }

  /** Whether some names are not everybody's. */
  get hasOwners(): boolean {
    return this.#snapshot.hasOwners;
  }

  /** Who owns which name, and who has packages of it; by name. None where every name is everybody's. */
  shares(): Iterable<NameShare> {
    return this.#snapshot.shares();
  }

  /** What the indices show. */
  items(): Iterable<IndexEntry> {
    return this.#overridden.shown(this.#visible());
  }

  /** What the view lets through. */
  #visible(): Iterable<IndexEntry> {
    return this.#view?.items() ?? this.#snapshot.items();
  }

  /** Whether time alone has something to hide, which the next `follow` does. */
  get isAging(): boolean {
    return this.#surveyed && this.#view?.isDue(this.#now()) === true;
  }

  /** What other rules would hide and show. Overrides are left out on both sides. @param rules undefined: none */
  preview(rules: ViewRules | undefined): ViewDifference {
    return viewDifference(this.#snapshot.items(), this.#visible(), rules, this.#now());
  }

  /** The source packages at or below a path that wait for files, and what is being inspected there, sorted by path. */
  pending(within: TreePath = rootPath): readonly PendingFile[] {
    const found: PendingFile[] = [];
    for (const [path, { missing }] of this.#snapshot.pending())
      if (isWithin(path, within)) found.push({ path, missing });
    for (const [look, files] of this.#undecided) {
      // Of another builder there may be very many.
      if (!isWithin(look, within) && !isWithin(within, look)) continue;
      for (const path of files) if (isWithin(path, within)) found.push({ path, missing: [], inspecting: true });
    }
    return found.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  /** How many source packages wait for files. */
  get pendingSources(): number {
    return this.#snapshot.pending().size;
  }

  /** The files that are being inspected, or wait for that, where this takes longer than usual. */
  undecided(): readonly TreePath[] {
    return [...this.#undecided.values()].flat();
  }

  /** How many these are. */
  get uninspected(): number {
    return [...this.#undecided.values()].reduce((total, files) => total + files.length, 0);
  }

  /** Whether a file is in no index. */
  isRejected(path: TreePath): boolean {
    return this.#snapshot.rejections().has(path);
  }

  /** What is rejected, sorted by path; of more than can be told at once, what was judged last. */
  rejected(): readonly RejectedFile[] {
    this.#rejected ??= this.#rejectedWithin(rootPath);
    return this.#rejected;
  }

  /** The same of what is at or below a path. */
  rejectedWithin(path: TreePath): readonly RejectedFile[] {
    if (this.rejectedCount > maxRejectedTold) return this.#rejectedWithin(path);
    return this.rejected().filter((file) => isWithin(file.path, path));
  }

  #rejectedWithin(path: TreePath): readonly RejectedFile[] {
    const told: RejectedFile[] = [];
    for (const rejected of [...this.#unlisted, ...this.#passedOver, ...[...this.#snapshot.rejections()].reverse()]) {
      if (told.length >= maxRejectedTold) break;
      if (isWithin(rejected[0], path)) told.push(rejectedFile(rejected));
    }
    return told.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  /** How many files are rejected. */
  get rejectedCount(): number {
    return this.#snapshot.rejections().size + this.#unlisted.size + this.#passedOver.size;
  }
}

/** How many rejected files one answer or page tells of. */
const maxRejectedTold = 5000;

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
