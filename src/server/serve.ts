// Starts and stops a server: the one place that connects storage, publishing, metrics and HTTP by a configuration.
import type { RequestListener } from "node:http";
import { onAbort } from "../base/abort.ts";
import { systemClock } from "../base/clock.ts";
import { messageOf, RepoError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { withResolvers } from "../base/with-resolvers.ts";
import type { Configuration } from "../config/configuration.ts";
import { createApp } from "../http/app.ts";
import type { RunningServer } from "../http/server.ts";
import { startServer } from "../http/server.ts";
import type { Metrics } from "../observe/metrics.ts";
import { createMetrics } from "../observe/metrics.ts";
import { addApi } from "../web/api/api-routes.ts";
import { answerFor } from "./control-commands.ts";
import { RepositoryService } from "./repository-service.ts";
import type { ServiceManager } from "./service-manager.ts";
import type { SharedResources } from "./shared-resources.ts";
import { openSharedResources } from "./shared-resources.ts";
import { isCorruption } from "./sound-database.ts";

/** See `minIdleMs` of the HTTP server. Clients that send one request after the other pause for less. */
const minIdleMsAtRestart = 2000;

export interface Server {
  /** Where people reach it, without a trailing slash. */
  readonly url: string;
  /** Resolves when the server has stopped: requests have ended, and all state is on disk. */
  readonly closed: Promise<void>;
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

interface Surroundings {
  /** Aborting it stops the server gracefully. */
  readonly signal: AbortSignal;
  readonly log: Log;
  /** The service manager that started this process; undefined if the server is only a part of what runs in it. */
  readonly serviceManager?: ServiceManager;
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
    server = await serve(configuration, surroundings);
    await server.closed;
  }
}

const isGivenSockets = ({ serviceManager }: Surroundings): boolean =>
  serviceManager !== undefined && serviceManager.listeningSockets.length > 0;

/** A server whose shared resources are open. */
class ServerStart {
  readonly resources: SharedResources;
  readonly #configuration: Configuration;
  readonly #signal: AbortSignal;
  readonly #log: Log;
  readonly #serviceManager: ServiceManager | undefined;
  readonly #metrics: Metrics;
  /** Aborted when the database turns out to be corrupt. */
  readonly #corruption: AbortController;
  readonly #services: RepositoryService[];

  static async open(configuration: Configuration, surroundings: Surroundings): Promise<ServerStart> {
    const { signal, log: given, serviceManager } = surroundings;
    const corruption = new AbortController();
    const log = detectingCorruption(given, corruption);
    const metrics = createMetrics(systemClock);
    // Filled when the repositories are opened, which needs the resources.
    const services: RepositoryService[] = [];
    const resources = await openSharedResources(configuration, {
      log,
      cacheObserver: metrics.cacheObserver,
      answer: answerFor(() => services.map(({ controlled }) => controlled), log),
    });
    return new ServerStart({ configuration, signal, log, serviceManager, metrics, corruption, services, resources });
  }

  private constructor(options: {
    readonly configuration: Configuration;
    readonly signal: AbortSignal;
    readonly log: Log;
    readonly serviceManager: ServiceManager | undefined;
    readonly metrics: Metrics;
    readonly corruption: AbortController;
    readonly services: RepositoryService[];
    readonly resources: SharedResources;
  }) {
    this.#configuration = options.configuration;
    this.#signal = options.signal;
    this.#log = options.log;
    this.#serviceManager = options.serviceManager;
    this.#metrics = options.metrics;
    this.#corruption = options.corruption;
    this.#services = options.services;
    this.resources = options.resources;
  }

  async serve(): Promise<Server> {
    const configuration = this.#configuration;
    const context = {
      configuration,
      shared: this.resources.shared,
      metrics: this.#metrics,
      log: this.#log,
      signal: this.#signal,
    };
    for (const one of configuration.repositories) this.#services.push(await RepositoryService.open(one, context));
    for (const { repository } of this.#services) {
      this.#metrics.watchSuites(repository.name, () => repository.suiteCounts());
    }
    this.#metrics.watchStateDirectory(configuration.stateDirectory);
    const app = this.#createApp();
    for (const service of this.#services) await service.startHealthChecks();
    const running = await this.#listen(app);
    const url = configuration.publicUrl ?? urlOf(running.address);
    for (const service of this.#services) {
      service.start();
      const { name, key } = service.repository;
      this.#log.info({ url: `${url}/${name}/`, keys: key.fingerprints }, `serving ${name}`);
    }
    this.#serviceManager?.ready();
    const { promise: stopped, resolve: stop } = withResolvers<void>();
    const removeListeners = [this.#signal, this.#corruption.signal].map((signal) => onAbort(signal, stop));
    const closed = stopped.then(async () => {
      for (const remove of removeListeners) remove();
      this.#log.info({}, "stopping");
      if (this.#signal.aborted) this.#serviceManager?.stopping();
      await running.stop(configuration.gracePeriodSeconds * 1000);
      await Promise.all(this.#services.map((service) => service.stop()));
      await this.resources.close({ isCorrupt: this.#corruption.signal.aborted });
    });
    return { url, closed, isDatabaseCorrupt: () => this.#corruption.signal.aborted };
  }

  /** Listens on the sockets of the service manager if there are any, otherwise on the configured address. */
  async #listen(app: RequestListener): Promise<RunningServer> {
    const { listen, limits, behindProxy } = this.#configuration;
    const { listeningSockets = [] } = this.#serviceManager ?? {};
    const isGiven = listeningSockets.length > 0;
    try {
      const running = await startServer(app, {
        ...listen,
        limits: limits.http,
        behindProxy,
        log: this.#log,
        clock: systemClock,
        listeningSockets,
        // The next server has the same sockets, so nothing that clients send meanwhile needs to be lost.
        minIdleMs: isGiven ? minIdleMsAtRestart : 0,
      });
      if (isGiven) {
        const addresses = running.addresses.map(({ host, port }) => `${host}:${port}`);
        this.#log.info({ addresses }, "listening on the sockets of the service manager instead of the key listen");
      }
      return running;
    } catch (thrown) {
      const place = isGiven ? "the sockets of the service manager" : `${listen.host}:${listen.port}`;
      throw new ListenFailed(`cannot listen on ${place}: ${messageOf(thrown)}`);
    }
  }

  #createApp(): RequestListener {
    const { publicUrl, behindProxy, metricsToken, limits, repositories } = this.#configuration;
    return createApp({
      repositories: new Map(this.#services.map(({ repository }) => [repository.name, repository])),
      tokens: new Map(this.#services.map(({ repository, pingTokens }) => [repository.name, pingTokens])),
      readers: new Map(repositories.map(({ name, readers }) => [name, readers])),
      metricsToken,
      behindProxy,
      limits: limits.http,
      publicUrl,
      metrics: this.#metrics,
      addRoutes: addApi(this.#services.map(({ data }) => data)),
      observer: this.#metrics.requestObserver,
      clock: systemClock,
      log: this.#log,
      unexpected: (thrown) => {
        if (isCorruption(thrown)) this.#corruption.abort();
      },
    });
  }
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

/** The URL for people on this machine. An address that means "all interfaces" cannot be connected to. */
function urlOf({ host, port }: { readonly host: string; readonly port: number }): string {
  if (host === "0.0.0.0" || host === "::") return `http://localhost:${port}`;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
