// `tahoe-apt put`: uploads packages, and prints the result as text or as one JSON object.
import type { Command } from "commander";
import { systemClock } from "../base/clock.ts";
import type { Layout, PackageDirectory } from "../catalog/layout/repository-layout.ts";
import type { Bundle } from "../client/bundle.ts";
import { readBundle } from "../client/bundle.ts";
import { layoutFor } from "../client/suites-with-slash.ts";
import type { PutObserver, PutOutcome, PutPackage } from "../client/upload/put.ts";
import { put } from "../client/upload/put.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import { withRequired } from "./shared/arguments.ts";
import { showSteps, warn, warnWaiting } from "./shared/terminal.ts";

const exitCodes: { readonly [Status in PutOutcome["status"]]: number } = {
  live: 0,
  linked: 4,
  refused: 3,
  rejected: 3,
};
const defaultTimeoutSeconds = 300;

const help = `
FILE is a .deb, .udeb, .ddeb, .dsc, .changes or .buildinfo. For the last three, all listed files that APT can use are
uploaded.
Before anything is changed, every file is checked by the rules of the server. All files of a directory are linked in one
write, so an upload appears either completely or not at all; after an interruption, the same command completes it.
Signatures of .dsc and .changes files are not verified: everybody who has the bundle is trusted.

Examples:
  tahoe-apt put --bundle alice.bundle hello_1.0-1_amd64.deb
  tahoe-apt put --bundle alice.bundle --suite sid ../hello_1.0-1_amd64.changes
  tahoe-apt put --bundle alice.bundle --json *.deb | jq -r '.packages[].state'

With --json, the output is always one object; standard error shows only which server put waits for. For exit codes 1 and
2 the object is {"status": "failed", "errors", "code", "linked"}, where "linked" is "none", "all", or "unknown" if put
failed while setting the links.

Exit codes: 0 APT sees all packages (or the bundle has no ping settings, and they are linked), 1 failed, 2 wrong
arguments or bundle, 3 the files have problems (nothing was changed) or the server rejected them (they are linked),
4 linked, but not yet live after --timeout: the server will notice them.
`;

interface PutFlags {
  readonly bundle: string;
  readonly suite?: string;
  readonly component?: string;
  readonly replace?: boolean;
  readonly timeout: string;
  readonly json?: boolean;
}

/** @param stopSignal returns a signal that is aborted when the process must stop */
export function addPut(commands: Command, stopSignal: () => AbortSignal): void {
  const command = commands
    .command("put")
    .description("Upload packages with a builder's credentials (the bundle), and wait until APT sees them.")
    .argument("<file...>", "packages, or files that list them");
  withRequired(
    command,
    "--bundle <file>",
    "the builder's credentials: write caps, gateways, and the token to notify the server",
  )
    .option("--suite <name>", "the suite (default: from the .changes, or the bundle's only suite)")
    .option("--component <name>", "the component (default: from the package's Section)")
    .option("--replace", "overwrite existing files that have the same name and different bytes")
    .option("--timeout <seconds>", "how long to wait until all packages are live", String(defaultTimeoutSeconds))
    .option("--json", "print the result as one JSON object")
    .addHelpText("after", help)
    .action(async (files: readonly string[], flags: PutFlags) => {
      const { json = false, replace = false, timeout, suite, component } = flags;
      if (!/^\d{1,6}$/.test(timeout)) throw new ConfigurationError(["--timeout: must be a number of seconds"]);
      const bundle = await readBundle(flags.bundle, warn);
      const layout = layoutFor(bundle, undefined, suite === undefined ? [] : [suite]);
      requireInBundle("--suite", suite, { bundle, layout }, (location) => location.suite);
      requireInBundle("--component", component, { bundle, layout }, (location) => location.component);
      const options = { suite, component, mayReplace: replace, timeoutMs: Number(timeout) * 1000 };
      const observer = json ? quietObserver : terminalObserver();
      const outcome = await put(bundle, files, options, { observer, clock: systemClock, signal: stopSignal() });
      process.stdout.write(json ? `${JSON.stringify(outcome)}\n` : linesOf(outcome, bundle.ping !== undefined));
      process.exitCode = outcome.status === "linked" && bundle.ping === undefined ? 0 : exitCodes[outcome.status];
    });
}

/** @throws ConfigurationError if no directory of the bundle is in the suite or component */
function requireInBundle(
  flag: string,
  value: string | undefined,
  { bundle, layout }: { readonly bundle: Bundle; readonly layout: Layout },
  propertyOf: (location: PackageDirectory) => string,
): void {
  if (value === undefined) return;
  const known = new Set(
    bundle.directories.flatMap(({ path }) => layout.packageDirectoryOf(path) ?? []).map(propertyOf),
  );
  if (known.has(value)) return;
  const hint = `it has ${[...known].toSorted().join(", ") || "none"}`;
  throw new ConfigurationError([`${flag}: the bundle has no ${JSON.stringify(value.slice(0, 80))}; ${hint}`]);
}

/** Prints only the reasons for waiting. */
const quietObserver: PutObserver = { started() {}, finished() {}, uploaded() {}, note() {}, waiting: warnWaiting };

const stepTexts = { check: "checked", upload: "uploaded", link: "linked", ping: "notified" } as const;

/** Prints lines on standard error, and, on a terminal, the progress of the upload. */
function terminalObserver(): PutObserver {
  const { progressed, ...shown } = showSteps("uploading", stepTexts);
  return { ...shown, started() {}, uploaded: progressed };
}

function linesOf({ status, packages, problems }: PutOutcome, pinged: boolean): string {
  const lines = [
    ...problems.map(({ file, reason }) => `refused: ${file}: ${reason}`),
    ...packages.map(lineOf),
    ...(status === "refused" ? ["nothing was changed"] : []),
    ...(status === "linked" && !pinged
      ? ["the bundle has no ping settings: the server will notice the change at its next poll"]
      : []),
  ];
  return lines.map((line) => `${line}\n`).join("");
}

function lineOf({ state, name, version, architecture, suite, component, reason }: PutPackage): string {
  const why = reason === undefined ? "" : `: ${reason}`;
  return `${state}: ${name} ${version} ${architecture} in ${suite} ${component}${why}`;
}
