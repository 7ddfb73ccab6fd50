// The real server as a process of its own, started, pinged, asked and stopped as an operator would.
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import lzma from "lzma-native";
import { freePort } from "../support/server.ts";
import type { Answer } from "./http.ts";
import { ask } from "./http.ts";
import { MemoryWatch } from "./memory-watch.ts";

/** Where the tree is: the lines of the configuration that say so. */
export interface BenchServerOptions {
  /** Holds its configuration and, in `state`, its state. */
  readonly directory: string;
  /** TOML, below `[[repository]]`. */
  readonly tree: string;
  readonly signingKeyFile: string;
  readonly program: string;
  /** How many files it may have open; as many as this process, if not given. */
  readonly maxDescriptors?: number | undefined;
  /** How many processes serve HTTP for it; none, if not given. */
  readonly workers?: number | undefined;
  readonly signal: AbortSignal;
}

/** In milliseconds. Each look costs the server a reply: more of them would slow down what is timed. */
const pollMs = 20;
const startTimeoutMs = 3 * 60_000;
const pingToken = "a-token-that-only-this-benchmark-knows";
// Not longer: a timer of Node holds at most 24 days.
const never = 20 * 24 * 3600;
/** What is made in the background begins a second after the publication that it is for. */
const idleForMs = 2_500;
const idleLookMs = 250;
/** One tick of the clock by which the system counts a process' CPU. */
const idleTicks = 1;
/** On Linux, for all programs. @see sysconf(3), _SC_CLK_TCK */
const ticksPerSecond = 100;
/** Each publication has a second of its own; a ping sooner than this would measure the wait for it. */
const betweenPublicationsMs = 1_100;

export class BenchServer {
  readonly url: string;
  readonly memory: MemoryWatch;
  readonly #options: BenchServerOptions;
  #child: ChildProcess | undefined;
  #output = "";
  #nextPingMs = 0;

  /** Writes its configuration; `start` starts it. */
  static async prepare(options: BenchServerOptions): Promise<BenchServer> {
    mkdirSync(options.directory, { recursive: true, mode: 0o700 });
    const port = await freePort();
    writeFileSync(join(options.directory, "token"), pingToken, { mode: 0o600 });
    writeFileSync(
      join(options.directory, "bench.toml"),
      `listen = "127.0.0.1:${port}"
state = "state"
poll_seconds = ${never}
[limits.http]
pings_per_minute = 1000000
[[repository]]
name = "debian"
signing_key_file = ${JSON.stringify(options.signingKeyFile)}
ping_token_file = "token"
${options.tree}
`,
    );
    return new BenchServer(options, `http://127.0.0.1:${port}`);
  }

