// What a tree's owner runs: `tahoe-apt init`, `builder add`, `builder revoke`, `owner` and `suite add`.
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
import { hasSlash, layoutFor, tableFor } from "../client/suites-with-slash.ts";
import { OwnedTree, placesOf, tryParseBuilderName } from "../client/tree-owner.ts";
import { WriteGateways } from "../client/write-gateways.ts";
import { readCertificates } from "../config/config-values.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import { another, argument, gatewayCaOption, withRequired } from "./shared/arguments.ts";
import { OwnerFiles } from "./shared/owner-files.ts";
import { complainOfWaiting } from "./shared/terminal.ts";

const defaultListen = "127.0.0.1:8380";
/** How long the server may take to answer an owner; it finds out by itself in any case. */
const patienceMs = 15_000;

const initHelp = `
DIRECTORY comes to hold, each in a file of mode 0600: master.bundle with the write cap of the tree (keep a copy where
nobody else reads), tree.readcap for the server, and builders/NAME.bundle for each builder's machine. Beside them stands
a configuration, ready for: tahoe-apt serve --config DIRECTORY/tahoe-apt.toml
An init that was interrupted is finished by the same command; what is there is never made anew.

Examples:
  tahoe-apt init debian --webapi http://127.0.0.1:3456 --suite sid --architecture amd64 arm64 --builder alice
  tahoe-apt builder add bob --dir debian --suite sid --component main --architecture amd64
  tahoe-apt builder revoke alice --dir debian
  tahoe-apt suite add trixie --dir debian
`;

interface PartFlags {
  readonly component?: readonly string[];
  readonly architecture?: readonly string[];
}

interface InitFlags extends PartFlags {
  readonly webapi: readonly string[];
  readonly gatewayCaFile?: string;
  readonly name: string;
  readonly suite: readonly string[];
  readonly builder: readonly string[];
  readonly listen: string;
  readonly publicUrl?: string;
  readonly showCaps?: boolean;
}

interface BuilderFlags extends PartFlags {
  readonly dir: string;
  readonly suite?: readonly string[];
  readonly packages?: readonly string[];
  /** False where --no-source is given. */
  readonly source: boolean;
}

interface ListFlags {
  readonly dir: string;
  readonly config?: string;
  readonly repository?: string;
  readonly suite?: string;
  readonly json?: boolean;
}

interface Surroundings {
  /** A signal that is aborted when this process is told to stop. */
  readonly untilTold: () => AbortSignal;
  readonly say: (text: string) => void;
}

