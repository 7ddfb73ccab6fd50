#!/usr/bin/env -S MALLOC_ARENA_MAX=2 node --max-semi-space-size=4
// The command line: argv in, exit code out. 0 all is done, 1 it failed, 2 the arguments or the configuration are wrong.
// The line above: bootstrap.mjs tells why.
import { readFileSync } from "node:fs";
import { Command, CommanderError, Option } from "commander";
import { codeOf, messageOf } from "./base/errors.ts";
import { BundleError } from "./client/bundle.ts";
import { gatewayCaOption } from "./commands/shared/arguments.ts";
import { ConfigurationError } from "./config/configuration-error.ts";
import type { Flags } from "./config/load-config.ts";
import { outliveFailedWrites } from "./server/failed-writes.ts";
import { keepHeapLean } from "./server/heap-settings.ts";

const exitCodes = { failure: 1, usage: 2 } as const;

const serveHelp = `
The read cap is authority, so it is never an argument: it comes from --readcap-file or TAHOE_APT_READCAP.

Examples:
  tahoe-apt serve --webapi http://127.0.0.1:3456 --readcap-file debian.readcap
  tahoe-apt serve --folder /srv/debian --name debian --listen 0.0.0.0:8380
  tahoe-apt serve --config /etc/tahoe-apt.toml

A configuration file (TOML) mounts several repositories; its paths are relative to the file:
  listen = "127.0.0.1:8380"
  state = "/var/lib/tahoe-apt"
  public_url = "https://apt.example.org"      # as people reach it
  behind_proxy = true                         # the last address in X-Forwarded-For is the client's
  metrics_token_file = "metrics.token"        # what asks for /metrics must bear it
  poll_seconds = 300                          # the safety net below pings
  keep_seconds = 604800                       # how long old indices and what they name stay readable
  scrub_seconds = 60                          # between two uploaders' words that are checked; 0: only when fetched
  check_seconds = 604800                      # between two checks of all objects, which renew leases; 0: never
  cache_bytes = 2147483648                    # packages kept on disk
  grace_period_seconds = 10                   # for requests that are under way at SIGTERM
  [limits.inspection]                         # also limits.tree, webapi, listing, folder, changelog, http
  max_file_bytes = 8589934592
  max_stanza_bytes = 262144                   # as it stands in an index; max_source_stanza_bytes for sources
  max_data_ratio = 256                        # how many times its size a member may become, beyond any_ratio_bytes
  [limits.directory]                          # for each builder's directory
  max_directory_packages = 100000             # what was linked first is listed; also max_directory_index_bytes,
                                             # max_directory_variants
  [[repository]]
  name = "debian"                             # served at /debian/
  webapi = ["http://127.0.0.1:3456"]          # several gateways stand in for each other
  readcap_file = "debian.readcap"             # or, in place of both: folder = "/srv/debian"
  gateway_ca_file = "our-ca.pem"              # of https gateways whose certificate is of an authority of one's own
  origin = "Example"                          # also label, description
  digests = ["md5", "sha256"]                 # of packages; also release_digests, of indices
  flat = ["extras"]                           # where packages lie without dists; the root is one if it has none
  signing_key_file = ["old.asc", "new.asc"]   # each signs; also signing_passphrase_file; without them a key is made
  export_directory = "/srv/www/debian"        # a site of plain files, brought up to date after each publication
  publish_bundle_file = "indices.bundle"      # the indices go into the tree too, for APT by way of any gateway
  archive_keyring = "main"                    # where a package NAME-archive-keyring with the public keys stands
  dates_after = "Sun, 22 Nov 2026 13:45:00 UTC"   # after a loss of state: the last Date that clients have seen
  date_lag_seconds = 60                       # how far Release's Date lags behind the newest upload, for slow clocks
  package_owners = "first"                    # whose names are that no builder's packages have; also "any" (default), "listed"
  ping_token_file = "ping.token"              # what pings all of the tree must bear; builders have their own
  builders_file = "builders.toml"             # [[builder]] tables as below; read anew when it has changed
  [repository.suite.sid]
  codename = "sid"                            # also version, description, not_automatic, but_automatic_upgrades
  contents = false                            # no index of packages' files; also for a repository
  pdiffs = false                              # no patches between an index and its earlier states; likewise
  translations = true                         # long descriptions in an index of their own; also for a repository
  indices = "prebuilt"                        # the indices in the tree are served unchanged; by default "made"
  valid_for_seconds = 604800                  # clients refuse a Release that is older; renewed in time by itself
  signed_by = true                            # and from then on accept no keys but those that sign now
  [repository.suite.sid.view]                 # hides packages from the indices, and deletes none
  newest = 3                                  # versions of each package and architecture; also max_age_seconds
  hide = ["*-dbgsym"]                         # patterns of names; also show
  [[repository.builder]]
  name = "alice"
  token_file = "alice.token"
  directory = "dists/sid/main/binary-amd64/alice"
  packages = ["hello", "libhello*"]           # hers alone, and all that she may publish; without it, any name that is free
  [[repository.override]]                     # what indices say of packages; also tahoe-apt override and phase
  packages = "src:hello=2.0-*"                # also suite = "sid"
  set = { Section = "utils", Phased-Update-Percentage = "30" }
  [[repository.reader]]                       # with any, the repository is private: names and passwords over Basic
  name = "bob"
  password_file = "bob.password"

Environment:
  TAHOE_APT_READCAP      the tree's read cap, where neither --readcap-file nor --config is given
  TAHOE_APT_PING_TOKEN   the token that pings must bear, likewise; without one, one is made in the state directory

Exit codes: 0 stopped by SIGTERM or SIGINT, 1 failed, 2 wrong arguments or configuration.
`;

