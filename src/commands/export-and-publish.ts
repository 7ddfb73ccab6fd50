// `tahoe-apt export` and `tahoe-apt publish`: write a static web site, or the indices into the Tahoe tree.
import { join, resolve } from "node:path";
import type { Command } from "commander";
import type { RootDatabase } from "lmdb";
import { pino } from "pino";
import { systemClock } from "../base/clock.ts";
import type { TreePath } from "../base/names.ts";
import { rootPath } from "../base/names.ts";
import { FlatTree } from "../catalog/layout/flat-tree.ts";
import { flatPath } from "../catalog/layout/repository-layout.ts";
import { FetchableTree } from "../catalog/suite/fetchable-names.ts";
import { readBundle } from "../client/bundle.ts";
import { rejectRevokedBundle } from "../client/ping-client.ts";
import type { Configuration, RepositoryConfiguration } from "../config/configuration.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import type { Flags } from "../config/load-config.ts";
import { loadConfiguration } from "../config/load-config.ts";
import type { Placement } from "../publishing/build/stanza-renderer.ts";
import type { Repository } from "../publishing/live/repository.ts";
import { exportTo, publishTo, uploadsIn, writableTree } from "../server/export-targets.ts";
import { withArchiveKeyring } from "../server/keyring-overlay.ts";
import { withOfflineRepository } from "../server/offline-repository.ts";
import { openTree } from "../server/open-tree.ts";
import { openSigner, repositoryDirectory } from "../server/repository-settings.ts";
import type { Tree } from "../storage/tree.ts";
import { gatewayCaOption, repeatable, withRequired } from "./shared/arguments.ts";
import { print, printable, warn, warnWaiting } from "./shared/terminal.ts";

const exportHelp = `
DIRECTORY becomes a site for any web server or rsync: key.asc, dists and pool. Each suite is a symbolic link to its own
directory and is switched in one step. The path of a package contains its hash, so earlier indices still find it. Only
changed files are written, and the next export completes an interrupted one. A running server can export after each
publication: set export_directory in the repository's table.

Examples:
  tahoe-apt export --config /etc/tahoe-apt.toml --name debian /srv/www/debian
  tahoe-apt export --folder /srv/packages --state /var/lib/tahoe-apt /srv/www/debian

Exit codes: 0 the site is up to date, 1 failed (the site is still consistent), 2 wrong arguments or configuration.
`;

const publishHelp = `
This command writes the indices into the tree, beside the packages. Then apt does not need this server, only a gateway
and the read cap:

  deb [signed-by=…] http://127.0.0.1:3456/uri/URI%3ADIR2-RO%3A… sid main

The repository is consistent at any time: first all files are linked by hash, and the signed Release last. Only changed
files are uploaded and linked, and the next run completes an interrupted one. The bundle only needs the directories that
contain indices: everything in dists/SUITE except the builders' directories. A running server can publish after each
change: set publish_bundle_file in the repository's table.

Examples:
  tahoe-apt publish --config /etc/tahoe-apt.toml --bundle indices.bundle
  tahoe-apt publish --webapi http://127.0.0.1:3456 --readcap-file debian.readcap --bundle master.bundle

Exit codes: 0 the tree is up to date, 1 failed (the tree is still consistent), 2 wrong arguments or configuration.
`;

type ExportFlags = Pick<Flags, "config" | "name" | "webapi" | "readcapFile" | "gatewayCaFile" | "folder" | "state">;

const withExportFlags = (command: Command): Command =>
  command
    .option("--config <file>", "a server's configuration")
    .option("--name <name>", "the repository, if there are several")
    .option("--webapi <url>", "the Tahoe gateway; repeatable: if one fails, the next is used", repeatable)
    .option("--readcap-file <file>", "the file that holds the tree's read cap")
    .addOption(gatewayCaOption())
    .option("--state <directory>", "the directory of keys and caches, as for serve");

