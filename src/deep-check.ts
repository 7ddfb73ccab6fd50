// `tahoe-apt deep-check`: how well the grid holds every object of a tree, with leases renewed and, if asked for, repairs.
import { once } from "node:events";
import type { Command } from "commander";
import type { TreePath } from "./base/names.ts";
import { pathNames, rootPath } from "./base/names.ts";
import { readBundle } from "./builder/bundle.ts";
import type { CheckedObject } from "./catalog/deep-check.ts";
import { deepCheck } from "./catalog/deep-check.ts";
import type { Flags } from "./config.ts";
import { loadConfiguration } from "./config.ts";
import type { Limits } from "./configuration.ts";
import { ConfigurationError, defaultLimits } from "./configuration.ts";
import type { GridTree } from "./open-tree.ts";
import { openGridTree, openHealthCheck } from "./open-tree.ts";
import type { HealthCounts } from "./storage/health.ts";

const exitCodes = { healthy: 0, unchecked: 1, unhealthy: 3, lost: 4 } as const;

/** Objects that are checked at once: a gateway asks every storage server about each. */
const concurrentChecks = 8;

const help = `
Leases are renewed along with each check, so that storage servers that expire them keep the objects. The server does
the same by itself every check_seconds.

Examples:
  tahoe-apt deep-check --config /etc/tahoe-apt.toml
  tahoe-apt deep-check --webapi http://127.0.0.1:3456 --readcap-file debian.readcap --json
  tahoe-apt deep-check --bundle master.bundle --repair      directories are mended with their write caps alone

With --json, each object is a line {"tree", "path", "kind", "state", …} and the last line is {"summary": …}; else only
what is not healthy is told. No cap is printed: a storage index is no authority.

Exit codes: 0 all is healthy (now), 1 something could not be checked, 2 wrong arguments or configuration,
3 something has too few shares, 4 something can't be read any more.
`;

interface DeepCheckFlags extends Pick<Flags, "config" | "webapi" | "readcapFile"> {
  readonly bundle?: string;
  readonly verify?: boolean;
  readonly repair?: boolean;
  readonly json?: boolean;
}

/** One directory to be checked, with all below it. */
interface Subject {
  readonly name: string;
  /** Where it stands in its tree. */
  readonly at: TreePath;
  readonly tree: GridTree;
  readonly limits: Limits;
}

/** @param untilTold a signal that is aborted when this process is told to stop */
export function addDeepCheck(commands: Command, untilTold: () => AbortSignal): void {
  commands
    .command("deep-check")
    .description("Check the health of every object of a tree, and renew the leases on all.")
    .option("--config <file>", "check the repositories of a server's configuration")
    .option("--webapi <url...>", "the Tahoe gateway; several stand in for each other")
    .option("--readcap-file <file>", "the file that holds the tree's read cap")
    .option("--bundle <file>", "check what a bundle's write caps open, in place of a read cap")
    .option("--verify", "read every share whole, to find those whose bytes have changed")
    .option("--repair", "make missing shares anew: of files with any cap, of directories with a write cap")
    .option("--json", "print a line of JSON for each object and one for the whole")
    .addHelpText("after", help)
    .action(async (flags: DeepCheckFlags) => {
      process.exitCode = await run(flags, await subjectsOf(flags), untilTold());
    });
}

async function run(flags: DeepCheckFlags, subjects: readonly Subject[], signal: AbortSignal): Promise<number> {
  const { verify = false, repair = false, json = false } = flags;
  let worst: number = exitCodes.healthy;
  for (const { name, at, tree, limits } of subjects) {
    const counts = await deepCheck(
      {
        tree: openGridTree(tree, limits),
        health: openHealthCheck(tree, limits),
        options: { verify, repair },
        concurrency: concurrentChecks,
        async tell(object) {
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

async function subjectsOf({ bundle: file, config, webapi, readcapFile }: DeepCheckFlags): Promise<readonly Subject[]> {
  if (file === undefined) {
    const { repositories, limits } = loadConfiguration({
      ...(config !== undefined && { config }),
      ...(webapi !== undefined && { webapi }),
      ...(readcapFile !== undefined && { readcapFile }),
    });
    return repositories.flatMap(({ name, tree }) =>
      tree.kind === "folder"
        ? []
        : [{ name, at: rootPath, tree: { gateways: tree.gateways, cap: tree.readCap }, limits }],
    );
  }
  if ([config, webapi, readcapFile].some((flag) => flag !== undefined)) {
    throw new ConfigurationError(["--bundle: holds all that is needed; nothing else goes with it"]);
  }
  const { name, gateways, directories } = await readBundle(file, (text) => process.stderr.write(`${text}\n`));
  return directories.map(({ path, cap }) => ({ name, at: path, tree: { gateways, cap }, limits: defaultLimits }));
}

function exitCodeOf({ lost, unhealthy, unchecked }: HealthCounts): number {
  if (lost > 0) return exitCodes.lost;
  if (unhealthy > 0) return exitCodes.unhealthy;
  return unchecked > 0 ? exitCodes.unchecked : exitCodes.healthy;
}

function lineOf(path: string, { health, kind }: CheckedObject): string {
  const what = `${kind} ${path === "" ? "(the root)" : printable(path)}`;
  if (health.state === "unchecked") return `unchecked: ${what}: ${printable(health.why)}`;
  const { good, expected, needed } = health.shares ?? { good: 0, expected: 0, needed: 0 };
  const state = health.repaired ? "repaired" : health.state;
  return `${state}: ${what}: ${good} of ${expected} shares, ${needed} needed; storage index ${health.storageIndex}`;
}

const summaryOf = (name: string, counts: HealthCounts): string =>
  `${name}: ${counts.healthy} healthy (${counts.repaired} of them repaired now), ${counts.unhealthy} unhealthy, ` +
  `${counts.lost} lost, ${counts.unchecked} unchecked; the leases of ${counts.renewed} renewed`;

/** Names are their uploaders' words: what a terminal would act on is spelt out. */
const printable = (text: string): string =>
  text.replace(/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu, (odd) => `\\u{${odd.codePointAt(0)?.toString(16)}}`);

/** Waits where the reader is slower than the check. */
async function print(line: string): Promise<void> {
  if (!process.stdout.write(`${line}\n`)) await once(process.stdout, "drain");
}
