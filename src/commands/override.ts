// `tahoe-apt override` and `tahoe-apt phase`: what indices say of packages in place of what these say themselves.
import type { Command } from "commander";
import type { OverrideRule } from "../catalog/suite/overrides.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import { ask } from "../server/control-commands.ts";
import type { OperatorFlags } from "./shared/operator-flags.ts";
import { aboutOf, namesOf, stateOf, withOperatorFlags } from "./shared/operator-flags.ts";
import { print, printable } from "./shared/terminal.ts";

const patternHelp = `
PATTERN is NAME, NAME=VERSION, src:NAME (a source package and all that was built from it) or src:NAME=VERSION, each with
* and ?: quote them from the shell.
`;

const operatorHelp = `
These speak to the running server by a socket in its state directory, and end when APT sees the change; where no server
runs, they change what its next start publishes. The rules are kept in overrides.toml in the repository's directory of
the state. Where a [[repository.override]] table of the configuration sets the same field, the command's rule counts.

Exit codes: 0 done, 1 failed or refused, 2 wrong arguments or configuration.
`;

const overrideHelp = `${patternHelp}
Examples:
  tahoe-apt override set hello Section=utils Priority=optional --config /etc/tahoe-apt.toml
  tahoe-apt override set 'src:hello=2.0-*' Bugs=mailto:bugs@example.org --suite sid --config /etc/tahoe-apt.toml
  tahoe-apt override unset hello Priority --config /etc/tahoe-apt.toml
  tahoe-apt override list --config /etc/tahoe-apt.toml
${operatorHelp}`;

const phaseHelp = `${patternHelp}
APT installs a phased update on so many of 100 machines, chosen by each machine's id, and keeps it back on the others. It
decides alike for all packages of a source, so name the source where it has several.

Examples:
  tahoe-apt phase 'src:hello=2.0' --percent 10 --config /etc/tahoe-apt.toml
  tahoe-apt phase 'src:hello=2.0' --percent 100 --config /etc/tahoe-apt.toml      # for everybody
${operatorHelp}`;

const phasedField = "Phased-Update-Percentage";
const everybody = 100;

export function addOverride(commands: Command): void {
  const override = commands
    .command("override")
    .description("Set Section, Priority and other index fields of packages.")
    .addHelpText("after", overrideHelp);

  withOperatorFlags(override.command("list"))
    .description("Show all overrides, those of the configuration first.")
    .action(async (flags: OperatorFlags) => {
      const told = await ask(stateOf(flags), { ask: "overrides", ...aboutOf(flags) }, namesOf(flags));
      if (flags.json) return await print(JSON.stringify(told));
      for (const rule of told.overrides) await print(lineOf(rule));
    });

  withOperatorFlags(override.command("set"))
    .description("Set fields of packages.")
    .argument("<pattern>", "which packages")
    .argument("<field=value...>", "what their index stanzas are to say")
    .action(async (packages: string, raw: readonly string[], flags: OperatorFlags) => {
      await change(packages, Object.fromEntries(raw.map(fieldIn)), flags);
    });

  withOperatorFlags(override.command("unset"))
    .description("Let packages speak for themselves again.")
    .argument("<pattern>", "as it was set")
    .argument("<field...>", "the fields that are no longer set")
    .action(async (packages: string, fields: readonly string[], flags: OperatorFlags) => {
      await change(packages, Object.fromEntries(fields.map((field) => [field, null])), flags);
    });

  withOperatorFlags(commands.command("phase"))
    .description("Offer an update to a part of all machines only.")
    .argument("<pattern>", "which packages")
    .option("--percent <number>", "how many of 100 machines are to install it; 100 ends the phasing")
    .addHelpText("after", phaseHelp)
    .action(async (packages: string, flags: OperatorFlags & { readonly percent?: string }) => {
      const { percent } = flags;
      if (percent === undefined || !/^\d{1,3}$/.test(percent) || Number(percent) > everybody)
        throw new ConfigurationError(["--percent: a whole number from 0 to 100 is needed"]);
      await change(packages, { [phasedField]: Number(percent) === everybody ? null : percent }, flags);
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
  flags: OperatorFlags,
): Promise<void> {
  const asked = { ask: "override", packages, set, ...aboutOf(flags) } as const;
  const told = await ask(stateOf(flags), asked, namesOf(flags));
  if (flags.json) return await print(JSON.stringify(told));
  const { rule, isLive } = told;
  await print(rule === undefined ? `nothing is set for ${printable(packages)} any more` : lineOf(rule));
  if (!isLive) await print("no server runs now: its next start publishes it");
}

const lineOf = ({ packages, suite, set }: OverrideRule): string =>
  printable(
    [packages, suite ?? "(all suites)", ...Object.entries(set).map(([name, value]) => `${name}=${value}`)].join(" "),
  );
