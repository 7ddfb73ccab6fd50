// A complete Tahoe grid in one local process: a node that is its own storage server.
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
  /** Contains all files of the grid; kept between starts. */
  readonly directory: string;
  readonly tahoe: Tahoe;
  /** Receives descriptions of the steps, for the user. */
  readonly progress: (step: string) => void;
  /** Aborts the start; a running grid is stopped by `stop`. */
  readonly signal: AbortSignal;
}

export interface Grid {
  /** E.g. `http://127.0.0.1:34567`. */
  readonly webapiUrl: string;
  /** For `tahoe --node-directory`. */
  readonly nodeDirectory: string;
  readonly pid: number;
  /** Resolves when the node has stopped for any reason. */
  readonly ended: Promise<void>;
  /** Adds an alias, with which the `tahoe` command calls a directory `NAME:`. */
  addAlias(name: string, cap: Secret): Promise<void>;
  /** Stops the node, and kills it after some seconds. Resolves when it has stopped. */
  stop(): Promise<void>;
}

/** The node did not start. The message contains its last output, in which Tahoe prints no caps. */
class GridFailed extends RepoError {
  readonly code = "grid/failed";
}

const startTimeoutMs = 60_000;
const stopTimeoutMs = 8_000;
const requestTimeoutMs = 2_000;
const pollMs = 50;
const keptOutputLines = 20;

/**
 * Starts a grid, which takes about 2 s, and 4 s more the first time. The node stops when this process ends in any way.
 * @throws GridFailed
 */
export async function startGrid({ directory, tahoe, progress, signal }: GridOptions): Promise<Grid> {
  await fs.mkdir(directory, { recursive: true, mode: 0o700 });
  await fs.chmod(directory, 0o700);
  const nodeDirectory = join(directory, "node");
  const ports = await configure(nodeDirectory, tahoe, progress, signal);
  if (!(await writeServers(nodeDirectory, ports))) {
    progress("Creating the node's keys");
    const node = new Node(tahoe, nodeDirectory);
    try {
      // The client's list of servers needs the storage server's id, which the first run creates.
      await node.waitUntil(() => writeServers(nodeDirectory, ports), signal);
    } finally {
      await node.stop();
    }
  }
  progress("Starting the Tahoe node");
  const node = new Node(tahoe, nodeDirectory);
  const webapiUrl = `http://127.0.0.1:${ports.web}`;
  try {
    await node.waitUntil(() => isConnected(webapiUrl), signal);
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

/** Creates the node if there is none yet. Keeps its ports, unless another process uses them. */
async function configure(
  nodeDirectory: string,
  tahoe: Tahoe,
  progress: (step: string) => void,
  signal: AbortSignal,
): Promise<Ports> {
  const existing = await readPorts(nodeDirectory);
  if (existing !== undefined) {
    await waitForPreviousNode(nodeDirectory, signal);
    if (await areFree(existing)) return existing;
    const ports = await freePorts();
    await writePorts(nodeDirectory, ports);
    return ports;
  }
  progress("Creating a Tahoe node");
  const ports = await freePorts();
  // Use a temporary name until it is complete, so that an interrupted start leaves no incomplete node.
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

/** If this program was killed, its previous node may still be stopping. @throws GridFailed if it does not stop */
async function waitForPreviousNode(nodeDirectory: string, signal: AbortSignal): Promise<void> {
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
    const response = await fetch(`${webapiUrl}/?t=json`, { signal: AbortSignal.timeout(requestTimeoutMs) });
    return /"connection_status": *"Connected/.test(await response.text());
  } catch {
    // The node does not listen yet.
    return false;
  }
}

/** A `tahoe run` process. */
class Node {
  readonly pid: number;
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;
  readonly #lastLines: string[] = [];
  #hasExited = false;

  constructor(tahoe: Tahoe, directory: string) {
    // tahoe exits when its stdin is closed, which happens even if this process is killed with SIGKILL.
    // With its own process group, the node does not receive Ctrl-C from the terminal, so its users can finish first.
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
        this.#hasExited = true;
        resolve();
      };
      child.once("close", end).once("error", end);
    });
    this.#child = child;
    this.pid = child.pid ?? 0;
  }

  /** Polls until ready. @throws GridFailed if the node exits or takes too long; signal.reason */
  async waitUntil(isReady: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
    const deadline = AbortSignal.timeout(startTimeoutMs);
    while (!(await isReady())) {
      if (this.#hasExited) throw new GridFailed(`the Tahoe node exited unexpectedly:\n${this.#lastLines.join("\n")}`);
      if (deadline.aborted)
        throw new GridFailed(`the Tahoe node did not start in time:\n${this.#lastLines.join("\n")}`);
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
