// `tahoe-apt export` and `tahoe-apt publish`: a repository as a site of plain files, and as files of its own tree.
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
import { refuseRevoked } from "../client/ping-client.ts";
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
import { another, gatewayCaOption, withRequired } from "./shared/arguments.ts";
import { complain, complainOfWaiting, print, printable } from "./shared/terminal.ts";

const exportHelp = `
DIRECTORY becomes a site for any web server or rsync: key.asc, dists and pool. Each suite is a link to a directory of its
own and is switched in one step; packages stand under their hash, so that an index of an hour ago still finds them. Only
what has changed is written, and an export that was cut short is finished by the next one. A running server may export
by itself, after each publication: export_directory in the repository's table.

Examples:
  tahoe-apt export --config /etc/tahoe-apt.toml --name debian /srv/www/debian
  tahoe-apt export --folder /srv/packages --state /var/lib/tahoe-apt /srv/www/debian

Exit codes: 0 the site is up to date, 1 failed (the site is as whole as before), 2 wrong arguments or configuration.
`;

const publishHelp = `
The indices go into the tree, beside the packages, so that apt needs no server of ours, but any gateway and the read cap:

  deb [signed-by=…] http://127.0.0.1:3456/uri/URI%3ADIR2-RO%3A… sid main

A reader finds a whole repository at any instant: first all is linked by its hash, at last the signed Release. Only what
has changed is uploaded and linked, and a run that was cut short is finished by the next one. The bundle needs to open
no more than the directories where indices go: of dists/SUITE all but the builders' own. A running server may publish by
itself, after each change: publish_bundle_file in the repository's table.

Examples:
  tahoe-apt publish --config /etc/tahoe-apt.toml --bundle indices.bundle
  tahoe-apt publish --webapi http://127.0.0.1:3456 --readcap-file debian.readcap --bundle master.bundle

Exit codes: 0 the tree is up to date, 1 failed (what was there before is still whole), 2 wrong arguments or configuration.
`;

type OutputFlags = Pick<Flags, "config" | "name" | "webapi" | "readcapFile" | "gatewayCaFile" | "folder" | "state">;

const withOutputFlags = (command: Command): Command =>
  command
    .option("--config <file>", "a server's configuration")
    .option("--name <name>", "which of its repositories, where there are several")
    .option("--webapi <url>", "the Tahoe gateway; may be repeated, and several stand in for each other", another)
    .option("--readcap-file <file>", "the file that holds the tree's read cap")
    .addOption(gatewayCaOption())
    .option("--state <directory>", "where keys and what was read are kept, as for serve");

/** @param untilTold a signal that is aborted when this process is told to stop */
export function addExportCommands(commands: Command, untilTold: () => AbortSignal): void {
  withOutputFlags(commands.command("export"))
    .description("Write a repository as a site of plain files.")
    .argument("<directory>", "the site's root, made where it is missing")
    .option("--folder <directory>", "a local folder in place of a Tahoe tree")
    .addHelpText("after", exportHelp)
    .action(async (raw: string, flags: OutputFlags) => {
      const [directory, signal] = [resolve(raw), untilTold()];
      await make(
        "export",
        flags,
        { placement: "pool", signal },
        async (repository, { one, configuration: { keepSeconds } }) => {
          await repository.ping(rootPath, signal);
          await repository.deferredSettled();
          return await exportTo(repository, { directory, tree: one.tree, keepSeconds, now: systemClock, signal });
        },
      );
    });
  const publish = withOutputFlags(commands.command("publish")).description(
    "Write a repository's indices into its own Tahoe tree.",
  );
  withRequired(publish, "--bundle <file>", "the bundle that opens the directories where indices go")
    .addHelpText("after", publishHelp)
    .action(async (flags: OutputFlags & { readonly bundle: string }) => {
      const signal = untilTold();
      const bundle = await readBundle(flags.bundle, complain);
      await refuseRevoked(bundle, complainOfWaiting, signal);
      const tree = writableTree(bundle);
      await make("publish", flags, { placement: "tree", signal }, async (repository, { one, root }) => {
        return await publishTo(repository, { tree, uploads: uploadsIn(root, one.name) }, signal);
      });
    });
}

interface Making {
  readonly configuration: Configuration;
  readonly one: RepositoryConfiguration;
  readonly root: RootDatabase;
}

/** Opens the repository and its keys, has something made of it, and tells what came of it. */
async function make(
  command: "export" | "publish",
  flags: OutputFlags,
  { placement, signal }: { readonly placement: Placement; readonly signal: AbortSignal },
  work: (repository: Repository, making: Making) => Promise<object | undefined>,
): Promise<void> {
  const { config, name, webapi, readcapFile, gatewayCaFile, folder, state } = flags;
  // With --config, the name selects one of its repositories.
  const newName = config === undefined ? name : undefined;
  const configuration = loadConfiguration({ config, name: newName, webapi, readcapFile, gatewayCaFile, folder, state });
  const { repositories, stateDirectory, publicUrl } = configuration;
  const named = repositories.filter((each) => name === undefined || each.name === name);
  const [one] = named;
  if (one === undefined || named.length > 1) {
    throw new ConfigurationError([`--name: must be one of ${repositories.map((each) => each.name).join(", ")}`]);
  }
  for (const warning of configuration.warnings) complain(warning);
  for (const at of await flatsIn(one, configuration, signal))
    complain(`left out: ${printable(`./${at}`)} is a flat repository, which a server serves and nothing else does`);
  const log = pino({ level: "warn" }, pino.destination(2));
  // The key is the server's, which may be running; what is made here has a state of its own.
  const signer = await openSigner(one, await repositoryDirectory(stateDirectory, one.name), log);
  const order = {
    configuration: { ...configuration, stateDirectory: join(stateDirectory, command) },
    one,
    signer,
    // A package of our own making is in no tree.
    shown: (tree: Tree) =>
      placement === "tree" ? new FetchableTree(tree) : withArchiveKeyring(tree, one, { signer, publicUrl }),
    settings: { placement },
    log,
  };
  await withOfflineRepository(order, async (repository, root) => {
    const changed = await work(repository, { configuration, one, root });
    const parts = Object.entries(changed ?? {}).map(([what, value]) => `${what} ${String(value)}`);
    await print(parts.length === 0 ? "all was up to date" : parts.join(", "));
    for (const { path, reason } of repository.status().rejected)
      complain(`left out: ${printable(path)}: ${printable(reason)}`);
  });
}

/** Where the tree has flat repositories. */
async function flatsIn(
  { tree: place, flat }: RepositoryConfiguration,
  { limits }: Configuration,
  signal: AbortSignal,
): Promise<readonly TreePath[]> {
  const tree = openTree(place, limits, undefined, (each) => each);
  const looks = flat.map(async (at) =>
    (await new FlatTree(tree, at).look(flatPath, signal)) === undefined ? [] : [at],
  );
  return (await Promise.all(looks)).flat();
}
