// Runs the built command line as a child process.
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { join } from "node:path";
import { projectRoot } from "./project-files.ts";

const defaultTimeoutMs = 20_000;

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** One run of `node dist/cli.js`. */
export class CommandLine {
  readonly child: ChildProcess;
  /** The output so far, of both streams. */
  output = "";
  /** The standard output so far. */
  printed = "";
  /** Emits `more` with each output, and at the end. */
  readonly #events = new EventEmitter();
  #hasEnded = false;
  readonly #ended: Promise<number | null>;

  constructor(args: readonly string[], { cwd = projectRoot, env = {} }: CommandOptions = {}) {
    this.child = spawn(process.execPath, [join(projectRoot, "dist/cli.js"), ...args], {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.output += chunk.toString();
        this.#events.emit("more");
      });
    }
    this.child.stdout?.on("data", (chunk: Buffer) => {
      this.printed += chunk.toString();
    });
    this.#ended = once(this.child, "close").then(([code]) => {
      this.#hasEnded = true;
      this.#events.emit("more");
      return code as number | null;
    });
  }

  /**
   * The first capture of `pattern`, as soon as the output contains it.
   * @throws if the command ends before, or on timeout
   */
  async waitForOutput(pattern: RegExp, timeoutMs = defaultTimeoutMs): Promise<string> {
    const timeout = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const match = pattern.exec(this.output);
      if (match) return match[1] ?? match[0];
      if (this.#hasEnded || timeout.aborted) {
        throw new Error(`the command did not say ${pattern}, but:\n${this.output}`);
      }
      await once(this.#events, "more", { signal: timeout }).catch(() => undefined);
    }
  }

  /** The exit code, once the process has ended. */
  ends(): Promise<number | null> {
    return this.#ended;
  }

  stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    this.child.kill(signal);
    return this.#ended;
  }
}

/** The result of a command. */
export interface CommandResult {
  readonly exitCode: number | null;
  /** Both streams together. */
  readonly output: string;
  /** Only standard output. */
  readonly printed: string;
}

/** Runs `tahoe-apt` to its end. */
export async function runCommand(args: readonly string[], options?: CommandOptions): Promise<CommandResult> {
  const command = new CommandLine(args, options);
  return { exitCode: await command.ends(), output: command.output, printed: command.printed };
}

/** The output of `tahoe-apt`. @throws if its exit code is not 0 */
export async function outputOf(args: readonly string[], options?: CommandOptions): Promise<string> {
  const { exitCode, output } = await runCommand(args, options);
  if (exitCode !== 0) throw new Error(`tahoe-apt ${args.join(" ")} ended with ${exitCode}:\n${output}`);
  return output;
}
