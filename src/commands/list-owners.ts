// `tahoe-apt owner list`: who owns the names of packages that a tree has, by the rules of a configuration.
import { systemClock } from "../base/clock.ts";
import { codeOf, messageOf } from "../base/errors.ts";
import { anyGlobMatcher } from "../base/glob.ts";
import { parseSuite, rootPath } from "../base/names.ts";
import { Layout, suitePath } from "../catalog/layout/repository-layout.ts";
import type { NameShare } from "../catalog/suite/name-ownership.ts";
import { NameOwners } from "../catalog/suite/owner-rules.ts";
import { hasSuite, packageListsOf, readInventory } from "../client/curation/inventory.ts";
import type { RepositoryConfiguration } from "../config/configuration.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import { loadConfiguration } from "../config/load-config.ts";
import { ask } from "../server/control-commands.ts";
import { openTree } from "../server/open-tree.ts";
import { CurrentOwnerRules, layoutOf } from "../server/repository-settings.ts";
import { argument } from "./shared/arguments.ts";
import { complain, print, printable } from "./shared/terminal.ts";

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
  const isMeant = anyGlobMatcher(patterns);
  const path = suite === undefined ? rootPath : argument("--suite", () => suitePath(parseSuite(suite)));
  const { repositories, limits, stateDirectory } = loadConfiguration({ config });
  const named = repositories.filter(({ name }) => repository === undefined || repository === name);
  if (named.length === 0) throw new ConfigurationError([`--repository: ${config} has none called ${repository}`]);
  let isThere = suite === undefined;
  for (const one of named) {
    if (!json) await tellLists(one);
    const served = await servedShares(stateDirectory, one, suite, patterns);
    if (served !== undefined) {
      isThere = true;
      for (const { suite: each, ...share } of served.toSorted(bySuite)) await tell(one.name, each, share, json);
      continue;
    }
    const tree = openTree(one.tree, limits, undefined, (opened) => opened);
    const suites = suite === undefined ? [] : [parseSuite(suite)];
    const layout = new Layout([...layoutOf(one).nestedSuites, ...suites]);
    const stock = await readInventory(tree, [path], systemClock(), signal, layout);
    isThere ||= suite !== undefined && hasSuite(stock, suite);
    const rules = new CurrentOwnerRules(one, complain);
    const snapshots = packageListsOf(stock, (each) => ({
      // Also where every name is everybody's, it is told who has packages of it.
      rules: () => rules.of(each) ?? everybodys,
      firstOwners: nothingHeld,
      startedMs: 0,
      now: systemClock,
    }));
    for (const [each, snapshot] of [...snapshots].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      for (const share of snapshot.shares()) {
        if (!isMeant(share.name)) continue;
        await tell(one.name, each, share, json);
      }
    }
  }
  if (!isThere) throw new ConfigurationError([`--suite: there is no suite ${suite}`]);
}

/** What a server that runs here says: it remembers who was first. @returns undefined where none can tell */
async function servedShares(
  stateDirectory: string,
  { name: repository }: RepositoryConfiguration,
  suite: string | undefined,
  patterns: readonly string[],
) {
  try {
    const asked = { ask: "owners", repository, suite, patterns } as const;
    return (await ask(stateDirectory, asked, [repository])).shares;
  } catch (thrown) {
    // Where there is no state, no server runs here. Whatever else is wrong, a server may know other owners than the tree.
    if (codeOf(thrown) !== "operator/refused")
      complain(`the server cannot be asked (${messageOf(thrown)}): the tree alone tells who was first`);
    return undefined;
  }
}

const bySuite = (a: { readonly suite: string }, b: { readonly suite: string }): number =>
  a.suite < b.suite ? -1 : a.suite > b.suite ? 1 : 0;

const everybodys = { policy: "any", builders: [], reserved: [] } as const;
/** Where no server remembers it, the tree tells who was first. */
const nothingHeld = { get: () => undefined, set: () => undefined };

async function tellLists({ name, builders, packageOwners, suites }: RepositoryConfiguration): Promise<void> {
  const policies = [...suites].flatMap(([suite, { packageOwners: own }]) => (own ? [`${own} in ${suite}`] : []));
  await print(`${name}: package_owners is ${[packageOwners, ...policies].join(", ")}`);
  const lists = new NameOwners({ policy: packageOwners, builders: builders(complain), reserved: [] }).lists();
  for (const [builder, { patterns }] of lists)
    await print(`${builder} may publish ${patterns.join(", ") || "nothing"}`);
}

const meanings = { packages: "by its list", first: "who was first", nobody: "" } as const;

/** A share as it comes from here or from a server. */
type ToldShare = Omit<NameShare, "rejected"> & {
  readonly rejected: readonly { readonly builder: string; readonly path: string; readonly reason: string }[];
};

async function tell(repository: string, suite: string, share: ToldShare, json: boolean): Promise<void> {
  const { name, owners, by, publishers, rejected } = share;
  if (json) {
    await print(JSON.stringify({ repository, suite, package: name, owners, by, publishers, rejected }));
    return;
  }
  const owned = owners.length > 0 ? `belongs to ${owners.join(" and ")} (${meanings[by]})` : "is nobody's alone";
  const published = publishers.length > 0 ? `; published by ${publishers.join(", ")}` : "";
  await print(printable(`${suite} ${name} ${owned}${published}`));
  for (const { path } of rejected) await print(printable(`  rejected: ${path}`));
}
