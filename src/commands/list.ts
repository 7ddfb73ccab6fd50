// `tahoe-apt list`: lists the packages in a tree, and the rejected files.
import type { Command } from "commander";
import { parseSuite, rootPath } from "../base/names.ts";
import { suitePath } from "../catalog/layout/repository-layout.ts";
import type { Inventory, InventoryPackage } from "../client/curation/inventory.ts";
import { hasSuite, readInventory } from "../client/curation/inventory.ts";
import type { LocationFilter } from "../client/curation/package-patterns.ts";
import { parsePattern, select } from "../client/curation/package-patterns.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import { openGridTree } from "../server/open-tree.ts";
import { MountedTree } from "../storage/decorators/mounted-tree.ts";
import { argument } from "./shared/arguments.ts";
import type { ChosenTree, TreeFlags } from "./shared/chosen-trees.ts";
import { chosenTrees, withTreeFlags } from "./shared/chosen-trees.ts";
import { patternHelp, withLocationFlags } from "./shared/run-curation.ts";
import { print, printable } from "./shared/terminal.ts";

const help = `${patternHelp}
Each line describes a package file: name, version, architecture, suite, component, path. Rejected files follow, with the
reason. Metadata that uploaders stored with their links is trusted; files without such metadata are read.

Examples:
  tahoe-apt list --webapi http://127.0.0.1:3456 --readcap-file debian.readcap --suite sid
  tahoe-apt list --bundle alice.bundle 'src:hello'
  tahoe-apt list --config /etc/tahoe-apt.toml --json | jq -r 'select(.architecture == "source") | .package'

Exit codes: 0 listed, 1 failed, 2 wrong arguments or configuration.
`;

interface ListFlags extends TreeFlags, LocationFilter {
  readonly json?: boolean;
}

/** @param stopSignal returns a signal that is aborted when the process must stop */
export function addList(commands: Command, stopSignal: () => AbortSignal): void {
  withLocationFlags(withTreeFlags(commands.command("list")))
    .description("List the packages in a tree.")
    .argument("[pattern...]", "the packages to list (default: all)")
    .option("--suite <name>", "only packages of this suite")
    .option("--json", "print a line of JSON for each package and each rejected file")
    .addHelpText("after", help)
    .action(async (raw: readonly string[], flags: ListFlags) => {
      const { suite } = flags;
      const patterns = raw.map((each) => argument("PATTERN", () => parsePattern(each)));
      const named = suite === undefined ? [] : [argument("--suite", () => parseSuite(suite))];
      const paths = named.length === 0 ? [rootPath] : named.map(suitePath);
      const signal = stopSignal();
      let isFound = suite === undefined;
      for (const [name, { tree, layout }] of mountedTrees(await chosenTrees(flags, signal, named))) {
        const inventory = await readInventory(tree, paths, Date.now(), signal, layout);
        isFound ||= suite !== undefined && hasSuite(inventory, suite);
        const sound = [...inventory.packages.values()].filter(({ isSound }) => isSound);
        const { packages } = select(sound, patterns, flags);
        await printPackages(name, packages, patterns.length === 0 ? inventory.rejections : [], flags.json ?? false);
      }
      if (!isFound) throw new ConfigurationError([`--suite: there is no suite ${suite}`]);
    });
}

/** Combines the directories of a bundle to one tree. */
function mountedTrees(chosen: readonly ChosenTree[]) {
  const layouts = new Map(chosen.map(({ name, layout }) => [name, layout]));
  return new Map(
    [...layouts].map(([name, layout]) => {
      const mounts = chosen
        .filter((one) => one.name === name)
        .map(({ at, tree, limits }) => ({ at, tree: openGridTree(tree, limits) }));
      return [name, { tree: new MountedTree(mounts), layout }] as const;
    }),
  );
}

async function printPackages(
  tree: string,
  packages: readonly InventoryPackage[],
  rejections: Inventory["rejections"],
  json: boolean,
): Promise<void> {
  for (const { location, name, version, architecture, path, sizeBytes, sha256 } of packages) {
    const { suite, component } = location;
    if (json) {
      const line = { tree, package: name, version, architecture, suite, component, path, sizeBytes, sha256 };
      await print(JSON.stringify(line));
    } else await print(`${name} ${version} ${architecture} ${suite} ${component} ${printable(path)}`);
  }
  for (const [path, { code, text }] of rejections) {
    if (json) await print(JSON.stringify({ tree, rejected: path, code, reason: text }));
    else await print(`rejected: ${printable(path)}: ${printable(text)}`);
  }
}
