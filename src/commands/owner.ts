// The commands for a tree's owner: `tahoe-apt init`, `builder add`, `builder revoke`, `owner` and `suite add`.
import { mkdir } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import type { Command } from "commander";
import { Option } from "commander";
import { messageOf } from "../base/errors.ts";
import type { TreePath } from "../base/names.ts";
import { joinPath, parseRepositoryName, parseSuite } from "../base/names.ts";
import { parsePackagePattern } from "../catalog/suite/owner-rules.ts";
import type { Bundle, BundleDirectory } from "../client/bundle.ts";
import { pingUntilLive } from "../client/ping-client.ts";
import { hasSlash, layoutFor, requiredTableFor } from "../client/suites-with-slash.ts";
import { OwnedTree, packageDirectoriesOf, tryParseBuilderName } from "../client/tree-owner.ts";
import { WriteGateways } from "../client/write-gateways.ts";
import { readCertificates } from "../config/config-values.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import { parseWebUrl } from "../storage/tahoe/web-url.ts";
import { argument, gatewayCaOption, repeatable, withRequired } from "./shared/arguments.ts";
import { OwnerFiles } from "./shared/owner-files.ts";
import { ask, warn, warnWaiting } from "./shared/terminal.ts";

const defaultListen = "127.0.0.1:8380";
/** How long to wait for the server, which will notice the change at its next poll in any case. */
const pingTimeoutMs = 15_000;

const initHelp = `
init creates these files of mode 0600 in DIRECTORY: master.bundle with the tree's write cap (keep a private backup),
tree.readcap for the server, and builders/NAME.bundle for each builder's machine. It also creates a configuration, ready
for: tahoe-apt serve --config DIRECTORY/tahoe-apt.toml
The same command completes an interrupted init; existing files are never replaced.

Examples:
  tahoe-apt init debian --webapi http://127.0.0.1:3456 --suite sid --architecture amd64 arm64 --builder alice
  tahoe-apt builder add bob --dir debian --suite sid --component main --architecture amd64
  tahoe-apt builder revoke alice --dir debian
  tahoe-apt suite add trixie --dir debian
`;

interface SuiteFlags {
  readonly component?: readonly string[];
  readonly architecture?: readonly string[];
}

interface InitFlags extends SuiteFlags {
  readonly webapi: readonly string[];
  readonly gatewayCaFile?: string;
  readonly name: string;
  readonly suite: readonly string[];
  readonly builder: readonly string[];
  readonly listen: string;
  readonly publicUrl?: string;
  readonly showCaps?: boolean;
}

interface BuilderFlags extends SuiteFlags {
  readonly dir: string;
  readonly suite?: readonly string[];
  readonly packages?: readonly string[];
  /** False if --no-source is given. */
  readonly source: boolean;
}

interface ListFlags {
  readonly dir: string;
  readonly config?: string;
  readonly repository?: string;
  readonly suite?: string;
  readonly json?: boolean;
}

interface OwnerCommandsOptions {
  /** Returns a signal that is aborted when the process must stop. */
  readonly stopSignal: () => AbortSignal;
  readonly printLine: (text: string) => void;
}

