// `npm start`: serves a repository on this machine and prints the commands to use it.
import { accessSync, constants } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pino } from "pino";
import { systemClock } from "../base/clock.ts";
import { messageOf, RepoError, systemCodeOf } from "../base/errors.ts";
import type { RepositoryName } from "../base/names.ts";
import { replaceFile } from "../base/replace-file.ts";
import { Secret } from "../base/secret.ts";
import { makeToken, openSecretFile, writeSecretFile } from "../base/secret-file.ts";
import { formatBundle, readBundle } from "../client/bundle.ts";
import type { PutObserver } from "../client/upload/put.ts";
import { put } from "../client/upload/put.ts";
import type { Flags } from "../config/load-config.ts";
import { loadConfiguration, npmScript, searchPath } from "../config/load-config.ts";
import { nameOnMachines } from "../publishing/build/archive-keyring.ts";
import { outliveFailedWrites } from "../server/failed-writes.ts";
import type { Server } from "../server/serve.ts";
import { serveUntilTold } from "../server/serve.ts";
import { openLog } from "../server/server-log.ts";
import { askServer } from "../server/state-lock.ts";
import { parseWriteCap } from "../storage/tahoe/caps.ts";
import { InstallFailed } from "./grid/install.ts";
import { freePort } from "./grid/node-directory.ts";
import { ToolMissing } from "./grid/python.ts";
import { helloDeb, helloFile, helloName } from "./hello-package.ts";
import type { LocalTree } from "./local-tree.ts";
import { localSuite, openLocalTree } from "./local-tree.ts";

/** The directory for all files of `npm start`, relative to the working directory. */
export const localDirectory = ".tahoe-apt";

const preferredPort = 8380;
const progressEveryMs = 3_000;
const maxStepLength = 100;
/** How long the first package may take until APT sees it. */
const publishTimeoutMs = 120_000;

export interface StartFlags extends Flags {
  readonly showCaps?: boolean;
}

interface StartOptions {
  readonly signal: AbortSignal;
  /** Prints a line for the user. */
  readonly printLine: (text: string) => void;
}

/** Tahoe is not installed and cannot be installed; the message names an alternative. */
class NoGrid extends RepoError {
  readonly code = "start/no-grid";
}

/** Another `npm start` uses the directory. */
class AlreadyRunning extends RepoError {
  readonly code = "start/running";
}

/** The first package did not reach the repository. */
class NotPublished extends RepoError {
  readonly code = "start/not-published";
}

/**
 * Resolves after the signal is aborted and everything that it started has stopped. Beside a running `npm start`, with
 * `showCaps`, it prints the instructions and caps of that one.
 */
export async function start(flags: StartFlags, { signal, printLine }: StartOptions): Promise<void> {
  const { showCaps = false, ...serverFlags } = flags;
  const directory = resolve(localDirectory);
  const files = {
    caps: join(directory, "caps"),
    log: join(directory, "server.log"),
    instructions: join(directory, "instructions.txt"),
  };
  const state = flags.state ?? join(directory, "server");
  if (await isServed(state)) {
    const hint = `${startCommand("--show-caps")} prints its commands again, and its caps`;
    if (!showCaps) throw new AlreadyRunning(`it is running already, with the state in ${state}; ${hint}`);
    // A server that has just been started has no instructions yet.
    printLine(await readFile(files.instructions, "utf8").catch(() => "It is starting."));
    await printCaps(files.caps, printLine);
    return;
  }
  const { tokenFile, headerFile } = await makePingFiles(files.caps);

  const tree = flags.folder === undefined ? await openTree(directory, signal, printLine) : undefined;
  try {
    const localSettings = { listen: flags.listen ?? (await persistentAddress(directory)), state };
    const treeSettings = tree && { webapi: [tree.grid.webapiUrl], readcapFile: tree.capFiles.readCap };
    const configuration = loadConfiguration({
      ...serverFlags,
      ...treeSettings,
      ...localSettings,
      pingTokenFile: tokenFile,
      archiveKeyring: "main",
    });
    const logFile = pino.destination({ dest: files.log, mkdir: true, sync: false });
    // A failed write to the log, for example on a full disk, must not stop the server.
    logFile.on("error", () => undefined);
    const log = openLog({ format: "json", level: "info" }, (line) => void logFile.write(line));
    outliveFailedWrites(log);
    const prepare = async ({ url }: Server) => {
      for (const { name } of configuration.repositories) {
        if (tree) await writeBundle(tree, `${url}/-/ping/${name}`, tokenFile);
        const hello = await prepareHello(directory, tree, { signal, printLine });
        const text = instructions({ url, name, headerFile, log: files.log, hello, tree, folder: flags.folder });
        await replaceFile(files.instructions, text);
        printLine(text);
      }
      if (tree && showCaps) await printCaps(files.caps, printLine);
    };
    const failed = new AbortController();
    const stopping = AbortSignal.any([signal, failed.signal]);
    await serveUntilTold(configuration, { signal: stopping, log }, async (server) => {
      try {
        await prepare(server);
      } catch (thrown) {
        failed.abort();
        await server.closed;
        if (!signal.aborted) throw thrown;
      }
      void tree?.grid.ended.then(() => {
        if (!stopping.aborted)
          printLine("The Tahoe node has stopped. Published files are still served; restart for everything else.");
      });
    });
  } finally {
    await tree?.grid.stop();
  }
  printLine("Stopped.");
}

