// `tahoe-apt deep-check`: checks the health of every object of a tree, renews leases, and repairs objects on request.
import type { Command } from "commander";
import { pathNames } from "../base/names.ts";
import type { CheckedObject } from "../health/deep-check.ts";
import { deepCheck } from "../health/deep-check.ts";
import { openGridTree, openHealthCheck } from "../server/open-tree.ts";
import type { HealthCounts } from "../storage/health.ts";
import type { ChosenTree, TreeFlags } from "./shared/chosen-trees.ts";
import { chosenTrees, withTreeFlags } from "./shared/chosen-trees.ts";
import { print, printable } from "./shared/terminal.ts";

const exitCodes = { healthy: 0, unchecked: 1, unhealthy: 3, lost: 4 } as const;

/** How many objects are checked at once. For each object, the gateway queries every storage server. */
const concurrentChecks = 8;

const help = `
Each check also renews leases, so that storage servers with lease expiration keep the objects. A running server does
the same every check_seconds.

Examples:
  tahoe-apt deep-check --config /etc/tahoe-apt.toml
  tahoe-apt deep-check --webapi http://127.0.0.1:3456 --readcap-file debian.readcap --json
  tahoe-apt deep-check --bundle master.bundle --repair      directories can only be repaired with their write caps

With --json, each object is a line {"tree", "path", "kind", "state", …} and the last line is {"summary": …}; without
it, only unhealthy objects are shown. No caps are printed: a storage index gives no access.

Exit codes: 0 all objects are healthy (perhaps after repair), 1 some could not be checked, 2 wrong arguments or
configuration, 3 some have too few shares, 4 some can no longer be read.
`;

interface DeepCheckFlags extends TreeFlags {
  readonly verify?: boolean;
  readonly repair?: boolean;
  readonly json?: boolean;
}

/** @param stopSignal returns a signal that is aborted when the process must stop */
export function addDeepCheck(commands: Command, stopSignal: () => AbortSignal): void {
  withTreeFlags(commands.command("deep-check"))
    .description("Check the health of every object of a tree, and renew all leases.")
    .option("--verify", "read every share completely, to find corrupt ones")
    .option("--repair", "recreate missing shares: of files with any cap, of directories with a write cap")
    .option("--json", "print a line of JSON for each object, and a summary")
    .addHelpText("after", help)
    .action(async (flags: DeepCheckFlags) => {
      const signal = stopSignal();
      process.exitCode = await run(flags, await chosenTrees(flags, signal), signal);
    });
}

async function run(flags: DeepCheckFlags, trees: readonly ChosenTree[], signal: AbortSignal): Promise<number> {
  const { verify = false, repair = false, json = false } = flags;
  let worst: number = exitCodes.healthy;
  for (const { name, at, tree, limits } of trees) {
    const counts = await deepCheck(
      {
        tree: openGridTree(tree, limits),
        health: openHealthCheck(tree, limits),
        options: { verify, repair },
        concurrency: concurrentChecks,
        async onChecked(object) {
          const path = [...pathNames(at), ...pathNames(object.path)].join("/");
          if (json) await print(JSON.stringify({ tree: name, path, kind: object.kind, ...object.health }));
          else if (object.health.state !== "healthy" || object.health.repaired) await print(lineOf(path, object));
        },
      },
      signal,
    );
    await print(json ? JSON.stringify({ summary: { tree: name, ...counts } }) : summaryOf(name, counts));
    worst = Math.max(worst, exitCodeOf(counts));
  }
  return worst;
}

function exitCodeOf({ lost, unhealthy, unchecked }: HealthCounts): number {
  if (lost > 0) return exitCodes.lost;
  if (unhealthy > 0) return exitCodes.unhealthy;
  return unchecked > 0 ? exitCodes.unchecked : exitCodes.healthy;
}

function lineOf(path: string, { health, kind }: CheckedObject): string {
  const description = `${kind} ${path === "" ? "(the root)" : printable(path)}`;
  if (health.state === "unchecked") return `unchecked: ${description}: ${printable(health.why)}`;
  const { good, expected, needed } = health.shares ?? { good: 0, expected: 0, needed: 0 };
  const state = health.repaired ? "repaired" : health.state;
  return `${state}: ${description}: ${good} of ${expected} shares, ${needed} needed; storage index ${health.storageIndex}`;
}

const summaryOf = (name: string, counts: HealthCounts): string =>
  `${name}: ${counts.healthy} healthy (${counts.repaired} of them repaired now), ${counts.unhealthy} unhealthy, ` +
  `${counts.lost} lost, ${counts.unchecked} unchecked; the leases of ${counts.renewed} renewed`;
