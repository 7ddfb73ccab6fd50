// One configured repository in service: its publications, its flat repositories, its exports and its health checks.
import { createHash } from "node:crypto";
import { join } from "node:path";
import { systemClock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { TreePath } from "../base/names.ts";
import { rootPath } from "../base/names.ts";
import { makeToken, openSecretFile } from "../base/secret-file.ts";
import { BuilderDirectories } from "../catalog/layout/builder-directories.ts";
import { FlatTree, flatPathsOf } from "../catalog/layout/flat-tree.ts";
import { FetchableTree } from "../catalog/suite/fetchable-names.ts";
import { readBundle } from "../client/bundle.ts";
import type { BuilderConfiguration, Configuration, RepositoryConfiguration } from "../config/configuration.ts";
import type { OverridesFile } from "../config/overrides-file.ts";
import { HealthCheckSchedule } from "../health/health-check-schedule.ts";
import type { PingToken } from "../http/ping-endpoint.ts";
import { measuredSigner } from "../observe/measured-signer.ts";
import { MeasuredTree } from "../observe/measured-tree.ts";
import type { Metrics } from "../observe/metrics.ts";
import { flatLog, flatObserver, flatStateName, flatSuiteName } from "../publishing/live/flat-names.ts";
import { FlatRepositories } from "../publishing/live/flat-repositories.ts";
import type { SharedState } from "../publishing/live/open-repository.ts";
import { openRepository } from "../publishing/live/open-repository.ts";
import type { Repository } from "../publishing/live/repository.ts";
import type { PublishingObserver } from "../publishing/publishing-observer.ts";
import { watchExpiry } from "../signing/expiry.ts";
import type { Signer } from "../signing/signer.ts";
import { HardLinks } from "../storage/folder/hard-links.ts";
import type { Tree } from "../storage/tree.ts";
import { Publications } from "../web/data/publications.ts";
import { PublishedData } from "../web/data/published-data.ts";
import type { RepositoryData } from "../web/data/repository-data.ts";
import { ScannedIndex } from "../web/data/scanned-index.ts";
import type { ControlledRepository } from "./control-commands.ts";
import { ExportAfterPublish } from "./export-after-publish.ts";
import { exportTo, publishedName, publishTo, uploadsIn, writableTree } from "./export-targets.ts";
import { withArchiveKeyring } from "./keyring-overlay.ts";
import { openHealthCheck, openTree } from "./open-tree.ts";
import type { ConfiguredSettings } from "./repository-settings.ts";
import { layoutOf, openOverrides, openSigner, repositoryDirectory, settingsOf } from "./repository-settings.ts";

/** The part of a server that its repositories share. */
export interface ServerContext {
  readonly configuration: Configuration;
  readonly shared: SharedState;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Aborted when the server stops. */
  readonly signal: AbortSignal;
}

/** What is open before the publications of a repository are. */
interface OpenedRepository {
  /** The directory in the state directory with the data of this repository. */
  readonly directory: string;
  readonly signer: Signer;
  readonly overrides: OverridesFile;
  readonly pingTokens: () => readonly PingToken[];
}

export class RepositoryService {
  readonly #configuration: RepositoryConfiguration;
  readonly #server: ServerContext;
  readonly #opened: OpenedRepository;
  readonly #settings: ConfiguredSettings;
  readonly #builders: BuilderDirectories;
  readonly #keptFiles: HardLinks | undefined;
  readonly #tree: Tree;
  readonly #main: Repository;
  /** A second publication of the same packages, for the indices that are written into the tree. */
  #inTree: Repository | undefined;
  readonly #exports: ExportAfterPublish[] = [];
  readonly #healthChecks: HealthCheckSchedule | undefined;
  /** The repository as it is served over HTTP, with the flat repositories in its tree. */
  readonly repository: FlatRepositories;
  /** What pages and the JSON API say about it. */
  readonly data: RepositoryData;

  /**
   * Opens a repository. Stored publications can be served at once; `start` begins to refresh them.
   * @throws SecretFileError, KeyFileError, UnfitKey, IdentityChanged, errors of reading the bundle
   */
  static async open(configuration: RepositoryConfiguration, server: ServerContext): Promise<RepositoryService> {
    const { log, metrics, signal } = server;
    const { name } = configuration;
    const directory = await repositoryDirectory(server.configuration.stateDirectory, name);
    const pingTokens = await openPingTokens(configuration, directory, log);
    const signer = measuredSigner(await openSigner(configuration, directory, log), metrics.signerObserver, systemClock);
    watchExpiry(signer.keys, { repository: name, log, now: systemClock, signal });
    metrics.watchKeys(name, signer.keys);
    const overrides = openOverrides(configuration, server.configuration, warnAbout(configuration, log));
    const service = new RepositoryService(configuration, server, { directory, signer, overrides, pingTokens });
    await service.#openExports();
    return service;
  }

  private constructor(configuration: RepositoryConfiguration, server: ServerContext, opened: OpenedRepository) {
    this.#configuration = configuration;
    this.#server = server;
    this.#opened = opened;
    this.#settings = settingsOf(configuration, server.configuration, opened.overrides, this.#warn);
    this.#builders = new BuilderDirectories(() => this.#builderDirectories(), layoutOf(configuration));
    const { publicUrl } = server.configuration;
    this.#keptFiles = this.#openKeptFiles("kept");
    const tree = this.#openTree(this.#keptFiles);
    this.#tree = withArchiveKeyring(tree, configuration, { signer: opened.signer, publicUrl });
    this.#main = this.#openMain();
    const flats = configuration.flat.map((at) => ({ at, repository: this.#openFlat(at) }));
    this.repository = new FlatRepositories(this.#main, flats);
    const publications = new Publications([{ repository: this.#main }, ...flats]);
    this.data = new PublishedData({
      repository: this.repository,
      publications,
      index: new ScannedIndex(publications),
      keys: opened.signer.keys,
    });
    this.#healthChecks = this.#openHealthChecks();
  }

  get controlled(): ControlledRepository {
    return { repository: this.#main, overrides: this.#opened.overrides };
  }

  /** Returns the ping tokens that are valid now. */
  get pingTokens(): () => readonly PingToken[] {
    return this.#opened.pingTokens;
  }

  async startHealthChecks(): Promise<void> {
    await this.#healthChecks?.start();
  }

  /** Begins to refresh the repository. */
  start(): void {
    this.repository.start(this.#server.configuration.pollSeconds);
  }

  async stop(): Promise<void> {
    const all = [this.repository, this.#healthChecks, this.#inTree, ...this.#exports];
    await Promise.all(all.map(async (each) => await each?.stop()));
  }

  get #warn(): (text: string) => void {
    return warnAbout(this.#configuration, this.#server.log);
  }

  #builderDirectories(): readonly TreePath[] {
    return this.#configuration.builders(this.#warn).map(({ directory }) => directory);
  }

  /** The publications that HTTP serves. */
  #openMain(): Repository {
    const { metrics, shared } = this.#server;
    return openRepository(shared, {
      ...this.#settings,
      stateName: this.#configuration.name,
      tree: this.#tree,
      keptFiles: this.#keptFiles,
      signer: this.#opened.signer,
      builderDirectories: () => this.#builderDirectories(),
      observer: requestingExports(metrics.observerOf(this.#configuration.name), this.#exports),
    });
  }

  /** The flat repository at a directory of the tree. */
  #openFlat(at: TreePath): Repository {
    const { name } = this.#configuration;
    const { metrics, shared } = this.#server;
    const keptFiles = this.#openKeptFiles(join("kept-flat", createHash("sha256").update(at).digest("hex")));
    return openRepository(
      { ...shared, log: flatLog(shared.log, { name, at }) },
      {
        ...this.#settings,
        stateName: flatStateName(name, at),
        isFlat: true,
        configuredSuites: [],
        tree: new FlatTree(this.#openTree(keptFiles), at),
        keptFiles,
        signer: this.#opened.signer,
        builderDirectories: () => this.#builderDirectories().flatMap((path) => flatPathsOf(path, at)),
        observer: flatObserver(metrics.observerOf(name, () => flatSuiteName(at))),
      },
    );
  }

  /** The publications whose indices are written into the tree: they contain the paths of packages in the tree. */
  #openPublished(): Repository {
    const { name } = this.#configuration;
    const { metrics, shared } = this.#server;
    const keptFiles = this.#openKeptFiles("kept");
    return openRepository(shared, {
      ...this.#settings,
      stateName: publishedName(name),
      placement: "tree",
      configuredSuites: layoutOf(this.#configuration).nestedSuites,
      namesHeldIn: name,
      tree: new FetchableTree(this.#openTree(keptFiles)),
      keptFiles,
      signer: this.#opened.signer,
      builderDirectories: () => this.#builderDirectories(),
      observer: metrics.observerOf(name),
    });
  }

  #openTree(keptFiles: HardLinks | undefined): Tree {
    const { configuration, metrics } = this.#server;
    const observer = metrics.treeObserverOf(this.#configuration.name);
    const measured = (tree: Tree) => new MeasuredTree(tree, observer, systemClock);
    const builderOf = (path: TreePath) => this.#builders.of(path);
    return openTree(this.#configuration.tree, configuration.limits, keptFiles, measured, builderOf);
  }

  /**
   * @param path the directory with hard links to unlinked files, below the repository's own directory
   * @returns undefined for a grid, which keeps unlinked files itself
   */
  #openKeptFiles(path: string): HardLinks | undefined {
    return this.#configuration.tree.kind === "folder" ? new HardLinks(join(this.#opened.directory, path)) : undefined;
  }

  /** Opens the exports and begins the first run of each. */
  async #openExports(): Promise<void> {
    const { name, tree, exportDirectory, publishBundleFile } = this.#configuration;
    const { configuration, shared, log } = this.#server;
    if (exportDirectory !== undefined) {
      const { keepSeconds } = configuration;
      this.#addExport("exported", (signal) =>
        exportTo(this.#main, { directory: exportDirectory, tree, keepSeconds, now: systemClock, signal }),
      );
    }
    if (publishBundleFile !== undefined) {
      const bundle = await readBundle(publishBundleFile, (complaint) => log.warn({}, complaint));
      const target = { tree: writableTree(bundle), uploads: uploadsIn(shared.root, name) };
      const published = this.#openPublished();
      this.#inTree = published;
      this.#addExport("published into the tree", (signal) => publishTo(published, target, signal));
    }
    for (const each of this.#exports) each.request();
  }

  #addExport(done: string, work: (signal: AbortSignal) => Promise<object | undefined>): void {
    const { name: repository } = this.#configuration;
    const { metrics, log } = this.#server;
    const observer = metrics.exportObserverOf(repository, done);
    this.#exports.push(new ExportAfterPublish({ repository, done, work, observer, log, now: systemClock }));
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
      file: join(this.#opened.directory, "deep-check.json"),
      observer: metrics.healthObserverOf(name),
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
  const file = join(directory, "ping-token");
  const own = builders().length > 0 ? [] : [{ token: await openSecretFile(file, makeToken), scope: rootPath }];
  if (own.length > 0) log.info({ file }, `the token that pings ${configuration.name} is in this file`);
  return () => {
    const known = builders();
    return known.length > 0 ? known.map(({ token, directory: scope }) => ({ token, scope })) : own;
  };
}

/** An observer that also requests the exports after each publication, also after that of deferred files. */
const requestingExports = (
  observer: PublishingObserver,
  exports: readonly ExportAfterPublish[],
): PublishingObserver => ({
  ...observer,
  published(suite, seconds) {
    observer.published(suite, seconds);
    for (const each of exports) each.request();
  },
  deferredGenerated(suite, generator, seconds) {
    observer.deferredGenerated(suite, generator, seconds);
    for (const each of exports) each.request();
  },
});
