// Processes that serve HTTP for a server: they share its listening sockets and read its state directory. The server
// answers what they pass on, starts them again when they end, and knows what they have counted.
import type { Worker } from "node:cluster";
import cluster from "node:cluster";
import type { FileHandle } from "node:fs/promises";
import { chmod, open, rm } from "node:fs/promises";
import type { RequestListener } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { backoffMs } from "../base/backoff.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { parseSuite } from "../base/names.ts";
import { withResolvers } from "../base/with-resolvers.ts";
import type { Configuration } from "../config/configuration.ts";
import { unneededVariables } from "../config/load-config.ts";
import { receiving } from "../http/forward.ts";
import type { SharedSession } from "../http/mirror-sessions.ts";
import type { Address, RunningServer } from "../http/server.ts";
import { startServer } from "../http/server.ts";
import type { CountedMetrics, ObservedWorkers } from "../observe/worker-metrics.ts";
import { sumOf } from "../observe/worker-metrics.ts";
import { layoutOf } from "./repository-settings.ts";
import { logSettingsOf } from "./server-log.ts";
import { socketPathIn } from "./state-directory.ts";
import type {
  MessageFromWorker,
  MessageToWorker,
  WorkerListening,
  WorkerReport,
  WorkerSettings,
} from "./worker-messages.ts";
import { forwardingSocketName, newerOf, reportMs } from "./worker-messages.ts";

/** Between the end of a process and the start of the next one; the failures of a process that lived longer are forgotten. */
const restartDelays = { firstDelayMs: 100, maxDelayMs: 30_000 };
const longLifeMs = 60_000;
/** A process that does not report for so many times is killed. */
const missedReports = 10;
/** How long processes are awaited that are asked about clients, or are told another configuration. */
const sessionsTimeoutMs = 1000;
const configureTimeoutMs = 5000;
/** How much longer than the grace period a process may take to stop. */
const stopMarginMs = 2000;

/** Node 20 cannot run TypeScript: if this file runs from src/ (in tests), the processes run the build in dist/. */
const program = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "../../dist/server/http-worker.js" : "http-worker.js", import.meta.url),
);
export interface HttpWorkersOptions {
  readonly configuration: Configuration;
  readonly listening: WorkerListening;
  readonly log: Log;
  readonly reported: (report: WorkerReport) => void;
  readonly cacheFileDamaged: (file: string) => void;
  readonly databaseDamaged: () => void;
  /** Called when a process has ended, which may have been reading the database. */
  readonly ended: () => void;
}

/** One process. */
class WorkerProcess {
  readonly #worker: Worker;
  readonly startedMs = performance.now();
  counted: CountedMetrics = [];
  cpuSeconds = 0;
  /** How many reports are missing. */
  unreported = 0;
  /** Resolves when it has taken over the last configuration that it was told. */
  configured = withResolvers<void>();
  /** Resolves with its exit code, or the signal that ended it. */
  readonly exited: Promise<number | string>;

  /** @param receive receives its messages */
  constructor(worker: Worker, receive: (from: WorkerProcess, message: MessageFromWorker) => void) {
    this.#worker = worker;
    this.exited = new Promise((resolve) => worker.once("exit", (code, signal) => resolve(signal ?? code)));
    worker.on("message", (message: MessageFromWorker) => receive(this, message));
    // Its end is all that matters of its failures.
    worker.on("error", () => undefined);
  }

  get pid(): number | undefined {
    return this.#worker.process.pid;
  }

  tell(message: MessageToWorker): void {
    if (this.#worker.isConnected()) this.#worker.send(message, undefined, () => undefined);
  }

  kill(): void {
    this.#worker.process.kill("SIGKILL");
  }
}

/** A question to all processes but the one that asked. */
interface Question {
  readonly latest: (SharedSession | null)[];
  readonly waitingFor: Set<WorkerProcess>;
  readonly finish: () => void;
}

export class HttpWorkers implements RunningServer {
  #addresses: readonly Address[] = [];
  readonly #options: HttpWorkersOptions;
  readonly #receiver: RunningServer;
  readonly #directory: FileHandle;
  readonly #workers = new Set<WorkerProcess>();
  readonly #questions = new Map<number, Question>();
  #asked = 0;
  #settings: WorkerSettings;
  #restarts = 0;
  #failures = 0;
  /** What processes have counted that have ended, and their CPU time. */
  #departed: CountedMetrics[] = [];
  #departedCpuSeconds = 0;
  #isStopping = false;
  readonly #watching: NodeJS.Timeout;