export function addOwnerCommands(commands: Command, { stopSignal, printLine }: OwnerCommandsOptions): void {
  const withSuiteFlags = (command: Command): Command =>
    command
      .option("--component <name...>", "its components (default: main, or all existing ones)")
      .option("--architecture <name...>", "its architectures (default: amd64, or all existing ones)");
  const dirOption = () => new Option("--dir <directory>", "the directory that init created").default(".");

  const initCommand = withSuiteFlags(commands.command("init"))
    .description(
      "Create a tree in the grid, with credentials for builders (bundles) and a configuration for the server.",
    )
    .argument("<directory>", "the directory for the tree's files");
  const gateway = "the Tahoe gateway; repeatable: if one fails, the next is used";
  withRequired(initCommand, "--webapi <url>", gateway, repeatable)
    .addOption(gatewayCaOption())
    .option("--name <name>", "the repository's name: it is served at /NAME/", "debian")
    .option("--suite <name...>", "its suites", ["sid"])
    .option("--builder <name...>", "its builders, each with a directory in every package directory", [])
    .option("--listen <host:port>", "the address that the server listens on", defaultListen)
    .option("--public-url <url>", "the server's URL for builders and users (default: asked for on a terminal)")
    .option("--show-caps", "print the secrets too (default: only the names of their files)")
    .addHelpText("after", initHelp)
    .action(async (directory: string, flags: InitFlags) => {
      const signal = stopSignal();
      await init(resolve(directory), flags, {
        files: new OwnerFiles(resolve(directory), warn, signal),
        signal,
        printLine,
      });
    });

  const builder = commands.command("builder").description("Add or revoke builders.");
  withSuiteFlags(builder.command("add"))
    .description("Create a builder's directories and credentials (a bundle), or add directories.")
    .argument("<name>", "the builder")
    .addOption(dirOption())
    .option("--suite <name...>", "only in these suites (default: all; with only --packages: no new directories)")
    .option("--no-source", "no directory for source packages")
    .option(
      "--packages <pattern...>",
      "the names that only this builder may publish (default: all names without an owner)",
    )
    .action(async (raw: string, flags: BuilderFlags) => {
      const owner = await Owner.of(flags.dir, stopSignal(), printLine);
      await owner.addBuilder(named(raw), flags);
    });
  builder
    .command("revoke")
    .description("Revoke a builder's caps and token. Its packages are kept, except with --drop.")
    .argument("<name>", "the builder")
    .addOption(dirOption())
    .option("--drop", "remove its packages from the tree too")
    .action(async (raw: string, { dir, drop = false }: { readonly dir: string; readonly drop?: boolean }) => {
      const owner = await Owner.of(dir, stopSignal(), printLine);
      await owner.revokeBuilder(named(raw), drop);
    });

  const owner = commands
    .command("owner")
    .description("Show and change the owners of package names.")
    .addHelpText("after", ownerHelp);
  owner
    .command("list")
    .description("Show the owners of the package names in a tree, by the rules of a configuration.")
    .argument("[pattern...]", "the names to list (default: all)")
    .addOption(dirOption())
    .option("--config <file>", "the server's configuration (default: the one in --dir)")
    .option("--repository <name>", "only this repository")
    .option("--suite <name>", "only this suite")
    .option("--json", "print a line of JSON for each name")
    .action(async (patterns: readonly string[], { dir, config = join(dir, "tahoe-apt.toml"), ...flags }: ListFlags) => {
      const { listOwners } = await import("./list-owners.ts");
      await listOwners(patterns, { ...flags, config }, stopSignal());
    });
  owner
    .command("move")
    .description("Make a builder the only owner of a package name.")
    .argument("<package>", "the package name")
    .argument("<builder>", "its new owner")
    .addOption(dirOption())
    .action(async (raw: string, builderName: string, { dir }: { readonly dir: string }) => {
      const name = argument("NAME", () => parsePackagePattern(raw));
      if (/[*?!]/.test(name))
        throw new ConfigurationError(["NAME: is a pattern, but only one name can be moved at a time"]);
      const files = await Owner.of(dir, stopSignal(), printLine);
      await files.movePackage(name, named(builderName));
    });

  withSuiteFlags(commands.command("suite").description("Change the suites of a tree.").command("add"))
    .description("Create a suite with the components and architectures of the others.")
    .argument("<name>", "the suite")
    .addOption(dirOption())
    .action(async (suite: string, flags: SuiteFlags & { readonly dir: string }) => {
      const owner = await Owner.of(flags.dir, stopSignal(), printLine);
      await owner.addSuite(suite, flags);
    });
}

const ownerHelp = `
The owners of names are determined by the builders' lists (packages, in builders.toml) and by package_owners in the
configuration: see "Package names and their owners" in docs/guide-operators.md. move adds a name to its new owner's list
and removes it from all others; a running server applies this at once. list queries the server that uses the
configuration's state directory, because it remembers who published a name first; if none is running, it reads the tree.

Examples:
  tahoe-apt builder add alice --dir debian --packages hello 'libhello*'
  tahoe-apt owner list --dir debian
  tahoe-apt owner list --config /etc/tahoe-apt.toml --suite sid --json 'lib*'
  tahoe-apt owner move hello bob --dir debian

With --json, each name is a line {"repository", "suite", "package", "owners", "by", "publishers", "rejected"}.

Exit codes: 0 done, 1 failed, 2 wrong arguments or configuration.
`;

function named(raw: string): string {
  const name = tryParseBuilderName(raw);
  if (name === undefined) throw new ConfigurationError([`${JSON.stringify(raw.slice(0, 80))} is not a builder's name`]);
  return name;
}

/** @returns undefined if the answer is empty, or nobody can be asked */
async function askForPublicUrl(signal: AbortSignal): Promise<string | undefined> {
  const question = "The server's URL for builders and users, e.g. https://apt.example.org (empty: only this machine): ";
  return (await ask(question, signal)) || undefined;
}

