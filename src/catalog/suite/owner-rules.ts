// The configured rules about which builder may publish packages of which names.
import { globMatcher } from "../../base/glob.ts";
import type { TreePath } from "../../base/names.ts";
import { lastName, NameError } from "../../base/names.ts";
import type { Layout } from "../layout/repository-layout.ts";
import { anyTreeLayout } from "../layout/repository-layout.ts";

/**
 * Who may publish a name that is in no builder's list of packages:
 * - "any": every builder without a list;
 * - "first": the one of these that linked it first;
 * - "listed": only the operator.
 */
export const ownerPolicies = ["any", "first", "listed"] as const;
export type OwnerPolicy = (typeof ownerPolicies)[number];

/** One directory of a builder; a builder may have several. */
export interface BuilderNames {
  readonly name: string;
  readonly directory: TreePath;
  /** Patterns of names; undefined if all names are allowed. The lists of all directories of a builder are combined. */
  readonly packages?: readonly string[] | undefined;
}

export interface OwnerRules {
  readonly policy: OwnerPolicy;
  readonly builders: readonly BuilderNames[];
  /** Names of packages that the server builds itself. */
  readonly reserved: readonly string[];
  /** Distinguishes suites, which belong to the operator, from directories in them. By default no suite has a slash. */
  readonly layout?: Layout;
}

/** The name for the owner of the tree, who publishes everything that is in no builder's directory. */
export const operator = "the operator";

/**
 * A pattern of a builder's list: a name with `*` and `?`; with `!` before it, names to exclude. `*` alone allows every
 * name without an owner, and owns none.
 * @throws NameError
 */
export function parsePackagePattern(raw: string): string {
  if (!/^!?[a-z0-9*?][a-z0-9.+*?_-]{0,254}$/i.test(raw)) {
    throw new NameError(`${JSON.stringify(raw.slice(0, 80))} is not a package's name or a pattern of names`);
  }
  return raw;
}

/** One builder's list of packages. */
export class AllowedPackages {
  readonly patterns: readonly string[];
  readonly #allowsAll: boolean;
  readonly #owned: readonly Matcher[];
  readonly #excludes: readonly Matcher[];

  constructor(patterns: readonly string[]) {
    this.patterns = patterns;
    this.#allowsAll = patterns.includes(allNames);
    this.#owned = patterns.filter((one) => one !== allNames && !one.startsWith("!")).map(globMatcher);
    this.#excludes = patterns.filter((one) => one.startsWith("!")).map((one) => globMatcher(one.slice(1)));
  }

  /** Whether this list makes the builder an owner of the name. Other builders whose lists match are owners too. */
  owns(name: string): boolean {
    return this.#owned.some((matches) => matches(name)) && !this.excludes(name);
  }

  /** Whether the builder may publish the name if it has no owner. */
  allows(name: string): boolean {
    return (this.#allowsAll || this.owns(name)) && !this.excludes(name);
  }

  /** Whether the builder may not publish the name, even for packages built from its own source packages. */
  excludes(name: string): boolean {
    return this.#excludes.some((matches) => matches(name));
  }
}

type Matcher = ReturnType<typeof globMatcher>;

const allNames = "*";

/**
 * Changes lists so that one builder is the only owner of a name.
 * @param lists the lists of the builders that have one
 * @returns the changed lists, by builder
 * @throws NameError if a pattern of the new owner's list excludes the name
 */
export function listsWithOwner(
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
  // A builder without a list keeps the right to publish all other names.
  const before = lists.get(to) ?? [allNames];
  const own = before.filter((pattern) => pattern !== `!${name}`);
  const excluding = own.find((pattern) => pattern.startsWith("!") && globMatcher(pattern.slice(1))(name));
  if (excluding !== undefined)
    throw new NameError(`the list of ${to} has ${JSON.stringify(excluding)}, which excludes ${name}`);
  if (!new AllowedPackages(own).owns(name)) changed.set(to, [...own, name]);
  else if (own.length < before.length) changed.set(to, own);
  return changed;
}

/** Compiled owner rules. */
export class NameOwners {
  readonly policy: OwnerPolicy;
  readonly #lists: ReadonlyMap<string, AllowedPackages>;
  /** Builders by listed names without wildcards (most patterns): one lookup, however many builders there are. */
  readonly #exact = new Map<string, string[]>();
  /** Builders by the prefixes of their patterns with wildcards, so that few patterns are matched for each name. */
  readonly #byPatternPrefix = new Map<string, Set<string>>();
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
        const [prefix = ""] = /^[^*?]*/.exec(pattern) ?? [];
        if (prefix === pattern) this.#exact.set(pattern, [...(this.#exact.get(pattern) ?? []), name]);
        else {
          const key = prefix.slice(0, indexedPrefixLength);
          this.#byPatternPrefix.set(key, (this.#byPatternPrefix.get(key) ?? new Set()).add(name));
        }
      }
    }
  }

  /** The builder of a directory with files: its configured name, else its directory's name, or the operator. */
  ownerOf(directory: TreePath): string {
    const known = this.#ownerOf.get(directory);
    if (known !== undefined) return known;
    const owner = this.#findOwner(directory);
    this.#ownerOf.set(directory, owner);
    return owner;
  }

  /** The builders whose lists contain a name, sorted; empty if it has no configured owner. */
  owners(name: string): readonly string[] {
    const exact = this.#exact.get(name) ?? [];
    const found = exact.filter((builder) => this.#lists.get(builder)?.owns(name) === true);
    if (this.#byPatternPrefix.size > 0) {
      for (let length = 0; length <= Math.min(indexedPrefixLength, name.length); length++) {
        for (const builder of this.#byPatternPrefix.get(name.slice(0, length)) ?? []) {
          if (!found.includes(builder) && this.#lists.get(builder)?.owns(name) === true) found.push(builder);
        }
      }
    }
    return found.length > 1 ? found.toSorted() : found;
  }

  /** @returns undefined for a builder without a list */
  listOf(builder: string): AllowedPackages | undefined {
    return this.#lists.get(builder);
  }

  /** All lists by builder. */
  lists(): Iterable<readonly [string, AllowedPackages]> {
    return this.#lists;
  }

  /** Whether the server builds the package of this name itself. */
  isReserved(name: string): boolean {
    return this.#reserved.has(name);
  }

  #findOwner(directory: TreePath): string {
    const own = this.#layout.builderDirectoryOf(directory, this.#nameOf);
    if (own === undefined) return operator;
    return this.#nameOf.get(own) ?? (this.#layout.isPackageDirectory(own) ? operator : lastName(own));
  }
}

/** The maximum length of indexed pattern prefixes. */
const indexedPrefixLength = 6;