export function addOwnerCommands(commands: Command, { untilTold, say }: Surroundings): void {
  const complain = (text: string): void => void process.stderr.write(`tahoe-apt: ${text}\n`);
  const withParts = (command: Command): Command =>
    command
      .option("--component <name...>", "its components (default: main, or those that there are)")
      .option("--architecture <name...>", "its architectures (default: amd64, or those that there are)");
  const dirOption = () => new Option("--dir <directory>", "the directory that init made").default(".");

  const initCommand = withParts(commands.command("init"))
    .description("Make a tree in the grid, with its builders' bundles and a configuration for the server.")
    .argument("<directory>", "where the tree's files are to be");
  const gateway = "the Tahoe gateway; may be repeated, and several stand in for each other";
  withRequired(initCommand, "--webapi <url>", gateway, another)
    .addOption(gatewayCaOption())
    .option("--name <name>", "the repository's name: it is served at /NAME/", "debian")
    .option("--suite <name...>", "its suites", ["sid"])
    .option("--builder <name...>", "its builders, each with a directory in every place", [])
    .option("--listen <host:port>", "the server's address", defaultListen)
    .option("--public-url <url>", "the server's address as builders and people reach it")
    .option("--show-caps", "print the secrets too (by default only their files are named)")
    .addHelpText("after", initHelp)
    .action(async (directory: string, flags: InitFlags) => {
      const signal = untilTold();
      await init(resolve(directory), flags, {
        files: new OwnerFiles(resolve(directory), complain, signal),
        signal,
        say,
      });
    });

  const builder = commands.command("builder").description("Let a builder in, or out.");
  withParts(builder.command("add"))
    .description("Make a builder's directories and its bundle, or add directories to them.")
    .argument("<name>", "the builder")
    .addOption(dirOption())
    .option("--suite <name...>", "only in these suites (default: all, or with --packages alone those that it has)")
    .option("--no-source", "no directory for source packages")
    .option("--packages <pattern...>", "the names that it may publish, and nobody else (default: any that is free)")
    .action(async (raw: string, flags: BuilderFlags) => {
      const owner = await Owner.of(flags.dir, complain, untilTold(), say);
      await owner.addBuilder(named(raw), flags);
    });
  builder
    .command("revoke")
    .description("Make a builder's caps and token worthless. Its packages stay, unless told otherwise.")
    .argument("<name>", "the builder")
    .addOption(dirOption())
    .option("--drop", "remove its packages from the tree too")
    .action(async (raw: string, { dir, drop = false }: { readonly dir: string; readonly drop?: boolean }) => {
      const owner = await Owner.of(dir, complain, untilTold(), say);
      await owner.revokeBuilder(named(raw), drop);
    });

  const owner = commands
    .command("owner")
    .description("Show who owns which names of packages, and give them to others.")
    .addHelpText("after", ownerHelp);
  owner
    .command("list")
    .description("Show who owns the names that a tree has, by the rules of a configuration.")
    .argument("[pattern...]", "which names (default: all)")
    .addOption(dirOption())
    .option("--config <file>", "the server's configuration (default: the one in --dir)")
    .option("--repository <name>", "only of this repository")
    .option("--suite <name>", "only in this suite")
    .option("--json", "print a line of JSON for each name")
    .action(async (patterns: readonly string[], { dir, config = join(dir, "tahoe-apt.toml"), ...flags }: ListFlags) => {
      const { listOwners } = await import("./list-owners.ts");
      await listOwners(patterns, { ...flags, config }, untilTold());
    });
  owner
    .command("move")
    .description("Make a name of packages one builder's alone.")
    .argument("<package>", "the name")
    .argument("<builder>", "its new owner")
    .addOption(dirOption())
    .action(async (raw: string, builderName: string, { dir }: { readonly dir: string }) => {
      const name = argument("NAME", () => parsePackagePattern(raw));
      if (/[*?!]/.test(name)) throw new ConfigurationError(["NAME: is a pattern; names are moved one by one"]);
      const files = await Owner.of(dir, complain, untilTold(), say);
      await files.movePackage(name, named(builderName));
    });

  withParts(commands.command("suite").description("Change the suites of a tree.").command("add"))
    .description("Make a suite, with the components and architectures of the others.")
    .argument("<name>", "the suite")
    .addOption(dirOption())
    .action(async (suite: string, flags: PartFlags & { readonly dir: string }) => {
      const owner = await Owner.of(flags.dir, complain, untilTold(), say);
      await owner.addSuite(suite, flags);
    });
}

