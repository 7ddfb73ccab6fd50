// Tahoe-LAFS in a private virtual environment: made once, found again, made anew where it was left half-made.
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

/** Where the installed programs are. */
export interface Tahoe {
  /** The `tahoe` command. */
  readonly executable: string;
}

export interface InstallOptions {
  /** Becomes the virtual environment. */
  readonly directory: string;
  /** Told what is being done, for people; about a hundred times in an installation. */
  readonly progress: (step: string) => void;
  readonly signal: AbortSignal;
  /** Found by itself where it is not given. */
  readonly python?: Python;
  /** Where a compiler is looked for: PATH. */
  readonly searchPath: string;
}

/** pip or venv failed for a reason that no known package mends. */
export class InstallFailed extends RepoError {
  readonly code = "grid/install-failed";
}

/** Written last, so that only a whole installation has it. */
const markerName = "tahoe-apt-installed";
const keptOutputLines = 15;

/**
 * Some 25 s and a network where nothing is there yet; some 50 ms later.
 * @throws ToolMissing, InstallFailed
 */
export async function installTahoe(options: InstallOptions): Promise<Tahoe> {
  const { directory, progress, signal } = options;
  const python = options.python ?? (await findPython(signal));
  const tahoe: Tahoe = { executable: join(directory, "bin", "tahoe") };
  // A virtual environment holds its own absolute path and its Python's version: it is as good as lost without them.
  const identity = [...requirements, constraints, directory, python.executable, python.version].join("\n");
  const marker = createHash("sha256").update(identity).digest("hex");
  const isThere = async (): Promise<boolean> => (await read(join(directory, markerName))) === marker;
  if (await isThere()) return tahoe;

  await fs.mkdir(dirname(directory), { recursive: true, mode: 0o700 });
  const waiting = (pid: number) => progress(`Waiting for another installation (process ${pid})`);
  return await withLock(dirname(directory), basename(directory), { signal, waiting }, async () => {
    if (await isThere()) return tahoe;
    await fs.rm(directory, { recursive: true, force: true });
    const withSystem = python.hasNetifaces && !(await hasCompiler(options.searchPath));
    progress(`Making a virtual environment with Python ${python.version}`);
    await run(python.executable, ["-m", "venv", ...(withSystem ? ["--system-site-packages"] : []), directory], options);
    const constraintsFile = join(directory, "constraints.txt");
    await fs.writeFile(constraintsFile, constraints);
    const pip = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar=off"];
    try {
      await run(join(directory, "bin", "python"), [...pip, "-c", constraintsFile, ...requirements], options);
    } catch (thrown) {
      if (!(thrown instanceof InstallFailed) || withSystem || (await hasCompiler(options.searchPath))) throw thrown;
      throw new ToolMissing(
        `Tahoe-LAFS could not be installed: without a C compiler its part netifaces can't be built. ${thrown.message}`,
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

/** Runs a program, tells each line that it prints, and fails with the last ones. */
async function run(program: string, args: readonly string[], { progress, signal }: InstallOptions): Promise<void> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], signal });
  const last: string[] = [];
  for (const output of [child.stdout, child.stderr]) {
    createInterface({ input: output }).on("line", (line) => {
      last.push(line);
      if (last.length > keptOutputLines) last.shift();
      if (line.trim() !== "") progress(line.trim());
    });
  }
  const status = await exitStatus(child, signal);
  if (status !== 0) throw new InstallFailed(`${args.slice(0, 3).join(" ")} failed:\n${last.join("\n")}`);
}

const read = (file: string): Promise<string | undefined> => fs.readFile(file, "utf8").catch(() => undefined);
