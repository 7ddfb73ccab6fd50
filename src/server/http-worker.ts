// A process that serves published files over HTTP, and passes all other requests on to the server that started it. It
// reads the state directory and never writes to it.
import { openSync } from "node:fs";
import { join } from "node:path";
import type { RootDatabase } from "lmdb";
import { systemClock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Suite } from "../base/names.ts";
import type { App, ForwardingAppOptions } from "../http/app.ts";
import { createApp } from "../http/app.ts";
import { HttpError } from "../http/error-responses.ts";
import { Forwarder } from "../http/forward.ts";
import type { SharedSession, SharedSessions } from "../http/mirror-sessions.ts";
import type { RunningServer } from "../http/server.ts";
import { startServer } from "../http/server.ts";
import { ownWorkerMetrics } from "../observe/worker-metrics.ts";
import { FlatFiles } from "../publishing/live/flat-files.ts";
import { flatStateName } from "../publishing/live/flat-names.ts";
import { CachedPackages } from "../publishing/serve/cached-packages.ts";
import { StoredRepository } from "../publishing/serve/stored-repository.ts";
import { openStateDatabase } from "../publishing/store/state-database.ts";
import { outliveFailedWrites } from "./failed-writes.ts";
import { keepHeapLean } from "./heap-settings.ts";
import type { ServerLog } from "./server-log.ts";
import { openLog } from "./server-log.ts";
import { isCorruption } from "./sound-database.ts";
import { databaseIn, socketPathIn } from "./state-directory.ts";
import type { MessageFromWorker, MessageToWorker, WorkerListening, WorkerSettings } from "./worker-messages.ts";
import { forwardingSocketName, newerOf, reportMs } from "./worker-messages.ts";

/** How long the answer of the others about clients is awaited: the server waits less for one that hangs. */
const answerTimeoutMs = 2000;

/** @returns resolves when the message is on its way, or cannot be sent because the server has ended */
const tell = (message: MessageFromWorker): Promise<void> =>
  new Promise((resolve) => {
    if (process.connected) process.send?.(message, undefined, undefined, () => resolve());
    else resolve();
  });

/** Asks the other processes about clients: all questions of one turn of the event loop together. */
class SessionsOfOthers implements SharedSessions {
  readonly haveLoadBalancer = false;
  readonly #own: (key: string) => SharedSession | undefined;
  #unsent: { readonly key: string; readonly resolve: (session: SharedSession | undefined) => void }[] = [];
  readonly #unanswered = new Map<number, (sessions: readonly (SharedSession | null)[]) => void>();
  #questions = 0;

  /** @param own returns what this process knows */
  constructor(own: (key: string) => SharedSession | undefined) {
    this.#own = own;
  }

  // They ask when they need to know.
  async set(): Promise<void> {}

  extend(): void {}

