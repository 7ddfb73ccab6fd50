// Who may publish which names in one suite: judges each package by its builder's list and by who else has its name.
import type { TreePath } from "../../base/names.ts";
import { parentPath } from "../../base/names.ts";
import type { Rejection } from "../inspection/inspection.ts";
import type { IndexEntry } from "./index-entry.ts";
import { firstLinkedFirst } from "./index-entry.ts";
import type { OwnerRules } from "./owner-rules.ts";
import { NameOwners, operator } from "./owner-rules.ts";

/** A package that an index would take if its name were its builder's. */
export interface NameUse {
  readonly item: IndexEntry;
  /** Under it no second item may stand in the suite. */
  readonly key: string;
  /** The name of its source package: its own, or another. */
  readonly source: string;
}

/** Who had a name first, and since when that is known, in ms since the epoch. */
export interface FirstOwner {
  readonly owner: string;
  readonly sinceMs: number;
}

/** Remembers, for one suite, who had a name first. */
export interface FirstOwners {
  get(name: string): FirstOwner | undefined;
  /** @param holder undefined: the name is free */
  set(name: string, holder: FirstOwner | undefined): void;
}

/**
 * So long after a name was first seen, an earlier link of somebody else may take it over: servers that see two uploads
 * in another order, by pings and polls, come to the same. Afterwards a link time of the past changes nothing.
 */
const settlingMs = 15 * 60 * 1000;
/**
 * So long after the start a name stays with whom it is remembered of, though nothing of theirs was seen: their directory
 * may be slow, or not readable for a while.
 */
const absencePatienceMs = 15 * 60 * 1000;

/** What speaks for a package before anybody else's packages are looked at. */
type Standing =
  /** The builder's list has the name, or the operator publishes a name that lists have. */
  | { readonly kind: "owned" }
  /** The name is nobody's by configuration, and this builder may publish such names. */
  | { readonly kind: "free" }
  /** Only the source package's name is in the builder's list. */
  | { readonly kind: "by-source" }
  | Rejection;

interface JudgedUse extends NameUse {
  readonly builder: string;
  readonly standing: Standing;
  /** By whose rules. */
  readonly owners: NameOwners;
}

/** How a name is shared among those who claim it. */
interface Decision {
  /** The only one who may publish it; undefined: all who may by themselves. */
  readonly holder: string | undefined;
  /** For the others: where the holder has it, if that is known. */
  readonly at: TreePath | undefined;
}

const everybody: Decision = { holder: undefined, at: undefined };

/** How a suite's packages of one name are shared out. */
export interface NameShare {
  readonly name: string;
  /** Sorted; none where the name is nobody's alone. */
  readonly owners: readonly string[];
  /** What makes it theirs. */
  readonly by: "packages" | "first" | "nobody";
  /** Whose packages of this name are taken; sorted. */
  readonly publishers: readonly string[];
  readonly rejected: readonly { readonly builder: string; readonly path: TreePath; readonly reason: string }[];
}

/** The verdict about a package: taken, or rejected since its name is not its builder's. */
export interface Verdict extends NameUse {
  readonly rejection: Rejection | undefined;
}

/**
 * All claims of a suite. The work is proportional to what changes: to the changed packages, and where a name changes
 * hands, to the packages of that name.
 */
export class NameOwnership {
  readonly #held: FirstOwners;
  readonly #startedMs: number;
  #owners: NameOwners;
  readonly #byName = new Map<string, Map<TreePath, JudgedUse>>();
  readonly #nameAt = new Map<TreePath, string>();
  readonly #rejections = new Map<TreePath, Rejection>();
  /** Of names that are not everybody's. */
  readonly #decisions = new Map<string, Decision>();
  /** What is to be judged again, by name; all packages of a name where it changes hands. */
  #noted = new Map<string, Set<TreePath>>();
  /** Names of which the remembered holder has not been seen since the start. */
  readonly #absent = new Set<string>();

  constructor(rules: OwnerRules, held: FirstOwners, startedMs: number) {
    this.#owners = new NameOwners(rules);
    this.#held = held;
    this.#startedMs = startedMs;
  }

