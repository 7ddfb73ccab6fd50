// One change of a tree by command: take stock, select, plan, show or do it, and say what became of it.
import type { Command } from "commander";
import { systemClock } from "../../base/clock.ts";
import { RepoError } from "../../base/errors.ts";
import type { TreePath } from "../../base/names.ts";
import { isWithin, parseSuite, rootPath } from "../../base/names.ts";
import { suitePath } from "../../catalog/layout/repository-layout.ts";
import type { Bundle } from "../../client/bundle.ts";
import { readBundle } from "../../client/bundle.ts";
import { ChangeFailed } from "../../client/change-failed.ts";
import type { AppliedDirectory } from "../../client/curation/apply-plan.ts";
import { applyPlan, outside } from "../../client/curation/apply-plan.ts";
import type { CurationPlan } from "../../client/curation/curation-plan.ts";
import type { IndexChange } from "../../client/curation/index-preview.ts";
import type { Inventory, InventoryPackage } from "../../client/curation/inventory.ts";
import { hasSuite, readInventory } from "../../client/curation/inventory.ts";
import type { Pattern, Where } from "../../client/curation/package-patterns.ts";
import { parsePattern, select } from "../../client/curation/package-patterns.ts";
import { pingUntilLive, refuseRevoked } from "../../client/ping-client.ts";
import { layoutFor, whyNoSuite } from "../../client/suites-with-slash.ts";
import { WriteGateways } from "../../client/write-gateways.ts";
import { defaultLimits } from "../../config/configuration.ts";
import { ConfigurationError } from "../../config/configuration-error.ts";
import { openGridTree } from "../../server/open-tree.ts";
import { MountedTree } from "../../storage/decorators/mounted-tree.ts";
import type { Tree } from "../../storage/tree.ts";
import { argument, withRequired } from "./arguments.ts";
import { complain, complainOfWaiting, print, printable } from "./terminal.ts";

/** `nothing`: all was as it should be. `linked`: done, and the server has not said in time that APT sees it. */
type Status = "done" | "nothing" | "planned" | "refused" | "linked";
const exitCodes: { readonly [Each in Status]: number } = { done: 0, nothing: 0, planned: 0, refused: 3, linked: 4 };

const defaultPatienceSeconds = 300;

export interface ChangeFlags extends Where {
  readonly bundle: string;
  readonly dryRun?: boolean;
  readonly timeout: string;
  readonly json?: boolean;
}

/** What a command asks for beyond its flags. */
interface Asked extends ChangeFlags {
  /** Of this suite stock is taken too. */
  readonly alsoSuite?: string;
  readonly mayReplace?: boolean;
  /** Whether only what an index takes is meant, and a pattern that matches nothing is a mistake. */
  readonly onlySound?: boolean;
  /** Whether the server is asked first which packages it does not list: `isListed` of the plan tells them. */
  readonly asksServer?: boolean;
}

/** Whether the server's indices take a package; where no server was asked, whether it is sound in itself. */
export type IsListed = (one: InventoryPackage) => boolean;

interface Outcome {
  readonly status: Status;
  readonly problems: readonly string[];
  /** What becomes of each index, or became. */
  readonly changes: readonly IndexChange[];
  readonly directories: readonly AppliedDirectory[];
  readonly unmatched: readonly string[];
}

export const withWhereFlags = (command: Command): Command =>
  command
    .option("--component <name>", "only of this component")
    .option("--architecture <name>", "only packages of this architecture; `source` for source packages")
    .option("--builder <directory>", "only what is in this directory below the place; '' for none");

export const withChangeFlags = (command: Command): Command =>
  withRequired(withWhereFlags(command), "--bundle <file>", "the write caps, gateways and ping token, as init made them")
    .option("--dry-run", "change nothing, and show what would become of each index")
    .option("--timeout <seconds>", "how long to wait until all is live", String(defaultPatienceSeconds))
    .option("--json", "print the outcome as one JSON object");

export const patternHelp = `
PATTERN is NAME, NAME=VERSION, src:NAME (a source package and all that was built from it), src:NAME=VERSION, or a path
of the tree, which has a slash. * stands for any characters and ? for one: quote them from the shell.
`;

type PlanOf = (stock: Inventory, packages: readonly InventoryPackage[], isListed: IsListed) => CurationPlan;

/** Sets the process's exit code. @throws ConfigurationError, BundleError; ChangeFailed for what stands in the way */
export async function runCuration(
  asked: Asked,
  rawPatterns: readonly string[],
  signal: AbortSignal,
  planOf: PlanOf,
): Promise<void> {
  const { suite, alsoSuite, timeout, json = false } = asked;
  if (!/^\d{1,6}$/.test(timeout)) throw new ConfigurationError(["--timeout: is a number of seconds"]);
  const patterns = rawPatterns.map((raw) => argument("PATTERN", () => parsePattern(raw)));
  const suites = suite === undefined ? [] : [suite, ...(alsoSuite === undefined ? [] : [alsoSuite])];
  const paths = [...new Set(suites)].map((each) => argument("--suite", () => suitePath(parseSuite(each))));
  const bundle = await readBundle(asked.bundle, complain);
  const work = { asked, patterns, suites, paths, bundle, signal, planOf };
  const outcome = await carryOut(work).catch((thrown: unknown) => {
    if (thrown instanceof ConfigurationError || thrown instanceof ChangeFailed) throw thrown;
    throw new ChangeFailed(thrown, "none");
  });
  await tell(outcome, json);
}

