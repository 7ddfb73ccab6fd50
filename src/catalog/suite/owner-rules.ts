// What the configuration says of names of packages: which builder may publish which.
import { globMatcher } from "../../base/glob.ts";
import type { TreePath } from "../../base/names.ts";
import { lastName, NameError } from "../../base/names.ts";
import type { Layout } from "../layout/repository-layout.ts";
import { anyTreeLayout } from "../layout/repository-layout.ts";

/**
 * Who may publish a name that no builder's list of packages has:
 * - "any": everybody who has no list;
 * - "first": of these the one who linked it first;
 * - "listed": nobody but the operator.
 */
export const ownerPolicies = ["any", "first", "listed"] as const;
export type OwnerPolicy = (typeof ownerPolicies)[number];

/** One directory of a builder, who may have several. */
export interface BuilderNames {
  readonly name: string;
  readonly directory: TreePath;
  /** Patterns; undefined where the builder is not confined to some names. Those of all its directories count together. */
  readonly packages?: readonly string[] | undefined;
}

export interface OwnerRules {
  readonly policy: OwnerPolicy;
  readonly builders: readonly BuilderNames[];
  /** Names of packages that the server makes itself. */
  readonly reserved: readonly string[];
  /** Tells whole suites, which are the operator's, from directories in them; by default no suite has a slash in its name. */
  readonly layout?: Layout;
}

/** Whoever can put files directly into a place, or is no builder: the owner of the tree. */
export const operator = "the operator";

/**
 * A pattern of a builder's list: a name with `*` and `?`; behind `!`, names that are not the builder's after all. `*`
 * alone allows every name that is nobody's, and claims none.
 * @throws NameError
 */
export function parsePackagePattern(raw: string): string {
  if (!/^!?[a-z0-9*?][a-z0-9.+*?_-]{0,254}$/i.test(raw)) {
    throw new NameError(`${JSON.stringify(raw.slice(0, 80))} is not a package's name or a pattern of names`);
  }
  return raw;
}

/** One builder's list. */
export class AllowedPackages {
  readonly patterns: readonly string[];
  readonly #allowsAll: boolean;
  readonly #claims: readonly Matcher[];
  readonly #excludes: readonly Matcher[];

  constructor(patterns: readonly string[]) {
    this.patterns = patterns;
    this.#allowsAll = patterns.includes(allNames);
    this.#claims = patterns.filter((one) => one !== allNames && !one.startsWith("!")).map(globMatcher);
    this.#excludes = patterns.filter((one) => one.startsWith("!")).map((one) => globMatcher(one.slice(1)));
  }

  /** Whether names are the builder's by this list: nobody else's, but for those whose lists have them too. */
  owns(name: string): boolean {
    return this.#claims.some((matches) => matches(name)) && !this.excludes(name);
  }

  /** Whether the builder may publish it where it is nobody's. */
  allows(name: string): boolean {
    return (this.#allowsAll || this.owns(name)) && !this.excludes(name);
  }

  /** Whether the builder may not publish it, even if it is built from a source package of the builder's. */
  excludes(name: string): boolean {
    return this.#excludes.some((matches) => matches(name));
  }
}

type Matcher = ReturnType<typeof globMatcher>;

const allNames = "*";

/**
 * The lists that have to change so that a name belongs to one builder alone, by builder.
 * @param lists of the builders that are confined to some names
 * @throws NameError where a pattern of the builder's own list excludes the name
 */
export function withName(
  lists: ReadonlyMap<string, readonly string[]>,
  name: string,
  to: string,
): ReadonlyMap<string, readonly string[]> {
  const changed = new Map<string, readonly string[]>();
  for (const [builder, patterns] of lists) {
    if (builder === to || !new AllowedPackages(patterns).owns(name)) continue;
    const others = patterns.filter((pattern) => pattern !== name);
    changed.set(builder, new AllowedPackages(others).owns(name) ? [...others, `!${name}`] : others);
  }
  // Who was not confined is not confined by a gift.
  const before = lists.get(to) ?? [allNames];
  const own = before.filter((pattern) => pattern !== `!${name}`);
  const excluding = own.find((pattern) => pattern.startsWith("!") && globMatcher(pattern.slice(1))(name));
  if (excluding !== undefined)
    throw new NameError(`the list of ${to} has ${JSON.stringify(excluding)}, which excludes ${name}`);
  if (!new AllowedPackages(own).owns(name)) changed.set(to, [...own, name]);
  else if (own.length < before.length) changed.set(to, own);
  return changed;
}

/** Rules made ready to be asked often. */
export class NameOwners {
  readonly policy: OwnerPolicy;
  readonly #lists: ReadonlyMap<string, AllowedPackages>;
  /** Names without wildcards, which most are: one look for each, however many builders there are. */
  readonly #exact = new Map<string, string[]>();
  /** The lists that have patterns with wildcards, by what the pattern begins with: few are looked at for each name. */
  readonly #patterned = new Map<string, Set<string>>();
  readonly #reserved: ReadonlySet<string>;
  readonly #layout: Layout;
  readonly #nameOf = new Map<TreePath, string>();
  readonly #ownerOf = new Map<TreePath, string>();

