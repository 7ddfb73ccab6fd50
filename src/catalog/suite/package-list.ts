// The packages that a suite contains at one moment, without duplicate versions, and the rejected files.
import type { TreePath } from "../../base/names.ts";
import { parentPath } from "../../base/names.ts";
import type { Steps } from "../../base/steps.ts";
import { runStepsAtOnce } from "../../base/steps.ts";
import { isKnownTime } from "../../storage/link-times.ts";
import type { FileChange } from "../catalog.ts";
import type { CatalogFile } from "../files/catalog-file.ts";
import { sourcePackageOf } from "../files/finding.ts";
import type { Pending, Rejection } from "../inspection/inspection.ts";
import type { StanzaByteLimits } from "../inspection/stanza-bytes.ts";
import { stanzaRejection } from "../inspection/stanza-bytes.ts";
import type { Layout } from "../layout/repository-layout.ts";
import { plainLayout } from "../layout/repository-layout.ts";
import type { DirectoryLimits } from "./directory-budget.ts";
import { DirectoryBudget } from "./directory-budget.ts";
import type { IndexEntry } from "./index-entry.ts";
import { firstLinkedFirst, uniqueKeyOf } from "./index-entry.ts";
import type { FirstOwners, NameShare, NameUse } from "./name-ownership.ts";
import { NameOwnership } from "./name-ownership.ts";
import type { OwnerRules } from "./owner-rules.ts";
import { PackageDirectoryCounts } from "./package-directory-counts.ts";
import { placementOf } from "./placement-rules.ts";

/** The difference between two package lists. */
export interface PackageListChange {
  readonly removed: readonly IndexEntry[];
  readonly added: readonly IndexEntry[];
}

/** A change, with the files that are newly rejected or have a new reason. */
export interface PackageListOutcome extends PackageListChange {
  readonly rejected: readonly (readonly [TreePath, Rejection])[];
  /** Whether any rejection was added, removed or changed. */
  readonly rejectionsChanged: boolean;
}

type FileAt = (path: TreePath) => CatalogFile | undefined;

/** Limits on the part of a suite's indices that each builder may use. */
export interface PackageBudget {
  readonly directory: DirectoryLimits;
  readonly stanzas: StanzaByteLimits;
  /** Maps a directory with files to the builder's directory that contains it. */
  readonly builderOf: (directory: TreePath) => TreePath | undefined;
}

/** The rules and the recorded first owners of names in a suite. */
export interface Ownership {
  /**
   * The current rules: the same object as long as they are unchanged; undefined if every builder may use every name.
   */
  readonly rules: () => OwnerRules | undefined;
  readonly firstOwners: FirstOwners;
  /** The start of this process, in ms since the epoch. */
  readonly startedMs: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** How many files make up a step. One takes some microseconds, and a step for each would take as long again. */
const filesPerStep = 8;

/** The package list of a suite. The cost of an update is proportional to the change. */
export class PackageList {
  readonly #chosen = new Map<string, IndexEntry>();
  /** All entries of a key by path, for keys that have or had several; the key's chosen one is in the list. */
  readonly #contenders = new Map<string, Map<TreePath, IndexEntry>>();
  readonly #rejections = new Map<TreePath, Rejection>();
  readonly #pending = new Map<TreePath, Pending>();
  readonly #directoryCounts: PackageDirectoryCounts;
  /** The rejections that the chosen entry of a key causes, by key. */
  readonly #conflicts = new Map<string, ReadonlyMap<TreePath, Rejection>>();
  readonly #ownership: Ownership;
  readonly #budget: PackageBudget;
  /** Budgets by builder's directory, and builder's directories by the directories in them. */
  readonly #budgets = new Map<TreePath, DirectoryBudget>();
  readonly #builders = new Map<TreePath, TreePath>();
  /** The last result of `#budgetOf`: most calls are about files of one directory. */
  #lastBudget: { readonly directory: TreePath; readonly budget: DirectoryBudget } | undefined;
  /** The previous rejections of the files that `apply` has changed. */
  #touched = new Map<TreePath, Rejection | undefined>();
  /** The last rules and their decisions; undefined if every builder may use every name. */
  #rules: OwnerRules | undefined;
  #nameOwnership: NameOwnership | undefined;
  readonly #layout: Layout;
  #newestLinkMs = 0;