interface Work {
  readonly asked: Asked;
  readonly patterns: readonly Pattern[];
  /** What was asked for by name. */
  readonly suites: readonly string[];
  /** What stock is taken of; none: all that the bundle opens. */
  readonly paths: readonly TreePath[];
  readonly bundle: Bundle;
  readonly signal: AbortSignal;
  readonly planOf: PlanOf;
}

async function carryOut({ asked, patterns, suites, paths, bundle, signal, planOf }: Work): Promise<Outcome> {
  const { suite, timeout, onlySound = false, asksServer = false, mayReplace = false } = asked;
  const described = await refuseRevoked(bundle, complainOfWaiting, signal);
  const layout = layoutFor(bundle, described, suites);
  const tree = treeOf(bundle);
  const stock = await readInventory(tree, paths.length === 0 ? [rootPath] : paths, Date.now(), signal, layout);
  const meant = [...stock.packages.values()].filter(({ isSound }) => isSound || !onlySound);
  const { packages, unmatched } = select(meant, patterns, asked);
  // Asked after stock was taken: what came later is not in it.
  const canAsk = asksServer && (suite === undefined || hasSuite(stock, suite));
  const unlisted = canAsk ? await unlistedBy(bundle, paths, Number(timeout) * 1000, signal) : undefined;
  const plan = planOf(stock, packages, ({ isSound, path }) => isSound && unlisted?.has(path) !== true);
  const notSuites = suites.flatMap((each) => whyNoSuite(each, described) ?? []);
  const problems = [
    ...notSuites,
    ...(notSuites.length > 0 || suite === undefined || hasSuite(stock, suite) ? [] : [`there is no suite ${suite}`]),
    ...(onlySound ? unmatched.map((raw) => `nothing matches ${raw}`) : []),
    ...plan.problems,
    ...outside(bundle, plan).map((path) => `${path} is in none of this bundle's directories`),
  ];
  const outcome = { problems, changes: plan.changes, directories: [], unmatched };
  if (problems.length > 0) return { ...outcome, status: "refused" };
  if (asked.dryRun === true) return { ...outcome, status: "planned" };
  const directories = await applyPlan(plan, {
    bundle,
    gateways: new WriteGateways(bundle.gateways, bundle.gatewayCa),
    tree,
    mayReplace,
    patienceMs: Number(timeout) * 1000,
    waiting: complainOfWaiting,
    clock: systemClock,
    signal,
  });
  return { ...outcome, directories, status: statusOf(directories) };
}

/** The server does not tell what it lists. */
class ListingUnknown extends RepoError {
  readonly code = "builder/listing-unknown";
}

/**
 * The files that the server lists in no index, or not yet: it knows limits and owners of names that no tree tells.
 * @param paths what is meant; none: all that the bundle opens
 * @returns undefined where the bundle has no ping
 * @throws ListingUnknown where the server does not answer in time; PingRefused
 */
async function unlistedBy(
  { ping, directories }: Bundle,
  paths: readonly TreePath[],
  patienceMs: number,
  signal: AbortSignal,
): Promise<ReadonlySet<string> | undefined> {
  if (ping === undefined) return undefined;
  const meant = (paths.length === 0 ? [rootPath] : paths).flatMap((path) =>
    directories.flatMap(({ path: opened }) => {
      if (isWithin(path, opened)) return [path];
      return isWithin(opened, path) ? [opened] : [];
    }),
  );
  const unlisted = new Set<string>();
  for (const path of new Set(meant)) {
    const answer = await pingUntilLive(ping, path, { patienceMs, waiting: complainOfWaiting, signal });
    if ("notLive" in answer) {
      throw new ListingUnknown(
        `the server did not say in time what it rejects, which must not count as a version (${answer.notLive})`,
      );
    }
    for (const each of [...answer.rejected, ...(answer.pending ?? [])]) unlisted.add(each.path);
  }
  return unlisted;
}

/** What a bundle's caps open, each at its place. */
const treeOf = ({ gateways, gatewayCa, directories }: Bundle): Tree =>
  new MountedTree(
    directories.map(({ path, cap }) => ({ at: path, tree: openGridTree({ gateways, gatewayCa, cap }, defaultLimits) })),
  );

function statusOf(directories: readonly AppliedDirectory[]): Status {
  if (directories.some(({ live }) => live === false)) return "linked";
  return directories.every(({ linked, unlinked }) => linked.length + unlinked.length === 0) ? "nothing" : "done";
}

async function tell(outcome: Outcome, json: boolean): Promise<void> {
  const { status, problems, changes, unmatched, directories } = outcome;
  process.exitCode = exitCodes[status];
  if (json) return await print(JSON.stringify(outcome));
  for (const problem of problems) await print(`refused: ${printable(problem)}`);
  if (status !== "refused") for (const raw of unmatched) await print(`nothing matches ${printable(raw)}`);
  for (const { suite, index, added, removed } of changes) {
    await print(`${suite} ${index}:`);
    for (const one of removed) await print(`  - ${one.package} ${one.version} ${one.architecture}`);
    for (const one of added) await print(`  + ${one.package} ${one.version} ${one.architecture}`);
  }
  for (const { path, live } of directories) {
    if (live === false) await print(`not live yet: ${printable(path)}`);
  }
  if (directories.some(({ live }) => live === undefined)) {
    await print("the bundle has no ping: the server finds it by its next poll");
  }
  await print(
    {
      done: "done",
      nothing: "nothing to do",
      planned: "nothing was changed",
      refused: "nothing was changed",
      linked: "",
    }[status],
  );
}
