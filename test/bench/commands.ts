// Programs that the benchmark runs: bounded in time, quiet unless they fail, and timed.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { buffer } from "node:stream/consumers";

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

export interface CommandOutcome {
  readonly seconds: number;
  readonly stdout: Buffer;
}

/** No command of a measure takes longer on a machine that is worth measuring on. */
const commandTimeoutMs = 15 * 60_000;
const shownOutputBytes = 2000;

/** @throws Error with the end of its error output when it fails, or is not done in time */
export async function run(
  program: string,
  args: readonly string[],
  { cwd, env, signal }: CommandOptions,
): Promise<CommandOutcome> {
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(commandTimeoutMs)]);
  const begunMs = performance.now();
  const child = spawn(program, args, {
    cwd,
    env: { PATH: searchPath(), HOME: "/nonexistent", LC_ALL: "C.UTF-8", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    signal: bounded,
    killSignal: "SIGKILL",
  });
  const [stdout, stderr, [status]] = await Promise.all([
    buffer(child.stdout),
    buffer(child.stderr),
    once(child, "close") as Promise<[number | null]>,
  ]);
  const seconds = (performance.now() - begunMs) / 1000;
  if (status !== 0)
    throw new Error(`${program} ended with ${status}: ${stderr.subarray(-shownOutputBytes).toString()}`);
  return { seconds, stdout };
}

/** As in PATH. Debian keeps servers where users do not look. */
export const searchPath = (): string => [process.env.PATH ?? "", "/usr/sbin", "/sbin"].join(delimiter);

/** Whether a program is installed. */
export function isInstalled(program: string): boolean {
  return searchPath()
    .split(delimiter)
    .some((directory) => {
      try {
        accessSync(join(directory, program), constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
