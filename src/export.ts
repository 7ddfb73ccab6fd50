// `tahoe-apt export`: a repository as a site of plain files.
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { pino } from "pino";
import { systemClock } from "./base/clock.ts";
import { rootPath } from "./base/names.ts";
import type { Flags } from "./config.ts";
import { loadConfiguration } from "./config.ts";
import { ConfigurationError } from "./configuration.ts";
import { withArchiveKeyring } from "./keyring-tree.ts";
import { exportSite } from "./publishing/site-export.ts";
import { withQuietRepository } from "./quiet-repository.ts";
import { openSigner, repositoryDirectory } from "./repository-settings.ts";
import { complain, print } from "./terminal.ts";

const help = `
DIRECTORY becomes a site for any web server or rsync: key.asc, dists and pool. Each suite is a link to a directory of its
own and is switched in one step; packages stand under their hash, so that an index of an hour ago still finds them. Only
what has changed is written, and an export that was cut short is finished by the next one. A running server may export
by itself, after each publication: export_directory in the repository's table.

Examples:
  tahoe-apt export --config /etc/tahoe-apt.toml --name debian /srv/www/debian
  tahoe-apt export --folder /srv/packages --state /var/lib/tahoe-apt /srv/www/debian

Exit codes: 0 the site is up to date, 1 failed (the site is as whole as before), 2 wrong arguments or configuration.
`;

interface ExportFlags extends Pick<Flags, "config" | "name" | "webapi" | "readcapFile" | "folder" | "state"> {}

/** @param untilTold a signal that is aborted when this process is told to stop */
export function addExport(commands: Command, untilTold: () => AbortSignal): void {
  commands
    .command("export")
    .description("Write a repository as a site of plain files.")
    .argument("<directory>", "the site's root, made where it is missing")
    .option("--config <file>", "a server's configuration")
    .option("--name <name>", "which of its repositories, where there are several")
    .option("--webapi <url...>", "the Tahoe gateway; several stand in for each other")
    .option("--readcap-file <file>", "the file that holds the tree's read cap")
    .option("--folder <directory>", "a local folder in place of a Tahoe tree")
    .option("--state <directory>", "where keys and what was read are kept, as for serve")
    .addHelpText("after", help)
    .action(async (directory: string, flags: ExportFlags) => {
      await runExport(resolve(directory), flags, untilTold());
    });
}

async function runExport(directory: string, flags: ExportFlags, signal: AbortSignal): Promise<void> {
  const { name, ...rest } = flags;
  const configuration = loadConfiguration(flags.config === undefined ? flags : rest);
  const { repositories, stateDirectory, publicUrl, keepSeconds } = configuration;
  const one = repositories.find((each) => each.name === name) ?? (name === undefined ? repositories[0] : undefined);
  if (one === undefined || (name === undefined && repositories.length > 1)) {
    throw new ConfigurationError([`--name: must be one of ${repositories.map((each) => each.name).join(", ")}`]);
  }
  for (const warning of configuration.warnings) complain(warning);
  const log = pino({ level: "warn" }, pino.destination(2));
  // The key is the server's, which may be running; what it builds is its own.
  const signer = await openSigner(one, await repositoryDirectory(stateDirectory, one.name), log);
  const order = {
    configuration: { ...configuration, stateDirectory: join(stateDirectory, "export") },
    one,
    signer,
    shown: (tree: Parameters<typeof withArchiveKeyring>[0]) => withArchiveKeyring(tree, one, { signer, publicUrl }),
    log,
  };
  await withQuietRepository(order, async (repository) => {
    await repository.ping(rootPath, signal);
    const lacking = await repository.lateSettled();
    for (const suite of lacking) complain(`${suite}: what is made in the background could not be made`);
    const { switched, packagesWritten } = await exportSite(repository, {
      directory,
      keepSeconds,
      now: systemClock,
      signal,
    });
    await writeFile(join(directory, "key.asc"), repository.key.armored);
    await print(
      switched.length === 0
        ? "the site was up to date"
        : `${switched.join(", ")}: written anew, with ${packagesWritten} packages that were not there`,
    );
    for (const { path, reason } of repository.status().rejected) complain(`left out: ${path}: ${reason}`);
  });
}
