// The real server as a separate process, as in production.
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fetch from "node-fetch";

const ownCheckout = fileURLToPath(new URL("../..", import.meta.url));
const startTimeoutMs = 60_000;
const pollMs = 20;
/** Linux assigns ports from 32,768 on by itself. */
const portsBelowTheSystems = [10_000, 32_000] as const;
const maxPortAttempts = 20;

export interface ServerOptions {
  /** Arguments of `tahoe-apt serve` except --listen. */
  readonly flags: readonly string[];
  readonly env?: { readonly [name: string]: string };
  /** The port of an earlier run, to replace it. */
  readonly port?: number;
  /** The directory of another version of the project, which is built; by default this one. */
  readonly checkout?: string | undefined;
}

/** A free loopback port that the system does not assign to other connections or listeners. */
export async function freePort(): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    const port = randomInt(...portsBelowTheSystems);
    const server = createServer();
    try {
      await once(server.listen(port, "127.0.0.1"), "listening");
      await once(server.close(), "close");
      return port;
    } catch (thrown) {
      if (attempt === maxPortAttempts) throw thrown;
    }
  }
}

export class ServerUnderTest {
  readonly url: string;
  readonly port: number;
  readonly #child: ChildProcess;
  #output = "";

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (this.#output += String(chunk)));
  }

  /** Resolves when the server responds at all; `ready` waits until it can serve. */
  static async start({ flags, env = {}, port, checkout = ownCheckout }: ServerOptions): Promise<ServerUnderTest> {
    const own = port ?? (await freePort());
    const args = [join(checkout, "dist/cli.js"), "serve", ...flags, "--listen", `127.0.0.1:${own}`];
    const child = spawn(process.execPath, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: process.env.PATH, ...env },
    });
    const server = new ServerUnderTest(child, own);
    await server.#until("/healthz");
    return server;
  }

  /**
   * Serves one repository, `debian`, without a limit for pings. Resolves when it is ready.
   * @param work the directory for the configuration and the state
   * @param settings lines of the repository's table
   */
  static async withRepository(work: string, settings: readonly string[]): Promise<ServerUnderTest> {
    const port = await freePort();
    const lines = [
      `public_url = "http://127.0.0.1:${port}"`,
      "[[repository]]",
      'name = "debian"',
      ...settings,
      "[limits.http]",
      "pings_per_minute = 1000",
    ];
    writeFileSync(join(work, "tahoe-apt.toml"), `${lines.join("\n")}\n`);
    const flags = ["--config", join(work, "tahoe-apt.toml"), "--state", join(work, "state")];
    const server = await ServerUnderTest.start({ flags, port });
    await server.ready();
    return server;
  }

  /** Resolves when every repository can serve something. */
  async ready(): Promise<void> {
    await this.#until("/readyz");
  }

  /** The whole log. */
  get output(): string {
    return this.#output;
  }

  /** The process id. */
  get pid(): number {
    if (this.#child.pid === undefined) throw new Error("the server did not start");
    return this.#child.pid;
  }

  /** Stops the server and waits; returns its exit code or the signal's name. */
  async end(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<number | string | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = new Promise((resolve) => this.#child.once("exit", resolve));
      this.#child.kill(signal);
      await exited;
    }
    return this.#child.exitCode ?? this.#child.signalCode;
  }

  async #until(path: string): Promise<void> {
    for (const begunMs = Date.now(); Date.now() - begunMs < startTimeoutMs; ) {
      if (this.#child.exitCode !== null) break;
      const status = await fetch(this.url + path).then(
        (reply) => reply.status,
        () => 0,
      );
      if (status === 200) return;
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
    throw new Error(`the server did not come to answer ${path}:\n${this.#output}`);
  }
}