/** Whether a server uses a state directory. An empty question gets an empty answer. */
async function isServed(state: string): Promise<boolean> {
  try {
    return (await askServer(state, "")) !== undefined;
  } catch (thrown) {
    if (systemCodeOf(thrown) === "ENOENT") return false;
    throw thrown;
  }
}

async function printCaps(directory: string, printLine: (text: string) => void): Promise<void> {
  const names = (await readdir(directory)).filter((name) => /\.(readcap|writecap|bundle)$/.test(name));
  for (const file of names.toSorted().map((name) => join(directory, name)))
    printLine(`${file}: ${(await readFile(file, "utf8")).trim()}`);
}

/** The files of two versions of a small package. */
interface HelloFiles {
  readonly first: string;
  readonly second: string;
}

/** Writes both files. Uploads the first one into a new tree; the user uploads the second one. */
async function prepareHello(
  directory: string,
  tree: LocalTree | undefined,
  { signal, printLine }: StartOptions,
): Promise<HelloFiles> {
  const versions = { first: "1.0", second: "2.0" } as const;
  const files = {
    first: join(directory, helloFile(versions.first)),
    second: join(directory, helloFile(versions.second)),
  };
  await replaceFile(files.first, helloDeb(versions.first));
  await replaceFile(files.second, helloDeb(versions.second));
  if (tree?.isNew !== true) return files;
  printLine(`Uploading a first package, ${helloName} ${versions.first} …`);
  const bundle = await readBundle(tree.capFiles.bundle, printLine);
  const options = { mayReplace: false, timeoutMs: publishTimeoutMs };
  const outcome = await put(bundle, [files.first], options, { observer: silentUpload, clock: systemClock, signal });
  if (outcome.status !== "live") {
    const reasons = [...outcome.problems, ...outcome.packages].flatMap(({ reason }) => reason ?? []);
    throw new NotPublished(`${files.first} is ${[outcome.status, ...reasons].join(": ")}`);
  }
  return files;
}

const silentUpload: PutObserver = {
  started() {},
  finished() {},
  uploaded() {},
  note() {},
  waiting() {},
};

/** Writes the builder's bundle for `put`. */
async function writeBundle(
  { grid, binaries, sources, capFiles }: LocalTree,
  url: string,
  tokenFile: string,
): Promise<void> {
  const secretIn = async (file: string): Promise<string> => (await readFile(file, "utf8")).trim();
  const directories = [
    { path: binaries.path, cap: parseWriteCap(await secretIn(capFiles.binaries)) },
    { path: sources.path, cap: parseWriteCap(await secretIn(capFiles.sources)) },
  ];
  const ping = { url, token: new Secret(await secretIn(tokenFile)) };
  const bundle = formatBundle({ name: "builder", gateways: [grid.webapiUrl], directories, ping });
  await writeSecretFile(capFiles.bundle, bundle);
}

/** Creates the ping token, if there is none yet, and a file with its header for `curl -H @FILE`. */
export async function makePingFiles(
  directory: string,
): Promise<{ readonly tokenFile: string; readonly headerFile: string }> {
  const tokenFile = join(directory, "ping-token");
  const headerFile = join(directory, "ping-header");
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const token = await openSecretFile(tokenFile, makeToken);
  await writeSecretFile(headerFile, token, "Authorization: Bearer ");
  return { tokenFile, headerFile };
}

async function openTree(directory: string, signal: AbortSignal, printLine: (text: string) => void): Promise<LocalTree> {
  try {
    return await openLocalTree({
      tahoeDirectory: join(directory, "venv"),
      gridDirectory: join(directory, "grid"),
      capsDirectory: join(directory, "caps"),
      searchPath: searchPath(),
      progress: throttled(printLine),
      signal,
    });
  } catch (thrown) {
    if (!(thrown instanceof ToolMissing) && !(thrown instanceof InstallFailed)) throw thrown;
    throw new NoGrid(`${messageOf(thrown)}\nWithout Tahoe, you can serve a folder: ${startCommand("--folder DIR")}`);
  }
}

