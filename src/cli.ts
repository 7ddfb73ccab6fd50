#!/usr/bin/env -S MALLOC_ARENA_MAX=2 node --max-semi-space-size=4
// The command line interface. Exit codes: 0 success, 1 failure, 2 wrong arguments or configuration.
// The options in the first line are explained in bootstrap.mjs.
import { Command, CommanderError, Option } from "commander";
import { codeOf, messageOf } from "./base/errors.ts";
import { logFormats, logLevels } from "./base/log.ts";
import { ownVersion } from "./base/own-version.ts";
import { BundleError } from "./client/bundle.ts";
import { gatewayCaOption } from "./commands/shared/arguments.ts";
import { printable } from "./commands/shared/terminal.ts";
import { ConfigurationError } from "./config/configuration-error.ts";
import type { Flags } from "./config/load-config.ts";
import { outliveFailedWrites } from "./server/failed-writes.ts";
import { keepHeapLean } from "./server/heap-settings.ts";

const exitCodes = { failure: 1, usage: 2 } as const;

const serveHelp = `
The read cap is a secret, so it is never an argument: it comes from --readcap-file or TAHOE_APT_READCAP.

Examples:
  tahoe-apt serve --webapi http://127.0.0.1:3456 --readcap-file debian.readcap
  tahoe-apt serve --folder /srv/debian --name debian --listen 0.0.0.0:8380
  tahoe-apt serve --config /etc/tahoe-apt.toml

A configuration file (TOML) can define several repositories; its paths are relative to the file:
  listen = "127.0.0.1:8380"
  state = "/var/lib/tahoe-apt"
  public_url = "https://apt.example.org"      # the server's URL for users
  behind_proxy = true                         # trusts the last values of X-Forwarded-For and X-Forwarded-Proto
  metrics_token_file = "metrics.token"        # requests for /metrics must send this token
  poll_seconds = 300                          # how often the whole tree is checked, in case a ping is lost
  keep_seconds = 604800                       # how long old indices and their packages stay available
  scrub_seconds = 60                          # interval of checks of uploaders' metadata; 0: only on download
  check_seconds = 604800                      # interval of checks of all objects, which renew leases; 0: never
  cache_bytes = 2147483648                    # size of the package cache on disk
  grace_period_seconds = 10                   # for requests in progress at SIGTERM
  log_format = "json"                         # or "text"; default: text on a terminal, JSON otherwise
  log_level = "info"                          # or "warn", "error", which leave out less important lines
  access_log = true                           # logs each request
  workers = 4                                 # processes that serve HTTP, for a machine with many cores
  [cluster]                                   # several servers of the same repositories share a Valkey or Redis
  url = "redis://10.0.0.9:6379"               # or a list: see mode; also rediss:// (TLS, ca_file), redis+unix:///PATH
  name = "apt"                                # of this fleet: several can share one Valkey
  password_file = "valkey.password"
  mode = "sentinel"                           # with sentinel_master; also "single" (one url) and "cluster"
  [limits.inspection]                         # also limits.tree, webapi, listing, folder, changelog, http
  max_file_bytes = 8589934592
  max_stanza_bytes = 262144                   # in an index; max_source_stanza_bytes for sources
  max_data_ratio = 256                        # the maximum compression ratio of a member above any_ratio_bytes
  [limits.directory]                          # for each builder's directory
  max_directory_packages = 100000             # the oldest links are listed; also max_directory_index_bytes,
                                             # max_directory_variants
  [[repository]]
  name = "debian"                             # served at /debian/
  webapi = ["http://127.0.0.1:3456"]          # if one gateway fails, the next is used
  readcap_file = "debian.readcap"             # or, instead of both: folder = "/srv/debian"
  gateway_ca_file = "our-ca.pem"              # certificate authority of https gateways
  origin = "Example"                          # also label, description
  digests = ["md5", "sha256"]                 # hashes of packages; also release_digests, of indices
  flat = ["extras"]                           # flat repositories; the root is one if it has no dists
  signing_key_file = ["old.asc", "new.asc"]   # each signs; also signing_passphrase_file; default: a generated key
  export_directory = "/srv/www/debian"        # a static web site, updated after each publication
  publish_bundle_file = "indices.bundle"      # writes the indices into the tree, for APT through any gateway
  archive_keyring = "main"                    # component of the package NAME-archive-keyring with the public keys
  dates_after = "Sun, 22 Nov 2026 13:45:00 UTC"   # after a loss of state: the last Date that clients received
  date_lag_seconds = 60                       # how far Release's Date is behind the newest upload, for slow clocks
  package_owners = "first"                    # owners of names in no builder's packages; also "any" (default), "listed"
  ping_token_file = "ping.token"              # token for pings of the whole tree; builders have their own
  builders_file = "builders.toml"             # [[builder]] tables as below; read again after changes
  [repository.suite.sid]
  codename = "sid"                            # also version, description, not_automatic, but_automatic_upgrades
  contents = false                            # no Contents indices; also for a repository
  pdiffs = false                              # no patches between versions of an index; also for a repository
  translations = true                         # long descriptions in Translation-en; also for a repository
  indices = "prebuilt"                        # serve the indices in the tree unchanged; default: "made"
  valid_for_seconds = 604800                  # clients reject an older Release; renewed automatically
  signed_by = true                            # clients accept only the present signing keys from then on
  [repository.suite.sid.view]                 # hides packages from the indices; deletes nothing
  newest = 3                                  # versions of each package and architecture; also max_age_seconds
  hide = ["*-dbgsym"]                         # patterns of names; also show
  [[repository.builder]]
  name = "alice"
  token_file = "alice.token"
  directory = "dists/sid/main/binary-amd64/alice"
  packages = ["hello", "libhello*"]           # she owns these names and may publish no others; default: any free name
  [[repository.override]]                     # sets index fields of packages; also tahoe-apt override and phase
  packages = "src:hello=2.0-*"                # also suite = "sid"
  set = { Section = "utils", Phased-Update-Percentage = "30" }
  [[repository.webhook]]                      # is told about each publication by a signed POST
  url = "https://ci.example.org/hook"         # also allow_http, timeout_seconds
  secret_file = "hook.secret"                 # as of Standard Webhooks: whsec_ and base64
  suites = ["sid"]                            # patterns; default: all suites
  [[repository.reader]]                       # makes the repository private, with HTTP Basic authentication
  name = "bob"
  password_file = "bob.password"

Environment:
  TAHOE_APT_READCAP      the tree's read cap, if neither --readcap-file nor --config is given
  TAHOE_APT_PING_TOKEN   the token for pings, likewise; default: a token generated in the state directory

SIGTERM and SIGINT stop the server when the requests in progress have ended. SIGHUP reloads the configuration, as
\`tahoe-apt reload\` does.

Exit codes: 0 stopped by SIGTERM or SIGINT, 1 failed, 2 wrong arguments or configuration.
`;

