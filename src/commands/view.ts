// `tahoe-apt view`: previews which packages the views of a configuration would hide and show.
import type { Command } from "commander";
import { ConfigurationError } from "../config/configuration-error.ts";
import { loadConfiguration } from "../config/load-config.ts";
import { ask } from "../server/control-commands.ts";
import { withRequired } from "./shared/arguments.ts";
import { print } from "./shared/terminal.ts";

const help = `
The running server compares the views in the file with its present ones, and reports which packages the new views would
hide and which they would show again. Nothing is changed: a server reads its views from the file when it starts.

Examples:
  tahoe-apt view --config /etc/tahoe-apt.toml
  tahoe-apt view --config new.toml --suite sid --json | jq -r '.hides[].package'

With --json, each suite is a line {"repository", "suite", "hides", "shows", "stays"}.

Exit codes: 0 done, 1 failed (no server is running), 2 wrong arguments or configuration.
`;

interface ViewFlags {
  readonly config: string;
  readonly repository?: string;
  readonly suite?: string;
  readonly json?: boolean;
}

export function addView(commands: Command): void {
  const command = commands
    .command("view")
    .description("Show which packages the filters (views) of a configuration would hide and show.");
  withRequired(command, "--config <file>", "the configuration, which need not be in use yet")
    .option("--dry-run", "has no effect: this command never changes anything")
    .option("--repository <name>", "only this repository")
    .option("--suite <name>", "only this suite")
    .option("--json", "print a line of JSON for each suite")
    .addHelpText("after", help)
    .action(async ({ config, repository, suite, json }: ViewFlags) => {
      const { stateDirectory, repositories } = loadConfiguration({ config });
      const named = repositories.filter(({ name }) => repository === undefined || repository === name);
      if (named.length === 0) throw new ConfigurationError([`--repository: ${config} has no repository ${repository}`]);
      let isFound = suite === undefined;
      for (const { name, suites } of named) {
        const views = Object.fromEntries([...suites].flatMap(([each, { view }]) => (view ? [[each, view]] : [])));
        const differences = await ask(stateDirectory, { ask: "view", views, repository: name, suite }, []);
        isFound ||= differences.length > 0;
        for (const difference of differences) {
          if (json) await print(JSON.stringify({ repository: name, ...difference }));
          else await printDifference(name, difference);
        }
      }
      if (!isFound) throw new ConfigurationError([`--suite: there is no suite ${suite}`]);
    });
}

interface Difference {
  readonly suite: string;
  readonly hides: readonly ListedPackage[];
  readonly shows: readonly ListedPackage[];
  readonly stays: number;
}

interface ListedPackage {
  readonly component: string;
  readonly package: string;
  readonly version: string;
  readonly architecture: string;
}

async function printDifference(repository: string, { suite, hides, shows, stays }: Difference): Promise<void> {
  const line = (verb: string, each: ListedPackage) =>
    `${verb} ${suite} ${each.component} ${each.package} ${each.version} ${each.architecture}`;
  for (const each of hides) await print(line("hide", each));
  for (const each of shows) await print(line("show", each));
  await print(`${repository} ${suite}: ${hides.length} to hide, ${shows.length} to show, ${stays} stay as they are`);
}
