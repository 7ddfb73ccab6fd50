// Options of commands that control a running server or, if none is running, change the state for its next start.
import { resolve } from "node:path";
import type { Command } from "commander";
import type { RepositoryName } from "../../base/names.ts";
import { ConfigurationError } from "../../config/configuration-error.ts";
import { loadConfiguration } from "../../config/load-config.ts";

export interface ControlFlags {
  readonly config?: string;
  readonly state?: string;
  readonly repository?: string;
  readonly suite?: string;
  readonly json?: boolean;
}

export const withControlFlags = (command: Command): Command =>
  command
    .option("--config <file>", "the server's configuration")
    .option("--state <directory>", "the server's state directory, if it has no configuration file")
    .option("--repository <name>", "the repository, if there are several")
    .option("--suite <name>", "the suite, if there are several")
    .option("--json", "print the result as one JSON object");

export const selectionOf = ({ repository, suite }: ControlFlags) => ({ repository, suite });

export function stateDirectoryOf({ config, state }: ControlFlags): string {
  if (config === undefined && state === undefined)
    throw new ConfigurationError(["--config or --state: one of them is required"]);
  return state === undefined ? loadConfiguration({ ...(config && { config }) }).stateDirectory : resolve(state);
}

export function repositoryNamesOf({ config }: ControlFlags): readonly RepositoryName[] {
  return config === undefined ? [] : loadConfiguration({ config }).repositories.map(({ name }) => name);
}
