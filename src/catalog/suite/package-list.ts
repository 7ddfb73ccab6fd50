// The packages that a suite holds at one moment, without double versions, and what is left out of it.
import type { TreePath } from "../../base/names.ts";
import { parentPath } from "../../base/names.ts";
import type { Steps } from "../../base/steps.ts";
import { atOnce } from "../../base/steps.ts";
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

/** What a change of files did to the packages of a suite. */
export interface PackageListChange {
  readonly removed: readonly IndexEntry[];
  readonly added: readonly IndexEntry[];
}

/** The same, and what is rejected now and was not, or for another reason. */
export interface PackageListOutcome extends PackageListChange {
  readonly rejected: readonly (readonly [TreePath, Rejection])[];
  /** Whether any rejection came, went or has another reason. */
  readonly changesRejections: boolean;
}

type FileAt = (path: TreePath) => CatalogFile | undefined;

/** How much of a suite's indices each builder may take. */
export interface Budget {
  readonly directory: DirectoryLimits;
  readonly stanzas: StanzaByteLimits;
  /** Whose directory a directory with files is, or lies in. */
  readonly builderOf: (directory: TreePath) => TreePath | undefined;
}

/** Who may publish which names in a suite. */
export interface Ownership {
  /** As they are now, the same object as long as they are the same; undefined: every name is everybody's. */
  readonly rules: () => OwnerRules | undefined;
  readonly held: FirstOwners;
  /** When this process began to look, in ms since the epoch. */
  readonly startedMs: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** A suite's packages, kept up to date change by change: the work is proportional to the change. */
export class PackageList {
  readonly #chosen = new Map<string, IndexEntry>();
  /** By key: all candidates by path, where there is or was another beside the chosen one. */
  readonly #rivals = new Map<string, Map<TreePath, IndexEntry>>();
  readonly #rejections = new Map<TreePath, Rejection>();
  readonly #pending = new Map<TreePath, Pending>();
  readonly #placeCounts: PackageDirectoryCounts;
  /** By key: those of the rejections that its chosen one is the reason of. */
  readonly #conflicts = new Map<string, ReadonlyMap<TreePath, Rejection>>();
  readonly #ownership: Ownership;
  readonly #budget: Budget;
  /** By builder's directory, and the builder's directory by each directory in it. */
  readonly #budgets = new Map<TreePath, DirectoryBudget>();
  readonly #builders = new Map<TreePath, TreePath>();
  /** The rejections of files that `apply` has touched, as they were before. */
  #touched = new Map<TreePath, Rejection | undefined>();
  /** The rules as they were last, and what they say; undefined where every name is everybody's. */
  #rules: OwnerRules | undefined;
  #claims: NameOwnership | undefined;
  readonly #layout: Layout;
  #newestLinkMs = 0;

  constructor(ownership: Ownership = noOwnership, budget: Budget = noBudget, layout: Layout = plainLayout) {
    this.#layout = layout;
    this.#placeCounts = new PackageDirectoryCounts(layout);
    this.#ownership = ownership;
    this.#budget = budget;
  }

  /** The newest link time that any package of this suite ever had here, in ms since the epoch. */
  get newestLinkMs(): number {
    return this.#newestLinkMs;
  }

  /** Every package, in no particular order. */
  items(): Iterable<IndexEntry> {
    return this.#chosen.values();
  }

  /** Every file that is in no index though its name announces a package; those that were judged last come last. */
  rejections(): ReadonlyMap<TreePath, Rejection> {
    return this.#rejections;
  }

  /** The directories that feed indices and hold files of which every one is rejected; one that is unreadable is not. */
  emptyPackageDirectories(): ReadonlySet<TreePath> {
    return this.#placeCounts.withoutPackages();
  }

  /** Whether some names are not everybody's. */
  get hasOwners(): boolean {
    return this.#claims !== undefined;
  }

  /** Who owns which name, and who has packages of it; by name. None where every name is everybody's. */
  shares(): Iterable<NameShare> {
    return this.#claims?.shares() ?? [];
  }

  /** Every source package that waits for files. */
  pending(): ReadonlyMap<TreePath, Pending> {
    return this.#pending;
  }

  /** @param fileAt the catalog's files after the change */
  apply(changes: readonly FileChange[], fileAt: FileAt): PackageListOutcome {
    return atOnce(this.applying(changes, fileAt));
  }