const mainHelp = `
Examples:
  tahoe-apt start                              a grid, a repository and a server on this machine, to try it all
  tahoe-apt demo                               the whole story once, by itself
  tahoe-apt serve --config /etc/tahoe-apt.toml
  tahoe-apt init debian --webapi http://127.0.0.1:3456 --suite sid --builder alice
  tahoe-apt put --bundle alice.bundle hello_1.0-1_amd64.changes
  tahoe-apt snapshot rollback 20261122T134500Z --config /etc/tahoe-apt.toml

tahoe-apt COMMAND --help tells more.
`;

/** The version of package.json, which lies beside `dist/` in a checkout, in an installed package and in the image. */
function ownVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
    readonly version: string;
  };
  return version;
}

/** A signal that is aborted when this process is told to stop. */
function untilTold(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => stop.abort(new Error(`stopped by ${signal}`)));
  }
  return stop.signal;
}

/** Adds the flags that say what is served, and where. */
const withServerFlags = (command: Command): Command =>
  command
    .option("--name <name>", "the repository's name: it is served at /NAME/ (default: debian)")
    .option("--folder <directory>", "serve a local folder in place of a Tahoe tree")
    .option("--listen <host:port>", "the address to listen on (default: 127.0.0.1:8380)")
    .option("--state <directory>", "where caches, publications and made keys are kept");

const ownNames = ["serve", "start", "demo"];

/**
 * The other commands, and how each file of them is added: only the file of the command that is asked for is loaded, and
 * all for the help. Loading all would take longer than most of what they do.
 */
const others: readonly (readonly [names: string, add: (commands: Command) => Promise<void>])[] = [
  [
    "init builder owner suite",
    async (to) => (await import("./commands/owner.ts")).addOwnerCommands(to, { untilTold, say }),
  ],
  ["put", async (to) => (await import("./commands/put.ts")).addPut(to, untilTold)],
  ["list", async (to) => (await import("./commands/list.ts")).addList(to, untilTold)],
  ["promote remove prune", async (to) => (await import("./commands/curation.ts")).addCuration(to, untilTold)],
  ["deep-check", async (to) => (await import("./commands/deep-check.ts")).addDeepCheck(to, untilTold)],
  ["snapshot", async (to) => (await import("./commands/snapshot.ts")).addSnapshot(to)],
  ["override phase", async (to) => (await import("./commands/override.ts")).addOverride(to)],
  ["view", async (to) => (await import("./commands/view.ts")).addView(to)],
  ["verify", async (to) => (await import("./commands/verify.ts")).addVerify(to, untilTold)],
  ["export publish", async (to) => (await import("./commands/export-and-publish.ts")).addExportCommands(to, untilTold)],
];