const mainHelp = `
Examples:
  tahoe-apt start                              try it: a grid, a repository and a server on this machine
  tahoe-apt demo                               a demonstration from upload to apt
  tahoe-apt serve --config /etc/tahoe-apt.toml
  tahoe-apt init debian --webapi http://127.0.0.1:3456 --suite sid --builder alice
  tahoe-apt put --bundle alice.bundle hello_1.0-1_amd64.changes
  tahoe-apt import /srv/reprepro --keyring old-key.asc --folder /srv/debian
  tahoe-apt reload --config /etc/tahoe-apt.toml
  tahoe-apt snapshot rollback 20261122T134500Z --config /etc/tahoe-apt.toml

See tahoe-apt COMMAND --help for details.
`;

/** Returns a signal that is aborted when the process receives one of these signals. */
function stopSignal(signals: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"]): AbortSignal {
  const stop = new AbortController();
  for (const signal of signals) {
    process.on(signal, () => stop.abort(new Error(`stopped by ${signal}`)));
  }
  return stop.signal;
}

/** Passes SIGHUP on to a server, also one that arrived while there was none yet. */
function hangups(): (listener: (() => void) | undefined) => void {
  let listener: (() => void) | undefined;
  let isMissed = false;
  process.on("SIGHUP", () => {
    if (listener === undefined) isMissed = true;
    else listener();
  });
  return (next) => {
    listener = next;
    if (!isMissed || listener === undefined) return;
    isMissed = false;
    listener();
  };
}

