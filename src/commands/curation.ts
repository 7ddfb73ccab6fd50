// `tahoe-apt promote`, `remove` and `prune`: change which packages a tree contains, without copying files.
import type { Command } from "commander";
import { systemClock } from "../base/clock.ts";
import { parseComponent, parseSuite, parseTreePath, pathNames } from "../base/names.ts";
import type { Destination } from "../client/curation/curation-plan.ts";
import { expiredPackages, planPromotion, planRemoval } from "../client/curation/curation-plan.ts";
import { hasSuite } from "../client/curation/inventory.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import { argument, withRequired } from "./shared/arguments.ts";
import type { ChangeFlags } from "./shared/run-curation.ts";
import { patternHelp, runCuration, withChangeFlags } from "./shared/run-curation.ts";

const daySeconds = 24 * 3600;

const outcomeHelp = `
Each change is recorded in the file audit.NUMBER.jsonl of the changed directory. After an interruption, the same command
completes the change.

With --json, the output is always one object. For exit codes 1 and 2 it is {"status": "failed", "exitCode", "linked",
"code", "errors"}, where "linked" shows whether the changes were made: "none", "all", or "unknown" if the command failed
while making them.

Exit codes: 0 done or nothing to do, 1 failed, 2 wrong arguments or bundle, 3 nothing was changed because of problems,
4 changed, but not yet live after --timeout.
`;

const promoteHelp = `${patternHelp}
Links are set in one write for each directory; no file is copied. A source package is promoted with all its files.

Examples:
  tahoe-apt promote --bundle master.bundle --from sid --to stable src:hello
  tahoe-apt promote --bundle master.bundle --from sid --to stable --dry-run '*'
  tahoe-apt promote --bundle master.bundle --from sid --builder alice --to sid --to-builder release hello=2.0-1
${outcomeHelp}`;

const removeHelp = `${patternHelp}
Each file requires a separate write of its directory, because the Tahoe webapi can only remove one link at a time.
Packages of earlier publications remain available for the server's keep_seconds.

Examples:
  tahoe-apt remove --bundle alice.bundle hello=1.0-1
  tahoe-apt remove --bundle master.bundle --suite sid --dry-run 'src:hello'
${outcomeHelp}`;

const pruneHelp = `${patternHelp}
Versions are counted for each suite, component, name and architecture, in Debian's order. A source package is kept while
a package built from it is kept. Packages that the server rejects do not count as versions, so prune queries the server
first; if the bundle has no ping settings, only the tree determines which packages are sound.

Examples:
  tahoe-apt prune --bundle master.bundle --suite sid --keep 3 --dry-run
  tahoe-apt prune --bundle master.bundle --suite nightly --keep 1 --older-than 30 'hello*'
${outcomeHelp}`;

interface PromoteFlags extends Omit<ChangeFlags, "suite"> {
  readonly from: string;
  readonly to: string;
  readonly toComponent?: string;
  readonly toBuilder?: string;
  readonly newSuite?: boolean;
  readonly replace?: boolean;
}

interface PruneFlags extends ChangeFlags {
  readonly keep?: string;
  readonly olderThan?: string;
}

/** @param stopSignal returns a signal that is aborted when the process must stop */
export function addCuration(commands: Command, stopSignal: () => AbortSignal): void {
  const promote = withChangeFlags(commands.command("promote"))
    .description("Link packages also in another suite, component or builder's directory.")
    .argument("<pattern...>", "the packages to promote");
  withRequired(promote, "--from <suite>", "the present suite of the packages");
  withRequired(promote, "--to <suite>", "the new suite")
    .option("--to-component <name>", "the new component (default: the same)")
    .option("--to-builder <directory>", "the new directory below the package directory (default: the same)")
    .option("--new-suite", "create the suite if it does not exist")
    .option("--replace", "overwrite existing files that have the same name and different bytes")
    .addHelpText("after", promoteHelp)
    .action(async (raw: readonly string[], flags: PromoteFlags) => {
      const { from, newSuite = false, replace = false } = flags;
      const to = destinationOf(flags);
      const request = { ...flags, suite: from, alsoSuite: to.suite, mayReplace: replace, onlySound: true };
      await runCuration(request, raw, stopSignal(), (inventory, packages) => {
        const plan = planPromotion(inventory, packages, to, { mayReplace: replace, nowMs: systemClock() });
        const isKnown = newSuite || hasSuite(inventory, to.suite);
        const problem = `there is no suite ${to.suite}: --new-suite creates it`;
        return isKnown || packages.length === 0 ? plan : { ...plan, problems: [...plan.problems, problem] };
      });
    });

  withChangeFlags(commands.command("remove"))
    .description("Remove packages from a tree.")
    .argument("<pattern...>", "the packages to remove")
    .option("--suite <name>", "only packages of this suite")
    .addHelpText("after", removeHelp)
    .action(async (raw: readonly string[], flags: ChangeFlags) => {
      await runCuration(flags, raw, stopSignal(), (inventory, packages) => planRemoval(inventory, packages, "remove"));
    });

  withChangeFlags(commands.command("prune"))
    .description("Remove old versions from a tree.")
    .argument("[pattern...]", "the packages to check (default: all)")
    .option("--suite <name>", "only packages of this suite")
    .option("--keep <number>", "how many of the newest versions to keep (default with --older-than: 1)")
    .option(
      "--older-than <days>",
      "only packages linked longer ago than this; --keep, --older-than or both are required",
    )
    .addHelpText("after", pruneHelp)
    .action(async (raw: readonly string[], flags: PruneFlags) => {
      const { keep, olderThan } = flags;
      if (keep === undefined && olderThan === undefined) {
        throw new ConfigurationError(["--keep or --older-than: at least one of them is required"]);
      }
      const ageMs = olderThan === undefined ? 0 : parseCount("--older-than", olderThan) * daySeconds * 1000;
      const retention = {
        keep: keep === undefined ? 1 : parseCount("--keep", keep),
        linkedBeforeMs: systemClock() - ageMs,
      };
      if (retention.keep === 0)
        throw new ConfigurationError(["--keep: must be 1 or more; to remove all versions, use remove"]);
      await runCuration({ ...flags, queriesServer: true }, raw, stopSignal(), (inventory, packages, isAccepted) =>
        planRemoval(
          inventory,
          expiredPackages(packages, inventory.packages.values(), { ...retention, isAccepted }),
          "prune",
        ),
      );
    });
}

function destinationOf({ to, toComponent, toBuilder }: PromoteFlags): Destination {
  return {
    suite: argument("--to", () => parseSuite(to)),
    component: toComponent === undefined ? undefined : argument("--to-component", () => parseComponent(toComponent)),
    builder: toBuilder === undefined ? undefined : argument("--to-builder", () => pathNames(parseTreePath(toBuilder))),
  };
}

function parseCount(flag: string, raw: string): number {
  if (!/^\d{1,6}$/.test(raw)) throw new ConfigurationError([`${flag}: must be a number of at most six digits`]);
  return Number(raw);
}
