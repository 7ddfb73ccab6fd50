// `tahoe-apt owner list`: who owns the names of packages that a tree has, by the rules of a configuration.
import { systemClock } from "../base/clock.ts";
import { globMatcher } from "../base/glob.ts";
import { parseSuite, rootPath } from "../base/names.ts";
import { hasSuite, snapshotsOf, takeStock } from "../builder/stock.ts";
import { suitePath } from "../catalog/layout.ts";
import type { NameShare } from "../catalog/name-claims.ts";
import { NameOwners } from "../catalog/owner-rules.ts";
import { loadConfiguration } from "../config.ts";
import type { RepositoryConfiguration } from "../configuration.ts";
import { ConfigurationError } from "../configuration-error.ts";
import { openTree } from "../open-tree.ts";
import { ownerRulesOf } from "../repository-settings.ts";
import { argument } from "./arguments.ts";
import { complain, print, printable } from "./terminal.ts";

interface ListOwnersFlags {
  readonly config: string;
  readonly repository?: string;
  readonly suite?: string;
  readonly json?: boolean;
}

/** @param patterns of names; none: all */
export async function listOwners(
  patterns: readonly string[],
  { config, repository, suite, json = false }: ListOwnersFlags,
  signal: AbortSignal,
): Promise<void> {
  const isMeant = patterns.map(globMatcher);
  const path = suite === undefined ? rootPath : argument("--suite", () => suitePath(parseSuite(suite)));
  const { repositories, limits } = loadConfiguration({ config });
  const named = repositories.filter(({ name }) => repository === undefined || repository === name);
  if (named.length === 0) throw new ConfigurationError([`--repository: ${config} has none called ${repository}`]);
  let isThere = suite === undefined;
  for (const one of named) {
    if (!json) await tellLists(one);
    const tree = openTree(one.tree, limits, undefined, (opened) => opened);
    const stock = await takeStock(tree, [path], systemClock(), signal);
    isThere ||= suite !== undefined && hasSuite(stock, suite);
    const rulesOf = ownerRulesOf(one, complain);
    const snapshots = snapshotsOf(stock.files, (each) => ({
      // Also where every name is everybody's, it is told who has packages of it.
      rules: () => rulesOf(each) ?? everybodys,
      held: nothingHeld,
      startedMs: 0,
      now: systemClock,
    }));
    for (const [each, snapshot] of [...snapshots].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      for (const share of snapshot.shares()) {
        if (isMeant.length > 0 && !isMeant.some((matches) => matches(share.name))) continue;
        const { name, ...rest } = share;
        if (json) await print(JSON.stringify({ repository: one.name, suite: each, package: name, ...rest }));
        else await tell(each, share);
      }
    }
  }
  if (!isThere) throw new ConfigurationError([`--suite: there is no suite ${suite}`]);
}

const everybodys = { policy: "any", builders: [], reserved: [] } as const;
/** What a running server remembers is its own: here, the tree tells who was first. */
const nothingHeld = { get: () => undefined, set: () => undefined };

async function tellLists({ name, builders, packageOwners, suites }: RepositoryConfiguration): Promise<void> {
  const policies = [...suites].flatMap(([suite, { packageOwners: own }]) => (own ? [`${own} in ${suite}`] : []));
  await print(`${name}: package_owners is ${[packageOwners, ...policies].join(", ")}`);
  const lists = new NameOwners({ policy: packageOwners, builders: builders(complain), reserved: [] }).lists();
  for (const [builder, { patterns }] of lists)
    await print(`${builder} may publish ${patterns.join(", ") || "nothing"}`);
}

const meanings = { packages: "by its list", first: "who was first", nobody: "" } as const;

async function tell(suite: string, { name, owners, by, publishers, rejected }: NameShare): Promise<void> {
  const owned = owners.length > 0 ? `belongs to ${owners.join(" and ")} (${meanings[by]})` : "is nobody's alone";
  const published = publishers.length > 0 ? `; published by ${publishers.join(", ")}` : "";
  await print(printable(`${suite} ${name} ${owned}${published}`));
  for (const { path } of rejected) await print(printable(`  rejected: ${path}`));
}
