// Finds a Python interpreter for Tahoe-LAFS.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { RepoError } from "../../base/errors.ts";

/** A required program is not installed. */
export class ToolMissing extends RepoError {
  readonly code = "grid/tool-missing";
  readonly debianPackage: string;
  constructor(message: string, debianPackage: string) {
    super(`${message} Install Debian's package ${debianPackage}: apt-get install ${debianPackage}`);
    this.debianPackage = debianPackage;
  }
}

/** A Python interpreter that can create virtual environments. */
export interface Python {
  /** The absolute path, from `sys.executable`. */
  readonly executable: string;
  /** E.g. `3.11.7`. */
  readonly version: string;
  /** Whether netifaces is installed already: Tahoe needs it, and there are no wheels for new Python versions. */
  readonly hasNetifaces: boolean;
}

/** In this order: the first Python in PATH, then Debian's. */
const defaultCandidates = ["python3", "/usr/bin/python3"] as const;
/** An interpreter that takes longer is skipped. */
const probeTimeoutMs = 20_000;
const lowestMinor = 9;

const probe = `
import importlib.util, sys
has = lambda name: importlib.util.find_spec(name) is not None
print("%d.%d.%d" % sys.version_info[:3], has("venv") and has("ensurepip"), has("netifaces"), sys.executable)
`;

/** @throws ToolMissing if there is no Python of at least 3.9, or none with venv */
export async function findPython(
  signal: AbortSignal,
  candidates: readonly string[] = defaultCandidates,
): Promise<Python> {
  let withoutVenv = false;
  for (const candidate of candidates) {
    const found = await probeInterpreter(candidate, signal);
    if (found?.venv === true) return found.python;
    withoutVenv ||= found !== undefined;
  }
  if (withoutVenv)
    throw new ToolMissing("Python is installed, but cannot create virtual environments.", "python3-venv");
  throw new ToolMissing(
    `Tahoe-LAFS requires Python 3.${lowestMinor} or newer, which is not installed.`,
    "python3-venv",
  );
}

async function probeInterpreter(
  candidate: string,
  signal: AbortSignal,
): Promise<{ python: Python; venv: boolean } | undefined> {
  try {
    const { stdout } = await promisify(execFile)(candidate, ["-c", probe], { signal, timeout: probeTimeoutMs });
    const match = /^(?<version>3\.(?<minor>\d+)\.\d+) (?<venv>\w+) (?<netifaces>\w+) (?<executable>\/.+)$/m.exec(
      stdout,
    );
    const { version, minor, venv, netifaces, executable } = match?.groups ?? {};
    if (version === undefined || executable === undefined || Number(minor) < lowestMinor) return undefined;
    return { python: { executable, version, hasNetifaces: netifaces === "True" }, venv: venv === "True" };
  } catch {
    signal.throwIfAborted();
    // It does not exist or does not work (for example the stub of a version manager): try the next one.
    return undefined;
  }
}
