// Which trees a command is about: those of a server's configuration, the one of a read cap, or what a bundle opens.
import type { Command } from "commander";
import type { Suite, TreePath } from "../../base/names.ts";
import { rootPath } from "../../base/names.ts";
import { Layout } from "../../catalog/layout/repository-layout.ts";
import { readBundle } from "../../client/bundle.ts";
import { refuseRevoked } from "../../client/ping-client.ts";
import { layoutFor } from "../../client/suites-with-slash.ts";
import type { Limits } from "../../config/configuration.ts";
import { defaultLimits } from "../../config/configuration.ts";
import { ConfigurationError } from "../../config/configuration-error.ts";
import type { Flags } from "../../config/load-config.ts";
import { loadConfiguration } from "../../config/load-config.ts";
import type { GridTree } from "../../server/open-tree.ts";
import { layoutOf } from "../../server/repository-settings.ts";
import { another, gatewayCaOption } from "./arguments.ts";
import { complain, complainOfWaiting } from "./terminal.ts";

export interface TreeFlags extends Pick<Flags, "config" | "webapi" | "readcapFile" | "gatewayCaFile"> {
  readonly bundle?: string;
}

/** A directory of a grid, with all below it. */
export interface ChosenTree {
  /** The repository's name, or the bundle's. */
  readonly name: string;
  /** Where it stands in the whole tree. */
  readonly at: TreePath;
  readonly tree: GridTree;
  readonly limits: Limits;
  /** Tells suites with a slash from components. */
  readonly layout: Layout;
}

export const withTreeFlags = (command: Command): Command =>
  command
    .option("--config <file>", "the trees of a server's configuration")
    .option("--webapi <url>", "the Tahoe gateway; may be repeated, and several stand in for each other", another)
    .option("--readcap-file <file>", "the file that holds the tree's read cap")
    .addOption(gatewayCaOption())
    .option("--bundle <file>", "what a bundle's write caps open, in place of a read cap");

/**
 * Folders among the repositories are left out: no grid holds them.
 * @param named suites that were asked for by name
 * @throws ConfigurationError, BundleError; TokenUnknown for a bundle that was revoked; signal.reason
 */
export async function chosenTrees(
  flags: TreeFlags,
  signal: AbortSignal,
  named: readonly Suite[] = [],
): Promise<readonly ChosenTree[]> {
  const { bundle: file, config, webapi, readcapFile, gatewayCaFile } = flags;
  if (file === undefined) {
    const { repositories, limits } = loadConfiguration({ config, webapi, readcapFile, gatewayCaFile });
    const inGrids = repositories.flatMap(({ name, tree, suites }) => {
      if (tree.kind === "folder") return [];
      const layout = new Layout([...layoutOf({ suites }).nestedSuites, ...named]);
      return [{ name, at: rootPath, tree: { ...tree, cap: tree.readCap }, limits, layout }];
    });
    if (inGrids.length === 0) throw new ConfigurationError(["--config: no repository in it is in a grid"]);
    return inGrids;
  }
  if ([config, webapi, readcapFile, gatewayCaFile].some((flag) => flag !== undefined)) {
    throw new ConfigurationError(["--bundle: holds all that is needed; nothing else goes with it"]);
  }
  const bundle = await readBundle(file, complain);
  const described = await refuseRevoked(bundle, complainOfWaiting, signal);
  const layout = layoutFor(bundle, described, named);
  const { name, gateways, gatewayCa, directories } = bundle;
  return directories.map(({ path, cap }) => ({
    name,
    at: path,
    tree: { gateways, gatewayCa, cap },
    limits: defaultLimits,
    layout,
  }));
}
