// Everything that a server serves by its configuration: the repositories and the HTTP app. It takes over another
// configuration while requests are under way.
import type { RequestListener } from "node:http";
import { systemClock } from "../base/clock.ts";
import { messageOf, RepoError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { RepositoryName } from "../base/names.ts";
import { rootPath } from "../base/names.ts";
import type { Fleet } from "../cluster/fleet.ts";
import type { Configuration } from "../config/configuration.ts";
import { changesBetween, isSame, withoutRestart } from "../config/configuration-changes.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import type { App, AppOptions } from "../http/app.ts";
import { createApp, loadRoutes } from "../http/app.ts";
import type { HttpError } from "../http/error-responses.ts";
import type { RunningServer } from "../http/server.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { ActivityLogs } from "../web/activity/activity-logs.ts";
import type { PageSource } from "../web/pages/page-context.ts";
import type { IndexThread } from "../web/search/index-thread.ts";
import type { ReloadOutcome } from "./reload-outcome.ts";
import type { PreparedRepository, ServerContext } from "./repository-service.ts";
import { prepareRepository, RepositoryService } from "./repository-service.ts";
import { RepositorySlot } from "./repository-slot.ts";
import type { SharedResources } from "./shared-resources.ts";

interface ServedConfigurationOptions {
  readonly resources: SharedResources;
  readonly metrics: Metrics;
  readonly searchThread: IndexThread;
  readonly activity: ActivityLogs;
  readonly fleet: Fleet | undefined;
  readonly log: Log;
  /** Called with each unexpected error of a request. @returns another error to answer with */
  readonly unexpected: (thrown: unknown) => HttpError | undefined;
}

export class ServedConfiguration {
  readonly #options: ServedConfigurationOptions;
  #configuration: Configuration;
  readonly #slots = new Map<RepositoryName, RepositorySlot>();
  readonly #app: App;
  #running: RunningServer | undefined;

  /**
   * Opens every repository. Stored publications can be served at once; `start` begins to refresh them.
   * @throws SecretFileError, KeyFileError, UnfitKey, BundleError, IdentityChanged
   */
  static async open(configuration: Configuration, options: ServedConfigurationOptions): Promise<ServedConfiguration> {
    const { resources, metrics, searchThread, activity, fleet, log } = options;
    const server = { configuration, shared: resources.shared, metrics, searchThread, activity, fleet, log };
    const slots: RepositorySlot[] = [];
    for (const one of configuration.repositories)
      slots.push(new RepositorySlot(new RepositoryService(await prepareRepository(one, server), server)));
    return new ServedConfiguration(configuration, slots, options);
  }

  private constructor(
    configuration: Configuration,
    slots: readonly RepositorySlot[],
    options: ServedConfigurationOptions,
  ) {
    this.#options = options;
    this.#configuration = configuration;
    for (const slot of slots) this.#add(slot);
    options.metrics.watchStateDirectory(configuration.stateDirectory);
    this.#app = createApp(this.#appOptions());
  }

  /** The configuration that is in effect. */
  get configuration(): Configuration {
    return this.#configuration;
  }

  get listener(): RequestListener {
    return this.#app.listener;
  }

  slots(): Iterable<RepositorySlot> {
    return this.#slots.values();
  }

  /** Begins to refresh every repository. @param running the server that listens */
  start(running: RunningServer): void {
    this.#running = running;
    for (const slot of this.#slots.values()) void this.#start(slot);
    setTimeout(() => void Promise.all([loadRoutes(), loadWebRoutes(), loadErrorPage()]), routesDelayMs).unref();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#slots.values()].map((slot) => slot.stop()));
    await this.#options.activity.stop();
  }

  /**
   * Takes over another configuration, except for keys that need a restart. All files that it names are read and all
   * repositories opened before anything is replaced. Must not be called again before it has ended.
   * @throws ConfigurationError; then nothing has changed
   */
  async takeOver(wanted: Configuration): Promise<ReloadOutcome> {
    const { resources, metrics, searchThread, activity, fleet, log } = this.#options;
    const changes = changesBetween(this.#configuration, wanted);
    const configuration = withoutRestart(this.#configuration, wanted);
    const prepared = resources.prepare(configuration);
    const server = { configuration, shared: prepared.shared, metrics, searchThread, activity, fleet, log };
    const repositories = await prepareAll(configuration, server);
    const pairs = repositories.map((files): Pair => ({ slot: this.#slots.get(files.configuration.name), files }));
    const mustOpen = ({ slot, files }: Pair): boolean =>
      slot === undefined ||
      prepared.shared !== resources.shared ||
      changes.reopened.has(slot.name) ||
      !areKeysSame(slot.service.prepared, files);
    const opening = pairs.filter(mustOpen);
    const kept = pairs.filter((pair) => !opening.includes(pair));
    const replaced = opening.flatMap(({ slot }) => slot ?? []);
    const removed = changes.removed.flatMap((name) => this.#slots.get(name) ?? []);
    const swap = (): readonly RepositorySlot[] => {
      const services = opening.map(({ slot, files }) => ({ slot, service: openService(files, server, slot?.service) }));
      // From here to the end, nothing fails and nothing is awaited.
      for (const { slot, files } of kept) slot?.service.replaceBuildersAndWebhooks(files);
      const slots = services.map(({ slot, service }) => {
        slot?.replace(service);
        return slot ?? new RepositorySlot(service);
      });
      for (const slot of slots) this.#add(slot);
      for (const { name } of removed) this.#slots.delete(name);
      this.#configuration = configuration;
      this.#app.reconfigure(this.#appOptions());
      this.#running?.reconfigure({ limits: configuration.limits.http, behindProxy: configuration.behindProxy });
      return slots;
    };
    const started = await whileNothingIsPublished(replaced, swap);
    const published = new Map(started.map((slot) => [slot.name, this.#start(slot)]));
    const closeFormer = prepared.use();
    await Promise.all([...removed.map((slot) => slot.stop()), ...replaced.map((slot) => slot.formerStopped)]);
    for (const { name } of removed) await Promise.all([metrics.forget(name), activity.close(name)]);
    await closeFormer();
    for (const { slot } of kept)
      if (slot !== undefined && changes.live.includes(`repository.${slot.name}.builder`)) refresh(slot);
    return { live: changes.live, restart: changes.restart, published };
  }

  #add(slot: RepositorySlot): void {
    this.#slots.set(slot.name, slot);
    slot.service.measure();
  }

  /** @returns as `RepositoryService.start` */
  async #start(slot: RepositorySlot): Promise<string | undefined> {
    try {
      return await slot.start();
    } catch (thrown) {
      this.#options.log.error({ repository: slot.name, err: thrown }, "the repository could not be started");
      return messageOf(thrown);
    }
  }

  #appOptions(): AppOptions {
    const { metrics, activity, fleet, log, unexpected } = this.#options;
    const { publicUrl, behindProxy, metricsToken, limits, repositories, accessLog } = this.#configuration;
    const slots = [...this.#slots.values()];
    return {
      repositories: new Map(slots.map((slot) => [slot.name, slot])),
      tokens: new Map(slots.map(({ name, service }) => [name, service.prepared.pingTokens])),
      readers: new Map(repositories.map(({ name, readers }) => [name, readers])),
      metricsToken,
      behindProxy,
      limits: limits.http,
      publicUrl,
      metrics,
      fleet: fleet && {
        counter: (name, durationSeconds) => fleet.counter(name, durationSeconds),
        sessions: fleet.sessions,
        notReady: () => fleet.notReady,
      },
      furtherRoutes: async () => (await loadWebRoutes()).webRoutes(slots.map(pageSourceOf)),
      errorPage: async (...error) => (await loadErrorPage()).renderErrorPage(...error),
      observer: {
        answered(requestClass, status, durationSeconds, mount) {
          metrics.requestObserver.answered(requestClass, status, durationSeconds);
          activity.answered(mount, requestClass);
        },
      },
      clock: systemClock,
      log,
      accessLog: accessLog ? log : undefined,
      unexpected,
    };
  }
}

const loadWebRoutes = () => import("./web-routes.ts");
const loadErrorPage = () => import("../web/pages/error-page.ts");

/**
 * How long after the start the routes are loaded, unless they are requested before, in ms. First, apt is served; and an
 * upgrade of the package must not replace the files of a server that has not loaded them.
 */
const routesDelayMs = 5000;

const pageSourceOf = (slot: RepositorySlot): PageSource => {
  const { data, activityLog } = slot.service;
  return { repository: slot, data, activity: () => activityLog.activity() };
};

/** A repository of another configuration, and its place if it has one already. */
interface Pair {
  readonly slot: RepositorySlot | undefined;
  readonly files: PreparedRepository;
}

/** @throws ConfigurationError with the mistakes of all repositories */
async function prepareAll(
  { repositories }: Configuration,
  server: ServerContext,
): Promise<readonly PreparedRepository[]> {
  const outcomes = await Promise.allSettled(repositories.map((one) => prepareRepository(one, server)));
  const mistakes = outcomes.flatMap((outcome, index) =>
    outcome.status === "rejected" ? [mistakeOf(repositories[index]?.name, outcome.reason)] : [],
  );
  if (mistakes.length > 0) throw new ConfigurationError(mistakes);
  return outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
}

/** @throws ConfigurationError */
function openService(
  files: PreparedRepository,
  server: ServerContext,
  former: RepositoryService | undefined,
): RepositoryService {
  try {
    return new RepositoryService(files, server, former);
  } catch (thrown) {
    throw new ConfigurationError([mistakeOf(files.configuration.name, thrown)]);
  }
}

/** @throws an error that is no mistake in the configuration */
function mistakeOf(repository: string | undefined, thrown: unknown): string {
  if (thrown instanceof RepoError) return `repository.${repository}: ${thrown.message}`;
  throw thrown;
}

/** Whether the signing keys are the same, and the bundle that writes into the tree. */
const areKeysSame = (one: PreparedRepository, other: PreparedRepository): boolean =>
  one.signer.publicKey === other.signer.publicKey && isSame(one.bundle, other.bundle);

/** Runs a task while none of these repositories publishes anything. */
async function whileNothingIsPublished<T>(slots: readonly RepositorySlot[], task: () => T): Promise<T> {
  const hold = slots.reduce<() => Promise<T>>(
    (inner, { service }) =>
      () =>
        service.whileNothingIsPublished(inner),
    async () => task(),
  );
  return await hold();
}

/** Lets changed rules about builders and package names have their effect now. */
function refresh(slot: RepositorySlot): void {
  slot.ping(rootPath, new AbortController().signal).catch(() => undefined);
}
