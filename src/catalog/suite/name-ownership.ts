// Decides which builder may publish packages of a name in one suite, by the builders' lists of packages and by which
// builders have packages of that name.
import type { TreePath } from "../../base/names.ts";
import { parentPath } from "../../base/names.ts";
import type { Rejection } from "../inspection/inspection.ts";
import type { IndexEntry } from "./index-entry.ts";
import { firstLinkedFirst } from "./index-entry.ts";
import type { OwnerRules } from "./owner-rules.ts";
import { NameOwners, operator } from "./owner-rules.ts";

/** A package whose builder may or may not use its name. */
export interface NameUse {
  readonly entry: IndexEntry;
  /** The unique key of the entry: see `uniqueKeyOf`. */
  readonly key: string;
  /** The name of its source package, which may be equal to its own. */
  readonly source: string;
}

/** The builder that used a name first, and when that was recorded, in ms since the epoch. */
export interface FirstOwner {
  readonly owner: string;
  readonly sinceMs: number;
}

/** The first users of names in one suite, which are remembered over a restart. */
export interface FirstOwners {
  get(name: string): FirstOwner | undefined;
  /** @param owner undefined if the name is free */
  set(name: string, owner: FirstOwner | undefined): void;
}

/**
 * How long after the first use of a name another builder with an earlier link takes it over. Servers that see two
 * uploads in different orders so get the same result. Afterwards earlier link times have no effect.
 */
const takeoverPeriodMs = 15 * 60 * 1000;
/**
 * How long after the start a name remains with its recorded owner whose packages have not been seen yet: the owner's
 * directory may be slow, or temporarily unreadable.
 */
const absencePeriodMs = 15 * 60 * 1000;

/** The right of a builder to use a name, without regard to the packages of others. */
type Standing =
  /** The builder's list contains the name, or the operator publishes a name that is in a list. */
  | { readonly kind: "owned" }
  /** The name is in no list, and this builder may publish such names. */
  | { readonly kind: "free" }
  /** The builder's list contains only the name of the source package. */
  | { readonly kind: "by-source" }
  | Rejection;

interface JudgedUse extends NameUse {
  readonly builder: string;
  readonly standing: Standing;
  /** The rules that were applied. */
  readonly owners: NameOwners;
}

/** Which of the builders that use a name may publish it. */
interface NameDecision {
  /** The only builder that may publish it; undefined if every builder with the right may. */
  readonly owner: string | undefined;
  /** The path of the owner's package, if known, for the messages to others. */
  readonly at: TreePath | undefined;
}

const noOwner: NameDecision = { owner: undefined, at: undefined };

/** The owners and publishers of one name in a suite. */
export interface NameShare {
  readonly name: string;
  /** Sorted; empty if the name has no owner. */
  readonly owners: readonly string[];
  /** The reason for the ownership: a list of packages, or the first use. */
  readonly by: "packages" | "first" | "nobody";
  /** The builders whose packages of this name are listed; sorted. */
  readonly publishers: readonly string[];
  readonly rejected: readonly { readonly builder: string; readonly path: TreePath; readonly reason: string }[];
}

/** The decision about a package: its rejection, or undefined if its builder may use the name. */
export interface Verdict extends NameUse {
  readonly rejection: Rejection | undefined;
}

/**
 * All uses of names in a suite. The cost of an update is proportional to the number of changed packages; if a name gets
 * another owner, to the number of packages of that name.
 */
export class NameOwnership {
  readonly #firstOwners: FirstOwners;
  readonly #startedMs: number;
  #owners: NameOwners;
  readonly #byName = new Map<string, Map<TreePath, JudgedUse>>();
  readonly #nameAt = new Map<TreePath, string>();
  readonly #rejections = new Map<TreePath, Rejection>();
  /** The decisions about names that have an owner. */
  readonly #decisions = new Map<string, NameDecision>();
  /** The paths to decide about in the next `settle`, by name. */
  #changed = new Map<string, Set<TreePath>>();
  /** Names whose recorded owners have not been seen since the start. */
  readonly #absent = new Set<string>();

  constructor(rules: OwnerRules, firstOwners: FirstOwners, startedMs: number) {
    this.#owners = new NameOwners(rules);
    this.#firstOwners = firstOwners;
    this.#startedMs = startedMs;
  }

