// The packages that a suite holds at one moment, without double versions, and what is left out of it.
import type { TreePath } from "../base/names.ts";
import { isKnownTime } from "../storage/link-times.ts";
import { candidateOf, uniqueKeyOf } from "./candidate.ts";
import type { FileChange } from "./catalog.ts";
import { sourcePackageOf } from "./finding.ts";
import type { Pending, Rejection } from "./inspection.ts";
import type { Item } from "./item.ts";
import type { CatalogFile } from "./known-file.ts";
import type { Claim, HeldNames, NameShare } from "./name-claims.ts";
import { NameClaims } from "./name-claims.ts";
import type { OwnerRules } from "./owner-rules.ts";

/** What a change of files did to the packages of a suite. */
export interface SnapshotChange {
  readonly removed: readonly Item[];
  readonly added: readonly Item[];
}

/** Who may publish which names in a suite. */
export interface Ownership {
  /** As they are now, the same object as long as they are the same; undefined: every name is everybody's. */
  readonly rules: () => OwnerRules | undefined;
  readonly held: HeldNames;
  /** When this process began to look, in ms since the epoch. */
  readonly startedMs: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** A suite's packages, kept up to date change by change: the work is proportional to the change. */
export class Snapshot {
  readonly #chosen = new Map<string, Item>();
  /** By key: all candidates, where there is another beside the chosen one. */
  readonly #rivals = new Map<string, readonly Item[]>();
  readonly #rejected = new Map<TreePath, Rejection>();
  readonly #pending = new Map<TreePath, Pending>();
  readonly #conflicts = new Map<string, ReadonlyMap<TreePath, Rejection>>();
  readonly #ownership: Ownership;
  /** The rules as they were last, and what they say; undefined where every name is everybody's. */
  #rules: OwnerRules | undefined;
  #claims: NameClaims | undefined;
  #newestLinkMs = 0;

  constructor(ownership: Ownership = noOwnership) {
    this.#ownership = ownership;
  }

  /** The newest link time that any package of this suite ever had here, in ms since the epoch. */
  get newestLinkMs(): number {
    return this.#newestLinkMs;
  }

  /** Every package, in no particular order. */
  items(): Iterable<Item> {
    return this.#chosen.values();
  }

