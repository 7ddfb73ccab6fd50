// The real server as a process that is killed and started again, with a clock that can jump.
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { clockBehind } from "../support/client-clock.ts";

export class ChaosServer {
  readonly url: string;
  /** How often it was killed with SIGKILL. */
  kills = 0;
  /** How often it ended by itself. */
  crashes = 0;
  readonly #program: string;
  readonly #config: string;
  readonly #port: number;
  readonly #clockFile: string;
  readonly #log: ReturnType<typeof createWriteStream>;
  #child: ChildProcess | undefined;

  constructor(options: { readonly projectRoot: string; readonly work: string; readonly config: string; port: number }) {
    this.#program = join(options.projectRoot, "dist/cli.js");
    this.#config = options.config;
    this.#port = options.port;
    this.#clockFile = join(options.work, "clock");
    this.#log = createWriteStream(join(options.work, "server.log"), { flags: "a" });
    this.url = `http://127.0.0.1:${options.port}`;
    this.setClock(0);
  }

  /** @param aheadSeconds how far the server's clock is ahead of the real one */
  setClock(aheadSeconds: number): void {
    writeFileSync(this.#clockFile, `${aheadSeconds < 0 ? "-" : "+"}${Math.abs(aheadSeconds)}s\n`);
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Starts the server. Resolves when it responds, or has ended. */
  async start(): Promise<void> {
    // The clock follows the file, which is read again every second.
    const { FAKETIME: _fixed, FAKETIME_NO_CACHE: _always, ...clock } = clockBehind(0);
    const env = {
      PATH: process.env.PATH,
      ...clock,
      FAKETIME_TIMESTAMP_FILE: this.#clockFile,
      FAKETIME_CACHE_DURATION: "1",
    };
    const args = [this.#program, "serve", "--config", this.#config, "--listen", `127.0.0.1:${this.#port}`];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"], env });
    this.#child = child;
    child.stdout.pipe(this.#log, { end: false });
    child.stderr.pipe(this.#log, { end: false });
    const isUp = async (): Promise<boolean> =>
      await fetch(`${this.url}/healthz`, { signal: AbortSignal.timeout(2000) }).then(
        ({ ok }) => ok,
        () => false,
      );
    while (this.isRunning && !(await isUp())) await wait(50);
  }

  /** Kills it at once, wherever it is. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    if (!this.isRunning) {
      this.crashes += 1;
      return;
    }
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    this.kills += 1;
  }

  /** Stops it as an operator does. @returns whether it ended with exit code 0 */
  async stop(): Promise<boolean> {
    const child = this.#child;
    if (child === undefined || !this.isRunning) return false;
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    await ended;
    // It has not ended by itself.
    this.#child = undefined;
    return child.exitCode === 0;
  }
}
