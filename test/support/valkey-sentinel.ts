// A primary and a replica of Valkey (or Redis) with a Sentinel, which makes the replica the primary when that one dies.
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { killed } from "./killed.ts";
import { freePort } from "./server.ts";
import { ValkeyUnderTest, valkeyProgram } from "./valkey.ts";

const sentinelMaster = "mymaster";
const pollMs = 50;
const timeoutMs = 30_000;

export class SentinelUnderTest {
  readonly #directory = mkdtempSync(join(tmpdir(), "tahoe-apt-sentinel-"));
  readonly #nodes: readonly ValkeyUnderTest[];
  readonly #port: number;
  #sentinel: ChildProcess | undefined;

  private constructor(nodes: readonly ValkeyUnderTest[], port: number) {
    this.#nodes = nodes;
    this.#port = port;
  }

  /** Resolves when the Sentinel knows both servers. */
  static async start(): Promise<SentinelUnderTest> {
    const primary = await ValkeyUnderTest.start(["--repl-diskless-sync-delay", "0"]);
    const replica = await ValkeyUnderTest.start(["--replicaof", "127.0.0.1", String(primary.port)]);
    const sentinel = new SentinelUnderTest([primary, replica], await freePort());
    await sentinel.#start(primary.port);
    return sentinel;
  }

  /** The address of the Sentinel. */
  get url(): string {
    return `redis://127.0.0.1:${this.#port}`;
  }

  /** Kills the primary. Resolves when the Sentinel names another one. */
  async failOver(): Promise<void> {
    const before = await this.#primaryPort();
    await this.#nodes.find(({ port }) => port === before)?.kill();
    await this.#until(async () => (await this.#primaryPort()) !== before);
  }

  async stop(): Promise<void> {
    if (this.#sentinel !== undefined) await killed(this.#sentinel);
    await Promise.all(this.#nodes.map((node) => node.stop()));
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #start(primaryPort: number): Promise<void> {
    const file = join(this.#directory, "sentinel.conf");
    const lines = [
      `port ${this.#port}`,
      "bind 127.0.0.1",
      `dir ${this.#directory}`,
      `sentinel monitor ${sentinelMaster} 127.0.0.1 ${primaryPort} 1`,
      `sentinel down-after-milliseconds ${sentinelMaster} 1000`,
      `sentinel failover-timeout ${sentinelMaster} 5000`,
    ];
    writeFileSync(file, `${lines.join("\n")}\n`);
    this.#sentinel = spawn(valkeyProgram(), [file, "--sentinel"], { stdio: "ignore" });
    await this.#until(async () => (await this.#ask("replicas")).length > 0);
  }

  async #primaryPort(): Promise<number> {
    const [, port] = await this.#ask("get-master-addr-by-name");
    return Number(port);
  }

  async #ask(command: string): Promise<readonly unknown[]> {
    const redis = new Redis(this.#port, "127.0.0.1", { lazyConnect: true, retryStrategy: () => null });
    redis.on("error", () => undefined);
    try {
      await redis.connect();
      return (await redis.call("SENTINEL", command, sentinelMaster)) as readonly unknown[];
    } finally {
      redis.disconnect();
    }
  }

  async #until(isTrue: () => Promise<boolean>): Promise<void> {
    const begunMs = Date.now();
    while (!(await isTrue().catch(() => false))) {
      if (Date.now() - begunMs > timeoutMs) throw new Error("the Sentinel does not do what it should");
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
  }
}
