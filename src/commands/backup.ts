// `tahoe-apt backup` and `tahoe-apt restore`: everything that a server has and its tree does not, in one file.
import { resolve } from "node:path";
import type { Command } from "commander";
import { httpDate } from "../base/clock.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import { loadConfiguration } from "../config/load-config.ts";
import { makeBackup } from "../server/backup.ts";
import { restoreBackup } from "../server/restore.ts";
import { print, printable } from "./shared/terminal.ts";

const backupHelp = `
FILE is a secret: it contains signing keys, tokens and read caps. It is created with mode 0600, complete or not at all,
and an existing file is never replaced. It contains:
  - the configuration, and every file that it names (secrets, keys, certificates, builders);
  - signing keys and tokens that the server made, and the overrides of tahoe-apt override and phase;
  - the last Date of each suite, pins, rollbacks and the publications that they hold, the first owners of names.
It does not contain what the tree gives back (inspections, other publications, caches), nor any package.

The command works beside a running server, through the socket in its state directory, and without one.

Examples:
  tahoe-apt backup /root/tahoe-apt-2026-11-29.backup --config /etc/tahoe-apt.toml
  tahoe-apt backup server.backup --state /var/lib/tahoe-apt

Exit codes: 0 done, 1 failed or refused, 2 wrong arguments or configuration.
`;

const restoreHelp = `
The whole file is checked first. Then the configuration is written where it was, or to the file that --config names,
the files that it names to where it names them, and the state into the directory that it names, or into that of --state.
Nothing is replaced without --force. After an interruption, repeat the command: no server starts with a state that is
only half restored.

All Dates will be later than the time of the restore, less a few seconds, so that clients never see an older one.

Example:
  tahoe-apt restore /root/tahoe-apt-2026-11-29.backup
  tahoe-apt serve --config /etc/tahoe-apt.toml

Exit codes: 0 done, 1 failed or refused, 2 wrong arguments.
`;

interface BackupFlags {
  readonly config?: string;
  readonly state?: string;
  readonly json?: boolean;
}

export function addBackup(commands: Command): void {
  commands
    .command("backup")
    .description("Write what only this server has into one file: keys, Dates, pins, configuration.")
    .argument("<file>", "the file to create")
    .option("--config <file>", "the server's configuration")
    .option("--state <directory>", "the server's state directory, if the configuration does not name it")
    .option("--json", "print the result as one JSON object")
    .addHelpText("after", backupHelp)
    .action(backUp);
  commands
    .command("restore")
    .description("Restore a backup into an empty state directory.")
    .argument("<file>", "the backup")
    .option("--config <file>", "where the configuration goes (default: where it was)")
    .option("--state <directory>", "where the state goes (default: the directory that the configuration names)")
    .option("--force", "replace existing files, and set an existing state aside")
    .option("--json", "print the result as one JSON object")
    .addHelpText("after", restoreHelp)
    .action(restore);
}

async function backUp(name: string, { config, state, json }: BackupFlags): Promise<void> {
  if (config === undefined && state === undefined)
    throw new ConfigurationError(["--config or --state: one of them is required"]);
  if (name === "-") throw new ConfigurationError(["a backup is a secret: name a file, not standard output"]);
  const stateDirectory = state === undefined ? loadConfiguration({ config }).stateDirectory : resolve(state);
  const summary = await makeBackup({
    file: resolve(name),
    configurationFile: config === undefined ? undefined : resolve(config),
    stateDirectory,
    isStateConfigured: state === undefined,
  });
  if (json) return await print(JSON.stringify(summary));
  const { file, sizeBytes, repositories, configurationFiles, stateFiles, dates, pins } = summary;
  await print(`${file}: ${sizeBytes} bytes, readable only by you. It is a secret: keep it like a signing key.`);
  await print(`repositories: ${repositories.join(", ") || "none"}`);
  await print(
    configurationFiles === 0
      ? "configuration: none, because --config was not given"
      : `configuration: ${configurationFiles} files`,
  );
  await print(`state: ${stateFiles} files, ${Object.keys(dates).length} last Dates, ${pins} pins`);
}

async function restore(
  name: string,
  { config, state, force = false, json }: BackupFlags & { readonly force?: boolean },
): Promise<void> {
  const summary = await restoreBackup({
    file: resolve(name),
    configurationFile: config === undefined ? undefined : resolve(config),
    stateDirectory: state === undefined ? undefined : resolve(state),
    force,
  });
  if (json) return await print(JSON.stringify(summary));
  const { madeBy, madeAtMs, files, repositories, pins, datesAfterSeconds, setAside } = summary;
  const { configurationFile, stateDirectory } = summary;
  const madeAt = new Date(madeAtMs).toISOString();
  const of = repositories.join(", ") || "no repository";
  await print(printable(`restored a backup of ${madeAt}, by tahoe-apt ${madeBy}, of ${of}`));
  for (const file of files) await print(printable(`  ${file}`));
  await print(`  ${pins} pins; every Date will be later than ${httpDate(datesAfterSeconds)}`);
  if (setAside !== undefined) await print(`the state that was there is in ${setAside}: remove it when all is well`);
  const flags = configurationFile === undefined ? `--state ${stateDirectory} …` : `--config ${configurationFile}`;
  await print(
    `next: start the server (tahoe-apt serve ${flags}). It reads the tree again, which may take a while; what it`,
  );
  await print("serves is complete when /readyz answers 200. Make sure that no other server has the same signing key.");
}