/** Prints at most one step in each interval: an installation reports about a hundred. */
export function throttled(printLine: (text: string) => void): (step: string) => void {
  let lastMs = 0;
  return (step) => {
    if (Date.now() - lastMs < progressEveryMs) return;
    lastMs = Date.now();
    printLine(`  … ${step.length > maxStepLength ? `${step.slice(0, maxStepLength)}…` : step}`);
  };
}

/** Returns the same address at every start, so that printed commands stay valid: the default, or one that was free. */
async function persistentAddress(directory: string): Promise<string> {
  const file = join(directory, "listen");
  const before = await readFile(file, "utf8").catch(() => undefined);
  if (before !== undefined) return before.trim();
  const address = `127.0.0.1:${(await freePort(preferredPort)) ?? (await freePort(0)) ?? 0}`;
  await replaceFile(file, `${address}\n`);
  return address;
}

interface InstructionsOptions {
  readonly url: string;
  readonly name: RepositoryName;
  readonly headerFile: string;
  readonly log: string;
  readonly hello: HelloFiles;
  readonly tree: LocalTree | undefined;
  readonly folder: string | undefined;
}

/**
 * The printed instructions. All commands work in their order, in any directory. They contain no caps and no tokens: the
 * commands read them from files.
 */
function instructions({ url, name, headerFile, log, hello, tree, folder }: InstructionsOptions): string {
  const base = `${url}/${name}`;
  const source = `/etc/apt/sources.list.d/${nameOnMachines(name)}.sources`;
  const asRoot = process.getuid?.() === 0 ? "" : "sudo ";
  const inFolder = quoted(resolve(folder ?? ".", `dists/${localSuite}/main/binary-all`));
  const directory = tree?.binaries.path ?? `dists/${localSuite}/main/binary-all`;
  const ping = `curl -fsS -X POST -H @${quoted(headerFile)} '${url}/-/ping/${name}/${directory}?wait=60'`;
  const first = tree
    ? []
    : [
        "Put a first package into the folder, and ping the server, which responds when it can be installed:",
        `  mkdir -p ${inFolder}`,
        `  cp ${quoted(hello.first)} ${inFolder}/`,
        `  ${ping}`,
        "",
      ];
  const second = tree
    ? [`  ${ownCommand()} put --bundle ${quoted(tree.capFiles.bundle)} ${quoted(hello.second)}`]
    : [`  cp ${quoted(hello.second)} ${inFolder}/`, `  ${ping}`];
  const withOtherTools = tree
    ? [
        "",
        "Any other client of Tahoe-LAFS can upload too. Then ping; the response arrives when the package can be installed:",
        `  ${quoted(tree.tahoe.executable)} -d ${quoted(tree.grid.nodeDirectory)} put ${quoted(hello.second)} ${tree.binaries.alias}:${helloFile("2.0")}`,
        `  ${ping}`,
        "",
        `Source packages go to ${tree.sources.alias}: in the same way (${tree.sources.path}).`,
        `The caps are in ${resolve(localDirectory, "caps")}, one in each file, readable only by you.`,
        `${startCommand("--show-caps")} prints them, also beside this server.`,
      ]
    : [];
  return [
    "",
    "The page of the repository:",
    `  ${base}/`,
    "",
    "Paste these lines in their order, in any directory.",
    "",
    ...first,
    "Add the repository to APT on this machine (the key is inside the .sources file), and install a package from it:",
    `  ${asRoot}curl -fsS -o ${source} ${base}/${name}.sources`,
    `  ${asRoot}apt-get update`,
    `  ${asRoot}apt-get install ${helloName}`,
    "Where it comes from:",
    `  apt policy ${helloName}`,
    `  ${helloName}`,
    "Publish a newer version, and upgrade:",
    ...second,
    `  ${asRoot}apt-get update`,
    `  ${asRoot}apt-get install --only-upgrade ${helloName}`,
    `  ${helloName}`,
    "Remove everything from APT again:",
    `  ${asRoot}apt-get purge --yes ${helloName}`,
    `  ${asRoot}rm ${source}`,
    ...withOtherTools,
    "",
    `The log is ${log}`,
    `Ctrl-C stops everything; the next ${startCommand()}, in the same directory, continues with the same tree.`,
    "",
  ].join("\n");
}

/** How a shell in any directory calls this program: by its path, or by its name if an installed package has it. */
function ownCommand(): string {
  const file = process.argv[1] ?? "";
  try {
    accessSync(file, constants.X_OK);
    return quoted(file);
  } catch {
    // The Debian package starts a file that is not executable itself.
    return "tahoe-apt";
  }
}

/** How this command was started, with other flags. */
const startCommand = (flags = ""): string =>
  npmScript() === "start" ? `npm start${flags && ` -- ${flags}`}` : `${ownCommand()} start${flags && ` ${flags}`}`;

/** A word of a shell command, in quotes if it needs them. */
const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
