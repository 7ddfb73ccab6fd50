// A grid with several storage nodes, which can be killed and started one by one, and a gateway without storage.
import type { ChildProcess } from "node:child_process";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import fetch from "node-fetch";
import { SerialQueue } from "../../src/base/serial-queue.ts";
import { freePort } from "../support/server.ts";

const startTimeoutMs = 120_000;
const writeTimeoutMs = 20_000;

/** With two of three shares, a single node that missed a write cannot bring an older directory back. */
const storageNodes = 3;
const sharing = ["--shares-needed=2", "--shares-happy=2", `--shares-total=${storageNodes}`];

class TahoeProcess {
  #child: ChildProcess | undefined;
  readonly #tahoe: string;
  readonly directory: string;

  constructor(tahoe: string, directory: string) {
    this.#tahoe = tahoe;
    this.directory = directory;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  start(): void {
    if (this.isRunning) return;
    // tahoe exits when its stdin is closed, so it does not outlive this process.
    this.#child = spawn(this.#tahoe, ["run", this.directory], { stdio: ["pipe", "ignore", "ignore"] });
    this.#child.stdin?.on("error", () => undefined);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.isRunning) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  /** The text of a file in the directory, once the node has written it. */
  async fileText(name: string): Promise<string> {
    for (const begunMs = Date.now(); Date.now() - begunMs < startTimeoutMs; await wait(100)) {
      try {
        const text = readFileSync(join(this.directory, name), "utf8");
        // The node creates the file before it writes the line.
        if (text.endsWith("\n")) return text.trim();
      } catch {
        // It is not there yet.
      }
    }
    throw new Error(`${name} did not appear in a Tahoe node`);
  }
}

export class StorageGrid {
  readonly url: string;
  readonly #nodes: readonly TahoeProcess[];
  readonly #gateway: TahoeProcess;
  readonly #changes = new SerialQueue();
  /** Whether something is being written. */
  isWriting = false;

  private constructor(url: string, nodes: readonly TahoeProcess[], gateway: TahoeProcess) {
    this.url = url;
    this.#nodes = nodes;
    this.#gateway = gateway;
  }

  static async start(tahoe: string, work: string): Promise<StorageGrid> {
    const web = await freePort();
    const create = async (args: readonly string[], name: string): Promise<TahoeProcess> => {
      await promisify(execFile)(tahoe, [...args, join(work, name)]);
      return new TahoeProcess(tahoe, join(work, name));
    };
    const createStorage = async (name: string): Promise<TahoeProcess> => {
      const port = await freePort();
      const place = [`--port=tcp:${port}:interface=127.0.0.1`, `--location=tcp:127.0.0.1:${port}`, "--webport=none"];
      const node = await create(["create-node", ...place], name);
      node.start();
      return node;
    };
    const [gateway, ...nodes] = await Promise.all([
      create(["create-client", `--webport=tcp:${web}:interface=127.0.0.1`, ...sharing], "gateway"),
      ...Array.from({ length: storageNodes }, (_, n) => createStorage(`storage-${n}`)),
    ]);
    const servers: string[] = ["storage:"];
    for (const node of nodes) {
      const id = (await node.fileText("node.pubkey")).replace(/^pub-/, "");
      const furl = await node.fileText("private/storage.furl");
      servers.push(`  ${id}:`, "    ann:", "      nickname: chaos", `      anonymous-storage-FURL: ${furl}`);
    }
    writeFileSync(join(gateway.directory, "private/servers.yaml"), `${servers.join("\n")}\n`);
    gateway.start();
    const grid = new StorageGrid(`http://127.0.0.1:${web}`, nodes, gateway);
    await grid.whole();
    return grid;
  }

  get alive(): number {
    return this.#nodes.filter(({ isRunning }) => isRunning).length;
  }

  /**
   * Runs a write while all nodes run. A directory that was written without one of them may come back in an older version
   * when that node is alone, as in every grid with few nodes.
   */
  async write<T>(task: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return await this.#changes.run(async () => {
      if (this.alive < storageNodes) throw new Error("a storage node is dead");
      this.isWriting = true;
      try {
        return await task(AbortSignal.timeout(writeTimeoutMs));
      } finally {
        this.isWriting = false;
      }
    });
  }

  /** Kills one more node, the first that runs. */
  async killOne(): Promise<void> {
    await this.#changes.run(async () => await this.#nodes.find(({ isRunning }) => isRunning)?.kill());
  }

  /** Starts all nodes, and waits until the gateway is connected with them. */
  async whole(): Promise<void> {
    await this.#changes.run(async () => await this.#startAll());
  }

  async #startAll(): Promise<void> {
    for (const node of this.#nodes) node.start();
    for (const begunMs = Date.now(); Date.now() - begunMs < startTimeoutMs; await wait(200)) {
      const welcome = await fetch(`${this.url}/?t=json`).then(
        (reply) => reply.text(),
        () => "",
      );
      if ([...welcome.matchAll(/"connection_status": *"Connected/g)].length === storageNodes) return;
    }
    throw new Error("the gateway did not connect with all storage nodes");
  }

  async end(): Promise<void> {
    for (const node of [this.#gateway, ...this.#nodes]) await node.kill();
  }
}