const ownerHelp = `
Who owns a name is told by the builders' lists (packages, in builders.toml) and by package_owners in the configuration:
see "Names have owners" in the README. move writes a name into its new owner's list and takes it out of all others; a
running server heeds it at once. list asks the server that works in the configuration's state directory, because it
remembers who had a name first; where none runs here, the tree is looked at.

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

async function init(
  directory: string,
  flags: InitFlags,
  {
    files,
    signal,
    say,
  }: { readonly files: OwnerFiles; readonly signal: AbortSignal; readonly say: (text: string) => void },
): Promise<void> {
  const { component: components = ["main"], architecture: architectures = ["amd64"], showCaps = false } = flags;
  const places = argument("--suite, --component or --architecture", () =>
    flags.suite.flatMap((suite) => placesOf({ suite, components, architectures })),
  );
  const builders = flags.builder.map(named);
  const { gatewayCaFile } = flags;
  const gatewayCa =
    gatewayCaFile === undefined ? undefined : argument("--gateway-ca-file", () => readCertificates(gatewayCaFile));
  const gateways = new WriteGateways(flags.webapi, gatewayCa);
  const settings = {
    name: parseRepositoryName(flags.name),
    gateways: flags.webapi,
    gatewayCa,
    listen: flags.listen,
    publicUrl: flags.publicUrl?.replace(/\/+$/, ""),
    suitesWithSlash: flags.suite.filter(hasSlash).map(parseSuite),
  };
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const master = await files.openMaster(settings, () =>
    gateways.change((writer) => writer.createDirectory(signal), signal),
  );
  await files.addSuitesWithSlash(settings.suitesWithSlash);
  const tree = new OwnedTree(gateways, master.root, signal);
  await tree.make(places);
  const isNew = await files.writeServerFiles(
    settings,
    await gateways.change((writer) => writer.readCapOf(master.root, signal), signal),
  );
  for (const name of builders) {
    await files.writeBuilder(name, await files.master(), await tree.make(places.map((place) => joinPath(place, name))));
  }

  const at = (...names: readonly string[]): string => relative(process.cwd(), files.at(...names)) || ".";
  say(
    `The tree has ${places.length} places. Its read cap is in ${at("tree.readcap")}, its write cap in ${at("master.bundle")}.`,
  );
  for (const name of builders)
    say(`${name} uploads with: tahoe-apt put --bundle ${relative(process.cwd(), files.builderFile(name))} FILE…`);
  for (const suite of isNew ? [] : settings.suitesWithSlash)
    say(`For the server to serve ${suite}, ${tableFor(suite)}`);
  say(`The server${isNew ? "" : ", as it was configured before"}: tahoe-apt serve --config ${at("tahoe-apt.toml")}`);
  if (showCaps) for (const file of await files.secrets()) say(`\n${file}:\n${(await files.reveal(file)).trimEnd()}`);
}

/** The owner of a tree that init made. */
class Owner {
  readonly #files: OwnerFiles;
  readonly #master: Bundle;
  readonly #tree: OwnedTree;
  readonly #signal: AbortSignal;
  readonly #say: (text: string) => void;

  private constructor(
    files: OwnerFiles,
    master: Bundle,
    tree: OwnedTree,
    signal: AbortSignal,
    say: (text: string) => void,
  ) {
    this.#files = files;
    this.#master = master;
    this.#tree = tree;
    this.#signal = signal;
    this.#say = say;
  }

  static async of(
    directory: string,
    complain: (text: string) => void,
    signal: AbortSignal,
    say: (text: string) => void,
  ): Promise<Owner> {
    const files = new OwnerFiles(resolve(directory), complain, signal);
    const master = await files.master();
    const tree = new OwnedTree(new WriteGateways(master.gateways, master.gatewayCa), master.root, signal);
    return new Owner(files, master, tree, signal, say);
  }

  async addBuilder(name: string, flags: BuilderFlags): Promise<void> {
    const { suite, component, architecture, source } = flags;
    const packages = flags.packages?.map((each) => argument("--packages", () => parsePackagePattern(each)));
    const before = (await this.#files.builders()).get(name)?.directories ?? [];
    const namesNoPlace = suite === undefined && component === undefined && architecture === undefined && source;
    // Whoever says only what a builder may publish does not mean to open more directories to it.
    const keepsPlaces = before.length > 0 && packages !== undefined && namesNoPlace;
    const directories = keepsPlaces ? [] : await this.#makeDirectories(name, flags);
    await this.#files.writeBuilder(name, await this.#files.master(), directories, packages);
    const count = new Set([...before, ...directories].map(({ path }) => path)).size;
    this.#say(`${name} has ${count} directories; the bundle is ${this.#files.builderFile(name)}`);
    if (packages !== undefined) this.#say(`${name} may publish ${packages.join(", ")}`);
  }

  /** A builder's directory in each place that the flags name. */
  async #makeDirectories(
    name: string,
    { suite, component, architecture, source }: BuilderFlags,
  ): Promise<readonly BundleDirectory[]> {
    const wanted = (asked: readonly string[] | undefined, has: string): boolean => asked?.includes(has) ?? true;
    const named = (suite ?? []).filter(hasSlash).map((each) => argument("--suite", () => parseSuite(each)));
    const places = (await this.#tree.places(layoutFor(this.#master, undefined, named))).filter(({ place }) => {
      if (!wanted(suite, place.suite) || !wanted(component, place.component)) return false;
      return place.kind === "source"
        ? source
        : place.architecture === "all" || wanted(architecture, place.architecture);
    });
    if (places.length === 0)
      throw new ConfigurationError(["the tree has no such place: tahoe-apt suite add makes some"]);
    await this.#files.addSuitesWithSlash(named.filter((each) => places.some(({ place }) => place.suite === each)));
    return await this.#tree.make(places.map(({ path }) => joinPath(path, name)));
  }

  /** The token goes first: what follows may be interrupted and run again. */
  async revokeBuilder(name: string, drop: boolean): Promise<void> {
    const bundle = await this.#files.forgetBuilder(name);
    if (bundle === undefined) throw new ConfigurationError([`there is no builder ${name}`]);
    const directories = bundle.directories.map(({ path }) => path);
    for (const path of directories) {
      if (drop) await this.#tree.drop(path);
      else
        for (const lost of await this.#tree.replace(path))
          this.#say(`not kept, since its bytes can be changed: ${lost}`);
    }
    await this.#files.removeBuilder(name);
    this.#say(`${name} can change nothing any more; its packages are ${drop ? "gone" : "kept"}.`);
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
    for (const [builder, patterns] of changed) this.#say(`${builder} may publish ${patterns.join(", ") || "nothing"}`);
    this.#say(`${name} belongs to ${to}${changed.size === 0 ? " already" : ""}.`);
    // Each suite is judged anew when any part of it is looked at.
    const layout = layoutFor(this.#master, undefined, []);
    const bySuite = new Map(bundle.directories.map(({ path }) => [layout.suiteOf(path), path]));
    await this.#ping([...bySuite.values()]);
  }

  async addSuite(suite: string, { component, architecture }: PartFlags): Promise<void> {
    const known = (await this.#tree.places(layoutFor(this.#master, undefined, [suite]))).map(({ place }) => place);
    const knownComponents = unlessNone(
      known.map((place) => place.component),
      "main",
    );
    const knownArchitectures = unlessNone(
      known.flatMap((place) => (place.kind === "binary" ? place.architecture : [])),
      "amd64",
    );
    const parts = {
      suite,
      components: component ?? knownComponents,
      architectures: architecture ?? knownArchitectures,
    };
    const places = argument("NAME, --component or --architecture", () => placesOf(parts));
    await this.#tree.make(places);
    if (hasSlash(suite)) {
      await this.#files.addSuitesWithSlash([argument("NAME", () => parseSuite(suite))]);
      this.#say(`For the server to serve ${suite}, ${tableFor(suite)}`);
    }
    this.#say(`${suite} has ${places.length} places. To let a builder in: tahoe-apt builder add NAME --suite ${suite}`);
  }

  /** The server may be down: then it sees the change when it is up. */
  async #ping(paths: readonly TreePath[]): Promise<void> {
    const { ping } = this.#master;
    if (ping === undefined) return;
    for (const path of paths) {
      const waiting = complainOfWaiting;
      const asked = pingUntilLive(ping, path, { patienceMs, waiting, signal: this.#signal });
      const answer = await asked.catch((thrown: unknown) => ({ notLive: messageOf(thrown) }));
      if (!("notLive" in answer)) continue;
      this.#say(`The server does not know of it yet: ${answer.notLive}.`);
      return;
    }
  }
}

function unlessNone(found: readonly string[], usual: string): readonly string[] {
  return found.length > 0 ? [...new Set(found)] : [usual];
}
