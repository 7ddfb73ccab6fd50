// The Python that Tahoe-LAFS runs on.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { RepoError } from "../../base/errors.ts";

/** Something that this machine must have and lacks. */
export class ToolMissing extends RepoError {
  readonly code = "grid/tool-missing";
  readonly debianPackage: string;
  constructor(what: string, debianPackage: string) {
    super(`${what} Install Debian's package ${debianPackage}: apt-get install ${debianPackage}`);
    this.debianPackage = debianPackage;
  }
}

/** A Python that can make virtual environments. */
export interface Python {
  /** Its own idea of where it is, as an absolute path. */
  readonly executable: string;
  /** E.g. `3.11.7`. */
  readonly version: string;
  /** Whether netifaces, which Tahoe needs and which has no ready-made wheel for new Pythons, is there already. */
  readonly hasNetifaces: boolean;
}

/** In the order of trying: the machine's choice, then Debian's own. */
const defaultCandidates = ["python3", "/usr/bin/python3"] as const;
/** A Python that has not answered by then is not asked any more. */
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
    const found = await ask(candidate, signal);
    if (found?.venv === true) return found.python;
    withoutVenv ||= found !== undefined;
  }
  if (withoutVenv) throw new ToolMissing("Python is there, but it can't make virtual environments.", "python3-venv");
  throw new ToolMissing(`There is no Python of at least 3.${lowestMinor}, on which Tahoe-LAFS runs.`, "python3-venv");
}

async function ask(candidate: string, signal: AbortSignal): Promise<{ python: Python; venv: boolean } | undefined> {
  try {
    const { stdout } = await promisify(execFile)(candidate, ["-c", probe], { signal, timeout: probeTimeoutMs });
    const answer = /^(?<version>3\.(?<minor>\d+)\.\d+) (?<venv>\w+) (?<netifaces>\w+) (?<executable>\/.+)$/m.exec(
      stdout,
    );
    const { version, minor, venv, netifaces, executable } = answer?.groups ?? {};
    if (version === undefined || executable === undefined || Number(minor) < lowestMinor) return undefined;
    return { python: { executable, version, hasNetifaces: netifaces === "True" }, venv: venv === "True" };
  } catch {
    signal.throwIfAborted();
    // Not there, or not working (a version chooser's stub): the next one may be.
    return undefined;
  }
}
