// A real Valkey (or Redis) of the test's own, on a free loopback port, which keeps nothing on disk.
import type { ChildProcess } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import type { ValkeySettings } from "../../src/cluster/valkey-settings.ts";
import { killed } from "./killed.ts";
import { freePort } from "./server.ts";

const startTimeoutMs = 15_000;
const pollMs = 20;

/** Debian has Redis, and from trixie on Valkey. */
export function valkeyProgram(): string {
  for (const name of ["valkey-server", "redis-server"]) if (spawnSync(name, ["--version"]).status === 0) return name;
  throw new Error("neither valkey-server nor redis-server is installed: apt-get install redis-server");
}

export class ValkeyUnderTest {
  readonly port: number;
  readonly #directory = mkdtempSync(join(tmpdir(), "tahoe-apt-valkey-"));
  readonly #options: readonly string[];
  #process: ChildProcess | undefined;

  private constructor(port: number, options: readonly string[]) {
    this.port = port;
    this.#options = options;
  }

  /** @param options further options of the command line, for example `--requirepass` and a password */
  static async start(options: readonly string[] = []): Promise<ValkeyUnderTest> {
    const valkey = new ValkeyUnderTest(await freePort(), options);
    await valkey.restart();
    return valkey;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Settings to connect with. */
  settings(name = "test"): ValkeySettings {
    return {
      urls: [this.url],
      mode: "single",
      sentinelMaster: "mymaster",
      password: undefined,
      ca: undefined,
      name,
    };
  }

  /** The process, to pause it. */
  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Starts it again, empty, on the same port. */
  async restart(): Promise<void> {
    await this.kill();
    const fixed = ["--port", String(this.port), "--bind", "127.0.0.1", "--save", "", "--dir", this.#directory];
    this.#process = spawn(valkeyProgram(), [...fixed, ...this.#options], { stdio: "ignore" });
    const deadline = Date.now() + startTimeoutMs;
    while (!(await this.#answers())) {
      if (Date.now() > deadline) throw new Error("Valkey does not answer");
      await sleep(pollMs);
    }
  }

  /** Deletes everything in it. */
  async empty(): Promise<void> {
    const redis = new Redis(this.port, "127.0.0.1");
    await redis.flushall();
    redis.disconnect();
  }

  /** Ends it at once; everything in it is lost. */
  async kill(): Promise<void> {
    const process = this.#process;
    this.#process = undefined;
    if (process !== undefined) await killed(process);
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** Whether it replies to a command, if only that a password is needed. */
  async #answers(): Promise<boolean> {
    const socket = connect(this.port, "127.0.0.1");
    try {
      socket.write("PING\r\n");
      await once(socket, "data");
      return true;
    } catch {
      return false;
    } finally {
      socket.destroy();
    }
  }
}