  constructor({ policy, builders, reserved, layout = anyTreeLayout }: OwnerRules) {
    this.policy = policy;
    this.#layout = layout;
    this.#reserved = new Set(reserved);
    const patterns = new Map<string, Set<string>>();
    for (const { name, directory, packages } of builders) {
      if (!this.#nameOf.has(directory)) this.#nameOf.set(directory, name);
      if (packages !== undefined) patterns.set(name, new Set([...(patterns.get(name) ?? []), ...packages]));
    }
    this.#lists = new Map([...patterns].map(([name, own]) => [name, new AllowedPackages([...own])]));
    for (const [name, { patterns: own }] of this.#lists) {
      for (const pattern of own) {
        if (pattern === allNames || pattern.startsWith("!")) continue;
        const [beginning = ""] = /^[^*?]*/.exec(pattern) ?? [];
        if (beginning === pattern) this.#exact.set(pattern, [...(this.#exact.get(pattern) ?? []), name]);
        else {
          const key = beginning.slice(0, indexedBeginning);
          this.#patterned.set(key, (this.#patterned.get(key) ?? new Set()).add(name));
        }
      }
    }
  }

  /** Who answers for a directory with files: a builder by its configured name, else by its directory's, or the operator. */
  ownerOf(directory: TreePath): string {
    const known = this.#ownerOf.get(directory);
    if (known !== undefined) return known;
    const owner = this.#find(directory);
    this.#ownerOf.set(directory, owner);
    return owner;
  }

  /** The builders whose lists have a name; none: it is nobody's by configuration. */
  owners(name: string): readonly string[] {
    const exact = this.#exact.get(name) ?? [];
    const found = exact.filter((builder) => this.#lists.get(builder)?.owns(name) === true);
    if (this.#patterned.size > 0) {
      for (let length = 0; length <= Math.min(indexedBeginning, name.length); length++) {
        for (const builder of this.#patterned.get(name.slice(0, length)) ?? []) {
          if (!found.includes(builder) && this.#lists.get(builder)?.owns(name) === true) found.push(builder);
        }
      }
    }
    return found.length > 1 ? found.toSorted() : found;
  }

  /** Undefined for a builder who is not confined to some names. */
  listOf(builder: string): AllowedPackages | undefined {
    return this.#lists.get(builder);
  }

  /** The builders that have a list, with it. */
  lists(): Iterable<readonly [string, AllowedPackages]> {
    return this.#lists;
  }

  isReserved(name: string): boolean {
    return this.#reserved.has(name);
  }

  #find(directory: TreePath): string {
    const own = this.#layout.builderDirectoryOf(directory, this.#nameOf);
    if (own === undefined) return operator;
    return this.#nameOf.get(own) ?? (this.#layout.isPackageDirectory(own) ? operator : lastName(own));
  }
}

/** So many characters of a pattern's beginning are looked up. */
const indexedBeginning = 6;
