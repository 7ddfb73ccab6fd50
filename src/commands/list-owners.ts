// `tahoe-apt owner list`: lists the owners of the package names in a tree, by the rules of a configuration.
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
import { print, printable, warn } from "./shared/terminal.ts";

interface ListOwnersFlags {
  readonly config: string;
  readonly repository?: string;
  readonly suite?: string;
  readonly json?: boolean;
}

/** Prints the owners. @param patterns patterns of package names; if empty, all names */
export async function listOwners(
  patterns: readonly string[],
  { config, repository, suite, json = false }: ListOwnersFlags,
  signal: AbortSignal,
): Promise<void> {
  const matchesPatterns = anyGlobMatcher(patterns);
  const path = suite === undefined ? rootPath : argument("--suite", () => suitePath(parseSuite(suite)));
  const { repositories, limits, stateDirectory } = loadConfiguration({ config });
  const named = repositories.filter(({ name }) => repository === undefined || repository === name);
  if (named.length === 0) throw new ConfigurationError([`--repository: ${config} has no repository ${repository}`]);
  let isFound = suite === undefined;
  for (const one of named) {
    if (!json) await printPolicies(one);
    const served = await servedShares(stateDirectory, one, suite, patterns);
    if (served !== undefined) {
      isFound = true;
      for (const { suite: each, ...share } of served.toSorted(bySuite)) await printShare(one.name, each, share, json);
      continue;
    }
    const tree = openTree(one.tree, limits, undefined, (opened) => opened);
    const suites = suite === undefined ? [] : [parseSuite(suite)];
    const layout = new Layout([...layoutOf(one).nestedSuites, ...suites]);
    const inventory = await readInventory(tree, [path], systemClock(), signal, layout);
    isFound ||= suite !== undefined && hasSuite(inventory, suite);
    const rules = new CurrentOwnerRules(one, warn);
    const packageLists = packageListsOf(inventory, (each) => ({
      // Without rules, the list still shows who publishes each name.
      rules: () => rules.of(each) ?? openRules,
      firstOwners: noFirstOwners,
      startedMs: 0,
      now: systemClock,
    }));
    for (const [each, packageList] of [...packageLists].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      for (const share of packageList.shares()) {
        if (!matchesPatterns(share.name)) continue;
        await printShare(one.name, each, share, json);
      }
    }
  }
  if (!isFound) throw new ConfigurationError([`--suite: there is no suite ${suite}`]);
}

/** Gets the owners from the running server, which remembers first publishers. @returns undefined without a server */
async function servedShares(
  stateDirectory: string,
  { name: repository }: RepositoryConfiguration,
  suite: string | undefined,
  patterns: readonly string[],
) {
  try {
    const request = { ask: "owners", repository, suite, patterns } as const;
    return (await ask(stateDirectory, request, [repository])).shares;
  } catch (thrown) {
    // `operator/refused` means that there is no server or that it knows no owners; other errors may hide different owners.
    if (codeOf(thrown) !== "operator/refused")
      warn(`the server cannot be queried (${messageOf(thrown)}): the first publishers are taken from the tree`);
    return undefined;
  }
}

const bySuite = (a: { readonly suite: string }, b: { readonly suite: string }): number =>
  a.suite < b.suite ? -1 : a.suite > b.suite ? 1 : 0;

const openRules = { policy: "any", builders: [], reserved: [] } as const;
/** Without a server, the tree determines who published a name first. */
const noFirstOwners = { get: () => undefined, set: () => undefined };

async function printPolicies({ name, builders, packageOwners, suites }: RepositoryConfiguration): Promise<void> {
  const policies = [...suites].flatMap(([suite, { packageOwners: own }]) => (own ? [`${own} in ${suite}`] : []));
  await print(`${name}: package_owners is ${[packageOwners, ...policies].join(", ")}`);
  const lists = new NameOwners({ policy: packageOwners, builders: builders(warn), reserved: [] }).lists();
  for (const [builder, { patterns }] of lists)
    await print(`${builder} may publish ${patterns.join(", ") || "nothing"}`);
}

const meanings = { packages: "by its list", first: "published first", nobody: "" } as const;

/** A share, computed locally or received from a server. */
type ReportedShare = Omit<NameShare, "rejected"> & {
  readonly rejected: readonly { readonly builder: string; readonly path: string; readonly reason: string }[];
};

async function printShare(repository: string, suite: string, share: ReportedShare, json: boolean): Promise<void> {
  const { name, owners, by, publishers, rejected } = share;
  if (json) {
    await print(JSON.stringify({ repository, suite, package: name, owners, by, publishers, rejected }));
    return;
  }
  const owned = owners.length > 0 ? `belongs to ${owners.join(" and ")} (${meanings[by]})` : "has no single owner";
  const published = publishers.length > 0 ? `; published by ${publishers.join(", ")}` : "";
  await print(printable(`${suite} ${name} ${owned}${published}`));
  for (const { path } of rejected) await print(printable(`  rejected: ${path}`));
}
