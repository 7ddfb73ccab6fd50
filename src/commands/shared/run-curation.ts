// Runs a curation command: reads the inventory, selects packages, plans the change, and applies or shows it.
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
import { applyPlan, directoriesOutsideBundle } from "../../client/curation/apply-plan.ts";
import type { CurationPlan } from "../../client/curation/curation-plan.ts";
import type { IndexChange } from "../../client/curation/index-preview.ts";
import type { Inventory, InventoryPackage } from "../../client/curation/inventory.ts";
import { hasSuite, readInventory } from "../../client/curation/inventory.ts";
import type { LocationFilter, Pattern } from "../../client/curation/package-patterns.ts";
import { parsePattern, select } from "../../client/curation/package-patterns.ts";
import { pingUntilLive, rejectRevokedBundle } from "../../client/ping-client.ts";
import { layoutFor, reasonNotSuite } from "../../client/suites-with-slash.ts";
import { WriteGateways } from "../../client/write-gateways.ts";
import { defaultLimits } from "../../config/configuration.ts";
import { ConfigurationError } from "../../config/configuration-error.ts";
import { openGridTree } from "../../server/open-tree.ts";
import { MountedTree } from "../../storage/decorators/mounted-tree.ts";
import type { Tree } from "../../storage/tree.ts";
import { argument, withRequired } from "./arguments.ts";
import { print, printable, warn, warnWaiting } from "./terminal.ts";

/** `nothing`: no change was necessary. `linked`: done, but the server has not confirmed in time that APT sees it. */
type Status = "done" | "nothing" | "planned" | "refused" | "linked";
const exitCodes: { readonly [Each in Status]: number } = { done: 0, nothing: 0, planned: 0, refused: 3, linked: 4 };

const defaultTimeoutSeconds = 300;

export interface ChangeFlags extends LocationFilter {
  readonly bundle: string;
  readonly dryRun?: boolean;
  readonly timeout: string;
  readonly json?: boolean;
}

/** The flags and the requirements of a command. */
interface CurationRequest extends ChangeFlags {
  /** A second suite for the inventory. */
  readonly alsoSuite?: string;
  readonly mayReplace?: boolean;
  /** Whether only sound packages are selected, and a pattern without match is an error. */
  readonly onlySound?: boolean;
  /** Whether to find out from the server which packages it does not list, for the argument `isListed` of `PlanOf`. */
  readonly queriesServer?: boolean;
}

/** Whether the server lists a package or, if the server was not queried, whether the package is sound. */
export type IsListed = (one: InventoryPackage) => boolean;

interface Outcome {
  readonly status: Status;
  readonly problems: readonly string[];
  /** The planned or applied changes of each index. */
  readonly changes: readonly IndexChange[];
  readonly directories: readonly AppliedDirectory[];
  readonly unmatched: readonly string[];
}

export const withLocationFlags = (command: Command): Command =>
  command
    .option("--component <name>", "only packages of this component")
    .option("--architecture <name>", "only packages of this architecture; `source` for source packages")
    .option("--builder <directory>", "only packages in this directory below the package directory; '' for none");

export const withChangeFlags = (command: Command): Command =>
  withRequired(
    withLocationFlags(command),
    "--bundle <file>",
    "the credentials (a bundle): write caps, gateways, token for notifications",
  )
    .option("--dry-run", "change nothing, and show how each index would change")
    .option("--timeout <seconds>", "how long to wait until all changes are live", String(defaultTimeoutSeconds))
    .option("--json", "print the result as one JSON object");

export const patternHelp = `
PATTERN is NAME, NAME=VERSION, src:NAME (a source package and everything built from it), src:NAME=VERSION, or a path of
the tree, which contains a slash. * matches any characters and ? matches one: quote them to protect them from the shell.
`;

type PlanOf = (inventory: Inventory, packages: readonly InventoryPackage[], isListed: IsListed) => CurationPlan;

/** Runs the command and sets the exit code of the process. @throws ConfigurationError, BundleError; ChangeFailed */
export async function runCuration(
  request: CurationRequest,
  rawPatterns: readonly string[],
  signal: AbortSignal,
  planOf: PlanOf,
): Promise<void> {
  const { suite, alsoSuite, timeout, json = false } = request;
  if (!/^\d{1,6}$/.test(timeout)) throw new ConfigurationError(["--timeout: must be a number of seconds"]);
  const patterns = rawPatterns.map((raw) => argument("PATTERN", () => parsePattern(raw)));
  const suites = suite === undefined ? [] : [suite, ...(alsoSuite === undefined ? [] : [alsoSuite])];
  const paths = [...new Set(suites)].map((each) => argument("--suite", () => suitePath(parseSuite(each))));
  const bundle = await readBundle(request.bundle, warn);
  const job = { request, patterns, suites, paths, bundle, signal, planOf };
  const outcome = await runJob(job).catch((thrown: unknown) => {
    if (thrown instanceof ConfigurationError || thrown instanceof ChangeFailed) throw thrown;
    throw new ChangeFailed(thrown, "none");
  });
  await printOutcome(outcome, json);
}

