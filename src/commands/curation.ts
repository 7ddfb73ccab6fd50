// `tahoe-apt promote`, `remove` and `prune`: changes of a tree that copy no byte.
import type { Command } from "commander";
import { systemClock } from "../base/clock.ts";
import { parseComponent, parseSuite, parseTreePath, pathNames } from "../base/names.ts";
import type { Destination } from "../client/curation/curation-plan.ts";
import { expired, planPromotion, planRemoval } from "../client/curation/curation-plan.ts";
import { hasSuite } from "../client/curation/inventory.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import { argument, withRequired } from "./shared/arguments.ts";
import type { ChangeFlags } from "./shared/run-curation.ts";
import { patternHelp, runCuration, withChangeFlags } from "./shared/run-curation.ts";

const daySeconds = 24 * 3600;

const outcomeHelp = `
Each change is a line in the file audit.NUMBER.jsonl of the directory that is changed. After an interruption the same
command finishes what is left.

With --json one object is printed whatever happens; at exit codes 1 and 2 it is {"status": "failed", "exitCode",
"linked", "code", "errors"}, where "linked" tells whether the changes are made: "none", "all", or "unknown" where the
failure came in between.

Exit codes: 0 done or nothing to do, 1 failed, 2 wrong arguments or bundle, 3 something speaks against it and nothing
was changed, 4 changed, and not yet live when --timeout had passed.
`;

const promoteHelp = `${patternHelp}
Links are set in one write per directory; no byte is copied. A source package goes with all its files.

Examples:
  tahoe-apt promote --bundle master.bundle --from sid --to stable src:hello
  tahoe-apt promote --bundle master.bundle --from sid --to stable --dry-run '*'
  tahoe-apt promote --bundle master.bundle --from sid --builder alice --to sid --to-builder release hello=2.0-1
${outcomeHelp}`;

const removeHelp = `${patternHelp}
Each file is a write of its directory, because Tahoe's gateway takes no more at once. What a publication named stays
readable for the server's keep_seconds.

Examples:
  tahoe-apt remove --bundle alice.bundle hello=1.0-1
  tahoe-apt remove --bundle master.bundle --suite sid --dry-run 'src:hello'
${outcomeHelp}`;

const pruneHelp = `${patternHelp}
Versions are counted by suite, component, name and architecture, in Debian's order. A source package stays as long as
anything that was built from it does. What the server rejects counts for no version, so it is asked first; where the
bundle has no ping, the tree alone tells what is sound.

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

/** @param untilTold a signal that is aborted when this process is told to stop */
export function addCuration(commands: Command, untilTold: () => AbortSignal): void {
  const promote = withChangeFlags(commands.command("promote"))
    .description("Let packages be in another suite, component or builder's directory too.")
    .argument("<pattern...>", "what to promote");
  withRequired(promote, "--from <suite>", "the suite that they are in");
  withRequired(promote, "--to <suite>", "the suite that they are to be in")
    .option("--to-component <name>", "the component that they are to be in (default: the same)")
    .option("--to-builder <directory>", "the directory below the place (default: the same)")
    .option("--new-suite", "allow for a suite that is not there yet")
    .option("--replace", "let a file take the place of one with the same name and other bytes")
    .addHelpText("after", promoteHelp)
    .action(async (raw: readonly string[], flags: PromoteFlags) => {
      const { from, newSuite = false, replace = false } = flags;
      const to = destinationOf(flags);
      const asked = { ...flags, suite: from, alsoSuite: to.suite, mayReplace: replace, onlySound: true };
      await runCuration(asked, raw, untilTold(), (stock, packages) => {
        const plan = planPromotion(stock, packages, to, { mayReplace: replace, nowMs: systemClock() });
        const known = newSuite || hasSuite(stock, to.suite);
        const problem = `there is no suite ${to.suite}: --new-suite makes it`;
        return known || packages.length === 0 ? plan : { ...plan, problems: [...plan.problems, problem] };
      });
    });

  withChangeFlags(commands.command("remove"))
    .description("Take packages out of a tree.")
    .argument("<pattern...>", "what to remove")
    .option("--suite <name>", "only of this suite")
    .addHelpText("after", removeHelp)
    .action(async (raw: readonly string[], flags: ChangeFlags) => {
      await runCuration(flags, raw, untilTold(), (stock, packages) => planRemoval(stock, packages, "remove"));
    });

  withChangeFlags(commands.command("prune"))
    .description("Take old versions out of a tree.")
    .argument("[pattern...]", "what to look at (default: everything)")
    .option("--suite <name>", "only of this suite")
    .option("--keep <number>", "how many of the newest versions stay; 1 where only --older-than is given")
    .option("--older-than <days>", "only what was linked longer ago than this; --keep, --older-than or both are needed")
    .addHelpText("after", pruneHelp)
    .action(async (raw: readonly string[], flags: PruneFlags) => {
      const { keep, olderThan } = flags;
      if (keep === undefined && olderThan === undefined) {
        throw new ConfigurationError(["--keep: is missing, and so is --older-than; one of them is needed"]);
      }
      const ageMs = olderThan === undefined ? 0 : count("--older-than", olderThan) * daySeconds * 1000;
      const retention = { keep: keep === undefined ? 1 : count("--keep", keep), linkedBeforeMs: systemClock() - ageMs };
      if (retention.keep === 0) throw new ConfigurationError(["--keep: is 1 or more; to let all go, use remove"]);
      await runCuration({ ...flags, asksServer: true }, raw, untilTold(), (stock, packages, isAccepted) =>
        planRemoval(stock, expired(packages, stock.packages.values(), { ...retention, isAccepted }), "prune"),
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

function count(flag: string, raw: string): number {
  if (!/^\d{1,6}$/.test(raw)) throw new ConfigurationError([`${flag}: is a number of at most six digits`]);
  return Number(raw);
}