/** Adds the flags that define what is served, and where. */
const withServerFlags = (command: Command): Command =>
  command
    .option("--name <name>", "the repository's name: it is served at /NAME/ (default: debian)")
    .option("--folder <directory>", "serve a local folder instead of a Tahoe tree")
    .option("--listen <host:port>", "the address to listen on (default: 127.0.0.1:8380)")
    .option("--state <directory>", "the directory of caches, publications and generated keys");

const directCommands = ["serve", "start", "demo"];

/**
 * All other commands. Only the file of the given command is loaded (all files for the help), because loading all files
 * takes longer than most commands.
 */
const lazyCommands: readonly (readonly [names: string, add: (commands: Command) => Promise<void>])[] = [
  [
    "init builder owner suite",
    async (to) => (await import("./commands/owner.ts")).addOwnerCommands(to, { stopSignal, printLine }),
  ],
  ["import", async (to) => (await import("./commands/import.ts")).addImport(to, stopSignal)],
  ["put", async (to) => (await import("./commands/put.ts")).addPut(to, stopSignal)],
  ["list", async (to) => (await import("./commands/list.ts")).addList(to, stopSignal)],
  ["promote remove prune", async (to) => (await import("./commands/curation.ts")).addCuration(to, stopSignal)],
  ["deep-check", async (to) => (await import("./commands/deep-check.ts")).addDeepCheck(to, stopSignal)],
  ["snapshot", async (to) => (await import("./commands/snapshot.ts")).addSnapshot(to)],
  ["check", async (to) => (await import("./commands/check.ts")).addCheck(to)],
  ["cluster", async (to) => (await import("./commands/cluster.ts")).addCluster(to)],
  ["reload", async (to) => (await import("./commands/reload.ts")).addReload(to)],
  ["override phase", async (to) => (await import("./commands/override.ts")).addOverride(to)],
  ["backup restore", async (to) => (await import("./commands/backup.ts")).addBackup(to)],
  ["view", async (to) => (await import("./commands/view.ts")).addView(to)],
  ["verify", async (to) => (await import("./commands/verify.ts")).addVerify(to, stopSignal)],
  [
    "export publish",
    async (to) => (await import("./commands/export-and-publish.ts")).addExportCommands(to, stopSignal),
  ],
];