/** @param stopSignal returns a signal that is aborted when the process must stop */
export function addExportCommands(commands: Command, stopSignal: () => AbortSignal): void {
  withExportFlags(commands.command("export"))
    .description("Write a repository as a static web site.")
    .argument("<directory>", "the site's root; created if it is missing")
    .option("--folder <directory>", "a local folder instead of a Tahoe tree")
    .addHelpText("after", exportHelp)
    .action(async (raw: string, flags: ExportFlags) => {
      const [directory, signal] = [resolve(raw), stopSignal()];
      await withRepository(
        "export",
        flags,
        { placement: "pool", signal },
        async (repository, { repositoryConfiguration, configuration: { keepSeconds } }) => {
          await repository.ping(rootPath, signal);
          await repository.deferredSettled();
          return await exportTo(repository, {
            directory,
            tree: repositoryConfiguration.tree,
            keepSeconds,
            now: systemClock,
            signal,
          });
        },
      );
    });
  const publish = withExportFlags(commands.command("publish")).description(
    "Write a repository's indices into its own Tahoe tree.",
  );
  withRequired(publish, "--bundle <file>", "a bundle with the directories that contain indices")
    .addHelpText("after", publishHelp)
    .action(async (flags: ExportFlags & { readonly bundle: string }) => {
      const signal = stopSignal();
      const bundle = await readBundle(flags.bundle, warn);
      await rejectRevokedBundle(bundle, warnWaiting, signal);
      const tree = writableTree(bundle);
      await withRepository(
        "publish",
        flags,
        { placement: "tree", signal },
        async (repository, { repositoryConfiguration, root }) => {
          return await publishTo(repository, { tree, uploads: uploadsIn(root, repositoryConfiguration.name) }, signal);
        },
      );
    });
}

interface ExportContext {
  readonly configuration: Configuration;
  readonly repositoryConfiguration: RepositoryConfiguration;
  readonly root: RootDatabase;
}

/** Opens the repository and its keys, runs `work`, and prints the result. */
async function withRepository(
  command: "export" | "publish",
  flags: ExportFlags,
  { placement, signal }: { readonly placement: Placement; readonly signal: AbortSignal },
  work: (repository: Repository, context: ExportContext) => Promise<object | undefined>,
): Promise<void> {
  const { config, name, webapi, readcapFile, gatewayCaFile, folder, state } = flags;
  // With --config, the name selects one of its repositories.
  const newName = config === undefined ? name : undefined;
  const configuration = loadConfiguration({ config, name: newName, webapi, readcapFile, gatewayCaFile, folder, state });
  const { repositories, stateDirectory, publicUrl } = configuration;
  const named = repositories.filter((each) => name === undefined || each.name === name);
  const [repositoryConfiguration] = named;
  if (repositoryConfiguration === undefined || named.length > 1) {
    throw new ConfigurationError([`--name: must be one of ${repositories.map((each) => each.name).join(", ")}`]);
  }
  for (const warning of configuration.warnings) warn(warning);
  for (const at of await flatRepositoriesIn(repositoryConfiguration, configuration, signal))
    warn(`left out: ${printable(`./${at}`)} is a flat repository, which only a server can serve`);
  const log = pino({ level: "warn" }, pino.destination(2));
  // Use the server's key, but a separate state directory, because the server may be running.
  const signer = await openSigner(
    repositoryConfiguration,
    await repositoryDirectory(stateDirectory, repositoryConfiguration.name),
    log,
  );
  const options = {
    configuration: { ...configuration, stateDirectory: join(stateDirectory, command) },
    one: repositoryConfiguration,
    signer,
    // The generated keyring package is not in the tree, so `publish` omits it.
    shown: (tree: Tree) =>
      placement === "tree"
        ? new FetchableTree(tree)
        : withArchiveKeyring(tree, repositoryConfiguration, { signer, publicUrl }),
    settings: { placement },
    log,
  };
  await withOfflineRepository(options, async (repository, root) => {
    const changed = await work(repository, { configuration, repositoryConfiguration, root });
    const results = Object.entries(changed ?? {}).map(([name, value]) => `${name} ${String(value)}`);
    await print(results.length === 0 ? "everything is up to date" : results.join(", "));
    for (const { path, reason } of repository.status().rejected)
      warn(`left out: ${printable(path)}: ${printable(reason)}`);
  });
}

/** The paths of flat repositories that exist in the tree. */
async function flatRepositoriesIn(
  { tree: location, flat }: RepositoryConfiguration,
  { limits }: Configuration,
  signal: AbortSignal,
): Promise<readonly TreePath[]> {
  const tree = openTree(location, limits, undefined, (each) => each);
  const lookups = flat.map(async (at) =>
    (await new FlatTree(tree, at).look(flatPath, signal)) === undefined ? [] : [at],
  );
  return (await Promise.all(lookups)).flat();
}