  /** As `apply`, in steps, all of which must be taken. Between them the snapshot is neither as before nor as after. */
  *applying(changes: readonly FileChange[], fileAt: FileAt): Steps<PackageListOutcome> {
    this.#touched = new Map();
    const contenders = new Map<string, Contenders>();
    /** Whatever stands at this path under a key makes room. */
    const contend = (key: string, path: TreePath, item?: IndexEntry) => {
      const items = contenders.has(key) ? contenders.get(key) : this.#contenders(key);
      contenders.set(key, withItemAt(items, path, item));
    };
    /** What became of a path, once its builder's budget has room for it; undefined: nothing stands there. */
    const enter = (path: TreePath, item: IndexEntry | undefined) => {
      const claim = item && claimOf(item);
      if (this.#claims !== undefined) this.#claims.note(path, claim);
      else if (claim !== undefined) contend(claim.key, path, item);
    };
    /** What stood at this path makes room. */
    const leave = (path: TreePath, item: IndexEntry | undefined) => {
      enter(path, undefined);
      if (item !== undefined) contend(uniqueKeyOf(item), path);
    };
    this.#followRules(contend);
    const candidates: IndexEntry[] = [];
    const budgets = new Set<DirectoryBudget>();
    for (const { path, after } of changes) {
      yield;
      const budget = this.#budgetOf(path);
      this.#reject(path, undefined);
      this.#pending.delete(path);
      leave(path, budget.get(path));
      const decided = after && this.#decide(after, fileAt);
      if (decided?.kind === "rejected") this.#reject(path, decided);
      else if (decided?.kind === "pending") this.#pending.set(path, decided);
      const item = decided?.kind === "binary" || decided?.kind === "source" ? decided : undefined;
      budgets.add(budget);
      budget.set(path, item);
      if (item === undefined) continue;
      this.#newestLinkMs = Math.max(this.#newestLinkMs, item.entry.relinkedAtMs);
      candidates.push(item);
    }
    for (const budget of budgets) {
      const { admitted, expelled } = yield* budget.settle();
      for (const item of expelled) {
        leave(item.path, item);
        this.#reject(item.path, budget.rejectionOf(item.path));
        yield;
      }
      for (const item of admitted) {
        this.#reject(item.path, undefined);
        enter(item.path, item);
        yield;
      }
    }
    for (const item of candidates) {
      const { path } = item;
      const budget = this.#budgetOf(path);
      yield;
      // It may have changed once more.
      if (budget.get(path) !== item) continue;
      const rejection = budget.rejectionOf(path);
      if (rejection === undefined) enter(path, item);
      else this.#reject(path, rejection);
    }
    for (const { item, key, rejection } of this.#claims?.settle(this.#ownership.now()) ?? []) {
      this.#reject(item.path, rejection);
      contend(key, item.path, rejection === undefined ? item : undefined);
      yield;
    }
    const removed: IndexEntry[] = [];
    const added: IndexEntry[] = [];
    for (const [key, items] of contenders) {
      const before = this.#chosen.get(key);
      const after = this.#choose(key, items);
      yield;
      if (before !== undefined && after !== undefined && isSameEntry(before, after)) continue;
      if (before !== undefined) removed.push(before);
      if (after !== undefined) added.push(after);
    }
    for (const { path } of removed) this.#placeCounts.countTaken(path, -1);
    for (const { path } of added) this.#placeCounts.countTaken(path, 1);
    const changesRejections = [...this.#touched].some(([path, before]) => before !== this.#rejections.get(path));
    return { removed, added, rejected: [...this.#newRejections()], changesRejections };
  }

  *#newRejections(): Iterable<readonly [TreePath, Rejection]> {
    for (const [path, before] of this.#touched) {
      const now = this.#rejections.get(path);
      if (now !== undefined && (now.code !== before?.code || now.text !== before.text)) yield [path, now];
    }
  }

  /** @param rejection undefined: it is not rejected any more */
  #reject(path: TreePath, rejection: Rejection | undefined): void {
    const before = this.#rejections.get(path);
    if (rejection === undefined && before === undefined) return;
    if (!this.#touched.has(path)) this.#touched.set(path, before);
    if (before !== undefined) this.#placeCounts.countRejected(path, before, -1);
    if (rejection !== undefined) this.#placeCounts.countRejected(path, rejection, 1);
    this.#rejections.delete(path);
    if (rejection !== undefined) this.#rejections.set(path, rejection);
  }

  #decide(file: CatalogFile, fileAt: FileAt): ReturnType<typeof placementOf> {
    const decided = placementOf(file, fileAt, this.#layout);
    if (decided === undefined || decided.kind === "rejected" || decided.kind === "pending") return decided;
    // It may have been inspected under other limits.
    return stanzaRejection(decided, this.#budget.stanzas) ?? decided;
  }

  #budgetOf(path: TreePath): DirectoryBudget {
    const directory = parentPath(path);
    const builder = this.#builders.get(directory) ?? this.#budget.builderOf(directory) ?? directory;
    // For as long as this snapshot lives, should builders come and go meanwhile: a package counts where it was counted.
    this.#builders.set(directory, builder);
    const known = this.#budgets.get(builder);
    if (known !== undefined) return known;
    const budget = new DirectoryBudget(builder, this.#budget.directory);
    this.#budgets.set(builder, budget);
    return budget;
  }

  /** Takes in that the operator has given names to others. */
  #followRules(contend: (key: string, path: TreePath, item: IndexEntry) => void): void {
    const rules = this.#ownership.rules();
    if (rules === this.#rules) return;
    this.#rules = rules;
    if (rules === undefined) {
      for (const { item, key } of this.#claims?.verdicts() ?? []) {
        if (this.#rejections.get(item.path)?.code === "not-owner") this.#reject(item.path, undefined);
        contend(key, item.path, item);
      }
      this.#claims = undefined;
    } else if (this.#claims !== undefined) this.#claims.setRules(rules);
    else {
      this.#claims = new NameOwnership(rules, this.#ownership.held, this.#ownership.startedMs);
      for (const key of this.#chosen.keys()) {
        for (const item of itemsOf(this.#contenders(key))) this.#claims.note(item.path, claimOf(item));
      }
    }
  }

  #contenders(key: string): Contenders {
    return this.#rivals.get(key) ?? this.#chosen.get(key);
  }

  /** One item per key: the newest link's bytes; of several paths with these bytes, the one linked first. */
  #choose(key: string, contenders: Contenders): IndexEntry | undefined {
    for (const [path, rejection] of this.#conflicts.get(key) ?? []) {
      if (this.#rejections.get(path) === rejection) this.#reject(path, undefined);
    }
    this.#conflicts.delete(key);
    const newest = first(itemsOf(contenders), newestFirst);
    if (newest === undefined || !(contenders instanceof Map) || contenders.size === 1) {
      this.#rivals.delete(key);
      if (newest === undefined) this.#chosen.delete(key);
      else this.#chosen.set(key, newest);
      return newest;
    }
    this.#rivals.set(key, contenders);
    const conflicts = new Map<TreePath, Rejection>();
    const same: IndexEntry[] = [];
    for (const item of contenders.values()) {
      if (item.sha256 === newest.sha256) same.push(item);
      else conflicts.set(item.path, { kind: "rejected", code: "conflict", text: conflictText(item, newest) });
    }
    for (const [path, rejection] of conflicts) this.#reject(path, rejection);
    if (conflicts.size > 0) this.#conflicts.set(key, conflicts);
    const chosen = first(same, firstLinkedFirst) ?? newest;
    this.#chosen.set(key, chosen);
    return chosen;
  }
}

/** All candidates for one key: none, one, as in most cases, or several by path. */
type Contenders = IndexEntry | Map<TreePath, IndexEntry> | undefined;

function withItemAt(contenders: Contenders, path: TreePath, item: IndexEntry | undefined): Contenders {
  if (contenders instanceof Map) {
    contenders.delete(path);
    return item === undefined ? contenders : contenders.set(path, item);
  }
  if (contenders === undefined || contenders.path === path) return item;
  if (item === undefined) return contenders;
  return new Map([contenders, item].map((each) => [each.path, each]));
}

function itemsOf(contenders: Contenders): Iterable<IndexEntry> {
  if (contenders === undefined) return [];
  return contenders instanceof Map ? contenders.values() : [contenders];
}

/** The first item in an order; undefined if there is none. */
function first(items: Iterable<IndexEntry>, compare: (a: IndexEntry, b: IndexEntry) => number): IndexEntry | undefined {
  let found: IndexEntry | undefined;
  for (const item of items) if (found === undefined || compare(item, found) < 0) found = item;
  return found;
}

const noOwnership: Ownership = {
  rules: () => undefined,
  held: { get: () => undefined, set: () => undefined },
  startedMs: 0,
  now: () => 0,
};

const claimOf = (item: IndexEntry): NameUse => ({ item, key: uniqueKeyOf(item), source: sourcePackageOf(item) });

const newestFirst = (a: IndexEntry, b: IndexEntry): number =>
  b.entry.relinkedAtMs - a.entry.relinkedAtMs || (a.path < b.path ? -1 : 1);

const noBudget: Budget = {
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

/** Whether both make the same stanza at the same place of the index, out of files that are found in the same way. */
const isSameEntry = (a: IndexEntry, b: IndexEntry): boolean =>
  a.identity === b.identity && a.linkedAtMs === b.linkedAtMs && contentKeys(a).join() === contentKeys(b).join();

/** Equal bytes may have come to stand under another id: a package must then be read by the new one. */
const contentKeys = (item: IndexEntry): readonly (string | undefined)[] =>
  [item, ...(item.kind === "source" ? item.parts : [])].map(({ entry }) => entry.content?.key);
