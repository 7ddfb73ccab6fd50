// `tahoe-apt reload`: makes the running server take over its changed configuration.
import { resolve } from "node:path";
import type { Command } from "commander";
import { ConfigurationError } from "../config/configuration-error.ts";
import { stateDirectoryIn } from "../config/load-config.ts";
import { ask } from "../server/control-commands.ts";
import { print } from "./shared/terminal.ts";

const help = `
The server reads its configuration again, with every file that it names, and takes it over without dropping a request:
keys, tokens, builders, readers, the settings of suites, added and removed repositories, limits. If anything in it is
wrong, all mistakes are named, and the previous configuration stays in effect. The command ends when the new one is in
effect, and waits up to 30 seconds for publications with changed settings.

listen, state and cache_bytes need a restart; the command names those that have changed.

SIGHUP does the same; the log has the result. The command uses the socket in the state directory, which requires write
access to it. With --state, the server must have been started with the same directory.

Example:
  tahoe-apt reload --config /etc/tahoe-apt.toml

Exit codes: 0 everything is in effect, 1 failed or no server is running, 2 wrong arguments or an invalid configuration,
3 taken over except for keys that need a restart.
`;

const restartNeeded = 3;

interface Flags {
  readonly config?: string;
  readonly state?: string;
  readonly acceptIdentityChange?: boolean;
  readonly json?: boolean;
}

export function addReload(commands: Command): void {
  commands
    .command("reload")
    .description("Make the running server take over its changed configuration.")
    .option("--config <file>", "the server's configuration")
    .option("--state <directory>", "the server's state directory, if it is not the one in the configuration")
    .option(
      "--accept-identity-change",
      "publish even if clients know another Origin, Label, Codename or pin of a suite",
    )
    .option("--json", "print the result as one JSON object")
    .addHelpText("after", help)
    .action(async ({ config, state, acceptIdentityChange, json }: Flags) => {
      if (config === undefined && state === undefined)
        throw new ConfigurationError(["--config or --state: one of them is required"]);
      const directory = state === undefined ? stateDirectoryIn(resolve(config ?? "")) : resolve(state);
      const result = await ask(directory, { ask: "reload", acceptIdentityChange }, []);
      const { changed, restart, repositories } = result;
      if (restart.length > 0) process.exitCode = restartNeeded;
      if (json === true) return await print(JSON.stringify(result));
      const isUnchanged = changed.length + restart.length + repositories.length === 0;
      if (isUnchanged) await print("the configuration has not changed");
      if (changed.length > 0) await print(`in effect: ${changed.join(", ")}`);
      for (const { name, isPublished, problem } of repositories)
        await print(
          `${name}: ${isPublished ? "published with the new settings" : `not published anew yet: ${problem}`}`,
        );
      if (restart.length > 0) await print(`needs a restart: ${restart.join(", ")}`);
    });
}