  /** Replaces the rules. The next `settle` decides about all packages again. */
  setRules(rules: OwnerRules): void {
    this.#owners = new NameOwners(rules);
    for (const name of this.#byName.keys()) this.#touch(name);
  }

  /** Records a new, changed or removed package. @param use undefined if there is none at this path any more */
  note(path: TreePath, use: NameUse | undefined): void {
    const before = this.#nameAt.get(path);
    if (before !== undefined && before !== use?.entry.package) {
      this.#byName.get(before)?.delete(path);
      this.#nameAt.delete(path);
      this.#touch(before, path);
    }
    if (use === undefined) {
      this.#rejections.delete(path);
      return;
    }
    const name = use.entry.package;
    const uses = this.#byName.get(name) ?? new Map<TreePath, JudgedUse>();
    this.#byName.set(name, uses);
    uses.set(path, judge(this.#owners, use));
    this.#nameAt.set(path, name);
    this.#touch(name, path);
  }

  /** Decides about changed packages, and about others that are affected by these. */
  *settle(nowMs: number): Iterable<Verdict> {
    if (!this.#mayStillAppear(nowMs)) for (const name of this.#absent) this.#touch(name);
    const noted = this.#changed;
    this.#changed = new Map();
    for (const [name, paths] of noted) {
      const uses = this.#byName.get(name) ?? new Map<TreePath, JudgedUse>();
      if (uses.size === 0) this.#byName.delete(name);
      let isJudgedAnew = false;
      for (const [path, use] of uses) {
        if (use.owners === this.#owners) continue;
        isJudgedAnew = true;
        uses.set(path, judge(this.#owners, use));
      }
      const before = this.#decisions.get(name) ?? noOwner;
      const after = this.#decide(name, [...uses.values()], nowMs);
      if (after === noOwner) this.#decisions.delete(name);
      else this.#decisions.set(name, after);
      const isChanged = isJudgedAnew || before.owner !== after.owner || before.at !== after.at;
      for (const path of isChanged ? uses.keys() : paths) {
        const use = uses.get(path);
        if (use === undefined) continue;
        const rejection = this.#rejectionOf(use, after);
        if (rejection === undefined) this.#rejections.delete(path);
        else this.#rejections.set(path, rejection);
        yield { entry: use.entry, key: use.key, source: use.source, rejection };
      }
    }
  }

  /** The last decisions about all packages. */
  *verdicts(): Iterable<Verdict> {
    for (const uses of this.#byName.values()) {
      for (const { entry, key, source } of uses.values()) {
        yield { entry, key, source, rejection: this.#rejections.get(entry.path) };
      }
    }
  }

  /** The owners and publishers of all names, sorted by name. */
  *shares(): Iterable<NameShare> {
    for (const name of [...this.#byName.keys()].toSorted()) {
      const uses = [...(this.#byName.get(name)?.values() ?? [])];
      // It may have been removed while the caller iterates.
      if (uses.length === 0) continue;
      const taken = uses.filter(({ entry }) => !this.#rejections.has(entry.path));
      const listed = this.#owners.owners(name);
      const { owner } = this.#decisions.get(name) ?? noOwner;
      const belongsToFirst = listed.length === 0 && this.#owners.policy === "first" && owner !== undefined;
      yield {
        name,
        owners: belongsToFirst ? [owner] : listed,
        by: listed.length > 0 ? "packages" : belongsToFirst ? "first" : "nobody",
        publishers: [...new Set(taken.map(({ builder }) => builder))].toSorted(),
        rejected: uses.flatMap(({ entry, builder }) => {
          const reason = this.#rejections.get(entry.path)?.text;
          return reason === undefined ? [] : [{ builder, path: entry.path, reason }];
        }),
      };
    }
  }

  /** The paths of all rejected packages, with the reasons. */
  rejections(): Iterable<readonly [TreePath, Rejection]> {
    return this.#rejections;
  }

  #touch(name: string, path?: TreePath): void {
    const paths = this.#changed.get(name) ?? new Set();
    this.#changed.set(name, path === undefined ? paths : paths.add(path));
  }

  /** Whether directories that have not been seen since the start may still appear. */
  #mayStillAppear(nowMs: number): boolean {
    return nowMs - this.#startedMs < absencePeriodMs;
  }

  #decide(name: string, uses: readonly JudgedUse[], nowMs: number): NameDecision {
    const contesting = uses.filter(({ standing }) => standing.kind === "free" || standing.kind === "by-source");
    if (this.#owners.policy === "first") return this.#decideFirst(name, contesting, nowMs);
    const bySource = contesting.filter(({ standing }) => standing.kind === "by-source");
    const [one] = bySource;
    if (one === undefined || contesting.every(({ builder }) => builder === one.builder)) return noOwner;
    const stronger = contesting.filter(({ standing }) => standing.kind === "free");
    return decisionFor(earliest(stronger.length > 0 ? stronger : bySource));
  }

  /** Decides under the policy `first`. */
  #decideFirst(name: string, contesting: readonly JudgedUse[], nowMs: number): NameDecision {
    const recorded = this.#firstOwners.get(name);
    const isPresent = recorded !== undefined && contesting.some(({ builder }) => builder === recorded.owner);
    if (isPresent) this.#absent.delete(name);
    const wasSeen = recorded !== undefined && this.#decisions.get(name)?.at !== undefined;
    if (recorded !== undefined && !isPresent && !wasSeen && this.#mayStillAppear(nowMs)) {
      this.#absent.add(name);
      return { owner: recorded.owner, at: undefined };
    }
    this.#absent.delete(name);
    if (contesting.length === 0) {
      if (recorded !== undefined) this.#firstOwners.set(name, undefined);
      return noOwner;
    }
    const isSettled = isPresent && nowMs - recorded.sinceMs >= takeoverPeriodMs;
    const first = earliest(isSettled ? contesting.filter(({ builder }) => builder === recorded.owner) : contesting);
    if (recorded?.owner !== first.builder) {
      this.#firstOwners.set(name, { owner: first.builder, sinceMs: isPresent ? recorded.sinceMs : nowMs });
    }
    return decisionFor(first);
  }

  #rejectionOf({ entry, builder, source, standing }: JudgedUse, { owner, at }: NameDecision): Rejection | undefined {
    if (standing.kind === "rejected") return standing;
    if (standing.kind === "owned" || owner === undefined || owner === builder) return undefined;
    const { package: name } = entry;
    if (this.#owners.policy === "first") {
      return notOwned(
        `${name} belongs to ${owner}, who linked it first${at === undefined ? "" : ` (${at})`}`,
        builder,
        name,
      );
    }
    if (standing.kind === "free") return undefined;
    const use = `${builder} has it only as built from ${source}`;
    return notOwned(`${name} is published by ${owner} (${at}), and ${use}`, builder, name);
  }
}

function judge(owners: NameOwners, { entry, key, source }: NameUse): JudgedUse {
  const builder = owners.ownerOf(parentPath(entry.path));
  return { entry, key, source, builder, standing: standingOf(owners, { entry, key, source }, builder), owners };
}

function standingOf(owners: NameOwners, { entry, source }: NameUse, builder: string): Standing {
  const { package: name } = entry;
  if (builder === operator) return { kind: owners.owners(name).length > 0 ? "owned" : "free" };
  if (owners.isReserved(name)) {
    return rejected(`${name} belongs to ${operator}: the server makes this package itself (archive_keyring)`);
  }
  const listedOwners = owners.owners(name);
  if (listedOwners.includes(builder)) return { kind: "owned" };
  if (listedOwners.length > 0) return notOwned(`${name} belongs to ${listedOwners.join(" and ")}`, builder, name);
  const list = owners.listOf(builder);
  const ofSource = source === name ? [] : owners.owners(source);
  if (ofSource.length > 0 && !ofSource.includes(builder)) {
    return notOwned(`${name} is built from ${source}, which belongs to ${ofSource.join(" and ")}`, builder, name);
  }
  if (owners.policy === "listed") {
    return notOwned(`${name} is in no builder's packages, and package_owners is "listed"`, builder, name);
  }
  if (list === undefined || list.allows(name)) return { kind: "free" };
  if (ofSource.length > 0 && !list.excludes(name)) return { kind: "by-source" };
  return notOwned(`${name} is not among the packages of ${builder} (${shortList(list.patterns)})`, builder, name);
}

const rejected = (text: string): Rejection => ({ kind: "rejected", code: "not-owner", text });

/** A rejection that also says what to do. */
function notOwned(why: string, builder: string, name: string): Rejection {
  const remedy =
    builder === operator
      ? "it may be published from a directory of that builder"
      : `${operator} can give it to ${builder} by: tahoe-apt owner move ${name} ${builder}`;
  return rejected(`${why}; ${remedy}`);
}

const maxPatternsShown = 5;

function shortList(patterns: readonly string[]): string {
  const shown = patterns.slice(0, maxPatternsShown).join(", ");
  return patterns.length > maxPatternsShown ? `${shown} and ${patterns.length - maxPatternsShown} more` : shown;
}

const decisionFor = ({ builder, entry }: JudgedUse): NameDecision => ({ owner: builder, at: entry.path });

/** The package that was linked first, in the order of `firstLinkedFirst`. @param uses at least one */
const earliest = (uses: readonly JudgedUse[]): JudgedUse =>
  uses.reduce((first, one) => (firstLinkedFirst(one.entry, first.entry) < 0 ? one : first));