/** @param asked the first argument: the name of a command, if it is one */
async function program(asked: string): Promise<Command> {
  const commands = new Command("tahoe-apt")
    .description("A virtual APT repository: answers APT on the fly from a Tahoe-LAFS directory tree.")
    .version(ownVersion(), "-V, --version", "print the version of tahoe-apt")
    .addHelpText("after", mainHelp)
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`tahoe-apt: ${text.replace(/^error: /, "")}`) });

  withServerFlags(commands.command("serve"))
    .description("Serve one repository, given by flags, or several, given by a file.")
    .option("--config <file>", "read everything from a TOML file (see below)")
    .addOption(
      new Option("--webapi <url...>", "the Tahoe gateway that reads the tree; several stand in for each other"),
    )
    .option("--readcap-file <file>", "the file that holds the tree's read cap")
    .addOption(gatewayCaOption())
    .option("--ping-token-file <file>", "the file that holds the token that pings must bear")
    .option("--archive-keyring <component>", "the component that holds a package with the repository's keys")
    .option(
      "--accept-identity-change",
      "publish although clients know another Origin, Label, Codename or pin of a suite",
    )
    .addHelpText("after", serveHelp)
    .action(async (flags: Flags) => {
      keepHeapLean();
      const [{ pino }, { loadConfiguration }, { serveUntilTold }] = await Promise.all([
        import("pino"),
        import("./config/load-config.ts"),
        import("./server/serve.ts"),
      ]);
      const configuration = loadConfiguration(flags);
      const log = pino();
      outliveFailedWrites(log);
      for (const warning of configuration.warnings) log.warn({}, warning);
      await serveUntilTold(configuration, { signal: untilTold(), log });
    });

  withServerFlags(commands.command("start"))
    .description("Bring up a one-machine grid with a repository in it, serve it, and say how to use it.")
    .option("--show-caps", "print the caps too (they are authority; by default only their files are named)")
    .addHelpText("after", "\nWith --folder, no grid is needed: the folder is served as it is.\n")
    .action(async (flags: Flags & { readonly showCaps?: boolean }) => {
      keepHeapLean();
      const { start } = await import("./local/start.ts");
      await start(flags, { signal: untilTold(), say });
    });

  const isAsked = ([names]: (typeof others)[number]): boolean => names.split(" ").includes(asked);
  const known = others.some(isAsked) || ownNames.includes(asked);
  for (const other of others) if (!known || isAsked(other)) await other[1](commands);

  commands
    .command("demo")
    .description(
      "Go once through the whole story: grid, tree, server, packages, upload, ping, apt. Cleans up after itself.",
    )
    .action(async () => {
      const { demo } = await import("./local/demo.ts");
      await demo({ signal: untilTold(), say });
    });
  return commands;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/**
 * Turns what was thrown into lines for people on standard error, with `--json` also into one object on standard output,
 * and an exit code. Stack traces are for developers alone.
 */
function explain(thrown: unknown): number {
  if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0;
  const isUsage = [CommanderError, ConfigurationError, BundleError].some((each) => thrown instanceof each);
  const exitCode = isUsage ? exitCodes.usage : exitCodes.failure;
  const lines = thrown instanceof ConfigurationError ? thrown.mistakes : [messageOf(thrown).replace(/^error: /, "")];
  // commander has written its own line.
  if (!(thrown instanceof CommanderError)) for (const line of lines) process.stderr.write(`tahoe-apt: ${line}\n`);
  if (process.argv.includes("--json")) {
    const code = thrown instanceof CommanderError ? "usage/wrong-arguments" : codeOf(thrown);
    const linked = changingLinks.includes(process.argv[2] ?? "") && { linked: linkedIn(thrown) };
    process.stdout.write(`${JSON.stringify({ status: "failed", exitCode, ...linked, code, errors: lines })}\n`);
  }
  return exitCode;
}

/** The commands that set or remove links of packages. */
const changingLinks: readonly string[] = ["put", "promote", "remove", "prune"];

/** Whether links were changed in spite of a failure: none, as long as nothing says otherwise. */
const linkedIn = (thrown: unknown): unknown => (thrown instanceof Error && "linked" in thrown ? thrown.linked : "none");

// Whoever reads the output may have had enough, as `head` has: that is no failure, and there is nobody to tell.
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
  process.exitCode = explain(thrown);
}