async function init(
  directory: string,
  flags: InitFlags,
  {
    files,
    signal,
    printLine,
  }: { readonly files: OwnerFiles; readonly signal: AbortSignal; readonly printLine: (text: string) => void },
): Promise<void> {
  const { component: components = ["main"], architecture: architectures = ["amd64"], showCaps = false } = flags;
  const packageDirectories = argument("--suite, --component or --architecture", () =>
    flags.suite.flatMap((suite) => packageDirectoriesOf({ suite, components, architectures })),
  );
  const builders = flags.builder.map(named);
  const { gatewayCaFile } = flags;
  const gatewayCa =
    gatewayCaFile === undefined ? undefined : argument("--gateway-ca-file", () => readCertificates(gatewayCaFile));
  const gateways = new WriteGateways(flags.webapi, gatewayCa);
  const publicUrl = flags.publicUrl ?? (files.hasConfiguration() ? undefined : await askForPublicUrl(signal));
  const settings = {
    name: parseRepositoryName(flags.name),
    gateways: flags.webapi,
    gatewayCa,
    listen: flags.listen,
    publicUrl: publicUrl === undefined ? undefined : argument("--public-url", () => parseWebUrl(publicUrl)),
    suitesWithSlash: flags.suite.filter(hasSlash).map(parseSuite),
  };
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const master = await files.openMaster(settings, () =>
    gateways.retry((writer) => writer.createDirectory(signal), signal),
  );
  await files.addSuitesWithSlash(settings.suitesWithSlash);
  const tree = new OwnedTree(gateways, master.root, signal);
  await tree.createDirectories(packageDirectories);
  const isNew = await files.writeServerFiles(
    settings,
    await gateways.retry((writer) => writer.readCapOf(master.root, signal), signal),
  );
  for (const name of builders) {
    await files.writeBuilder(
      name,
      await files.master(),
      await tree.createDirectories(packageDirectories.map((path) => joinPath(path, name))),
    );
  }

  const at = (...names: readonly string[]): string => relative(process.cwd(), files.at(...names)) || ".";
  printLine(
    `The tree has ${packageDirectories.length} package directories. Its read cap is in ${at("tree.readcap")}, its write cap in ${at("master.bundle")}.`,
  );
  for (const name of builders)
    printLine(`${name} uploads with: tahoe-apt put --bundle ${relative(process.cwd(), files.builderFile(name))} FILE…`);
  for (const suite of isNew ? [] : settings.suitesWithSlash) printLine(`To serve ${suite}, ${requiredTableFor(suite)}`);
  printLine(
    `The server${isNew ? "" : ", with the existing configuration"}: tahoe-apt serve --config ${at("tahoe-apt.toml")}`,
  );
  if (showCaps)
    for (const file of await files.secrets()) printLine(`\n${file}:\n${(await files.reveal(file)).trimEnd()}`);
}

/** The operations of a tree's owner. */
class Owner {
  readonly #files: OwnerFiles;
  readonly #master: Bundle;
  readonly #tree: OwnedTree;
  readonly #signal: AbortSignal;
  readonly #printLine: (text: string) => void;

  private constructor(
    files: OwnerFiles,
    master: Bundle,
    tree: OwnedTree,
    signal: AbortSignal,
    printLine: (text: string) => void,
  ) {
    this.#files = files;
    this.#master = master;
    this.#tree = tree;
    this.#signal = signal;
    this.#printLine = printLine;
  }

  static async of(directory: string, signal: AbortSignal, printLine: (text: string) => void): Promise<Owner> {
    const files = new OwnerFiles(resolve(directory), warn, signal);
    const master = await files.master();
    const tree = new OwnedTree(new WriteGateways(master.gateways, master.gatewayCa), master.root, signal);
    return new Owner(files, master, tree, signal, printLine);
  }

