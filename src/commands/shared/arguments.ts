// Helpers for option arguments that several commands use.
import type { Command } from "commander";
import { Option } from "commander";
import { messageOf, RepoError } from "../../base/errors.ts";
import { ConfigurationError } from "../../config/configuration-error.ts";

/** Parses an argument. @throws ConfigurationError with the name of the flag if the argument is invalid */
export function argument<T>(flag: string, parse: () => T): T {
  try {
    return parse();
  } catch (thrown) {
    if (!(thrown instanceof RepoError)) throw thrown;
    throw new ConfigurationError([`${flag}: ${messageOf(thrown)}`]);
  }
}

/**
 * Adds a required option. commander's own `requiredOption` looks for missing options before unknown ones, so it would
 * report `--bundel FILE` as a missing `--bundle`.
 */
export function withRequired(
  command: Command,
  flags: string,
  description: string,
  parse?: (raw: string, before?: readonly string[]) => readonly string[],
): Command {
  const option = command.createOption(flags, description);
  if (parse !== undefined) option.argParser(parse);
  return command.addOption(option).hook("preAction", () => {
    if (command.getOptionValue(option.attributeName()) !== undefined) return;
    command.error(`error: required option '${option.flags}' not specified`, {
      code: "commander.missingMandatoryOptionValue",
    });
  });
}

/** The option for the configuration key `gateway_ca_file`. */
export const gatewayCaOption = (): Option =>
  new Option("--gateway-ca-file <file>", "additional certificate authorities for https gateways, in PEM");

/** Parser for a repeatable option. A variadic option would also take the positional arguments that follow it. */
export const repeatable = (raw: string, before: readonly string[] = []): readonly string[] => [...before, raw];