  /**
   * Resolves when all processes listen.
   * @param answer answers what they pass on
   * @throws an error with the reason of the first process that cannot start
   */
  static async start(answer: RequestListener, options: HttpWorkersOptions): Promise<HttpWorkers> {
    const { stateDirectory, workers } = options.configuration;
    const directory = await open(stateDirectory, "r");
    const socketPath = socketPathIn(stateDirectory, directory, forwardingSocketName);
    await rm(socketPath, { force: true });
    const receiver = await startServer(receiving(answer), {
      host: "",
      port: 0,
      socketPath,
      // The processes limit connections.
      limits: { maxConnections: Number.POSITIVE_INFINITY, maxConnectionsPerAddress: Number.POSITIVE_INFINITY },
      log: options.log,
    });
    await chmod(socketPath, 0o600);
    const started = new HttpWorkers(options, receiver, directory);
    try {
      await Promise.all(Array.from({ length: workers }, () => started.#start()));
      return started;
    } catch (thrown) {
      await started.stop(0);
      throw thrown;
    }
  }

  private constructor(options: HttpWorkersOptions, receiver: RunningServer, directory: FileHandle) {
    this.#options = options;
    this.#receiver = receiver;
    this.#directory = directory;
    this.#settings = settingsOf(options.configuration);
    // The kernel spreads connections: passing each one on would take time of this process.
    cluster.schedulingPolicy = cluster.SCHED_NONE;
    cluster.setupPrimary({
      exec: program,
      args: [],
      execArgv: process.execArgv.filter((option) => option.startsWith("--max-")),
    });
    this.#watching = setInterval(() => this.#watch(), reportMs);
  }

  get addresses(): readonly Address[] {
    return this.#addresses;
  }

  get address(): Address {
    return this.#addresses[0] ?? this.#options.listening.listen;
  }

  observed(): ObservedWorkers {
    const workers = [...this.#workers];
    return {
      running: workers.length,
      restarts: this.#restarts,
      cpuSeconds: workers.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, this.#departedCpuSeconds),
      counted: [...this.#departed, ...workers.map(({ counted }) => counted)],
    };
  }

  /** Only `takeOver` changes limits. */
  reconfigure(): void {}

  /** Resolves when all processes serve by another configuration. One that does not answer is replaced. */
  async takeOver(configuration: Configuration): Promise<void> {
    this.#settings = settingsOf(configuration);
    await Promise.all([...this.#workers].map((worker) => this.#configure(worker)));
  }

  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    clearInterval(this.#watching);
    await Promise.all(
      [...this.#workers].map(async (worker) => {
        worker.tell({ kind: "stop", graceMs });
        const timer = setTimeout(() => worker.kill(), graceMs + stopMarginMs);
        await worker.exited;
        clearTimeout(timer);
      }),
    );
    await this.#receiver.stop(graceMs);
    await this.#directory.close();
  }

  async #configure(worker: WorkerProcess): Promise<void> {
    worker.configured = withResolvers();
    worker.tell({ kind: "configure", settings: this.#settings });
    const timer = setTimeout(() => worker.kill(), configureTimeoutMs);
    await Promise.race([worker.configured.promise, worker.exited]);
    clearTimeout(timer);
  }

  /** Starts a process. @throws an error with the reason if it cannot listen */
  async #start(): Promise<void> {
    const listening = withResolvers<readonly Address[]>();
    const forked = cluster.fork(Object.fromEntries(unneededVariables().map((name) => [name, undefined])));
    const started = new WorkerProcess(forked, (from, message) => {
      if (message.kind === "ready")
        from.tell({ kind: "start", settings: this.#settings, listening: this.#options.listening });
      else if (message.kind === "listening") listening.resolve(message.addresses);
      else if (message.kind === "failed") listening.reject(new Error(message.reason));
      else this.#receive(from, message);
    });
    this.#workers.add(started);
    void started.exited.then((how) => {
      listening.reject(new Error(`the process ended with ${how}`));
      this.#ended(started, how);
    });
    this.#addresses = await listening.promise;
  }

  #receive(from: WorkerProcess, message: Exclude<MessageFromWorker, { kind: "ready" | "listening" | "failed" }>): void {
    switch (message.kind) {
      case "configured":
        from.configured.resolve();
        return;
      case "report":
        from.unreported = 0;
        from.counted = message.report.counted;
        from.cpuSeconds = message.report.cpuSeconds;
        this.#options.reported(message.report);
        return;
      case "ask-sessions":
        this.#ask(from, message.id, message.keys);
        return;
      case "sessions":
        this.#learn(from, message.id, message.sessions);
        return;
      case "damaged-cache-file":
        this.#options.cacheFileDamaged(message.file);
        return;
      case "damaged-database":
        this.#options.databaseDamaged();
        return;
      default:
        message satisfies never;
    }
  }

  /** Asks all other processes about clients. */
  #ask(from: WorkerProcess, id: number, keys: readonly string[]): void {
    const others = [...this.#workers].filter((worker) => worker !== from);
    const number = this.#asked++;
    const finish = (): void => {
      clearTimeout(timer);
      this.#questions.delete(number);
      from.tell({ kind: "sessions", id, sessions: question.latest });
    };
    const question: Question = { latest: keys.map(() => null), waitingFor: new Set(others), finish };
    const timer = setTimeout(finish, sessionsTimeoutMs);
    this.#questions.set(number, question);
    for (const other of others) other.tell({ kind: "ask-sessions", id: number, keys });
    if (others.length === 0) finish();
  }

  #learn(from: WorkerProcess, number: number, sessions: readonly (SharedSession | null)[]): void {
    const question = this.#questions.get(number);
    if (question === undefined || !question.waitingFor.delete(from)) return;
    for (const [index, session] of sessions.entries())
      question.latest[index] = newerOf(question.latest[index], session);
    if (question.waitingFor.size === 0) question.finish();
  }

  #watch(): void {
    for (const worker of this.#workers) {
      worker.unreported += 1;
      if (worker.unreported !== missedReports) continue;
      this.#options.log.error({ pid: worker.pid }, "a worker hangs: it is ended");
      worker.kill();
    }
  }

  #ended(ended: WorkerProcess, how: number | string): void {
    this.#workers.delete(ended);
    for (const question of this.#questions.values())
      if (question.waitingFor.delete(ended) && question.waitingFor.size === 0) question.finish();
    this.#departed.push(ended.counted);
    this.#departedCpuSeconds += ended.cpuSeconds;
    void this.#foldDeparted();
    this.#options.ended();
    if (this.#isStopping) return;
    this.#failures = performance.now() - ended.startedMs > longLifeMs ? 1 : this.#failures + 1;
    const delayMs = backoffMs(this.#failures, restartDelays);
    this.#restarts += 1;
    this.#options.log.error(
      { pid: ended.pid, how, restartSeconds: delayMs / 1000 },
      "a worker ended: another one is started",
    );
    void delay(delayMs, undefined, { ref: false }).then(() => this.#startAgain());
  }

  async #startAgain(): Promise<void> {
    if (this.#isStopping) return;
    try {
      await this.#start();
    } catch (thrown) {
      // It ends, and is started once more.
      this.#options.log.error({ error: messageOf(thrown) }, "a worker could not be started");
    }
  }

  /** Processes may end often. */
  async #foldDeparted(): Promise<void> {
    const folded = [...this.#departed];
    const sum = await sumOf(folded).getMetricsAsJSON();
    if (folded.every((counted, index) => this.#departed[index] === counted))
      this.#departed = [sum, ...this.#departed.slice(folded.length)];
  }
}

function settingsOf(configuration: Configuration): WorkerSettings {
  const { stateDirectory, workers, accessLog, behindProxy, limits, repositories } = configuration;
  const { maxConnections, maxConnectionsPerAddress } = limits.http;
  const part = (limit: number): number => Math.max(1, Math.floor(limit / workers));
  return {
    stateDirectory,
    log: logSettingsOf(configuration),
    accessLog,
    behindProxy,
    limits: {
      ...limits.http,
      maxConnections: part(maxConnections),
      maxConnectionsPerAddress: part(maxConnectionsPerAddress),
    },
    repositories: repositories
      .filter(({ readers }) => readers.length === 0)
      .map((one) => {
        const prebuilt = [...one.suites].filter(([, { indices }]) => indices === "prebuilt");
        return {
          name: one.name,
          flat: one.flat,
          nestedSuites: layoutOf(one).nestedSuites,
          prebuiltSuites: prebuilt.map(([suite]) => parseSuite(suite)),
        };
      }),
  };
}
