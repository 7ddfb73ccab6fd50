// What several commands do with what follows a flag.
import type { Command } from "commander";
import { Option } from "commander";
import { messageOf, RepoError } from "../../base/errors.ts";
import { ConfigurationError } from "../../config/configuration-error.ts";

/** @throws ConfigurationError that names the flag, for an argument that can't be parsed */
export function argument<T>(flag: string, parse: () => T): T {
  try {
    return parse();
  } catch (thrown) {
    if (!(thrown instanceof RepoError)) throw thrown;
    throw new ConfigurationError([`${flag}: ${messageOf(thrown)}`]);
  }
}

/**
 * Adds an option that must be given. commander's own `requiredOption` looks for missing options before unknown ones, and
 * so reports `--bundel FILE` as a missing `--bundle`.
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

/** @see Configuration's `gateway_ca_file` */
export const gatewayCaOption = (): Option =>
  new Option("--gateway-ca-file <file>", "in PEM, the certificate of your own authority for https gateways");

/** For a flag that may be repeated. Not variadic: a positional argument behind it would be taken for one more. */
export const another = (raw: string, before: readonly string[] = []): readonly string[] => [...before, raw];
