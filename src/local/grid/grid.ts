// A whole Tahoe grid in one process on one machine: a node that is its own storage server.
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { promises as fs } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import fetch from "node-fetch";
import { sleep } from "../../base/abort.ts";
import { RepoError } from "../../base/errors.ts";
import type { Secret } from "../../base/secret.ts";
import { exitStatus } from "./exit-status.ts";
import type { Tahoe } from "./install.ts";
import type { Ports } from "./node-directory.ts";
import {
  areFree,
  createArguments,
  freePorts,
  readPorts,
  writeAlias,
  writePorts,
  writeServers,
} from "./node-directory.ts";

export interface GridOptions {
  /** Holds everything of the grid, kept between starts. */
  readonly directory: string;
  readonly tahoe: Tahoe;
  /** Told what is being done, for people. */
  readonly progress: (step: string) => void;
  /** Ends the starting; a grid that runs is ended by `stop`. */
  readonly signal: AbortSignal;
}

export interface Grid {
  /** E.g. `http://127.0.0.1:34567`. */
  readonly webapiUrl: string;
  /** For `tahoe --node-directory`. */
  readonly nodeDirectory: string;
  readonly pid: number;
  /** Resolves when the node has ended, wanted or not. */
  readonly ended: Promise<void>;
  /** Lets the `tahoe` command call a directory `NAME:`. */
  addAlias(name: string, cap: Secret): Promise<void>;
  /** Resolves when the node has ended; it gets some seconds to do so by itself. */
  stop(): Promise<void>;
}

/** The node did not come up. Its last words are in the message; Tahoe keeps caps out of them. */
class GridFailed extends RepoError {
  readonly code = "grid/failed";
}

const startTimeoutMs = 60_000;
const stopTimeoutMs = 8_000;
const welcomeTimeoutMs = 2_000;
const pollMs = 50;
const keptOutputLines = 20;

/**
 * Some 2 s; some 4 s more the first time. The node ends by itself when this process does, however that ends.
 * @throws GridFailed
 */
export async function startGrid({ directory, tahoe, progress, signal }: GridOptions): Promise<Grid> {
  await fs.mkdir(directory, { recursive: true, mode: 0o700 });
  await fs.chmod(directory, 0o700);
  const nodeDirectory = join(directory, "node");
  const ports = await configure(nodeDirectory, tahoe, progress, signal);
  if (!(await writeServers(nodeDirectory, ports))) {
    progress("Making the node's keys");
    const node = new Node(tahoe, nodeDirectory);
    try {
      // It learns of its storage server only when that has a name, which the first run makes.
      await node.until(() => writeServers(nodeDirectory, ports), signal);
    } finally {
      await node.stop();
    }
  }
  progress("Starting the Tahoe node");
  const node = new Node(tahoe, nodeDirectory);
  const webapiUrl = `http://127.0.0.1:${ports.web}`;
  try {
    await node.until(() => isConnected(webapiUrl), signal);
  } catch (thrown) {
    await node.stop();
    throw thrown;
  }
  return {
    webapiUrl,
    nodeDirectory,
    pid: node.pid,
    ended: node.ended,
    addAlias: (name, cap) => writeAlias(nodeDirectory, name, cap),
    stop: () => node.stop(),
  };
}

/** Makes the node where there is none yet. Its ports stay as they are, unless something else has taken them. */
async function configure(
  nodeDirectory: string,
  tahoe: Tahoe,
  progress: (step: string) => void,
  signal: AbortSignal,
): Promise<Ports> {
  const kept = await readPorts(nodeDirectory);
  if (kept !== undefined) {
    await predecessorEnded(nodeDirectory, signal);
    if (await areFree(kept)) return kept;
    const ports = await freePorts();
    await writePorts(nodeDirectory, ports);
    return ports;
  }
  progress("Making a Tahoe node");
  const ports = await freePorts();
  // Under another name until it is whole: what an interrupted start leaves behind is not mistaken for a node.
  const unfinished = `${nodeDirectory}.unfinished`;
  await fs.rm(unfinished, { recursive: true, force: true });
  const child = spawn(tahoe.executable, ["create-node", ...createArguments(ports), unfinished], {
    stdio: "ignore",
    signal,
  });
  const status = await exitStatus(child, signal);
  if (status !== 0) throw new GridFailed(`tahoe create-node ended with status ${status}`);
  await fs.rename(unfinished, nodeDirectory);
  return ports;
}

/** After a sudden end of ours, the node before may still be about to end. @throws GridFailed if it goes on */
async function predecessorEnded(nodeDirectory: string, signal: AbortSignal): Promise<void> {
  const text = await fs.readFile(join(nodeDirectory, "running.process"), "utf8").catch(() => "");
  const pid = Number.parseInt(text, 10);
  if (!(pid > 0)) return;
  for (let waitedMs = 0; waitedMs < stopTimeoutMs; waitedMs += pollMs) {
    const commandLine = await fs.readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (!commandLine.split("\0").includes(nodeDirectory)) return;
    await sleep(pollMs, signal);
  }
  throw new GridFailed(`${nodeDirectory} is in use by process ${pid}`);
}

async function isConnected(webapiUrl: string): Promise<boolean> {
  try {
    const reply = await fetch(`${webapiUrl}/?t=json`, { signal: AbortSignal.timeout(welcomeTimeoutMs) });
    return /"connection_status": *"Connected/.test(await reply.text());
  } catch {
    // Not listening yet.
    return false;
  }
}

/** One `tahoe run`. */
class Node {
  readonly pid: number;
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;
  readonly #lastLines: string[] = [];
  #hasEnded = false;

  constructor(tahoe: Tahoe, directory: string) {
    // The open stdin is what ties the node's life to ours: tahoe ends when it closes, and it closes even on kill -9.
    // A process group of its own keeps a terminal's Ctrl-C from it, so that whoever uses it can finish first.
    const child = spawn(tahoe.executable, ["run", directory], { stdio: ["pipe", "pipe", "pipe"], detached: true });
    child.stdin.on("error", () => {});
    for (const output of [child.stdout, child.stderr]) {
      createInterface({ input: output }).on("line", (line) => {
        this.#lastLines.push(line);
        if (this.#lastLines.length > keptOutputLines) this.#lastLines.shift();
      });
    }
    this.ended = new Promise((resolve) => {
      const end = (): void => {
        this.#hasEnded = true;
        resolve();
      };
      child.once("close", end).once("error", end);
    });
    this.#child = child;
    this.pid = child.pid ?? 0;
  }

  /** @throws GridFailed if the node ends before, or if it takes too long; signal.reason when aborted */
  async until(isReady: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
    const deadline = AbortSignal.timeout(startTimeoutMs);
    while (!(await isReady())) {
      if (this.#hasEnded) throw new GridFailed(`the Tahoe node ended by itself:\n${this.#lastLines.join("\n")}`);
      if (deadline.aborted) throw new GridFailed(`the Tahoe node did not come up:\n${this.#lastLines.join("\n")}`);
      await sleep(pollMs, signal);
    }
  }

  async stop(): Promise<void> {
    this.#child.stdin?.end();
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), stopTimeoutMs);
    await this.ended;
    clearTimeout(timer);
  }
}
