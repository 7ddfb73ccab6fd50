// One configured repository in service: its publications, its flat repositories, its exports and its health checks.
import { createHash } from "node:crypto";
import { join } from "node:path";
import { systemClock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { StateName, TreePath } from "../base/names.ts";
import { rootPath } from "../base/names.ts";
import { makeToken, openSecretFile } from "../base/secret-file.ts";
import { withResolvers } from "../base/with-resolvers.ts";
import { BuilderDirectories } from "../catalog/layout/builder-directories.ts";
import { FlatTree, flatPathsOf } from "../catalog/layout/flat-tree.ts";
import { FetchableTree } from "../catalog/suite/fetchable-names.ts";
import type { Bundle } from "../client/bundle.ts";
import { readBundle } from "../client/bundle.ts";
import type { Fleet } from "../cluster/fleet.ts";
import type { ReplicatedRepository } from "../cluster/replicated-repository.ts";
import type { BuilderConfiguration, Configuration, RepositoryConfiguration } from "../config/configuration.ts";
import type { OverridesFile } from "../config/overrides-file.ts";
import { HealthCheckSchedule } from "../health/health-check-schedule.ts";
import type { PingToken } from "../http/ping-endpoint.ts";
import { measuredSigner } from "../observe/measured-signer.ts";
import type { TreeObserver } from "../observe/measured-tree.ts";
import { MeasuredTree } from "../observe/measured-tree.ts";
import type { Metrics } from "../observe/metrics.ts";
import { flatLog, flatObserver, flatStateName, flatSuiteName } from "../publishing/live/flat-names.ts";
import { FlatRepositories } from "../publishing/live/flat-repositories.ts";
import type { RepositorySettings, SharedState } from "../publishing/live/open-repository.ts";
import { openRepository } from "../publishing/live/open-repository.ts";
import type { Repository } from "../publishing/live/repository.ts";
import { TreeOutage } from "../publishing/live/tree-outage.ts";
import type { PublishingObserver } from "../publishing/publishing-observer.ts";
import { watchExpiry } from "../signing/expiry.ts";
import type { Signer } from "../signing/signer.ts";
import { HardLinks } from "../storage/folder/hard-links.ts";
import type { Tree } from "../storage/tree.ts";
import type { ActivityLog } from "../web/activity/activity-log.ts";
import type { ActivityLogs } from "../web/activity/activity-logs.ts";
import { newUploadsOf } from "../web/activity/new-uploads.ts";
import { Publications } from "../web/data/publications.ts";
import { PublishedData } from "../web/data/published-data.ts";
import type { RepositoryData } from "../web/data/repository-data.ts";
import type { IndexThread } from "../web/search/index-thread.ts";
import { SearchIndex } from "../web/search/search-index.ts";
import { Webhooks } from "../web/webhooks/webhooks.ts";
import type { ControlledRepository } from "./control-commands.ts";
import { ExportAfterPublish } from "./export-after-publish.ts";
import { exportTo, publishedName, publishTo, uploadsIn, writableTree, writtenWhile } from "./export-targets.ts";
import { fleetSecret } from "./fleet-secret.ts";
import { fleetSettings } from "./fleet-settings.ts";
import { GridState } from "./grid-state.ts";
import { withArchiveKeyring } from "./keyring-overlay.ts";
import { openHealthCheck, openTree } from "./open-tree.ts";
import type { ConfiguredSettings } from "./repository-settings.ts";
import { layoutOf, openOverrides, openSigner, repositoryDirectory, settingsOf } from "./repository-settings.ts";
import { pingTokenName } from "./state-directory.ts";

/** The part of a server that its repositories share. */
export interface ServerContext {
  readonly configuration: Configuration;
  readonly shared: SharedState;
  readonly metrics: Metrics;
  /** The thread with the indices of packages. */
  readonly searchThread: IndexThread;
  readonly activity: ActivityLogs;
  /** The other servers of the same repositories; undefined: there are none. */
  readonly fleet?: Fleet | undefined;
  readonly log: Log;
}

/** A configured repository whose files are read, and which nothing serves yet. */
export interface PreparedRepository {
  readonly configuration: RepositoryConfiguration;
  /** The directory in the state directory with the data of this repository. */
  readonly directory: string;
  readonly signer: Signer;
  readonly overrides: OverridesFile;
  readonly pingTokens: () => readonly PingToken[];
  /** The bundle with which indices are written into the tree. */
  readonly bundle: Bundle | undefined;
}

/** Reads the keys, tokens and other files of a repository. @throws SecretFileError, KeyFileError, UnfitKey, BundleError */
export async function prepareRepository(
  configuration: RepositoryConfiguration,
  { configuration: { stateDirectory }, metrics, log }: Pick<ServerContext, "configuration" | "metrics" | "log">,
): Promise<PreparedRepository> {
  const complain = warnAbout(configuration, log);
  const { name, publishBundleFile } = configuration;
  const directory = await repositoryDirectory(stateDirectory, name);
  return {
    configuration,
    directory,
    pingTokens: await openPingTokens(configuration, directory, log),
    signer: measuredSigner(await openSigner(configuration, directory, log), metrics.signerObserver, systemClock),
    overrides: openOverrides(configuration, stateDirectory, complain),
    bundle: publishBundleFile === undefined ? undefined : await readBundle(publishBundleFile, complain),
  };
}

/** Whether both serve the same tree, whatever their other settings are. */
export function isSameTree(one: PreparedRepository, other: PreparedRepository): boolean {
  const [a, b] = [one.configuration.tree, other.configuration.tree];
  if (a.kind === "folder") return b.kind === "folder" && a.directory === b.directory;
  return b.kind === "tahoe" && a.readCap.isSame(b.readCap);
}

export class RepositoryService {
  /** As it was opened, but with the builders of now. */
  #prepared: PreparedRepository;
  readonly #server: ServerContext;
  readonly #settings: ConfiguredSettings;
  readonly #builders: BuilderDirectories;
  readonly #keptFiles: HardLinks | undefined;
  readonly #tree: Tree;
  readonly #outage: TreeOutage;
  /** This repository on all replicas, where it is pinged; undefined: this server is alone. */
  readonly replicated: ReplicatedRepository | undefined;
  readonly #main: Repository;
  /** A second publication of the same packages, for the indices that are written into the tree. */
  readonly #inTree: Repository | undefined;
  readonly #exports: ExportAfterPublish[] = [];
  readonly #healthChecks: HealthCheckSchedule | undefined;
  readonly #gridState = new GridState();
  readonly #stopping = new AbortController();
  readonly #tookOver = withResolvers<void>();
  readonly #index: SearchIndex;
  readonly #webhooks: Webhooks;
  /** The repository as it is served over HTTP, with the flat repositories in its tree. */
  readonly repository: FlatRepositories;
  /** Answers the queries of pages and of the JSON API. */
  readonly data: RepositoryData;
  /** Its requests, uploads and pings in the last day and month. */
  readonly activityLog: ActivityLog;

  /**
   * Opens a repository. Stored publications can be served at once; `start` begins to refresh them.
   * @param former what this one will replace
   * @throws IdentityChanged
   */
  constructor(prepared: PreparedRepository, server: ServerContext, former?: RepositoryService) {
    const { configuration, signer, overrides } = prepared;
    this.#prepared = prepared;
    this.#server = server;
    this.activityLog = server.activity.open(configuration.name, prepared.directory);
    const current = { ...configuration, builders: (complain: (text: string) => void) => this.#builderList(complain) };
    this.#settings = settingsOf(current, server.configuration, overrides, this.#warn);
    this.#builders = new BuilderDirectories(() => this.#builderDirectories(), layoutOf(configuration));
    const { publicUrl } = server.configuration;
    this.#keptFiles = this.#openKeptFiles("kept");
    const tree = this.#openTree(this.#keptFiles, (observer) => this.#gridState.nextGateway(observer));
    this.#tree = withArchiveKeyring(tree, configuration, { signer, publicUrl });
    this.#outage =
      former !== undefined && isSameTree(former.prepared, prepared)
        ? former.#outage.handOver(configuration.name)
        : new TreeOutage(configuration.name, server.log, systemClock);
    this.replicated = this.#openReplicated();
    this.#main = this.#openMain();
    const flats = configuration.flat.map((at) => ({ at, repository: this.#openFlat(at) }));
    this.repository = new FlatRepositories(this.#main, flats);
    const publications = new Publications([{ repository: this.#main }, ...flats]);
    const { log, searchThread } = server;
    const file = join(prepared.directory, "search.sqlite");
    this.#index = new SearchIndex({ publications, thread: searchThread, file, log });
    this.#webhooks = new Webhooks({
      repository: configuration.name,
      publications,
      file: join(prepared.directory, "webhooks.json"),
      publicUrl,
      observer: server.metrics.webhookObserverOf(configuration.name),
      isOurs: () => this.#isPublisher,
      limits: server.configuration.limits.webhook,
      log,
      now: systemClock,
    });
    this.data = new PublishedData({
      repository: this.repository,
      publications,
      index: this.#index,
      keys: signer.keys,
      ...(configuration.tree.kind === "tahoe" && { grid: () => this.#gridState.health() }),
    });
    this.#healthChecks = this.#openHealthChecks();
    this.#inTree = this.#openExports();
  }

  /** Resolves when it serves what other replicas have published; never if there is nothing. */
  get tookOver(): Promise<void> {
    return this.#tookOver.promise;
  }

  get prepared(): PreparedRepository {
    return this.#prepared;
  }

  get controlled(): ControlledRepository {
    return { repository: this.#main, overrides: this.#prepared.overrides };
  }

  /** Takes over other builders with their tokens, and other webhooks, in a repository that has not changed otherwise. */
  replaceBuildersAndWebhooks(prepared: PreparedRepository): void {
    const { configuration, pingTokens } = prepared;
    this.#prepared = { ...this.#prepared, configuration, pingTokens };
    this.#webhooks.configure(configuration.webhooks);
  }

  /** Makes the metrics show this repository. */
  measure(): void {
    const { metrics } = this.#server;
    const { name } = this.#configuration;
    metrics.watchKeys(name, this.#prepared.signer.keys);
    metrics.watchSuites(name, () => this.repository.suiteCounts());
    metrics.watchWebhooks(name, () => this.#webhooks.waitingCount);
  }

  /**
   * Begins to refresh the repository.
   * @returns the message of the first refresh's failure, when it has ended; undefined after a success
   */
  async start(): Promise<string | undefined> {
    const { configuration, log } = this.#server;
    const { signer, configuration: own } = this.#prepared;
    const { signal } = this.#stopping;
    watchExpiry(signer.keys, { repository: own.name, log, now: systemClock, signal });
    this.activityLog.countUploads(newUploadsOf(this.data));
    await this.#healthChecks?.start();
    await this.#webhooks.start(this.#configuration.webhooks);
    this.#requestExports();
    this.#index.start();
    if (this.replicated !== undefined) {
      this.replicated.attach([...this.repository.all()], this.repository);
      this.#server.fleet?.add(this.replicated);
      await Promise.all([this.replicated.prepare(), this.replicated.readOnce.start()]);
      await this.#server.fleet?.caughtUp();
      if (this.repository.notReady === undefined) this.#tookOver.resolve();
      await this.#server.fleet?.hasTakenRecent();
    }
    const failure = await this.repository.start(configuration.pollSeconds);
    void this.replicated?.readOnce.sweep();
    return failure;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    if (this.replicated !== undefined) this.#server.fleet?.remove(this.replicated);
    const all = [this.repository, this.#healthChecks, this.#inTree, this.#index, this.#webhooks, ...this.#exports];
    await Promise.all(all.map(async (each) => await each?.stop()));
  }

  /** Runs a task while nothing is published or removed. */
  async whileNothingIsPublished<T>(task: () => Promise<T>): Promise<T> {
    const inTree = this.#inTree;
    return await this.repository.whileNothingIsPublished(
      inTree === undefined ? task : () => inTree.whileNothingIsPublished(task),
    );
  }

  get #warn(): (text: string) => void {
    return warnAbout(this.#configuration, this.#server.log);
  }

  get #configuration(): RepositoryConfiguration {
    return this.#prepared.configuration;
  }

  #builderList(complain: (text: string) => void): readonly BuilderConfiguration[] {
    return this.#configuration.builders(complain);
  }

  #builderDirectories(): readonly TreePath[] {
    return this.#builderList(this.#warn).map(({ directory }) => directory);
  }

  /** The publications that HTTP serves. */
  #openMain(): Repository {
    const { metrics, shared } = this.#server;
    const exporting = afterPublication(metrics.observerOf(this.#configuration.name), () => this.#requestExports());
    return this.#open(shared, {
      ...this.#settings,
      stateName: this.#configuration.name,
      tree: this.#tree,
      keptFiles: this.#keptFiles,
      signer: this.#prepared.signer,
      outage: this.#outage,
      builderDirectories: () => this.#builderDirectories(),
      observer: recordingPings(this.#announcing(exporting), this.activityLog),
    });
  }

  /** An observer that also tells the index of packages and the webhooks about each publication. */
  #announcing(observer: PublishingObserver): PublishingObserver {
    const changed = (): void => {
      this.#index.changed();
      this.#webhooks.changed();
    };
    return {
      ...afterPublication(observer, changed),
      withdrawn: (suite) => {
        observer.withdrawn(suite);
        changed();
      },
    };
  }

  /** The flat repository at a directory of the tree. */
  #openFlat(at: TreePath): Repository {
    const { name } = this.#configuration;
    const { metrics, shared } = this.#server;
    const keptFiles = this.#openKeptFiles(join("kept-flat", createHash("sha256").update(at).digest("hex")));
    return this.#open(
      { ...shared, log: flatLog(shared.log, { name, at }) },
      {
        ...this.#settings,
        stateName: flatStateName(name, at),
        isFlat: true,
        configuredSuites: [],
        tree: new FlatTree(this.#openTree(keptFiles), at),
        keptFiles,
        signer: this.#prepared.signer,
        outage: this.#outage,
        builderDirectories: () => this.#builderDirectories().flatMap((path) => flatPathsOf(path, at)),
        observer: this.#announcing(flatObserver(metrics.observerOf(name, () => flatSuiteName(at)))),
      },
    );
  }

  /** The publications whose indices are written into the tree: they contain the paths of packages in the tree. */
  #openPublished(): Repository {
    const { name } = this.#configuration;
    const { metrics, shared } = this.#server;
    const keptFiles = this.#openKeptFiles("kept");
    return this.#open(shared, {
      ...this.#settings,
      stateName: publishedName(name),
      placement: "tree",
      configuredSuites: layoutOf(this.#configuration).nestedSuites,
      namesHeldIn: name,
      tree: new FetchableTree(this.#openTree(keptFiles)),
      keptFiles,
      signer: this.#prepared.signer,
      outage: this.#outage,
      builderDirectories: () => this.#builderDirectories(),
      observer: metrics.observerOf(name),
    });
  }

  /** Opens a repository that takes part in the fleet, if there is one. */
  #open(shared: SharedState, settings: RepositorySettings & { readonly stateName: StateName }): Repository {
    const { replicated } = this;
    if (replicated === undefined) return openRepository(shared, settings);
    const [replicas, sharedInspections] = [replicated.publicationsOf(settings.stateName), replicated.readOnce.shared];
    const repository = openRepository(shared, { ...settings, replicas, sharedInspections });
    replicas.attach(repository);
    replicated.readOnce.add(repository);
    return repository;
  }

  #openReplicated(): ReplicatedRepository | undefined {
    const { fleet, configuration } = this.#server;
    const { name } = this.#configuration;
    return fleet?.repository({
      name,
      secret: fleetSecret(this.#configuration, configuration),
      signingKeys: this.#prepared.signer.keys.map(({ fingerprint }) => fingerprint),
      settings: fleetSettings(this.#configuration, configuration),
      onPublisher: () => this.#requestExports(),
    });
  }

  /** Whether this server, of all replicas, does what only one of them may do. */
  get #isPublisher(): boolean {
    return this.replicated?.isPublisher ?? true;
  }

  /** One of all replicas exports. */
  #requestExports(): void {
    for (const each of this.#exports) each.request();
  }

  /** @param observed decorates the observer of each gateway */
  #openTree(keptFiles: HardLinks | undefined, observed = (observer: TreeObserver) => observer): Tree {
    const { configuration, metrics } = this.#server;
    const observer = metrics.treeObserverOf(this.#configuration.name);
    const measured = (tree: Tree) => new MeasuredTree(tree, observed(observer), systemClock);
    const builderOf = (path: TreePath) => this.#builders.of(path);
    return openTree(this.#configuration.tree, configuration.limits, keptFiles, measured, builderOf);
  }

  /**
   * @param path the directory with hard links to unlinked files, below the repository's own directory
   * @returns undefined for a grid, which keeps unlinked files itself
   */
  #openKeptFiles(path: string): HardLinks | undefined {
    return this.#configuration.tree.kind === "folder" ? new HardLinks(join(this.#prepared.directory, path)) : undefined;
  }

  /** @returns the publications that are written into the tree, if there are any */
  #openExports(): Repository | undefined {
    const { name, tree, exportDirectory } = this.#configuration;
    const { bundle } = this.#prepared;
    const { configuration, shared } = this.#server;
    if (exportDirectory !== undefined) {
      const { keepSeconds } = configuration;
      this.#addExport("exported", (signal) =>
        exportTo(this.#main, { directory: exportDirectory, tree, keepSeconds, now: systemClock, signal }),
      );
    }
    if (bundle === undefined) return undefined;
    const writable = writtenWhile(() => this.#isPublisher, writableTree(bundle));
    const target = { tree: writable, uploads: uploadsIn(shared.root, name) };
    const published = this.#openPublished();
    this.#addExport("published into the tree", (signal) => publishTo(published, target, signal));
    return published;
  }

  #addExport(done: string, work: (signal: AbortSignal) => Promise<object | undefined>): void {
    const { name: repository } = this.#configuration;
    const { metrics, log } = this.#server;
    const observer = metrics.exportObserverOf(repository, done);
    this.#exports.push(
      new ExportAfterPublish({
        repository,
        done,
        isOurs: () => this.#isPublisher,
        work,
        observer,
        log,
        now: systemClock,
      }),
    );
  }

  /** @returns undefined for a local folder, and if there are to be no checks */
  #openHealthChecks(): HealthCheckSchedule | undefined {
    const { name, tree } = this.#configuration;
    const { configuration, metrics, log } = this.#server;
    const { checkSeconds, limits } = configuration;
    if (tree.kind === "folder" || checkSeconds === 0) return undefined;
    return new HealthCheckSchedule({
      tree: this.#tree,
      health: openHealthCheck({ gateways: tree.gateways, gatewayCa: tree.gatewayCa, cap: tree.readCap }, limits),
      checkSeconds,
      file: join(this.#prepared.directory, "deep-check.json"),
      observer: this.#gridState.checks(metrics.healthObserverOf(name)),
      isOurs: () => this.#isPublisher,
      log,
      now: systemClock,
    });
  }
}

const warnAbout =
  ({ name }: RepositoryConfiguration, log: Log) =>
  (text: string): void =>
    log.warn({ repository: name }, text);

/**
 * Opens the ping tokens of a repository. If it has no builders at the start, one token for the whole tree is created
 * and kept in its directory; that token is invalid while there are builders.
 * @returns a function that returns the tokens that are valid now
 */
async function openPingTokens(
  configuration: RepositoryConfiguration,
  directory: string,
  log: Log,
): Promise<() => readonly PingToken[]> {
  const builders = (): readonly BuilderConfiguration[] => configuration.builders(warnAbout(configuration, log));
  const file = join(directory, pingTokenName);
  const own = builders().length > 0 ? [] : [{ token: await openSecretFile(file, makeToken), scope: rootPath }];
  if (own.length > 0) log.info({ file }, `the token that pings ${configuration.name} is in this file`);
  return () => {
    const known = builders();
    return known.length > 0 ? known.map(({ token, directory: scope }) => ({ token, scope })) : own;
  };
}

/** An observer that also calls a function after each publication, also after that of deferred files. */
const afterPublication = (observer: PublishingObserver, act: () => void): PublishingObserver => ({
  ...observer,
  published(suite, seconds) {
    observer.published(suite, seconds);
    act();
  },
  deferredGenerated(suite, generator, seconds) {
    observer.deferredGenerated(suite, generator, seconds);
    act();
  },
});

/** An observer that also records pings for the page of the repository's health. */
const recordingPings = (observer: PublishingObserver, activityLog: ActivityLog): PublishingObserver => ({
  ...observer,
  pingLive(seconds) {
    observer.pingLive(seconds);
    activityLog.pingLive(seconds);
  },
});