  async addBuilder(name: string, flags: BuilderFlags): Promise<void> {
    const { suite, component, architecture, source } = flags;
    const packages = flags.packages?.map((each) => argument("--packages", () => parsePackagePattern(each)));
    const before = (await this.#files.builders()).get(name)?.directories ?? [];
    const selectsAll = suite === undefined && component === undefined && architecture === undefined && source;
    // With --packages alone, an existing builder gets no new directories.
    const keepsDirectories = before.length > 0 && packages !== undefined && selectsAll;
    const directories = keepsDirectories ? [] : await this.#createDirectories(name, flags);
    await this.#files.writeBuilder(name, await this.#files.master(), directories, packages);
    const count = new Set([...before, ...directories].map(({ path }) => path)).size;
    this.#printLine(`${name} has ${count} directories; the bundle is ${this.#files.builderFile(name)}`);
    if (packages !== undefined) this.#printLine(`${name} may publish ${packages.join(", ")}`);
  }

  /** Creates a builder's directory in each package directory that the flags select. */
  async #createDirectories(
    name: string,
    { suite, component, architecture, source }: BuilderFlags,
  ): Promise<readonly BundleDirectory[]> {
    const isSelected = (values: readonly string[] | undefined, value: string): boolean =>
      values?.includes(value) ?? true;
    const named = (suite ?? []).filter(hasSlash).map((each) => argument("--suite", () => parseSuite(each)));
    const packageDirectories = (await this.#tree.packageDirectories(layoutFor(this.#master, undefined, named))).filter(
      ({ location }) => {
        if (!isSelected(suite, location.suite) || !isSelected(component, location.component)) return false;
        return location.kind === "source"
          ? source
          : location.architecture === "all" || isSelected(architecture, location.architecture);
      },
    );
    if (packageDirectories.length === 0)
      throw new ConfigurationError(["the tree has no such package directory: tahoe-apt suite add creates some"]);
    await this.#files.addSuitesWithSlash(
      named.filter((each) => packageDirectories.some(({ location }) => location.suite === each)),
    );
    return await this.#tree.createDirectories(packageDirectories.map(({ path }) => joinPath(path, name)));
  }

  /** Revokes the token first; the following steps can be repeated after an interruption. */
  async revokeBuilder(name: string, drop: boolean): Promise<void> {
    const bundle = await this.#files.forgetBuilder(name);
    if (bundle === undefined) throw new ConfigurationError([`there is no builder ${name}`]);
    const directories = bundle.directories.map(({ path }) => path);
    for (const path of directories) {
      if (drop) await this.#tree.remove(path);
      else
        for (const lost of await this.#tree.replace(path))
          this.#printLine(`not kept, because its bytes can be changed: ${lost}`);
    }
    await this.#files.removeBuilder(name);
    this.#printLine(`${name} can no longer change anything; its packages are ${drop ? "removed" : "kept"}.`);
    await this.#ping(directories);
  }

  async movePackage(name: string, to: string): Promise<void> {
    const changed = await this.#files.movePackage(name, to).catch((thrown: unknown) =>
      argument("NAME", () => {
        throw thrown;
      }),
    );
    const bundle = (await this.#files.builders()).get(to);
    if (changed === undefined || bundle === undefined) throw new ConfigurationError([`there is no builder ${to}`]);
    for (const [builder, patterns] of changed)
      this.#printLine(`${builder} may publish ${patterns.join(", ") || "nothing"}`);
    this.#printLine(`${name} belongs to ${to}${changed.size === 0 ? " already" : ""}.`);
    // A ping for any directory of a suite applies the rules to the whole suite.
    const layout = layoutFor(this.#master, undefined, []);
    const bySuite = new Map(bundle.directories.map(({ path }) => [layout.suiteOf(path), path]));
    await this.#ping([...bySuite.values()]);
  }

  async addSuite(suite: string, { component, architecture }: SuiteFlags): Promise<void> {
    const existing = (await this.#tree.packageDirectories(layoutFor(this.#master, undefined, [suite]))).map(
      ({ location }) => location,
    );
    const existingComponents = uniqueOr(
      existing.map((location) => location.component),
      "main",
    );
    const existingArchitectures = uniqueOr(
      existing.flatMap((location) => (location.kind === "binary" ? location.architecture : [])),
      "amd64",
    );
    const suiteDefinition = {
      suite,
      components: component ?? existingComponents,
      architectures: architecture ?? existingArchitectures,
    };
    const packageDirectories = argument("NAME, --component or --architecture", () =>
      packageDirectoriesOf(suiteDefinition),
    );
    await this.#tree.createDirectories(packageDirectories);
    if (hasSlash(suite)) {
      await this.#files.addSuitesWithSlash([argument("NAME", () => parseSuite(suite))]);
      this.#printLine(`To serve ${suite}, ${requiredTableFor(suite)}`);
    }
    this.#printLine(
      `${suite} has ${packageDirectories.length} package directories. To add a builder: tahoe-apt builder add NAME --suite ${suite}`,
    );
  }

  /** If the server is not running, it notices the change at its next start. */
  async #ping(paths: readonly TreePath[]): Promise<void> {
    const { ping } = this.#master;
    if (ping === undefined) return;
    for (const path of paths) {
      const live = pingUntilLive(ping, path, { timeoutMs: pingTimeoutMs, waiting: warnWaiting, signal: this.#signal });
      const result = await live.catch((thrown: unknown) => ({ notLive: messageOf(thrown) }));
      if (!("notLive" in result)) continue;
      this.#printLine(`The server has not noticed the change yet: ${result.notLive}.`);
      return;
    }
  }
}

function uniqueOr(found: readonly string[], fallback: string): readonly string[] {
  return found.length > 0 ? [...new Set(found)] : [fallback];
}
