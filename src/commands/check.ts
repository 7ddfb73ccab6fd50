// `tahoe-apt check`: validates a configuration before a server starts or reloads with it.
import { resolve } from "node:path";
import type { Command } from "commander";
import { ConfigurationError } from "../config/configuration-error.ts";
import { loadConfigurationParts } from "../config/load-config.ts";
import { checkFiles, checkOnline } from "../server/check-configuration.ts";
import { print, printable } from "./shared/terminal.ts";

const help = `
All mistakes are named at once, each with its key and what to do: unknown keys and wrong values, files that cannot be
read, signing keys that APT would reject, passphrases that do not open them, directories that cannot be written. Secrets
that others can read, weak tokens and keys that expire soon are warnings. What a line names that is not valid TOML is
unknown: check again when it is corrected. Nothing is changed, and no secret is printed.
Run it as the user that runs the server.

--online also asks each gateway for the tree, opens the directories of publish_bundle_file, and asks public_url whether
a server answers there, once there is no other mistake.

Example:
  tahoe-apt check /etc/tahoe-apt/tahoe-apt.toml && tahoe-apt reload --config /etc/tahoe-apt/tahoe-apt.toml

Exit codes: 0 valid, maybe with warnings, 1 something cannot be reached, 2 wrong arguments or an invalid configuration.
`;

interface Flags {
  readonly online?: boolean;
  readonly json?: boolean;
}

export function addCheck(commands: Command): void {
  commands
    .command("check")
    .description("Check a configuration file, and everything that it names.")
    .argument("<file>", "the configuration of a server")
    .option("--online", "also check that gateways, directories and public_url can be reached")
    .option("--json", "print the result as one JSON object")
    .addHelpText("after", help)
    .action(async (file: string, { online = false, json = false }: Flags) => {
      const { exitCode, mistakes, warnings } = await check(resolve(file), online);
      process.exitCode = exitCode;
      if (json) {
        const failed = { status: "failed", exitCode, code: codes[exitCode], errors: mistakes };
        return await print(JSON.stringify({ ...(exitCode === 0 ? { status: "valid" } : failed), warnings }));
      }
      for (const mistake of mistakes) await print(printable(`error: ${mistake}`));
      for (const warning of warnings) await print(printable(`warning: ${warning}`));
      if (exitCode === 0) await print(`${file} is valid`);
    });
}

const codes = { 0: undefined, 1: "storage/unavailable", 2: "configuration/invalid" } as const;

interface Result {
  readonly exitCode: keyof typeof codes;
  readonly mistakes: readonly string[];
  readonly warnings: readonly string[];
}

async function check(config: string, online: boolean): Promise<Result> {
  try {
    const checked = loadConfigurationParts(config);
    const { valid } = checked;
    const ofFiles = valid === undefined ? { mistakes: [], warnings: [] } : await checkFiles(valid, checked.isLeftOut);
    const mistakes = [...checked.mistakes, ...ofFiles.mistakes];
    const warnings = [...new Set(ofFiles.warnings)];
    if (mistakes.length > 0 || valid === undefined) return { exitCode: 2, mistakes, warnings };
    const unreachable = online ? await checkOnline(valid) : [];
    return { exitCode: unreachable.length > 0 ? 1 : 0, mistakes: unreachable, warnings };
  } catch (thrown) {
    if (!(thrown instanceof ConfigurationError)) throw thrown;
    return { exitCode: 2, mistakes: thrown.mistakes, warnings: [] };
  }
}