  private constructor(options: BenchServerOptions, url: string) {
    this.#options = options;
    this.url = url;
    this.memory = new MemoryWatch(() => this.#child?.pid);
  }

  /** @returns seconds from the spawning to the first 200 on InRelease */
  async start(): Promise<number> {
    const { directory, program, maxDescriptors, workers = 0, signal } = this.#options;
    signal.throwIfAborted();
    const begunMs = performance.now();
    // As npm leaves a command: its first line tells how it wants to be run, which is worth a third of its memory.
    chmodSync(program, 0o755);
    const command = [program, "serve", "--config", join(directory, "bench.toml"), "--workers", String(workers)];
    const limited = maxDescriptors === undefined ? 'exec "$@"' : `ulimit -n ${maxDescriptors} && exec "$@"`;
    const child = spawn("sh", ["-c", limited, "sh", ...command], {
      cwd: directory,
      env: { PATH: [dirname(process.execPath), process.env.PATH].join(delimiter) },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (this.#output += String(chunk)));
    while (!(await this.#hasInRelease())) {
      if (child.exitCode !== null || performance.now() - begunMs > startTimeoutMs) {
        throw new Error(`the server did not come to serve: ${this.#output.slice(-2000)}`);
      }
      await sleep(pollMs, undefined, { signal });
    }
    return (performance.now() - begunMs) / 1000;
  }

  /** Resolves when a load balancer would send it clients. */
  async ready(): Promise<void> {
    const { signal } = this.#options;
    const begunMs = performance.now();
    while ((await ask("GET", `${this.url}/readyz`, { signal })).status !== 200) {
      if (performance.now() - begunMs > startTimeoutMs) throw new Error("the server did not become ready");
      await sleep(pollMs, undefined, { signal });
    }
  }

  /** Where builders tell it of uploads, and the token that they bear. */
  get stateDirectory(): string {
    return join(this.#options.directory, "state");
  }

  get pingAddress(): { readonly url: string; readonly token: string } {
    return { url: `${this.url}/-/ping/debian`, token: pingToken };
  }

  /** Waits until a publication would not have to wait for a second of its own. */
  async settled(): Promise<void> {
    await sleep(Math.max(0, this.#nextPingMs - performance.now()), undefined, { signal: this.#options.signal });
    this.#nextPingMs = performance.now() + betweenPublicationsMs;
  }

  /** Resolves when it has nothing more to do, in the background neither. */
  async idle(): Promise<void> {
    const { signal } = this.#options;
    let before = this.#cpuTicks();
    for (let idleMs = 0; idleMs < idleForMs; ) {
      await sleep(idleLookMs, undefined, { signal });
      const now = this.#cpuTicks();
      idleMs = now - before <= idleTicks ? idleMs + idleLookMs : 0;
      before = now;
    }
  }

  /** @param path below the repository, e.g. `dists/sid/InRelease` */
  get(path: string): Promise<Answer> {
    return ask("GET", `${this.url}/debian/${path}`, { signal: this.#options.signal });
  }

  /** Pings and waits until the change is servable. @returns seconds until the answer; throws unless that is 200 */
  async ping(path: string): Promise<number> {
    const { signal } = this.#options;
    await sleep(Math.max(0, this.#nextPingMs - performance.now()), undefined, { signal });
    const encoded = path.split("/").map(encodeURIComponent).join("/");
    const headers = { Authorization: `Bearer ${pingToken}` };
    const begunMs = performance.now();
    const { status, body } = await ask("POST", `${this.url}/-/ping/debian/${encoded}?wait=300`, { headers, signal });
    const seconds = (performance.now() - begunMs) / 1000;
    this.#nextPingMs = performance.now() + betweenPublicationsMs;
    if (status !== 200) throw new Error(`a ping was answered with ${status}: ${body.toString()}`);
    return seconds;
  }

  /** The text of Packages, got by hash in both compressed forms. Throws where these differ or are wrong. */
  async packages(index = "main/binary-amd64/Packages"): Promise<string> {
    const release = (await this.get("dists/sid/InRelease")).body.toString();
    const texts: Buffer[] = [];
    for (const form of [".gz", ".xz"]) {
      const sha256 = new RegExp(`^ ([0-9a-f]{64}) +\\d+ ${index}${form.replace(".", "\\.")}$`, "m").exec(release)?.[1];
      const { status, body } = await this.get(`dists/sid/${index.replace(/[^/]*$/, "")}by-hash/SHA256/${sha256}`);
      if (status !== 200 || createHash("sha256").update(body).digest("hex") !== sha256) {
        throw new Error(`${index}${form} is not what InRelease says`);
      }
      texts.push(form === ".gz" ? gunzipSync(body) : await unxz(body));
    }
    if (texts[0] === undefined || texts[1] === undefined || !texts[0].equals(texts[1])) {
      throw new Error(`${index}.gz and .xz hold different text`);
    }
    return texts[0].toString();
  }

  /** The digest that InRelease lists of a file now, e.g. of `main/Contents-amd64.xz`. */
  async listed(path: string): Promise<string | undefined> {
    const line = new RegExp(`^ ([0-9a-f]{64}) +\\d+ ${path.replaceAll(".", "\\.")}$`, "m");
    return line.exec((await this.get("dists/sid/InRelease")).body.toString())?.[1];
  }

  /**
   * Resolves when InRelease lists a file.
   * @param before it is to have another digest than this
   * @returns its digest
   */
  async releaseLists(path: string, before?: string): Promise<string> {
    const begunMs = performance.now();
    for (;;) {
      const sha256 = await this.listed(path);
      if (sha256 !== undefined && sha256 !== before) return sha256;
      if (performance.now() - begunMs > startTimeoutMs) throw new Error(`${path} did not come`);
      await sleep(pollMs, undefined, { signal: this.#options.signal });
    }
  }

  /** The lines of one metric. */
  async metric(name: string): Promise<string> {
    const { body } = await ask("GET", `${this.url}/metrics`, { signal: this.#options.signal });
    return (body.toString().match(new RegExp(`^${name}.*$`, "gm")) ?? []).join("\n");
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    await exited;
  }

  /** The CPU of all its processes so far. */
  cpuSeconds(): number {
    const pid = this.#child?.pid;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").match(/\d+/g) ?? [];
    const ticks = children.reduce((sum, child) => sum + ticksOf(Number(child)), this.#cpuTicks());
    return ticks / ticksPerSecond;
  }

  #cpuTicks(): number {
    return ticksOf(this.#child?.pid);
  }

  async #hasInRelease(): Promise<boolean> {
    return this.get("dists/sid/InRelease").then(
      ({ status }) => status === 200,
      () => false,
    );
  }
}

/** The CPU of all threads of a process so far. @see proc_pid_stat(5), utime and stime */
function ticksOf(pid: number | undefined): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

const unxz = (bytes: Buffer): Promise<Buffer> => new Promise((resolve) => lzma.decompress(bytes, {}, resolve));
