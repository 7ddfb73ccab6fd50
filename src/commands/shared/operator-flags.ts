// The flags of commands that speak to a running server, or, where none runs, change the state for its next start.
import { resolve } from "node:path";
import type { Command } from "commander";
import type { RepositoryName } from "../../base/names.ts";
import { ConfigurationError } from "../../config/configuration-error.ts";
import { loadConfiguration } from "../../config/load-config.ts";

export interface OperatorFlags {
  readonly config?: string;
  readonly state?: string;
  readonly repository?: string;
  readonly suite?: string;
  readonly json?: boolean;
}

export const withOperatorFlags = (command: Command): Command =>
  command
    .option("--config <file>", "the server's configuration")
    .option("--state <directory>", "its state directory, where it has no such file")
    .option("--repository <name>", "where there are several")
    .option("--suite <name>", "likewise")
    .option("--json", "print the answer as one JSON object");

export const aboutOf = ({ repository, suite }: OperatorFlags) => ({ repository, suite });

export function stateOf({ config, state }: OperatorFlags): string {
  if (config === undefined && state === undefined) throw new ConfigurationError(["--config or --state: is needed"]);
  return state === undefined ? loadConfiguration({ ...(config && { config }) }).stateDirectory : resolve(state);
}

export function namesOf({ config }: OperatorFlags): readonly RepositoryName[] {
  return config === undefined ? [] : loadConfiguration({ config }).repositories.map(({ name }) => name);
}