  constructor(ownership: Ownership = noOwnership, budget: PackageBudget = noBudget, layout: Layout = plainLayout) {
    this.#layout = layout;
    this.#directoryCounts = new PackageDirectoryCounts(layout);
    this.#ownership = ownership;
    this.#budget = budget;
  }

  /** The newest link time of all packages that this list has ever contained, in ms since the epoch. */
  get newestLinkMs(): number {
    return this.#newestLinkMs;
  }

  /** Every package, in no particular order. */
  entries(): Iterable<IndexEntry> {
    return this.#chosen.values();
  }

  /**
   * All files with the name of a package that are not listed, with the reasons; the most recent decisions come last.
   */
  rejections(): ReadonlyMap<TreePath, Rejection> {
    return this.#rejections;
  }

  /** The package directories that contain rejected files only. Unreadable files do not count as rejected. */
  emptyPackageDirectories(): ReadonlySet<TreePath> {
    return this.#directoryCounts.withoutPackages();
  }

  /** What a builder's directory uses of each limit, and the limits; undefined if it has no packages. */
  budgetOf(builder: TreePath): { readonly used: DirectoryLimits; readonly limits: DirectoryLimits } | undefined {
    const budget = this.#budgets.get(builder);
    return budget && { used: budget.used, limits: this.#budget.directory };
  }

  /** Whether names can have owners. */
  get hasOwners(): boolean {
    return this.#nameOwnership !== undefined;
  }

  /** The owners and publishers of each name, sorted by name; empty if names cannot have owners. */
  shares(): Iterable<NameShare> {
    return this.#nameOwnership?.shares() ?? [];
  }

  /** All source packages that wait for files. */
  pending(): ReadonlyMap<TreePath, Pending> {
    return this.#pending;
  }

  /** Updates the list. @param fileAt returns the catalog's files after the change */
  apply(changes: readonly FileChange[], fileAt: FileAt): PackageListOutcome {
    return runStepsAtOnce(this.applying(changes, fileAt));
  }

  /** Like `apply`, but in steps, all of which must be run. Between them the list is inconsistent. */
  *applying(changes: readonly FileChange[], fileAt: FileAt): Steps<PackageListOutcome> {
    this.#touched = new Map();
    const contenders = new Map<string, Contenders>();
    /** Replaces the entry of a key at a path. */
    const contend = (key: string, path: TreePath, entry?: IndexEntry) => {
      const changed = contenders.get(key);
      const contending = changed !== undefined || contenders.has(key) ? changed : this.#contendersFor(key);
      contenders.set(key, withEntryAt(contending, path, entry));
    };
    /** Sets the entry at a path after the budget has admitted it; undefined removes it. */
    const enter = (path: TreePath, entry: IndexEntry | undefined) => {
      if (this.#nameOwnership !== undefined) this.#nameOwnership.note(path, entry && nameUseOf(entry));
      else if (entry !== undefined) contend(uniqueKeyOf(entry), path, entry);
    };
    /** Removes the entry at a path. */
    const leave = (path: TreePath, entry: IndexEntry | undefined) => {
      enter(path, undefined);
      if (entry !== undefined) contend(uniqueKeyOf(entry), path);
    };
    let count = 0;
    const isStepDone = () => ++count % filesPerStep === 0;
    this.#applyOwnerRules(contend);
    const placed: IndexEntry[] = [];
    const budgets = new Set<DirectoryBudget>();
    for (const { path, after } of changes) {
      if (isStepDone()) yield;
      const budget = this.#budgetOf(path);
      this.#reject(path, undefined);
      this.#pending.delete(path);
      const placement = after && this.#placementOf(after, fileAt);
      if (placement?.kind === "rejected") this.#reject(path, placement);
      else if (placement?.kind === "pending") this.#pending.set(path, placement);
      const entry = placement?.kind === "binary" || placement?.kind === "source" ? placement : undefined;
      budgets.add(budget);
      leave(path, budget.set(path, entry));
      if (entry === undefined) continue;
      this.#newestLinkMs = Math.max(this.#newestLinkMs, entry.entry.relinkedAtMs);
      placed.push(entry);
    }
    for (const budget of budgets) {
      const { admitted, expelled } = yield* budget.settle();
      for (const entry of expelled) {
        leave(entry.path, entry);
        this.#reject(entry.path, budget.rejectionOf(entry.path));
        if (isStepDone()) yield;
      }
      for (const entry of admitted) {
        this.#reject(entry.path, undefined);
        enter(entry.path, entry);
        if (isStepDone()) yield;
      }
    }
    for (const entry of placed) {
      const { path } = entry;
      const budget = this.#budgetOf(path);
      if (isStepDone()) yield;
      // The path may have changed again later in `changes`.
      if (budget.get(path) !== entry) continue;
      const rejection = budget.rejectionOf(path);
      if (rejection === undefined) enter(path, entry);
      else this.#reject(path, rejection);
    }
    for (const { entry, key, rejection } of this.#nameOwnership?.settle(this.#ownership.now()) ?? []) {
      this.#reject(entry.path, rejection);
      contend(key, entry.path, rejection === undefined ? entry : undefined);
      if (isStepDone()) yield;
    }
    const removed: IndexEntry[] = [];
    const added: IndexEntry[] = [];
    for (const [key, contending] of contenders) {
      const before = this.#chosen.get(key);
      const after = this.#choose(key, contending);
      if (isStepDone()) yield;
      if (before !== undefined && after !== undefined && isSameEntry(before, after)) continue;
      if (before !== undefined) removed.push(before);
      if (after !== undefined) added.push(after);
    }
    for (const { path } of removed) this.#directoryCounts.countTaken(path, -1);
    for (const { path } of added) this.#directoryCounts.countTaken(path, 1);
    const rejectionsChanged = [...this.#touched].some(([path, before]) => before !== this.#rejections.get(path));
    return { removed, added, rejected: [...this.#newRejections()], rejectionsChanged };
  }

  *#newRejections(): Iterable<readonly [TreePath, Rejection]> {
    for (const [path, before] of this.#touched) {
      const now = this.#rejections.get(path);
      if (now !== undefined && (now.code !== before?.code || now.text !== before.text)) yield [path, now];
    }
  }

  /** @param rejection undefined if the file is no longer rejected */
  #reject(path: TreePath, rejection: Rejection | undefined): void {
    const before = this.#rejections.get(path);
    if (rejection === undefined && before === undefined) return;
    if (!this.#touched.has(path)) this.#touched.set(path, before);
    if (before !== undefined) this.#directoryCounts.countRejected(path, before, -1);
    if (rejection !== undefined) this.#directoryCounts.countRejected(path, rejection, 1);
    this.#rejections.delete(path);
    if (rejection !== undefined) this.#rejections.set(path, rejection);
  }

  #placementOf(file: CatalogFile, fileAt: FileAt): ReturnType<typeof placementOf> {
    const placement = placementOf(file, fileAt, this.#layout);
    if (placement === undefined || placement.kind === "rejected" || placement.kind === "pending") return placement;
    // The stored inspection may have been made under other limits.
    return stanzaRejection(placement, this.#budget.stanzas) ?? placement;
  }

  #budgetOf(path: TreePath): DirectoryBudget {
    const directory = parentPath(path);
    if (this.#lastBudget?.directory === directory) return this.#lastBudget.budget;
    const budget = this.#budgetFor(directory);
    this.#lastBudget = { directory, budget };
    return budget;
  }

  #budgetFor(directory: TreePath): DirectoryBudget {
    const builder = this.#builders.get(directory) ?? this.#budget.builderOf(directory) ?? directory;
    // Cached for the lifetime of this list: a package must leave the budget that it entered, even if builders change.
    this.#builders.set(directory, builder);
    const known = this.#budgets.get(builder);
    if (known !== undefined) return known;
    const budget = new DirectoryBudget(builder, this.#budget.directory);
    this.#budgets.set(builder, budget);
    return budget;
  }

  /** Applies changed owner rules. */
  #applyOwnerRules(contend: (key: string, path: TreePath, entry: IndexEntry) => void): void {
    const rules = this.#ownership.rules();
    if (rules === this.#rules) return;
    this.#rules = rules;
    if (rules === undefined) {
      for (const { entry, key } of this.#nameOwnership?.verdicts() ?? []) {
        if (this.#rejections.get(entry.path)?.code === "not-owner") this.#reject(entry.path, undefined);
        contend(key, entry.path, entry);
      }
      this.#nameOwnership = undefined;
    } else if (this.#nameOwnership !== undefined) this.#nameOwnership.setRules(rules);
    else {
      this.#nameOwnership = new NameOwnership(rules, this.#ownership.firstOwners, this.#ownership.startedMs);
      for (const key of this.#chosen.keys()) {
        for (const entry of entriesOf(this.#contendersFor(key))) this.#nameOwnership.note(entry.path, nameUseOf(entry));
      }
    }
  }

  #contendersFor(key: string): Contenders {
    return this.#contenders.get(key) ?? this.#chosen.get(key);
  }

  /** Chooses one entry for a key: the bytes with the newest link; if several paths have these, the one linked first. */
  #choose(key: string, contenders: Contenders): IndexEntry | undefined {
    for (const [path, rejection] of this.#conflicts.get(key) ?? []) {
      if (this.#rejections.get(path) === rejection) this.#reject(path, undefined);
    }
    this.#conflicts.delete(key);
    const newest = first(entriesOf(contenders), newestFirst);
    if (newest === undefined || !(contenders instanceof Map) || contenders.size === 1) {
      this.#contenders.delete(key);
      if (newest === undefined) this.#chosen.delete(key);
      else this.#chosen.set(key, newest);
      return newest;
    }
    this.#contenders.set(key, contenders);
    const conflicts = new Map<TreePath, Rejection>();
    const same: IndexEntry[] = [];
    for (const entry of contenders.values()) {
      if (entry.sha256 === newest.sha256) same.push(entry);
      else conflicts.set(entry.path, { kind: "rejected", code: "conflict", text: conflictText(entry, newest) });
    }
    for (const [path, rejection] of conflicts) this.#reject(path, rejection);
    if (conflicts.size > 0) this.#conflicts.set(key, conflicts);
    const chosen = first(same, firstLinkedFirst) ?? newest;
    this.#chosen.set(key, chosen);
    return chosen;
  }
}

/** The entries of one key: none, one (in most cases), or several by path. */
type Contenders = IndexEntry | Map<TreePath, IndexEntry> | undefined;

function withEntryAt(contenders: Contenders, path: TreePath, entry: IndexEntry | undefined): Contenders {
  if (contenders instanceof Map) {
    contenders.delete(path);
    return entry === undefined ? contenders : contenders.set(path, entry);
  }
  if (contenders === undefined || contenders.path === path) return entry;
  if (entry === undefined) return contenders;
  return new Map([contenders, entry].map((each) => [each.path, each]));
}

function entriesOf(contenders: Contenders): Iterable<IndexEntry> {
  if (contenders === undefined) return [];
  return contenders instanceof Map ? contenders.values() : [contenders];
}

/** The first entry in an order; undefined if there is none. */
function first(
  entries: Iterable<IndexEntry>,
  compare: (a: IndexEntry, b: IndexEntry) => number,
): IndexEntry | undefined {
  let found: IndexEntry | undefined;
  for (const entry of entries) if (found === undefined || compare(entry, found) < 0) found = entry;
  return found;
}

const noOwnership: Ownership = {
  rules: () => undefined,
  firstOwners: { get: () => undefined, set: () => undefined },
  startedMs: 0,
  now: () => 0,
};

const nameUseOf = (entry: IndexEntry): NameUse => ({ entry, key: uniqueKeyOf(entry), source: sourcePackageOf(entry) });

const newestFirst = (a: IndexEntry, b: IndexEntry): number =>
  b.entry.relinkedAtMs - a.entry.relinkedAtMs || (a.path < b.path ? -1 : 1);

const noBudget: PackageBudget = {
  directory: {
    maxDirectoryPackages: Number.POSITIVE_INFINITY,
    maxDirectoryIndexBytes: Number.POSITIVE_INFINITY,
    maxDirectoryVariants: Number.POSITIVE_INFINITY,
  },
  stanzas: { maxStanzaBytes: Number.POSITIVE_INFINITY, maxSourceStanzaBytes: Number.POSITIVE_INFINITY },
  builderOf: () => undefined,
};

function conflictText(loser: IndexEntry, { path }: IndexEntry): string {
  const text = `${path} is the same package and version with other bytes, and newer`;
  if (isKnownTime(loser.entry.relinkedAtMs)) return text;
  return `${text}: a file whose link time is unknown or in the future counts as the oldest`;
}

/** Whether two entries have the same stanza at the same position, and the same content ids. */
const isSameEntry = (a: IndexEntry, b: IndexEntry): boolean =>
  a.identity === b.identity && a.linkedAtMs === b.linkedAtMs && contentKeys(a).join() === contentKeys(b).join();

/** Content ids are compared because equal bytes may get a new one, by which the package must then be read. */
const contentKeys = (entry: IndexEntry): readonly (string | undefined)[] =>
  [entry, ...(entry.kind === "source" ? entry.parts : [])].map(({ entry }) => entry.content?.key);
