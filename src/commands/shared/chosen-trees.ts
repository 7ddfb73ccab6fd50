// Finds the trees for a command: those of a server's configuration, of a read cap, or of a bundle.
import type { Command } from "commander";
import type { Suite, TreePath } from "../../base/names.ts";
import { rootPath } from "../../base/names.ts";
import { Layout } from "../../catalog/layout/repository-layout.ts";
import { readBundle } from "../../client/bundle.ts";
import { rejectRevokedBundle } from "../../client/ping-client.ts";
import { layoutFor } from "../../client/suites-with-slash.ts";
import type { Limits } from "../../config/configuration.ts";
import { defaultLimits } from "../../config/configuration.ts";
import { ConfigurationError } from "../../config/configuration-error.ts";
import type { Flags } from "../../config/load-config.ts";
import { loadConfiguration } from "../../config/load-config.ts";
import type { GridTree } from "../../server/open-tree.ts";
import { layoutOf } from "../../server/repository-settings.ts";
import { gatewayCaOption, repeatable } from "./arguments.ts";
import { warn, warnWaiting } from "./terminal.ts";

export interface TreeFlags extends Pick<Flags, "config" | "webapi" | "readcapFile" | "gatewayCaFile"> {
  readonly bundle?: string;
}

/** A directory in a grid, including everything below it. */
export interface ChosenTree {
  /** The repository's name, or the bundle's. */
  readonly name: string;
  /** Path of the directory in the repository's tree. */
  readonly at: TreePath;
  readonly tree: GridTree;
  readonly limits: Limits;
  /** Distinguishes suites with a slash from components. */
  readonly layout: Layout;
}

export const withTreeFlags = (command: Command): Command =>
  command
    .option("--config <file>", "the trees of a server's configuration")
    .option("--webapi <url>", "the Tahoe gateway; repeatable: if one fails, the next is used", repeatable)
    .option("--readcap-file <file>", "the file that holds the tree's read cap")
    .addOption(gatewayCaOption())
    .option("--bundle <file>", "the directories of a bundle, instead of a read cap");

/**
 * Opens the trees. Skips repositories that are local folders.
 * @param named suites that the user named
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
    const trees = repositories.flatMap(({ name, tree, suites }) => {
      if (tree.kind === "folder") return [];
      const layout = new Layout([...layoutOf({ suites }).nestedSuites, ...named]);
      return [{ name, at: rootPath, tree: { ...tree, cap: tree.readCap }, limits, layout }];
    });
    if (trees.length === 0) throw new ConfigurationError(["--config: none of its repositories is in a grid"]);
    return trees;
  }
  if ([config, webapi, readcapFile, gatewayCaFile].some((flag) => flag !== undefined)) {
    throw new ConfigurationError([
      "--bundle: cannot be combined with --config, --webapi, --readcap-file or --gateway-ca-file",
    ]);
  }
  const bundle = await readBundle(file, warn);
  const described = await rejectRevokedBundle(bundle, warnWaiting, signal);
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