interface CurationJob {
  readonly request: CurationRequest;
  readonly patterns: readonly Pattern[];
  /** The suites that the user named. */
  readonly suites: readonly string[];
  /** The directories of the inventory; if empty, all directories of the bundle. */
  readonly paths: readonly TreePath[];
  readonly bundle: Bundle;
  readonly signal: AbortSignal;
  readonly planOf: PlanOf;
}

async function runJob({ request, patterns, suites, paths, bundle, signal, planOf }: CurationJob): Promise<Outcome> {
  const { suite, timeout, onlySound = false, queriesServer = false, mayReplace = false } = request;
  const description = await rejectRevokedBundle(bundle, warnWaiting, signal);
  const layout = layoutFor(bundle, description, suites);
  const tree = treeOf(bundle);
  const inventory = await readInventory(tree, paths.length === 0 ? [rootPath] : paths, Date.now(), signal, layout);
  const candidates = [...inventory.packages.values()].filter(({ isSound }) => isSound || !onlySound);
  const { packages, unmatched } = select(candidates, patterns, request);
  // Query the server after reading the inventory, so that its answer covers all packages of the inventory.
  const canQuery = queriesServer && (suite === undefined || hasSuite(inventory, suite));
  const unlisted = canQuery ? await unlistedBy(bundle, paths, Number(timeout) * 1000, signal) : undefined;
  const plan = planOf(inventory, packages, ({ isSound, path }) => isSound && unlisted?.has(path) !== true);
  const notSuites = suites.flatMap((each) => reasonNotSuite(each, description) ?? []);
  const problems = [
    ...notSuites,
    ...(notSuites.length > 0 || suite === undefined || hasSuite(inventory, suite)
      ? []
      : [`there is no suite ${suite}`]),
    ...(onlySound ? unmatched.map((raw) => `nothing matches ${raw}`) : []),
    ...plan.problems,
    ...directoriesOutsideBundle(bundle, plan).map((path) => `${path} is in none of this bundle's directories`),
  ];
  const outcome = { problems, changes: plan.changes, directories: [], unmatched };
  if (problems.length > 0) return { ...outcome, status: "refused" };
  if (request.dryRun === true) return { ...outcome, status: "planned" };
  const directories = await applyPlan(plan, {
    bundle,
    gateways: new WriteGateways(bundle.gateways, bundle.gatewayCa),
    tree,
    mayReplace,
    timeoutMs: Number(timeout) * 1000,
    waiting: warnWaiting,
    clock: systemClock,
    signal,
  });
  return { ...outcome, directories, status: statusOf(directories) };
}

/** The server does not report which packages it lists. */
class ListingUnknown extends RepoError {
  readonly code = "builder/listing-unknown";
}

/**
 * Gets the files that the server does not list, or not yet. Only the server knows its limits and the owners of names.
 * @param paths limits the query; if empty, all directories of the bundle
 * @returns undefined if the bundle has no ping settings
 * @throws ListingUnknown if the server does not respond in time; PingRefused
 */
async function unlistedBy(
  { ping, directories }: Bundle,
  paths: readonly TreePath[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ReadonlySet<string> | undefined> {
  if (ping === undefined) return undefined;
  const candidates = (paths.length === 0 ? [rootPath] : paths).flatMap((path) =>
    directories.flatMap(({ path: opened }) => {
      if (isWithin(path, opened)) return [path];
      return isWithin(opened, path) ? [opened] : [];
    }),
  );
  const unlisted = new Set<string>();
  for (const path of new Set(candidates)) {
    const result = await pingUntilLive(ping, path, { timeoutMs, waiting: warnWaiting, signal });
    if ("notLive" in result) {
      throw new ListingUnknown(
        `the server did not report in time which packages it rejects, and rejected packages must not count as versions (${result.notLive})`,
      );
    }
    for (const each of [...result.rejected, ...(result.pending ?? [])]) unlisted.add(each.path);
  }
  return unlisted;
}

/** The directories of a bundle, at their paths in the tree. */
export const treeOf = ({ gateways, gatewayCa, directories }: Bundle): Tree =>
  new MountedTree(
    directories.map(({ path, cap }) => ({ at: path, tree: openGridTree({ gateways, gatewayCa, cap }, defaultLimits) })),
  );

function statusOf(directories: readonly AppliedDirectory[]): Status {
  if (directories.some(({ live }) => live === false)) return "linked";
  return directories.every(({ linked, unlinked }) => linked.length + unlinked.length === 0) ? "nothing" : "done";
}

async function printOutcome(outcome: Outcome, json: boolean): Promise<void> {
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
    await print("the bundle has no ping settings: the server will notice the change at its next poll");
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