  /** Every file that is in no index though its name announces a package. */
  *rejections(): Iterable<readonly [TreePath, Rejection]> {
    yield* this.#rejected;
    for (const conflicts of this.#conflicts.values()) yield* conflicts;
    if (this.#claims !== undefined) yield* this.#claims.rejections();
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
  pending(): Iterable<readonly [TreePath, Pending]> {
    return this.#pending;
  }

  /** @param fileAt the catalog's files after the change */
  apply(changes: readonly FileChange[], fileAt: (path: TreePath) => CatalogFile | undefined): SnapshotChange {
    const contenders = new Map<string, readonly Item[]>();
    /** Whatever stands at this path under a key makes room. */
    const contend = (key: string, path: TreePath, item?: Item) => {
      const others = (contenders.get(key) ?? this.#contenders(key)).filter((other) => other.path !== path);
      contenders.set(key, item === undefined ? others : [...others, item]);
    };
    this.#followRules(fileAt, contend);
    for (const { path, before, after } of changes) {
      this.#rejected.delete(path);
      this.#pending.delete(path);
      this.#claims?.note(path, undefined);
      const keyBefore = before && uniqueKeyOf(before);
      if (keyBefore !== undefined) contend(keyBefore, path);
      const decided = after === undefined ? undefined : candidateOf(after, fileAt);
      if (after === undefined || decided === undefined) continue;
      if (decided.kind === "rejected") this.#rejected.set(path, decided);
      else if (decided.kind === "pending") this.#pending.set(path, decided);
      else {
        this.#newestLinkMs = Math.max(this.#newestLinkMs, decided.entry.relinkedAtMs);
        const claim = claimOf(decided, after);
        if (this.#claims === undefined) contend(claim.key, path, decided);
        else this.#claims.note(path, claim);
      }
    }
    for (const { item, key, rejection } of this.#claims?.settle(this.#ownership.now()) ?? []) {
      contend(key, item.path, rejection === undefined ? item : undefined);
    }
    const removed: Item[] = [];
    const added: Item[] = [];
    for (const [key, items] of contenders) {
      const before = this.#chosen.get(key);
      const after = this.#choose(key, items);
      if (before !== undefined && after !== undefined && isSameEntry(before, after)) continue;
      if (before !== undefined) removed.push(before);
      if (after !== undefined) added.push(after);
    }
    return { removed, added };
  }

  /** Takes in that the operator has given names to others. */
  #followRules(
    fileAt: (path: TreePath) => CatalogFile | undefined,
    contend: (key: string, path: TreePath, item: Item) => void,
  ): void {
    const rules = this.#ownership.rules();
    if (rules === this.#rules) return;
    this.#rules = rules;
    if (rules === undefined) {
      for (const { item, key } of this.#claims?.verdicts() ?? []) contend(key, item.path, item);
      this.#claims = undefined;
    } else if (this.#claims !== undefined) this.#claims.setRules(rules);
    else {
      this.#claims = new NameClaims(rules, this.#ownership.held, this.#ownership.startedMs);
      for (const key of this.#chosen.keys()) {
        for (const item of this.#contenders(key)) {
          const file = fileAt(item.path);
          if (file !== undefined) this.#claims.note(item.path, claimOf(item, file));
        }
      }
    }
  }

  #contenders(key: string): readonly Item[] {
    const only = this.#chosen.get(key);
    return this.#rivals.get(key) ?? (only === undefined ? [] : [only]);
  }

  /** One item per key: the newest link's bytes; of several paths with these bytes, the one linked first. */
  #choose(key: string, items: readonly Item[]): Item | undefined {
    this.#conflicts.delete(key);
    const [newest] = items.toSorted((a, b) => b.entry.relinkedAtMs - a.entry.relinkedAtMs || comparePaths(a, b));
    if (newest === undefined || items.length === 1) {
      this.#rivals.delete(key);
      if (newest === undefined) this.#chosen.delete(key);
      else this.#chosen.set(key, newest);
      return newest;
    }
    this.#rivals.set(key, items);
    const same = items.filter((item) => item.sha256 === newest.sha256);
    const chosen = same.toSorted((a, b) => compareFirstLinks(a, b) || comparePaths(a, b))[0] ?? newest;
    const losers = items.filter((item) => item.sha256 !== newest.sha256);
    if (losers.length > 0) {
      const rejections = losers.map((loser): [TreePath, Rejection] => [
        loser.path,
        { kind: "rejected", code: "conflict", text: conflictText(loser, newest) },
      ]);
      this.#conflicts.set(key, new Map(rejections));
    }
    this.#chosen.set(key, chosen);
    return chosen;
  }
}

const noOwnership: Ownership = {
  rules: () => undefined,
  held: { get: () => undefined, set: () => undefined },
  startedMs: 0,
  now: () => 0,
};

function claimOf(item: Item, file: CatalogFile): Claim {
  const { finding } = file;
  const isPackage = finding?.kind === "binary" || finding?.kind === "source";
  return { item, key: uniqueKeyOf(file) ?? "", source: isPackage ? sourcePackageOf(finding) : item.package };
}

/** Unknown times come last. */
const compareFirstLinks = (a: Item, b: Item): number =>
  isKnownTime(a.linkedAtMs) && isKnownTime(b.linkedAtMs)
    ? a.linkedAtMs - b.linkedAtMs
    : Number(isKnownTime(b.linkedAtMs)) - Number(isKnownTime(a.linkedAtMs));

function conflictText(loser: Item, { path }: Item): string {
  const text = `${path} is the same package and version with other bytes, and newer`;
  if (isKnownTime(loser.entry.relinkedAtMs)) return text;
  return `${text}: a file whose link time is unknown or in the future counts as the oldest`;
}

const comparePaths = (a: Item, b: Item): number => (a.path < b.path ? -1 : 1);

/** Whether both make the same stanza at the same place of the index, out of files that are found in the same way. */
const isSameEntry = (a: Item, b: Item): boolean =>
  a.identity === b.identity && a.linkedAtMs === b.linkedAtMs && contentKeys(a).join() === contentKeys(b).join();

/** Equal bytes may have come to stand under another id: a package must then be read by the new one. */
const contentKeys = (item: Item): readonly (string | undefined)[] =>
  [item, ...(item.kind === "source" ? item.parts : [])].map(({ entry }) => entry.content?.key);
