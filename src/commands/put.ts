// `tahoe-apt put`: an upload as its builder sees it, in lines for people or one JSON object for machines.
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
import { complainOfWaiting, progressLine } from "./shared/terminal.ts";

const exitCodes: { readonly [Status in PutOutcome["status"]]: number } = {
  live: 0,
  linked: 4,
  refused: 3,
  rejected: 3,
};
const defaultPatienceSeconds = 300;

const help = `
FILE is a .deb, .udeb, .ddeb, .dsc, .changes or .buildinfo; of the last three, all that they list and APT can use is
uploaded.
Every file is checked as the server will check it before anything is changed. All files of a directory are linked in
one write, so that an upload appears whole or not at all; after an interruption, the same command finishes it.
Signatures of .dsc and .changes files are not verified: whoever has the bundle is trusted.

Examples:
  tahoe-apt put --bundle alice.bundle hello_1.0-1_amd64.deb
  tahoe-apt put --bundle alice.bundle --suite sid ../hello_1.0-1_amd64.changes
  tahoe-apt put --bundle alice.bundle --json *.deb | jq -r '.packages[].state'

With --json one object is printed whatever happens, and on standard error which server is waited for; at exit codes 1 and 2 it is {"status": "failed", "errors", "code",
"linked"}, where "linked" is "none", "all", or "unknown" where the links were being set.

Exit codes: 0 APT sees it all (or the bundle has no ping and it is linked), 1 failed, 2 wrong arguments or bundle,
3 something speaks against the files (nothing was changed) or the server rejected them (they are linked),
4 linked, and not yet live when --timeout had passed: the server will find it.
`;

interface PutFlags {
  readonly bundle: string;
  readonly suite?: string;
  readonly component?: string;
  readonly replace?: boolean;
  readonly timeout: string;
  readonly json?: boolean;
}

/** @param untilTold a signal that is aborted when this process is told to stop */
export function addPut(commands: Command, untilTold: () => AbortSignal): void {
  const command = commands
    .command("put")
    .description("Upload packages with a builder's bundle, and wait until APT sees them.")
    .argument("<file...>", "packages, or files that list them");
  withRequired(command, "--bundle <file>", "the builder's caps, gateways and ping token, as init made it")
    .option("--suite <name>", "the suite, whatever a .changes says (default: what it says, or the bundle's only one)")
    .option("--component <name>", "likewise (default: what the package's Section says)")
    .option("--replace", "let a file take the place of one with the same name and other bytes")
    .option("--timeout <seconds>", "how long to wait until all is live", String(defaultPatienceSeconds))
    .option("--json", "print the outcome as one JSON object")
    .addHelpText("after", help)
    .action(async (files: readonly string[], flags: PutFlags) => {
      const { json = false, replace = false, timeout, suite, component } = flags;
      if (!/^\d{1,6}$/.test(timeout)) throw new ConfigurationError(["--timeout: is a number of seconds"]);
      const bundle = await readBundle(flags.bundle, tell);
      const layout = layoutFor(bundle, undefined, suite === undefined ? [] : [suite]);
      demandPart("--suite", suite, { bundle, layout }, (place) => place.suite);
      demandPart("--component", component, { bundle, layout }, (place) => place.component);
      const options = { suite, component, mayReplace: replace, patienceMs: Number(timeout) * 1000 };
      const observer = json ? forPrograms : onScreen();
      const outcome = await put(bundle, files, options, { observer, clock: systemClock, signal: untilTold() });
      process.stdout.write(json ? `${JSON.stringify(outcome)}\n` : linesOf(outcome, bundle.ping !== undefined));
      process.exitCode = outcome.status === "linked" && bundle.ping === undefined ? 0 : exitCodes[outcome.status];
    });
}

/** @throws ConfigurationError for a part of the tree that none of the bundle's directories is in */
function demandPart(
  flag: string,
  asked: string | undefined,
  { bundle, layout }: { readonly bundle: Bundle; readonly layout: Layout },
  partOf: (place: PackageDirectory) => string,
): void {
  const known = new Set(bundle.directories.flatMap(({ path }) => layout.packageDirectoryOf(path) ?? []).map(partOf));
  if (asked === undefined || known.has(asked)) return;
  const has = `it has ${[...known].toSorted().join(", ") || "none"}`;
  throw new ConfigurationError([`${flag}: the bundle has no ${JSON.stringify(asked.slice(0, 80))}; ${has}`]);
}

function tell(text: string): void {
  process.stderr.write(`tahoe-apt: ${text}\n`);
}

/** Nothing but the object at the end, and why it takes so long. */
const forPrograms: PutObserver = { began() {}, ended() {}, uploaded() {}, note() {}, waiting: complainOfWaiting };

const doing = { check: "checked", upload: "uploaded", link: "linked", ping: "pinged" } as const;

/** Lines on standard error, and on a terminal the progress while bytes go up. */
function onScreen(): PutObserver {
  const showProgress = progressLine("uploading");
  let doneBytes = 0;
  return {
    began() {},
    uploaded(bytes, totalBytes) {
      doneBytes += bytes;
      showProgress(doneBytes, totalBytes);
    },
    ended(step, seconds) {
      tell(`${doing[step]} in ${seconds.toFixed(2)} s`);
    },
    note: tell,
    waiting: complainOfWaiting,
  };
}

function linesOf({ status, packages, problems }: PutOutcome, pinged: boolean): string {
  const lines = [
    ...problems.map(({ file, reason }) => `refused: ${file}: ${reason}`),
    ...packages.map(lineOf),
    ...(status === "refused" ? ["nothing was changed"] : []),
    ...(status === "linked" && !pinged ? ["the bundle has no ping: the server finds it by its next poll"] : []),
  ];
  return lines.map((line) => `${line}\n`).join("");
}

function lineOf({ state, name, version, architecture, suite, component, reason }: PutPackage): string {
  const why = reason === undefined ? "" : `: ${reason}`;
  return `${state}: ${name} ${version} ${architecture} in ${suite} ${component}${why}`;
}
