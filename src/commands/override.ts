// `tahoe-apt override` and `tahoe-apt phase`: set index fields of packages.
import type { Command } from "commander";
import type { OverrideRule } from "../catalog/suite/overrides.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import { ask } from "../server/control-commands.ts";
import type { ControlFlags } from "./shared/control-flags.ts";
import { repositoryNamesOf, selectionOf, stateDirectoryOf, withControlFlags } from "./shared/control-flags.ts";
import { print, printable } from "./shared/terminal.ts";

const patternHelp = `
PATTERN is NAME, NAME=VERSION, src:NAME (a source package and everything built from it) or src:NAME=VERSION, with the
wildcards * and ?: quote them to protect them from the shell.
`;

const controlHelp = `
These commands use a socket in the state directory of the running server, and finish when APT sees the change. If no
server is running, the change takes effect at its next start. The rules are stored in overrides.toml in the state
directory of the repository. They have priority over [[repository.override]] tables of the configuration.

Exit codes: 0 done, 1 failed or refused, 2 wrong arguments or configuration.
`;

const overrideHelp = `${patternHelp}
Examples:
  tahoe-apt override set hello Section=utils Priority=optional --config /etc/tahoe-apt.toml
  tahoe-apt override set 'src:hello=2.0-*' Bugs=mailto:bugs@example.org --suite sid --config /etc/tahoe-apt.toml
  tahoe-apt override unset hello Priority --config /etc/tahoe-apt.toml
  tahoe-apt override list --config /etc/tahoe-apt.toml
${controlHelp}`;

const phaseHelp = `${patternHelp}
APT installs a phased update on the given percentage of machines, selected by machine id, and keeps it back on the
others. It decides equally for all packages of a source, so use src:NAME for a source with several packages.

Examples:
  tahoe-apt phase 'src:hello=2.0' --percent 10 --config /etc/tahoe-apt.toml
  tahoe-apt phase 'src:hello=2.0' --percent 100 --config /etc/tahoe-apt.toml      # for everybody
${controlHelp}`;

const phasedField = "Phased-Update-Percentage";
const allMachines = 100;

export function addOverride(commands: Command): void {
  const override = commands
    .command("override")
    .description("Set Section, Priority and other index fields of packages.")
    .addHelpText("after", overrideHelp);

  withControlFlags(override.command("list"))
    .description("Show all overrides, those of the configuration first.")
    .action(async (flags: ControlFlags) => {
      const response = await ask(
        stateDirectoryOf(flags),
        { ask: "overrides", ...selectionOf(flags) },
        repositoryNamesOf(flags),
      );
      if (flags.json) return await print(JSON.stringify(response));
      for (const rule of response.overrides) await print(lineOf(rule));
    });

  withControlFlags(override.command("set"))
    .description("Set fields of packages.")
    .argument("<pattern>", "the packages")
    .argument("<field=value...>", "the fields of their index stanzas")
    .action(async (packages: string, raw: readonly string[], flags: ControlFlags) => {
      await change(packages, Object.fromEntries(raw.map(fieldIn)), flags);
    });

  withControlFlags(override.command("unset"))
    .description("Remove overrides: use the packages' own fields again.")
    .argument("<pattern>", "the pattern of the override")
    .argument("<field...>", "the fields to unset")
    .action(async (packages: string, fields: readonly string[], flags: ControlFlags) => {
      await change(packages, Object.fromEntries(fields.map((field) => [field, null])), flags);
    });

  withControlFlags(commands.command("phase"))
    .description("Offer an update only to a percentage of machines.")
    .argument("<pattern>", "the packages")
    .option("--percent <number>", "the percentage of machines that install it; 100 ends the phasing")
    .addHelpText("after", phaseHelp)
    .action(async (packages: string, flags: ControlFlags & { readonly percent?: string }) => {
      const { percent } = flags;
      if (percent === undefined || !/^\d{1,3}$/.test(percent) || Number(percent) > allMachines)
        throw new ConfigurationError(["--percent: must be a whole number from 0 to 100"]);
      await change(packages, { [phasedField]: Number(percent) === allMachines ? null : percent }, flags);
    });
}

/** @throws ConfigurationError */
function fieldIn(raw: string): readonly [name: string, value: string] {
  const [, name, value] = /^([^=]+)=(.+)$/s.exec(raw) ?? [];
  if (name === undefined || value === undefined)
    throw new ConfigurationError([`${JSON.stringify(raw.slice(0, 80))} is not FIELD=VALUE`]);
  return [name, value];
}

async function change(
  packages: string,
  set: { readonly [field: string]: string | null },
  flags: ControlFlags,
): Promise<void> {
  const request = { ask: "override", packages, set, ...selectionOf(flags) } as const;
  const response = await ask(stateDirectoryOf(flags), request, repositoryNamesOf(flags));
  if (flags.json) return await print(JSON.stringify(response));
  const { rule, isLive } = response;
  await print(rule === undefined ? `no override is left for ${printable(packages)}` : lineOf(rule));
  if (!isLive) await print("no server is running: its next start publishes the change");
}

const lineOf = ({ packages, suite, set }: OverrideRule): string =>
  printable(
    [packages, suite ?? "(all suites)", ...Object.entries(set).map(([name, value]) => `${name}=${value}`)].join(" "),
  );
