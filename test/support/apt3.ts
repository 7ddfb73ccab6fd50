// apt 3, which verifies with sqv, in a minimal trixie or sid. Commands run one by one in a shell there.
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { AptRun, AptSource } from "./apt.ts";
import { sourceText } from "./apt.ts";
import type { Machine } from "./rootfs.ts";
import { debianMachine } from "./rootfs.ts";

/** Ends the output of a line, with its exit code. apt never prints this character. */
const endOfLine = /\u0004(\d+)\n$/;
const shell = `exec 2>&1
export DEBIAN_FRONTEND=noninteractive
while IFS= read -r line; do sh -c "$line" </dev/null; printf '\\004%s\\n' $?; done`;

export class Apt3 {
  readonly #machine: Machine;
  readonly #shell: ChildProcessWithoutNullStreams;
  #printed = "";
  #more = (): void => {};

  private constructor(machine: Machine, child: ChildProcessWithoutNullStreams) {
    this.#machine = machine;
    this.#shell = child;
    child.stdout.on("data", (chunk: Buffer) => {
      this.#printed += chunk.toString();
      this.#more();
    });
    child.once("close", () => this.#more());
  }

  /**
   * @param source the only source; undefined if each command names its own
   * @param name the machine that runs it
   */
  static async start(source?: AptSource, name: "trixie-apt" | "sid" = "trixie-apt"): Promise<Apt3> {
    const machine = await debianMachine(name);
    const write = (path: string, text: string): void => {
      mkdirSync(join(machine.changes, dirname(path)), { recursive: true });
      writeFileSync(join(machine.changes, path), text);
    };
    write("etc/apt/sources.list", "");
    write("etc/apt/apt.conf.d/99tests", 'Acquire::Languages "none";\nAPT::Sandbox::User "root";\n');
    if (source !== undefined) write("etc/apt/sources.list.d/it.sources", sourceText(source));
    const [command, args] = await machine.enter(shell);
    return new Apt3(machine, spawn(command, args));
  }

  async close(): Promise<void> {
    const ended = once(this.#shell, "close");
    this.#shell.kill("SIGKILL");
    await ended;
    await this.#machine.remove();
  }

  /**
   * Runs a shell command, whatever its exit code. Commands must not overlap.
   * @param environment additional variables
   */
  async run(line: string, environment: { readonly [name: string]: string } = {}): Promise<AptRun> {
    const settings = Object.entries(environment).map(([name, value]) => `export ${name}='${value}';`);
    this.#printed = "";
    this.#shell.stdin.write(`${[...settings, line].join(" ")}\n`);
    for (;;) {
      const [, exitCode] = endOfLine.exec(this.#printed) ?? [];
      if (exitCode !== undefined) return { exitCode: Number(exitCode), output: this.#printed.replace(endOfLine, "") };
      if (this.#shell.exitCode !== null) throw new Error(`the machine ended: ${this.#printed}`);
      await new Promise<void>((resolve) => {
        this.#more = resolve;
      });
    }
  }

  /** @throws Error with apt's output, even for a warning */
  async update(environment?: { readonly [name: string]: string }): Promise<string> {
    const { exitCode, output } = await this.run("apt-get update --error-on=any", environment);
    if (exitCode !== 0) throw new Error(`apt 3's update ended with ${exitCode}:\n${output}`);
    return output;
  }
}
