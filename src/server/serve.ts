// Starts and stops a server: the one place that connects storage, publishing, metrics and HTTP by a configuration.
import type { RequestListener } from "node:http";
import { onAbort } from "../base/abort.ts";
import { systemClock } from "../base/clock.ts";
import { messageOf, RepoError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { ownVersion } from "../base/own-version.ts";
import { SerialQueue } from "../base/serial-queue.ts";
import { withResolvers } from "../base/with-resolvers.ts";
import type { Fleet } from "../cluster/fleet.ts";
import type { FleetStatus } from "../cluster/status.ts";
import type { Configuration } from "../config/configuration.ts";
import { HttpError } from "../http/error-responses.ts";
import type { Address, RunningServer } from "../http/server.ts";
import { startServer } from "../http/server.ts";
import type { Metrics } from "../observe/metrics.ts";
import { createMetrics } from "../observe/metrics.ts";
import { ActivityLogs } from "../web/activity/activity-logs.ts";
import { IndexThread } from "../web/search/index-thread.ts";
import { addressForOthers, authorityOf, urlOf } from "./addresses.ts";
import type { ControlledRepository } from "./control-commands.ts";
import { answerFor } from "./control-commands.ts";
import { fleetSecret } from "./fleet-secret.ts";
import type { HttpWorkers } from "./http-workers.ts";
import { reload } from "./reload.ts";
import type { ReloadOptions, ReloadOutcome } from "./reload-outcome.ts";
import { ServedConfiguration } from "./served-configuration.ts";
import type { ServiceManager } from "./service-manager.ts";
import type { SharedResources } from "./shared-resources.ts";
import { openSharedResources } from "./shared-resources.ts";
import { isCorruption } from "./sound-database.ts";
import type { WorkerListening } from "./worker-messages.ts";

/** See `minIdleMs` of the HTTP server. Clients that send one request after the other pause for less. */
const minIdleMsAtRestart = 2000;

export interface Server {
  /** Where people reach it, without a trailing slash. */
  readonly url: string;
  /** Resolves when the server has stopped: requests have ended, and all state is on disk. */
  readonly closed: Promise<void>;
  /** The configuration that is in effect, which a reload changes. */
  readonly configuration: () => Configuration;
  /**
   * Whether it stopped because its database is corrupt. The next start sets that database aside and creates another.
   */
  readonly isDatabaseCorrupt: () => boolean;
}

/** The server cannot listen on the address. */
class ListenFailed extends RepoError {
  readonly code = "server/listen-failed";
}

/** The database turned out to be corrupt, and this process cannot open its listening sockets again. */
class DatabaseCorrupt extends RepoError {
  readonly code = "state/corrupt";
}

export interface Surroundings {
  /** Aborting it stops the server gracefully. */
  readonly signal: AbortSignal;
  readonly log: Log;
  /** The service manager that started this process; undefined if the server is only a part of what runs in it. */
  readonly serviceManager?: ServiceManager;
  /** Reads the configuration again for a reload; undefined: the server cannot be reloaded. @throws ConfigurationError */
  readonly reread?: (options: ReloadOptions) => Configuration;
  /** Registers the function to call when the process receives SIGHUP; undefined removes it. */
  readonly onHangup?: (listener: (() => void) | undefined) => void;
  /** Called with the configuration that a reload has put into effect. */
  readonly onReload?: (configuration: Configuration) => void;
}

/**
 * Serves every repository of a configuration. Stored publications are served at once.
 * @throws StateInUse, ListenFailed, SecretFileError, KeyFileError, UnfitKey, and errors of opening the state directory
 */
export async function serve(configuration: Configuration, surroundings: Surroundings): Promise<Server> {
  const first = await ServerStart.open(configuration, surroundings);
  try {
    return await first.serve();
  } catch (thrown) {
    if (!isCorruption(thrown)) throw thrown;
    await first.resources.close({ isCorrupt: true });
  }
  // The database is a new one now, so this is not repeated.
  const second = await ServerStart.open(configuration, surroundings);
  return await second.serve();
}

/**
 * Serves until the signal aborts. If the database turns out to be corrupt meanwhile, the server starts again.
 * @param started called once, when the server can be reached
 * @throws DatabaseCorrupt if the service manager has to start the server again
 */
export async function serveUntilTold(
  configuration: Configuration,
  surroundings: Surroundings,
  started: (server: Server) => Promise<void> = async () => undefined,
): Promise<void> {
  let server = await serve(configuration, surroundings);
  await started(server);
  await server.closed;
  while (server.isDatabaseCorrupt() && !surroundings.signal.aborted) {
    if (isGivenSockets(surroundings)) {
      throw new DatabaseCorrupt("the database is corrupt: the next start sets it aside and creates another");
    }
    server = await serve(server.configuration(), surroundings);
    await server.closed;
  }
}

const isGivenSockets = ({ serviceManager }: Surroundings): boolean =>
  serviceManager !== undefined && serviceManager.listeningSockets.length > 0;

/** A server whose shared resources are open. */
class ServerStart {
  readonly resources: SharedResources;
  readonly #searchThread = new IndexThread();
  readonly #configuration: Configuration;
  readonly #surroundings: Surroundings;
  readonly #log: Log;
  readonly #metrics: Metrics;
  /** Aborted when the database turns out to be corrupt. */
  readonly #corruption: AbortController;
  /** The start, and the reloads after it, one at a time. */
  readonly #changes = new SerialQueue();
  readonly #activity: ActivityLogs;
  #served: ServedConfiguration | undefined;
  #fleet: Fleet | undefined;
  /** Where it listens, as soon as it does. */
  #addresses: readonly Address[] | undefined;
  /** The processes that serve HTTP; undefined: this one does. */
  #workers: HttpWorkers | undefined;

  static async open(configuration: Configuration, surroundings: Surroundings): Promise<ServerStart> {
    const corruption = new AbortController();
    const log = detectingCorruption(surroundings.log, corruption);
    const metrics = createMetrics(systemClock);
    // The commands need the server, and the server needs the resources.
    let start: ServerStart | undefined;
    const controlled = {
      repositories: () => start?.controlled() ?? [],
      reload: async (options: ReloadOptions) => await start?.reload(options),
      cluster: () => start?.fleetStatus(),
      root: () => start?.resources.shared.root,
    };
    const resources = await openSharedResources(configuration, {
      log,
      cacheObserver: metrics.cacheObserver,
      answer: answerFor(controlled, log),
    });
    start = new ServerStart({ configuration, surroundings, log, metrics, corruption, resources });
    return start;
  }

  private constructor(options: {
    readonly configuration: Configuration;
    readonly surroundings: Surroundings;
    readonly log: Log;
    readonly metrics: Metrics;
    readonly corruption: AbortController;
    readonly resources: SharedResources;
  }) {
    this.#configuration = options.configuration;
    this.#surroundings = options.surroundings;
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#corruption = options.corruption;
    this.resources = options.resources;
    this.#activity = new ActivityLogs({ log: options.log, now: systemClock });
  }

  controlled(): readonly ControlledRepository[] {
    return [...(this.#served?.slots() ?? [])].map(({ service }) => service.controlled);
  }

  fleetStatus(): FleetStatus | undefined {
    return this.#fleet?.status();
  }

  async serve(): Promise<Server> {
    return await this.#changes.run(() => this.#serve());
  }

  /**
   * Reads the configuration again and takes it over.
   * @returns undefined if the server was not started with a configuration that can be read again, or stops
   * @throws ConfigurationError; then nothing has changed
   */
  async reload(options: ReloadOptions): Promise<ReloadOutcome | undefined> {
    const { reread, onReload, signal, serviceManager } = this.#surroundings;
    return await this.#changes.run(async () => {
      const served = this.#served;
      if (reread === undefined || served === undefined || signal.aborted) return undefined;
      serviceManager?.reloading();
      try {
        const outcome = await reload(served, () => reread(options), this.#log);
        await this.#workers?.takeOver(served.configuration);
        onReload?.(served.configuration);
        return outcome;
      } finally {
        serviceManager?.ready();
      }
    });
  }

  async #serve(): Promise<Server> {
    const addresses = (): readonly Address[] => this.#addresses ?? [this.#configuration.listen];
    const fleet = await openFleet(this.#configuration, { addresses, log: this.#log });
    try {
      return await this.#serveIn(fleet);
    } catch (thrown) {
      // Its connections would keep a process running that serves nothing.
      await fleet?.close();
      throw thrown;
    }
  }

  async #serveIn(fleet: Fleet | undefined): Promise<Server> {
    const { signal, onHangup, serviceManager } = this.#surroundings;
    this.#fleet = fleet;
    if (fleet !== undefined) this.#metrics.watchFleet(() => fleet.observed());
    const served = await ServedConfiguration.open(this.#configuration, {
      resources: this.resources,
      metrics: this.#metrics,
      searchThread: this.#searchThread,
      activity: this.#activity,
      fleet,
      log: this.#log,
      unexpected: (thrown) => {
        if (!isCorruption(thrown)) return undefined;
        this.#corruption.abort();
        return new HttpError("server/not-ready", "the database is damaged; the server starts again with another one");
      },
    });
    const running = await this.#listen(served.listener);
    this.#addresses = running.addresses;
    const url = this.#configuration.publicUrl ?? urlOf(running.address);
    this.#served = served;
    served.start(running);
    void fleet?.start();
    for (const { name, key } of served.slots())
      this.#log.info({ url: `${url}/${name}/`, keys: key.fingerprints }, `serving ${name}`);
    serviceManager?.ready();
    onHangup?.(() => void this.reload({}).catch(() => undefined));
    const { promise: stopped, resolve: stop } = withResolvers<void>();
    const removeListeners = [signal, this.#corruption.signal].map((each) => onAbort(each, stop));
    const closed = stopped.then(async () => {
      onHangup?.(undefined);
      for (const remove of removeListeners) remove();
      this.#log.info({}, "stopping");
      if (signal.aborted) serviceManager?.stopping();
      // The pings that are under way are answered by another replica.
      if (fleet !== undefined && fleet.servingMembers.length > 0) await fleet.retire();
      await running.stop(served.configuration.gracePeriodSeconds * 1000);
      await this.#changes.run(async () => {
        this.#served = undefined;
        await served.stop();
      });
      await fleet?.close();
      await this.#searchThread.close();
      await this.resources.close({ isCorrupt: this.#corruption.signal.aborted });
    });
    return {
      url,
      closed,
      configuration: () => served.configuration,
      isDatabaseCorrupt: () => this.#corruption.signal.aborted,
    };
  }

  /** Listens on the sockets of the service manager if there are any, otherwise on the configured address. */
  async #listen(app: RequestListener): Promise<RunningServer> {
    const { listen, limits, behindProxy, workers } = this.#configuration;
    const { listeningSockets = [] } = this.#surroundings.serviceManager ?? {};
    const isGiven = listeningSockets.length > 0;
    // The next server has the same sockets, so nothing that clients send meanwhile needs to be lost.
    const minIdleMs = isGiven ? minIdleMsAtRestart : 0;
    try {
      const running =
        workers > 0
          ? await this.#startWorkers(app, { listen, listeningSockets, minIdleMs })
          : await startServer(app, {
              ...listen,
              limits: limits.http,
              behindProxy,
              log: this.#log,
              clock: systemClock,
              listeningSockets,
              minIdleMs,
            });
      if (isGiven) {
        const addresses = running.addresses.map(authorityOf);
        this.#log.info({ addresses }, "listening on the sockets of the service manager instead of the key listen");
      }
      return running;
    } catch (thrown) {
      const place = isGiven ? "the sockets of the service manager" : `${listen.host}:${listen.port}`;
      throw new ListenFailed(`cannot listen on ${place}: ${messageOf(thrown)}`);
    }
  }

  /** Starts the processes that serve HTTP. Without them, nothing of this is loaded. */
  async #startWorkers(app: RequestListener, listening: WorkerListening): Promise<RunningServer> {
    const { HttpWorkers: Workers } = await import("./http-workers.ts");
    const { cache, root } = this.resources.shared;
    const workers = await Workers.start(app, {
      configuration: this.#configuration,
      listening,
      log: this.#log,
      reported: ({ answered, cacheReads }) => {
        for (const [name, requestClass, requests] of answered) this.#activity.answered(name, requestClass, requests);
        cache.noteReads(cacheReads);
      },
      cacheFileDamaged: (file) => cache.removeDamaged(file),
      databaseDamaged: () => this.#corruption.abort(),
      ended: () => void root.readerCheck(),
    });
    this.#workers = workers;
    this.#metrics.watchWorkers(() => workers.observed());
    return workers;
  }
}

/** @returns undefined without `[cluster]`; then nothing of the client for Valkey is loaded */
async function openFleet(
  configuration: Configuration,
  { addresses, log }: { readonly addresses: () => readonly Address[]; readonly log: Log },
): Promise<Fleet | undefined> {
  const {
    cluster,
    repositories: [first],
  } = configuration;
  if (cluster === undefined || first === undefined) return undefined;
  const { Fleet: Member } = await import("../cluster/fleet.ts");
  const address = (): string => addressForOthers(addresses());
  const secret = fleetSecret(first, configuration);
  return new Member({ settings: cluster, secret, version: ownVersion(), address, log, now: systemClock });
}

/** Every failure is logged, so a log can detect failures that mean a corrupt database. */
function detectingCorruption(log: Log, corruption: AbortController): Log {
  return {
    info: (context, text) => log.info(context, text),
    warn: (context, text) => log.warn(context, text),
    error(context, text) {
      log.error(context, text);
      if (Object.values(context).some(isCorruption)) corruption.abort();
    },
  };
}
