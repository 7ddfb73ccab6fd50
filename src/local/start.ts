// `npm start`: serves a repository on this machine and prints the commands to use it.
import { mkdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pino } from "pino";
import { messageOf, RepoError } from "../base/errors.ts";
import type { RepositoryName } from "../base/names.ts";
import { replaceFile } from "../base/replace-file.ts";
import { Secret } from "../base/secret.ts";
import { makeToken, openSecretFile, writeSecretFile } from "../base/secret-file.ts";
import { formatBundle } from "../client/bundle.ts";
import type { Flags } from "../config/load-config.ts";
import { loadConfiguration, searchPath } from "../config/load-config.ts";
import { nameOnMachines } from "../publishing/build/archive-keyring.ts";
import { outliveFailedWrites } from "../server/failed-writes.ts";
import { serveUntilTold } from "../server/serve.ts";
import { parseWriteCap } from "../storage/tahoe/caps.ts";
import { InstallFailed } from "./grid/install.ts";
import { freePort } from "./grid/node-directory.ts";
import { ToolMissing } from "./grid/python.ts";
import type { LocalTree } from "./local-tree.ts";
import { localSuite, openLocalTree } from "./local-tree.ts";

/** The directory for all files of `npm start`, relative to the working directory. */
export const localDirectory = ".tahoe-apt";

const preferredPort = 8380;
const progressEveryMs = 3_000;
const maxStepLength = 100;

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

/** Resolves after the signal is aborted and everything that it started has stopped. */
export async function start(flags: StartFlags, { signal, printLine }: StartOptions): Promise<void> {
  const { showCaps = false, ...serverFlags } = flags;
  const directory = resolve(localDirectory);
  const { tokenFile, headerFile } = await makePingFiles(join(directory, "caps"));

  const tree = flags.folder === undefined ? await openTree(directory, signal, printLine) : undefined;
  try {
    const localSettings = {
      listen: flags.listen ?? (await persistentAddress(directory)),
      state: flags.state ?? join(directory, "server"),
    };
    const treeSettings = tree && { webapi: [tree.grid.webapiUrl], readcapFile: tree.capFiles.readCap };
    const configuration = loadConfiguration({
      ...serverFlags,
      ...treeSettings,
      ...localSettings,
      pingTokenFile: tokenFile,
      archiveKeyring: "main",
    });
    const logFile = pino.destination({ dest: join(directory, "server.log"), mkdir: true, sync: false });
    // A failed write to the log, for example on a full disk, must not stop the server.
    logFile.on("error", () => undefined);
    const log = pino(logFile);
    outliveFailedWrites(log);
    await serveUntilTold(configuration, { signal, log }, async (server) => {
      for (const { name } of configuration.repositories) {
        if (tree) await writeBundle(tree, `${server.url}/-/ping/${name}`, tokenFile);
        printLine(
          instructions({
            url: server.url,
            name,
            headerFile,
            log: join(directory, "server.log"),
            tree,
            folder: flags.folder,
          }),
        );
      }
      if (tree && showCaps)
        for (const file of Object.values(tree.capFiles)) printLine(`${file}: ${await readFile(file, "utf8")}`);
      void tree?.grid.ended.then(() => {
        if (!signal.aborted)
          printLine("The Tahoe node has stopped. Published files are still served; restart for everything else.");
      });
    });
  } finally {
    await tree?.grid.stop();
  }
  printLine("Stopped.");
}

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
    throw new NoGrid(`${messageOf(thrown)}\nWithout Tahoe, you can serve a folder: npm start -- --folder DIR`);
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
  readonly tree: LocalTree | undefined;
  readonly folder: string | undefined;
}

/** The printed instructions. They contain no caps and no tokens: the commands read them from files. */
function instructions({ url, name, headerFile, log, tree, folder }: InstructionsOptions): string {
  const base = `${url}/${name}`;
  const onMachines = nameOnMachines(name);
  const architecture = tree?.architecture ?? "ARCH";
  const suite = tree ? localSuite : "SUITE";
  const directory = tree?.binaries.path ?? `dists/${suite}/main/binary-${architecture}`;
  const put = tree
    ? `${tree.tahoe.executable} -d ${tree.grid.nodeDirectory} put hello_1.0_${architecture}.deb ${tree.binaries.alias}:hello_1.0_${architecture}.deb`
    : `cp hello_1.0_${architecture}.deb ${resolve(folder ?? ".", directory)}/`;
  return `
The page of the repository:
  ${base}/

An APT user, as root (the key is inside the .sources file):
  curl -fsS -o /etc/apt/sources.list.d/${onMachines}.sources ${base}/${name}.sources
  apt-get update
or in the older one-line form:
  curl -fsS -o /etc/apt/keyrings/${onMachines}.asc ${base}/key.asc
  echo 'deb [signed-by=/etc/apt/keyrings/${onMachines}.asc] ${base} ${suite} main' > /etc/apt/sources.list.d/${onMachines}.list

A builder uploads, then pings; the response arrives when the package can be installed:
  ${put}
  curl -fsS -X POST -H @${headerFile} '${url}/-/ping/${name}/${directory}?wait=60'
${
  tree
    ? `
Or in one step with the builder's bundle, which also checks the packages and accepts sources and .changes files:
  npx tahoe-apt put --bundle ${tree.capFiles.bundle} hello_1.0_${architecture}.deb

Source packages go to ${tree.sources.alias}: in the same way (${tree.sources.path}).
The caps are in ${resolve(localDirectory, "caps")}, one in each file, readable only by you: npm start -- --show-caps prints them.`
    : ""
}
The log is ${log}
Ctrl-C stops everything; the next npm start continues with the same tree.
`;
}
