// `tahoe-apt view`: what the views of a configuration would hide and show, before a server is started with them.
import type { Command } from "commander";
import { ConfigurationError } from "../config/configuration-error.ts";
import { loadConfiguration } from "../config/load-config.ts";
import { ask } from "../server/control-commands.ts";
import { withRequired } from "./shared/arguments.ts";
import { print } from "./shared/terminal.ts";

const help = `
The running server knows what its tree holds; it is asked what the views in the file would hide of what it shows now,
and what they would show again. Nothing is changed: a server takes its views from the file when it starts.

Examples:
  tahoe-apt view --config /etc/tahoe-apt.toml
  tahoe-apt view --config new.toml --suite sid --json | jq -r '.hides[].package'

With --json, each suite is a line {"repository", "suite", "hides", "shows", "stays"}.

Exit codes: 0 told, 1 failed (no server runs), 2 wrong arguments or configuration.
`;

interface ViewFlags {
  readonly config: string;
  readonly repository?: string;
  readonly suite?: string;
  readonly json?: boolean;
}

export function addView(commands: Command): void {
  const command = commands.command("view").description("Show what the views of a configuration would hide and show.");
  withRequired(command, "--config <file>", "the configuration, perhaps not yet in use")
    .option("--dry-run", "has no effect: this command never changes anything")
    .option("--repository <name>", "only of this repository")
    .option("--suite <name>", "only of this suite")
    .option("--json", "print a line of JSON for each suite")
    .addHelpText("after", help)
    .action(async ({ config, repository, suite, json }: ViewFlags) => {
      const { stateDirectory, repositories } = loadConfiguration({ config });
      const named = repositories.filter(({ name }) => repository === undefined || repository === name);
      if (named.length === 0) throw new ConfigurationError([`--repository: ${config} has none called ${repository}`]);
      let isThere = suite === undefined;
      for (const { name, suites } of named) {
        const views = Object.fromEntries([...suites].flatMap(([each, { view }]) => (view ? [[each, view]] : [])));
        const told = await ask(stateDirectory, { ask: "view", views, repository: name, suite }, []);
        isThere ||= told.length > 0;
        for (const difference of told) {
          if (json) await print(JSON.stringify({ repository: name, ...difference }));
          else await tell(name, difference);
        }
      }
      if (!isThere) throw new ConfigurationError([`--suite: there is no suite ${suite}`]);
    });
}

interface Difference {
  readonly suite: string;
  readonly hides: readonly Shown[];
  readonly shows: readonly Shown[];
  readonly stays: number;
}

interface Shown {
  readonly component: string;
  readonly package: string;
  readonly version: string;
  readonly architecture: string;
}

async function tell(repository: string, { suite, hides, shows, stays }: Difference): Promise<void> {
  const line = (verb: string, one: Shown) =>
    `${verb} ${suite} ${one.component} ${one.package} ${one.version} ${one.architecture}`;
  for (const one of hides) await print(line("hide", one));
  for (const one of shows) await print(line("show", one));
  await print(`${repository} ${suite}: ${hides.length} to hide, ${shows.length} to show, ${stays} stay as they are`);
}