/** @param commandName the first argument, which need not be the name of a command */
async function program(commandName: string): Promise<Command> {
  const commands = new Command("tahoe-apt")
    .description("A virtual APT repository: serves a Tahoe-LAFS directory tree to APT.")
    .version(ownVersion(), "-V, --version", "print the version of tahoe-apt")
    .addHelpText("after", mainHelp)
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`tahoe-apt: ${text.replace(/^error: /, "")}`) });

  withServerFlags(commands.command("serve"))
    .description("Serve one repository defined by flags, or several defined by a file.")
    .option("--config <file>", "read everything from a TOML file (see below)")
    .addOption(new Option("--webapi <url...>", "the Tahoe gateways that read the tree: if one fails, the next is used"))
    .option("--readcap-file <file>", "the file that holds the tree's read cap")
    .addOption(gatewayCaOption())
    .option("--public-url <url>", "the server's URL for builders and users")
    .option("--ping-token-file <file>", "the file that holds the token for notifications (pings)")
    .option("--archive-keyring <component>", "the component of a generated package with the repository's keys")
    .addOption(new Option("--log-format <format>", "default: text on a terminal, json otherwise").choices(logFormats))
    .addOption(new Option("--log-level <level>", "leave out less important lines").choices(logLevels))
    .option("--access-log", "log each request")
    .option("--workers <number>", "processes that serve HTTP beside the one that publishes (default: 0)")
    .option(
      "--accept-identity-change",
      "publish even if clients know another Origin, Label, Codename or pin of a suite",
    )
    .addHelpText("after", serveHelp)
    .action(async (flags: Flags) => {
      // Before anything is loaded: without a handler, process 1 of a container would ignore the signal.
      const [signal, onHangup] = [stopSignal(["SIGINT", "SIGTERM"]), hangups()];
      const [{ openLog, logSettingsOf }, { loadConfiguration }, { serveUntilTold }, { ServiceManager }] =
        await Promise.all([
          import("./server/server-log.ts"),
          import("./config/load-config.ts"),
          import("./server/serve.ts"),
          import("./server/service-manager.ts"),
        ]);
      const configuration = loadConfiguration(flags);
      const log = openLog(logSettingsOf(configuration));
      const serviceManager = ServiceManager.fromEnvironment(log);
      outliveFailedWrites(log);
      for (const warning of configuration.warnings) log.warn({}, warning);
      await serveUntilTold(
        configuration,
        {
          signal,
          log,
          serviceManager,
          reread: ({ acceptIdentityChange }) => loadConfiguration({ ...flags, acceptIdentityChange }),
          onHangup,
          onReload: (changed) => log.configure(logSettingsOf(changed)),
        },
        // Not earlier: the modules that a start loads stay in memory, so collections meanwhile would free little.
        async () => keepHeapLean(),
      );
    });

  withServerFlags(commands.command("start"))
    .description("Start a grid on this machine with a repository in it, serve it, and print how to use it.")
    .option("--show-caps", "print the caps too (default: only the names of their files)")
    .addHelpText("after", "\nWith --folder, no grid is started: the folder is served.\n")
    .action(async (flags: Flags & { readonly showCaps?: boolean }) => {
      const signal = stopSignal();
      keepHeapLean();
      const { start } = await import("./local/start.ts");
      await start(flags, { signal, printLine });
    });

  const isSelected = ([names]: (typeof lazyCommands)[number]): boolean => names.split(" ").includes(commandName);
  const known = lazyCommands.some(isSelected) || directCommands.includes(commandName);
  for (const lazyCommand of lazyCommands) if (!known || isSelected(lazyCommand)) await lazyCommand[1](commands);

  commands
    .command("demo")
    .description("Demonstrate everything once: grid, tree, server, packages, upload, ping, apt; then clean up.")
    .option("--packages <directory>", "tahoe-apt's own Debian packages (default: those of the checkout, or built)")
    .action(async ({ packages }: { readonly packages?: string }) => {
      const { demo } = await import("./local/demo.ts");
      await demo({ signal: stopSignal(), printLine, packages });
    });
  return commands;
}

function printLine(text: string): void {
  process.stdout.write(`${text}\n`);
}

/**
 * Reports an error: prints lines without stack trace to standard error and, with `--json`, an object to standard output.
 * @returns the exit code
 */
function reportError(thrown: unknown): number {
  if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0;
  const isUsage = [CommanderError, ConfigurationError, BundleError].some((each) => thrown instanceof each);
  const exitCode = isUsage ? exitCodes.usage : exitCodes.failure;
  const lines = thrown instanceof ConfigurationError ? thrown.mistakes : [messageOf(thrown).replace(/^error: /, "")];
  // commander has already printed its own errors.
  if (!(thrown instanceof CommanderError))
    for (const line of lines.flatMap((text) => text.split("\n")))
      process.stderr.write(`tahoe-apt: ${printable(line)}\n`);
  if (process.argv.includes("--json")) {
    const code = thrown instanceof CommanderError ? "usage/wrong-arguments" : codeOf(thrown);
    const linked = changingLinks.includes(process.argv[2] ?? "") && { linked: linkedIn(thrown) };
    process.stdout.write(`${JSON.stringify({ status: "failed", exitCode, ...linked, code, errors: lines })}\n`);
  }
  return exitCode;
}

/** The commands that change links to packages. */
const changingLinks: readonly string[] = ["put", "import", "promote", "remove", "prune"];

/** How many links were changed before the error: "none" unless the error says otherwise. */
const linkedIn = (thrown: unknown): unknown => (thrown instanceof Error && "linked" in thrown ? thrown.linked : "none");

// The reader of the output may close it early, for example `head`: this is not an error.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit();
  });
}

try {
  const commands = await program(process.argv[2] ?? "");
  await commands.parseAsync();
} catch (thrown) {
  process.exitCode = reportError(thrown);
}