  get(key: string): Promise<SharedSession | undefined> {
    return new Promise((resolve) => {
      if (this.#unsent.length === 0) setImmediate(() => this.#ask());
      this.#unsent.push({ key, resolve });
    });
  }

  answered(id: number, sessions: readonly (SharedSession | null)[]): void {
    this.#unanswered.get(id)?.(sessions);
  }

  #ask(): void {
    const asked = this.#unsent;
    this.#unsent = [];
    const id = this.#questions++;
    const finish = (sessions: readonly (SharedSession | null)[]): void => {
      clearTimeout(timeout);
      this.#unanswered.delete(id);
      for (const [index, { key, resolve }] of asked.entries())
        resolve(newerOf(this.#own(key), sessions[index]) ?? undefined);
    };
    const timeout = setTimeout(() => finish([]), answerTimeoutMs);
    this.#unanswered.set(id, finish);
    void tell({ kind: "ask-sessions", id, keys: asked.map(({ key }) => key) });
  }
}

class HttpWorker {
  readonly #log: ServerLog;
  readonly #root: RootDatabase;
  readonly #forwarder: Forwarder;
  readonly #cache: CachedPackages;
  readonly #metrics = ownWorkerMetrics();
  readonly #app: App<ForwardingAppOptions>;
  readonly #sessions: SessionsOfOthers;
  #running: RunningServer | undefined;
  /** How many requests were answered since the last report, by repository and class. */
  #answered = new Map<string, Map<string, number>>();
  #cacheReads = new Set<string>();

  constructor(settings: WorkerSettings) {
    const { stateDirectory } = settings;
    this.#log = openLog(settings.log);
    outliveFailedWrites(this.#log);
    this.#root = openStateDatabase(databaseIn(stateDirectory), { readOnly: true });
    // It stays open as long as the process: connections to the server are made through it.
    const directory = { fd: openSync(stateDirectory, "r") };
    this.#forwarder = new Forwarder(socketPathIn(stateDirectory, directory, forwardingSocketName));
    this.#cache = new CachedPackages(join(stateDirectory, "packages"), {
      hit: (file, bytes) => {
        this.#metrics.cacheHit(bytes);
        this.#cacheReads.add(file);
      },
      damaged: (file) => void tell({ kind: "damaged-cache-file", file }),
    });
    this.#sessions = new SessionsOfOthers((key) => this.#app.sessions.known(key));
    this.#app = createApp(this.#appOptions(settings));
  }

  async listen(
    { limits, behindProxy }: WorkerSettings,
    { listen, listeningSockets, minIdleMs }: WorkerListening,
  ): Promise<void> {
    const log = this.#log;
    const options = { ...listen, listeningSockets, minIdleMs, limits, behindProxy, log, clock: systemClock };
    this.#running = await startServer(this.#app.listener, options);
    await tell({ kind: "listening", addresses: this.#running.addresses });
    setInterval(() => void this.#report(), reportMs);
    keepHeapLean();
  }

  configure(settings: WorkerSettings): void {
    this.#log.configure(settings.log);
    this.#app.reconfigure(this.#appOptions(settings));
    this.#running?.reconfigure(settings);
  }

  sessionsOf(keys: readonly string[]): (SharedSession | null)[] {
    return keys.map((key) => this.#app.sessions.known(key) ?? null);
  }

  learn(id: number, sessions: readonly (SharedSession | null)[]): void {
    this.#sessions.answered(id, sessions);
  }

  async stop(graceMs: number): Promise<void> {
    await this.#running?.stop(graceMs);
    await this.#report();
  }

  async #report(): Promise<void> {
    const answered = [...this.#answered].flatMap(([name, classes]) =>
      [...classes].map(([requestClass, requests]) => [name, requestClass, requests] as const),
    );
    const cacheReads = [...this.#cacheReads];
    this.#answered = new Map();
    this.#cacheReads = new Set();
    const { user, system } = process.cpuUsage();
    const cpuSeconds = (user + system) / 1e6;
    const counted = await this.#metrics.counted();
    await tell({ kind: "report", report: { counted, cpuSeconds, answered, cacheReads } });
  }

  #appOptions({ limits, behindProxy, accessLog, repositories }: WorkerSettings): ForwardingAppOptions {
    const [root, cache, log] = [this.#root, this.#cache, this.#log];
    const opened = repositories.map(({ name, flat, nestedSuites, prebuiltSuites }) => {
      const suites = { nestedSuites, prebuiltSuites: new Set(prebuiltSuites) };
      const main = new StoredRepository({ root, stateName: name, ...suites, cache });
      const flats = flat.map((at) => {
        const noSuites = { nestedSuites: [], prebuiltSuites: new Set<Suite>() };
        const repository = new StoredRepository({ root, stateName: flatStateName(name, at), ...noSuites, cache });
        return { at, repository };
      });
      return new FlatFiles(name, main, flats);
    });
    const names: ReadonlySet<string> = new Set(repositories.map(({ name }) => name));
    return {
      repositories: new Map(opened.map((repository) => [repository.name, repository])),
      forward: (request, response) => this.#forwarder.forward(request, response),
      sessions: this.#sessions,
      limits,
      behindProxy,
      errorPage: async (...error) => (await import("../web/pages/error-page.ts")).renderErrorPage(...error),
      observer: {
        answered: (requestClass, status, durationSeconds, mount) => {
          this.#metrics.requestObserver.answered(requestClass, status, durationSeconds);
          if (mount !== undefined && names.has(mount)) this.#count(mount, requestClass);
        },
      },
      clock: systemClock,
      log,
      accessLog: accessLog ? log : undefined,
      unexpected(thrown) {
        if (!isCorruption(thrown)) return undefined;
        void tell({ kind: "damaged-database" });
        return new HttpError("server/not-ready", "the database is damaged; the server starts again with another one");
      },
    };
  }

  #count(name: string, requestClass: string): void {
    const classes = this.#answered.get(name) ?? new Map<string, number>();
    this.#answered.set(name, classes.set(requestClass, (classes.get(requestClass) ?? 0) + 1));
  }
}

let worker: HttpWorker | undefined;

async function receive(message: MessageToWorker): Promise<void> {
  switch (message.kind) {
    case "start":
      worker = new HttpWorker(message.settings);
      await worker.listen(message.settings, message.listening);
      return;
    case "configure":
      worker?.configure(message.settings);
      return await tell({ kind: "configured" });
    case "ask-sessions":
      return await tell({ kind: "sessions", id: message.id, sessions: worker?.sessionsOf(message.keys) ?? [] });
    case "sessions":
      return worker?.learn(message.id, message.sessions);
    case "stop":
      await worker?.stop(message.graceMs);
      return process.exit();
    default:
      message satisfies never;
  }
}

// The server tells when to stop. A terminal or systemd sends these to all processes of a service.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);
process.on("message", (message: MessageToWorker) => {
  receive(message).catch(async (thrown: unknown) => {
    await tell({ kind: "failed", reason: messageOf(thrown) });
    process.exit(1);
  });
});
void tell({ kind: "ready" });
