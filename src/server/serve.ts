// Starts and stops a server: the one place that connects storage, publishing, metrics and HTTP by a configuration.
import type { RequestListener } from "node:http";
import { onAbort } from "../base/abort.ts";
import { systemClock } from "../base/clock.ts";
import { messageOf, RepoError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { withResolvers } from "../base/with-resolvers.ts";
import type { Configuration } from "../config/configuration.ts";
import { createApp } from "../http/app.ts";
import { startServer } from "../http/server.ts";
import type { Metrics } from "../observe/metrics.ts";
import { createMetrics } from "../observe/metrics.ts";
import { answerFor } from "./control-commands.ts";
import { RepositoryService } from "./repository-service.ts";
import type { SharedResources } from "./shared-resources.ts";
import { openSharedResources } from "./shared-resources.ts";
import { isCorruption } from "./sound-database.ts";

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

interface Surroundings {
  /** Aborting it stops the server gracefully. */
  readonly signal: AbortSignal;
  readonly log: Log;
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
    server = await serve(configuration, surroundings);
    await server.closed;
  }
}

/** A server whose shared resources are open. */
class ServerStart {
  readonly resources: SharedResources;
  readonly #configuration: Configuration;
  readonly #signal: AbortSignal;
  readonly #log: Log;
  readonly #metrics: Metrics;
  /** Aborted when the database turns out to be corrupt. */
  readonly #corruption: AbortController;
  readonly #services: RepositoryService[];

  static async open(configuration: Configuration, { signal, log: given }: Surroundings): Promise<ServerStart> {
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
    return new ServerStart({ configuration, signal, log, metrics, corruption, services, resources });
  }

  private constructor(options: {
    readonly configuration: Configuration;
    readonly signal: AbortSignal;
    readonly log: Log;
    readonly metrics: Metrics;
    readonly corruption: AbortController;
    readonly services: RepositoryService[];
    readonly resources: SharedResources;
  }) {
    this.#configuration = options.configuration;
    this.#signal = options.signal;
    this.#log = options.log;
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
    const running = await listen(app, configuration, this.#log);
    const url = configuration.publicUrl ?? urlOf(running.address);
    for (const service of this.#services) {
      service.start();
      const { name, key } = service.repository;
      this.#log.info({ url: `${url}/${name}/`, keys: key.fingerprints }, `serving ${name}`);
    }
    const { promise: stopped, resolve: stop } = withResolvers<void>();
    const removeListeners = [this.#signal, this.#corruption.signal].map((signal) => onAbort(signal, stop));
    const closed = stopped.then(async () => {
      for (const remove of removeListeners) remove();
      this.#log.info({}, "stopping");
      await running.stop(configuration.gracePeriodSeconds * 1000);
      await Promise.all(this.#services.map((service) => service.stop()));
      await this.resources.close({ isCorrupt: this.#corruption.signal.aborted });
    });
    return { url, closed, isDatabaseCorrupt: () => this.#corruption.signal.aborted };
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

async function listen(app: RequestListener, { listen: address, limits, behindProxy }: Configuration, log: Log) {
  try {
    return await startServer(app, { ...address, limits: limits.http, behindProxy, log, clock: systemClock });
  } catch (thrown) {
    throw new ListenFailed(`cannot listen on ${address.host}:${address.port}: ${messageOf(thrown)}`);
  }
}

/** The URL for people on this machine. An address that means "all interfaces" cannot be connected to. */
function urlOf({ host, port }: { readonly host: string; readonly port: number }): string {
  if (host === "0.0.0.0" || host === "::") return `http://localhost:${port}`;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
