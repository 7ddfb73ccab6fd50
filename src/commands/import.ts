// `tahoe-apt import`: brings an existing repository into a tree or a folder, and prints the result.
import { readFile, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import type { Command } from "commander";
import type { Key } from "openpgp";
import { systemClock } from "../base/clock.ts";
import { fileReasonOf } from "../base/errors.ts";
import type { TreePath } from "../base/names.ts";
import { parseSuite, parseTreePath, pathNames } from "../base/names.ts";
import { optimizeLater } from "../base/optimize-later.ts";
import { Secret } from "../base/secret.ts";
import { defaultInspectLimits } from "../catalog/inspection/inspect-limits.ts";
import { InspectorPool } from "../catalog/inspection/inspector-pool.ts";
import type { Layout } from "../catalog/layout/repository-layout.ts";
import type { NamedPackage } from "../catalog/suite/package-pattern.ts";
import { packageMatcher } from "../catalog/suite/package-pattern.ts";
import type { PingAddress } from "../client/bundle.ts";
import { parsePingUrl, readBundle } from "../client/bundle.ts";
import { plannedFolderTarget, withFolderTarget } from "../client/import/folder-target.ts";
import type { ImportEnvironment, ImportObserver, ImportOptions } from "../client/import/import.ts";
import { importRepository } from "../client/import/import.ts";
import type { ImportedPackage, ImportOutcome, ImportStep } from "../client/import/import-outcome.ts";
import type { ImportTarget } from "../client/import/import-target.ts";
import type { PackageSelection, SuiteChoice } from "../client/import/wanted-packages.ts";
import { layoutFor } from "../client/suites-with-slash.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import { digestAlgorithms } from "../debian/digests.ts";
import { LocalDirectory } from "../upstream/local-directory.ts";
import type { RepositoryFiles } from "../upstream/repository-files.ts";
import { argument, repeatable } from "./shared/arguments.ts";
import { print, printable, showSteps, warn, warnWaiting } from "./shared/terminal.ts";

const exitCodes: { readonly [Status in ImportOutcome["status"]]: number } = {
  live: 0,
  nothing: 0,
  planned: 0,
  refused: 3,
  rejected: 3,
  linked: 4,
};
const defaultTimeoutSeconds = 300;

const help = `
SOURCE is the root of an APT repository, a directory or an http(s) URL: the directory that contains dists, e.g. the base
directory of reprepro, the directory public of aptly, or another tahoe-apt server. Its Release must be signed by a key
of --keyring, and every file must have the size and SHA256 in its index.

Packages come to dists/SUITE/COMPONENT/binary-ARCH and source of the tree. The next run imports only what is new, so the
same command, run by a timer, follows an upstream. What the upstream no longer lists stays, unless --delete is given;
that removes only what an import from the same suite has brought, and not the directory of a component or architecture
that the upstream no longer has. Each package is checked by the rules of the server: the others are imported without
those that it would reject.
Nothing is published before everything is stored; then all files of a directory are linked in one write. After an
interruption, the same command continues.

PATTERN is NAME, NAME=VERSION, src:NAME or src:NAME=VERSION; * matches any characters and ? matches one.

Examples:
  tahoe-apt import /srv/reprepro --keyring archive.asc --folder /srv/debian
  tahoe-apt import ~/.aptly/public --keyring archive.gpg --bundle master.bundle --dry-run
  tahoe-apt import https://deb.example.org/debian --keyring example.asc --suite bookworm=stable --component main \\
    --architecture amd64 --architecture source --package 'src:nginx' --bundle master.bundle --delete
  tahoe-apt import /srv/flat --allow-unsigned --suite ./=sid --folder /srv/debian

With --json, the output is one object. For exit codes 1 and 2 it is {"status": "failed", "exitCode", "linked", "code",
"errors"}, where "linked" shows whether the tree was changed: "none", "all", or "unknown" if the command failed while
changing it.

Exit codes: 0 APT sees all packages (or there are no ping settings, and they are in the tree), or nothing to do,
1 failed: the source, the grid or the disk cannot be used, 2 wrong arguments or bundle, 3 the source was refused because
of its signature, its dates or a checksum (nothing was changed), or some packages were rejected (the others are
imported), 4 imported, but not yet live after --timeout.
`;

interface ImportFlags {
  readonly folder?: string;
  readonly bundle?: string;
  readonly toBuilder?: string;
  readonly keyring?: readonly string[];
  readonly allowUnsigned?: boolean;
  readonly allowExpired?: boolean;
  readonly allowOlder?: boolean;
  readonly allowOtherSuite?: boolean;
  readonly suite?: readonly string[];
  readonly component?: readonly string[];
  readonly architecture?: readonly string[];
  readonly package?: readonly string[];
  readonly replace?: boolean;
  readonly delete?: boolean;
  readonly dryRun?: boolean;
  readonly pingUrl?: string;
  readonly pingTokenFile?: string;
  readonly timeout: string;
  readonly json?: boolean;
}

/** @param stopSignal returns a signal that is aborted when the process must stop */
export function addImport(commands: Command, stopSignal: () => AbortSignal): void {
  commands
    .command("import")
    .description("Bring an existing repository into a tree or a folder, and follow it.")
    .argument("<source>", "the root of the repository: a directory or an http(s) URL")
    .option("--folder <directory>", "import into a local folder")
    .option("--bundle <file>", "import into a Tahoe tree, with its caps, gateways and ping token")
    .option("--to-builder <directory>", "the directory below the package directories (default: none)")
    .option("--keyring <file>", "public keys that may sign the source, armoured or binary; repeatable", repeatable)
    .option("--allow-unsigned", "do not check the signature")
    .option("--allow-expired", "accept a Release whose Valid-Until is over")
    .option("--allow-older", "accept a Release that is older than the last imported one")
    .option("--allow-other-suite", "accept a Release whose Suite and Codename differ from the name of the suite")
    .option(
      "--suite <name>",
      "only this suite, as NAME or NAME=TARGET; repeatable (default for a directory: all)",
      repeatable,
    )
    .option("--component <name>", "only this component; repeatable", repeatable)
    .option("--architecture <name>", "only this architecture; `source` for source packages; repeatable", repeatable)
    .option("--package <pattern>", "only packages that this matches; repeatable", repeatable)
    .option("--replace", "overwrite existing files that have the same name and different bytes")
    .option("--delete", "remove what an earlier import brought and the source no longer lists")
    .option("--dry-run", "change nothing, and show what would come, go and be rejected")
    .option("--ping-url <url>", "with --folder: the server's URL for pings, http://HOST/-/ping/NAME")
    .option("--ping-token-file <file>", "with --folder: the file that holds the token for notifications (pings)")
    .option("--timeout <seconds>", "how long to wait until all packages are live", String(defaultTimeoutSeconds))
    .option("--json", "print the result as one JSON object")
    .addHelpText("after", help)
    .action(async (source: string, flags: ImportFlags) => {
      optimizeLater();
      const patterns = new Map(flags.package?.map((raw) => [raw, argument("--package", () => packageMatcher(raw))]));
      const unmatched = new Set(patterns.keys());
      const isChosen = (one: NamedPackage): boolean => {
        const matching = [...patterns].filter(([, matches]) => matches(one));
        for (const [raw] of matching) unmatched.delete(raw);
        return patterns.size === 0 || matching.length > 0;
      };
      const outcome = await runImport(source, flags, isChosen, stopSignal());
      await printOutcome({ ...outcome, unmatched: [...unmatched] }, flags);
    });
}

async function runImport(
  rawSource: string,
  flags: ImportFlags,
  isChosen: PackageSelection["isChosen"],
  signal: AbortSignal,
): Promise<ImportOutcome> {
  const { folder, json = false, timeout } = flags;
  if (!/^\d{1,6}$/.test(timeout)) throw new ConfigurationError(["--timeout: must be a number of seconds"]);
  if ((folder === undefined) === (flags.bundle === undefined))
    throw new ConfigurationError(["one of --folder and --bundle is required"]);
  const keys = await keysOf(flags);
  const source = await openSource(rawSource, signal);
  const suites = await suitesOf(flags.suite, source);
  const { component, architecture } = flags;
  const selection = {
    components: component && new Set(component),
    architectures: architecture && new Set(architecture),
    isChosen,
  };
  const subdirectory =
    flags.toBuilder === undefined ? undefined : argument("--to-builder", () => subdirectoryOf(flags));
  const observer = json ? quietObserver : terminalObserver();
  // The server reads a folder itself; for a grid, the claims and the list of files spare it reading the package.
  const forClaims = { algorithms: folder === undefined ? digestAlgorithms : [], fileLists: folder === undefined };
  // The gateway may be on the same machine, and takes longer for a package than its inspection.
  const threadCount = folder === undefined ? Math.ceil(availableParallelism() / 2) : undefined;
  const pool = new InspectorPool({ limits: defaultInspectLimits, ...forClaims }, threadCount);
  const options = {
    suites,
    selection,
    trust: {
      keys,
      mayBeExpired: flags.allowExpired ?? false,
      mayBeOtherSuite: flags.allowOtherSuite ?? false,
    },
    mayReplace: flags.replace ?? false,
    mayBeOlder: flags.allowOlder ?? false,
    removesGone: flags.delete ?? false,
    isDryRun: flags.dryRun ?? false,
    timeoutMs: Number(timeout) * 1000,
  };
  const run = async (
    target: ImportTarget,
    more: { readonly layout: Layout; readonly ping: PingAddress | undefined },
  ) => {
    const environment: ImportEnvironment = { source, target, pool, observer, clock: systemClock, signal };
    const all: ImportOptions = { ...options, ...more };
    return await importRepository(all, environment);
  };
  const targets = suites.map(({ target }) => target);
  try {
    if (folder !== undefined) {
      const more = { layout: layoutFor({}, undefined, targets), ping: await pingOf(flags) };
      const inFolder = { subdirectory, pool, signal };
      if (options.isDryRun) return await run(plannedFolderTarget(resolve(folder), inFolder), more);
      const waiting = (pid: number) => warn(`waiting for process ${pid}, which also imports into ${folder}`);
      return await withFolderTarget(resolve(folder), inFolder, waiting, (target) => run(target, more));
    }
    if (flags.pingUrl !== undefined || flags.pingTokenFile !== undefined)
      throw new ConfigurationError(["--ping-url, --ping-token-file: the bundle contains them"]);
    const bundle = await readBundle(flags.bundle ?? "", warn);
    // Loaded here, because an import into a folder needs none of it.
    const { gridTarget } = await import("./import-into-grid.ts");
    return await run(...(await gridTarget(bundle, targets, { subdirectory, pool, signal, observer })));
  } finally {
    await pool.close();
  }
}

async function keysOf({ keyring = [], allowUnsigned = false }: ImportFlags): Promise<readonly Key[] | undefined> {
  if (allowUnsigned && keyring.length === 0) return undefined;
  if (allowUnsigned) throw new ConfigurationError(["--allow-unsigned: contradicts --keyring"]);
  if (keyring.length === 0)
    throw new ConfigurationError(["--keyring: is required; --allow-unsigned imports without checking the signature"]);
  const keys = (await Promise.all(keyring.map(readKeysOf))).flat();
  // Clients accept no signature of an expired key, even if it was made before.
  const expiries = await Promise.all(keys.map(async (key) => await key.getExpirationTime()));
  const valid = keys.filter((_, at) => !isOver(expiries[at]));
  if (valid.length === 0)
    throw new ConfigurationError([
      `--keyring ${keyring.join(", ")}: all keys have expired or are revoked: get the publisher's present key`,
    ]);
  return valid;
}

/** @param end null for a revoked key, a number (infinity) for one that never expires */
const isOver = (end: Date | number | null | undefined): boolean =>
  end === null || (end instanceof Date && end.getTime() < systemClock());

async function readKeysOf(file: string): Promise<readonly Key[]> {
  const { readKeyring } = await import("../signing/verify.ts");
  try {
    return await readKeyring(await readFile(file));
  } catch (thrown) {
    const hint = "it must have public keys, as gpg --export writes them";
    throw new ConfigurationError([`--keyring ${file}: ${fileReasonOf(thrown)}; ${hint}`]);
  }
}

async function openSource(raw: string, signal: AbortSignal): Promise<RepositoryFiles> {
  if (/^https?:\/\//i.test(raw)) {
    const url = argument("SOURCE", () => parsePingUrl(raw));
    const { RemoteServer } = await import("../upstream/remote-server.ts");
    return new RemoteServer(url.replace(/\/+$/, ""), signal, systemClock);
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(raw)) throw new ConfigurationError([`SOURCE: only http and https are supported`]);
  const found = await stat(raw).catch((thrown: unknown) => {
    throw new ConfigurationError([`SOURCE ${raw}: ${fileReasonOf(thrown)}`]);
  });
  if (!found.isDirectory()) throw new ConfigurationError([`SOURCE ${raw}: is not a directory`]);
  return new LocalDirectory(resolve(raw), signal);
}

async function suitesOf(raw: readonly string[] | undefined, source: RepositoryFiles): Promise<readonly SuiteChoice[]> {
  const names = raw ?? (await source.suites?.());
  if (names === undefined)
    throw new ConfigurationError(["--suite: is required for a URL, because HTTP has no list of suites"]);
  if (names.length === 0)
    throw new ConfigurationError([
      "SOURCE: has no dists/SUITE with a Release; for a flat repository, give --suite ./=SUITE",
    ]);
  const choices = names.map((name) => argument("--suite", () => suiteChoiceOf(name)));
  const directories = new Set(choices.map(({ directory, target }) => `${directory}=${target}`));
  if (directories.size < choices.length) throw new ConfigurationError(["--suite: names a suite twice"]);
  return choices;
}

function suiteChoiceOf(raw: string): SuiteChoice {
  const [name = "", target, ...others] = raw.split("=");
  if (others.length > 0) throw new ConfigurationError(["--suite: must be NAME or NAME=TARGET"]);
  const isFlat = name.endsWith("/");
  if (isFlat && target === undefined)
    throw new ConfigurationError([`--suite ${name}: the flat repository needs a target, as in --suite ${name}=sid`]);
  const directory = isFlat
    ? parseTreePath(name.replace(/^\.\/+/, "").replace(/\/+$/, ""))
    : `dists/${parseSuite(name)}`;
  return { directory, isFlat, target: parseSuite(target ?? name) };
}

function subdirectoryOf({ toBuilder = "" }: ImportFlags): TreePath {
  const path = parseTreePath(toBuilder);
  if (pathNames(path).length === 0) throw new ConfigurationError(["--to-builder: must be the name of a directory"]);
  return path;
}

async function pingOf({ pingUrl, pingTokenFile }: ImportFlags): Promise<PingAddress | undefined> {
  if (pingUrl === undefined && pingTokenFile === undefined) return undefined;
  if (pingUrl === undefined || pingTokenFile === undefined)
    throw new ConfigurationError(["--ping-url, --ping-token-file: must be given together"]);
  const url = argument("--ping-url", () => parsePingUrl(pingUrl));
  try {
    return { url: url.replace(/\/+$/, ""), token: new Secret((await readFile(pingTokenFile, "utf8")).trim()) };
  } catch (thrown) {
    throw new ConfigurationError([`--ping-token-file ${pingTokenFile}: ${fileReasonOf(thrown)}`]);
  }
}

const stepTexts: { readonly [Step in ImportStep]: string } = {
  read: "read the indices",
  compare: "compared with the tree",
  store: "read the packages",
  publish: "published",
  ping: "notified",
};

/** Prints only the reasons for waiting. */
const quietObserver: ImportObserver = { finished() {}, stored() {}, note() {}, waiting: warnWaiting };

/** Prints lines on standard error, and, on a terminal, the progress. */
function terminalObserver(): ImportObserver {
  const { progressed, ...shown } = showSteps("importing", stepTexts);
  return { ...shown, stored: progressed };
}

async function printOutcome(
  outcome: ImportOutcome & { readonly unmatched: readonly string[] },
  flags: ImportFlags,
): Promise<void> {
  const { status, suites, packages, removed, gone, problems, unmatched } = outcome;
  const hasPing = flags.bundle !== undefined || flags.pingUrl !== undefined;
  process.exitCode = status === "linked" && !packages.some(({ reason }) => reason) ? 0 : exitCodes[status];
  if (status === "planned" && packages.some(({ state }) => state === "rejected")) process.exitCode = exitCodes.rejected;
  if (flags.json === true) return await print(JSON.stringify(outcome));
  for (const { from, suite, date, signedBy } of suites) {
    const by = signedBy.length === 0 ? "unchecked signature" : `signed by ${signedBy.join(", ")}`;
    await print(`${printable(from)} of ${date}, ${by}, for ${suite}`);
  }
  for (const { file, reason } of problems) await print(`refused: ${printable(file)}: ${printable(reason)}`);
  if (status !== "refused") for (const raw of unmatched) await print(`nothing matches ${printable(raw)}`);
  for (const each of packages) await print(printable(lineOf(each)));
  for (const each of removed) await print(printable(`removed: ${each.name} ${each.version} ${each.architecture}`));
  if (gone.length > 0)
    await print(`${gone.length} packages of earlier imports are no longer in the source: --delete removes them`);
  await print(summaryOf(outcome, hasPing));
}

function lineOf({ state, name, version, architecture, suite, component, reason }: ImportedPackage): string {
  const why = reason === undefined ? "" : `: ${reason}`;
  return `${state}: ${name} ${version} ${architecture} in ${suite} ${component}${why}`;
}

function summaryOf({ status, packages, removed, bytes }: ImportOutcome, hasPing: boolean): string {
  if (status === "refused") return "nothing was changed";
  const rejected = packages.filter(({ state }) => state === "rejected").length;
  const counts = `${packages.length - rejected} new packages (${(bytes / 2 ** 20).toFixed(1)} MiB), ${removed.length} removed, ${rejected} rejected`;
  if (status === "planned") return `${counts}; nothing was changed`;
  if (packages.length === 0 && removed.length === 0) return "nothing to do";
  return hasPing ? counts : `${counts}; the server will notice the change at its next poll`;
}
