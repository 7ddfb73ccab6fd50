// The built command line as a child process: what it prints, until it ends or is told to.
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { join } from "node:path";
import { projectRoot } from "./project-files.ts";

const defaultPatienceMs = 20_000;

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** One run of `node dist/cli.js`. */
export class CommandLine {
  readonly child: ChildProcess;
  /** What it printed so far, both streams together. */
  output = "";
  /** What it printed so far on standard output. */
  printed = "";
  /** Emits `more` with each output, and at the end. */
  readonly #heard = new EventEmitter();
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
        this.#heard.emit("more");
      });
    }
    this.child.stdout?.on("data", (chunk: Buffer) => {
      this.printed += chunk.toString();
    });
    this.#ended = once(this.child, "close").then(([code]) => {
      this.#hasEnded = true;
      this.#heard.emit("more");
      return code as number | null;
    });
  }

  /** What `pattern` captures first in the output, as soon as it is there. @throws when the command ends or takes too long */
  async says(pattern: RegExp, patienceMs = defaultPatienceMs): Promise<string> {
    const patience = AbortSignal.timeout(patienceMs);
    for (;;) {
      const match = pattern.exec(this.output);
      if (match) return match[1] ?? match[0];
      if (this.#hasEnded || patience.aborted) {
        throw new Error(`the command did not say ${pattern}, but:\n${this.output}`);
      }
      await once(this.#heard, "more", { signal: patience }).catch(() => undefined);
    }
  }

  /** The exit code, once it has ended. */
  ends(): Promise<number | null> {
    return this.#ended;
  }

  stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    this.child.kill(signal);
    return this.#ended;
  }
}

/** How a command ended. */
export interface Ran {
  readonly exitCode: number | null;
  /** Both streams together. */
  readonly output: string;
  /** Standard output alone. */
  readonly printed: string;
}

/** Runs `tahoe-apt` to its end. */
export async function runCommand(args: readonly string[], options?: CommandOptions): Promise<Ran> {
  const command = new CommandLine(args, options);
  return { exitCode: await command.ends(), output: command.output, printed: command.printed };
}

/** What `tahoe-apt` printed. @throws where its exit code is not 0 */
export async function outputOf(args: readonly string[], options?: CommandOptions): Promise<string> {
  const { exitCode, output } = await runCommand(args, options);
  if (exitCode !== 0) throw new Error(`tahoe-apt ${args.join(" ")} ended with ${exitCode}:\n${output}`);
  return output;
}