  /** Judges everything anew, at the next `settle`. */
  setRules(rules: OwnerRules): void {
    this.#owners = new NameOwners(rules);
    for (const name of this.#byName.keys()) this.#touch(name);
  }

  /** @param claim undefined: there is none at this path any more */
  note(path: TreePath, claim: NameUse | undefined): void {
    const before = this.#nameAt.get(path);
    if (before !== undefined && before !== claim?.item.package) {
      this.#byName.get(before)?.delete(path);
      this.#nameAt.delete(path);
      this.#touch(before, path);
    }
    if (claim === undefined) {
      this.#rejections.delete(path);
      return;
    }
    const name = claim.item.package;
    const claims = this.#byName.get(name) ?? new Map<TreePath, JudgedUse>();
    this.#byName.set(name, claims);
    claims.set(path, judge(this.#owners, claim));
    this.#nameAt.set(path, name);
    this.#touch(name, path);
  }

  /** The verdicts about what was noted, and about what they change for others. */
  *settle(nowMs: number): Iterable<Verdict> {
    if (!this.#isPatient(nowMs)) for (const name of this.#absent) this.#touch(name);
    const noted = this.#noted;
    this.#noted = new Map();
    for (const [name, paths] of noted) {
      const claims = this.#byName.get(name) ?? new Map<TreePath, JudgedUse>();
      if (claims.size === 0) this.#byName.delete(name);
      let isJudgedAnew = false;
      for (const [path, claim] of claims) {
        if (claim.owners === this.#owners) continue;
        isJudgedAnew = true;
        claims.set(path, judge(this.#owners, claim));
      }
      const before = this.#decisions.get(name) ?? everybody;
      const after = this.#decide(name, [...claims.values()], nowMs);
      if (after === everybody) this.#decisions.delete(name);
      else this.#decisions.set(name, after);
      const isChanged = isJudgedAnew || before.holder !== after.holder || before.at !== after.at;
      for (const path of isChanged ? claims.keys() : paths) {
        const claim = claims.get(path);
        if (claim === undefined) continue;
        const rejection = this.#rejectionOf(claim, after);
        if (rejection === undefined) this.#rejections.delete(path);
        else this.#rejections.set(path, rejection);
        yield { item: claim.item, key: claim.key, source: claim.source, rejection };
      }
    }
  }

  /** Every claim, and why it is rejected. */
  *verdicts(): Iterable<Verdict> {
    for (const claims of this.#byName.values()) {
      for (const { item, key, source } of claims.values()) {
        yield { item, key, source, rejection: this.#rejections.get(item.path) };
      }
    }
  }

  /** Who owns which name, and who has packages of it; by name. */
  *shares(): Iterable<NameShare> {
    for (const name of [...this.#byName.keys()].toSorted()) {
      const claims = [...(this.#byName.get(name)?.values() ?? [])];
      // It may have gone while somebody listens.
      if (claims.length === 0) continue;
      const taken = claims.filter(({ item }) => !this.#rejections.has(item.path));
      const listed = this.#owners.owners(name);
      const { holder } = this.#decisions.get(name) ?? everybody;
      const isFirst = listed.length === 0 && this.#owners.policy === "first" && holder !== undefined;
      yield {
        name,
        owners: isFirst ? [holder] : listed,
        by: listed.length > 0 ? "packages" : isFirst ? "first" : "nobody",
        publishers: [...new Set(taken.map(({ builder }) => builder))].toSorted(),
        rejected: claims.flatMap(({ item, builder }) => {
          const reason = this.#rejections.get(item.path)?.text;
          return reason === undefined ? [] : [{ builder, path: item.path, reason }];
        }),
      };
    }
  }

  rejections(): Iterable<readonly [TreePath, Rejection]> {
    return this.#rejections;
  }

  #touch(name: string, path?: TreePath): void {
    const paths = this.#noted.get(name) ?? new Set();
    this.#noted.set(name, path === undefined ? paths : paths.add(path));
  }

  /** Whether those who have not been seen since the start may still be there. */
  #isPatient(nowMs: number): boolean {
    return nowMs - this.#startedMs < absencePatienceMs;
  }

  #decide(name: string, claims: readonly JudgedUse[], nowMs: number): Decision {
    const contesting = claims.filter(({ standing }) => standing.kind === "free" || standing.kind === "by-source");
    if (this.#owners.policy === "first") return this.#first(name, contesting, nowMs);
    const bySource = contesting.filter(({ standing }) => standing.kind === "by-source");
    const [one] = bySource;
    if (one === undefined || contesting.every(({ builder }) => builder === one.builder)) return everybody;
    const stronger = contesting.filter(({ standing }) => standing.kind === "free");
    return decisionFor(earliest(stronger.length > 0 ? stronger : bySource));
  }

  /** Whom a name belongs to where the first one gets it. */
  #first(name: string, contesting: readonly JudgedUse[], nowMs: number): Decision {
    const held = this.#held.get(name);
    const isThere = held !== undefined && contesting.some(({ builder }) => builder === held.owner);
    if (isThere) this.#absent.delete(name);
    const wasSeen = held !== undefined && this.#decisions.get(name)?.at !== undefined;
    if (held !== undefined && !isThere && !wasSeen && this.#isPatient(nowMs)) {
      this.#absent.add(name);
      return { holder: held.owner, at: undefined };
    }
    this.#absent.delete(name);
    if (contesting.length === 0) {
      if (held !== undefined) this.#held.set(name, undefined);
      return everybody;
    }
    const isSettled = isThere && nowMs - held.sinceMs >= settlingMs;
    const first = earliest(isSettled ? contesting.filter(({ builder }) => builder === held.owner) : contesting);
    if (held?.owner !== first.builder) {
      this.#held.set(name, { owner: first.builder, sinceMs: isThere ? held.sinceMs : nowMs });
    }
    return decisionFor(first);
  }

  #rejectionOf({ item, builder, source, standing }: JudgedUse, { holder, at }: Decision): Rejection | undefined {
    if (standing.kind === "rejected") return standing;
    if (standing.kind === "owned" || holder === undefined || holder === builder) return undefined;
    const { package: name } = item;
    if (this.#owners.policy === "first") {
      return notOwned(
        `${name} belongs to ${holder}, who linked it first${at === undefined ? "" : ` (${at})`}`,
        builder,
        name,
      );
    }
    if (standing.kind === "free") return undefined;
    const claim = `${builder} has it only as built from ${source}`;
    return notOwned(`${name} is published by ${holder} (${at}), and ${claim}`, builder, name);
  }
}

function judge(owners: NameOwners, { item, key, source }: NameUse): JudgedUse {
  const builder = owners.ownerOf(parentPath(item.path));
  return { item, key, source, builder, standing: standingOf(owners, { item, key, source }, builder), owners };
}

function standingOf(owners: NameOwners, { item, source }: NameUse, builder: string): Standing {
  const { package: name } = item;
  if (builder === operator) return { kind: owners.owners(name).length > 0 ? "owned" : "free" };
  if (owners.isReserved(name)) {
    return rejected(`${name} belongs to ${operator}: the server makes this package itself (archive_keyring)`);
  }
  const named = owners.owners(name);
  if (named.includes(builder)) return { kind: "owned" };
  if (named.length > 0) return notOwned(`${name} belongs to ${named.join(" and ")}`, builder, name);
  const list = owners.listOf(builder);
  const ofSource = source === name ? [] : owners.owners(source);
  if (ofSource.length > 0 && !ofSource.includes(builder)) {
    return notOwned(`${name} is built from ${source}, which belongs to ${ofSource.join(" and ")}`, builder, name);
  }
  if (owners.policy === "listed") {
    return notOwned(`${name} is in nobody's packages, and package_owners is "listed"`, builder, name);
  }
  if (list === undefined || list.allows(name)) return { kind: "free" };
  if (ofSource.length > 0 && !list.excludes(name)) return { kind: "by-source" };
  return notOwned(`${name} is not among the packages of ${builder} (${shortly(list.patterns)})`, builder, name);
}

const rejected = (text: string): Rejection => ({ kind: "rejected", code: "not-owner", text });

/** Says what to do, too. */
function notOwned(why: string, builder: string, name: string): Rejection {
  const remedy =
    builder === operator
      ? "it may stand in a directory of theirs"
      : `${operator} can give it to ${builder} by: tahoe-apt owner move ${name} ${builder}`;
  return rejected(`${why}; ${remedy}`);
}

const maxPatternsShown = 5;

function shortly(patterns: readonly string[]): string {
  const shown = patterns.slice(0, maxPatternsShown).join(", ");
  return patterns.length > maxPatternsShown ? `${shown} and ${patterns.length - maxPatternsShown} more` : shown;
}

const decisionFor = ({ builder, item }: JudgedUse): Decision => ({ holder: builder, at: item.path });

/** The one that was linked first: unknown times come last, then paths decide. @param claims at least one */
const earliest = (claims: readonly JudgedUse[]): JudgedUse =>
  claims.reduce((first, one) => (firstLinkedFirst(one.item, first.item) < 0 ? one : first));
