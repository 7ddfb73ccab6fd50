// Installs Tahoe-LAFS in a private virtual environment, once; replaces an incomplete installation.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { promises as fs } from "node:fs";
import { basename, delimiter, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { RepoError } from "../../base/errors.ts";
import { withLock } from "../../base/lock-directory.ts";
import { replaceFile } from "../../base/replace-file.ts";
import { exitStatus } from "./exit-status.ts";
import type { Python } from "./python.ts";
import { findPython, ToolMissing } from "./python.ts";
import { constraints, requirements } from "./requirements.ts";

/** The installed programs. */
export interface Tahoe {
  /** The `tahoe` command. */
  readonly executable: string;
}

export interface InstallOptions {
  /** The directory of the virtual environment. */
  readonly directory: string;
  /** Receives descriptions of the steps, for the user; about a hundred in an installation. */
  readonly progress: (step: string) => void;
  readonly signal: AbortSignal;
  /** Default: the first suitable Python of this machine. */
  readonly python?: Python;
  /** The value of PATH, in which a compiler is searched. */
  readonly searchPath: string;
}

/** pip or venv failed, and no known Debian package would fix it. */
export class InstallFailed extends RepoError {
  readonly code = "grid/install-failed";
}

/** Written last, so that only a complete installation has this file. */
const markerName = "tahoe-apt-installed";
const keptOutputLines = 15;

/**
 * Installs Tahoe, if it is not installed yet. The installation takes about 25 s and requires a network.
 * @throws ToolMissing, InstallFailed
 */
export async function installTahoe(options: InstallOptions): Promise<Tahoe> {
  const { directory, progress, signal } = options;
  const python = options.python ?? (await findPython(signal));
  const tahoe: Tahoe = { executable: join(directory, "bin", "tahoe") };
  // A virtual environment contains its own absolute path and its Python's version; if they change, it is unusable.
  const inputs = [...requirements, constraints, directory, python.executable, python.version].join("\n");
  const marker = createHash("sha256").update(inputs).digest("hex");
  const isInstalled = async (): Promise<boolean> => (await read(join(directory, markerName))) === marker;
  if (await isInstalled()) return tahoe;

  await fs.mkdir(dirname(directory), { recursive: true, mode: 0o700 });
  const waiting = (pid: number) => progress(`Waiting for another installation (process ${pid})`);
  return await withLock(dirname(directory), basename(directory), { signal, waiting }, async () => {
    if (await isInstalled()) return tahoe;
    await fs.rm(directory, { recursive: true, force: true });
    const withSystem = python.hasNetifaces && !(await hasCompiler(options.searchPath));
    progress(`Creating a virtual environment with Python ${python.version}`);
    await run(python.executable, ["-m", "venv", ...(withSystem ? ["--system-site-packages"] : []), directory], options);
    const constraintsFile = join(directory, "constraints.txt");
    await fs.writeFile(constraintsFile, constraints);
    const pip = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar=off"];
    try {
      await run(join(directory, "bin", "python"), [...pip, "-c", constraintsFile, ...requirements], options);
    } catch (thrown) {
      if (!(thrown instanceof InstallFailed) || withSystem || (await hasCompiler(options.searchPath))) throw thrown;
      throw new ToolMissing(
        `Tahoe-LAFS could not be installed: without a C compiler, its dependency netifaces cannot be built. ${thrown.message}`,
        "python3-netifaces",
      );
    }
    await replaceFile(join(directory, markerName), marker);
    return tahoe;
  });
}

async function hasCompiler(searchPath: string): Promise<boolean> {
  for (const folder of searchPath.split(delimiter)) {
    for (const name of ["cc", "gcc"]) {
      if (
        await fs.access(join(folder, name), fs.constants.X_OK).then(
          () => true,
          () => false,
        )
      )
        return true;
    }
  }
  return false;
}

/** Runs a program, and reports each line of its output as progress. @throws InstallFailed with the last lines */
async function run(program: string, args: readonly string[], { progress, signal }: InstallOptions): Promise<void> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], signal });
  const lastLines: string[] = [];
  for (const output of [child.stdout, child.stderr]) {
    createInterface({ input: output }).on("line", (line) => {
      lastLines.push(line);
      if (lastLines.length > keptOutputLines) lastLines.shift();
      if (line.trim() !== "") progress(line.trim());
    });
  }
  const status = await exitStatus(child, signal);
  if (status !== 0) throw new InstallFailed(`${args.slice(0, 3).join(" ")} failed:\n${lastLines.join("\n")}`);
}

const read = (file: string): Promise<string | undefined> => fs.readFile(file, "utf8").catch(() => undefined);
