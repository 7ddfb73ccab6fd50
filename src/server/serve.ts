// Composition: the one place that names backends and adapters, and puts a configuration into service.
import { createHash } from "node:crypto";
import type { RequestListener } from "node:http";
import { join } from "node:path";
import { onAbort } from "../base/abort.ts";
import { systemClock } from "../base/clock.ts";
import { messageOf, RepoError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { RepositoryName, StateName, TreePath } from "../base/names.ts";
import { rootPath } from "../base/names.ts";
import { makeToken, openSecretFile } from "../base/secret-file.ts";
import { withResolvers } from "../base/with-resolvers.ts";
import { BuilderDirectories } from "../catalog/layout/builder-directories.ts";
import { FlatTree, flatPathsOf } from "../catalog/layout/flat-tree.ts";
import { FetchableTree } from "../catalog/suite/fetchable-names.ts";
import { readBundle } from "../client/bundle.ts";
import type { BuilderConfiguration, Configuration, RepositoryConfiguration } from "../config/configuration.ts";
import { HealthCheckSchedule } from "../health/health-check-schedule.ts";
import { createApp } from "../http/app.ts";
import type { PingToken } from "../http/ping-endpoint.ts";
import { startServer } from "../http/server.ts";
import { measuredSigner } from "../observe/measured-signer.ts";
import { MeasuredTree } from "../observe/measured-tree.ts";
import { createMetrics } from "../observe/metrics.ts";
import { flatLog, flatObserver, flatStateName, flatSuiteName } from "../publishing/live/flat-names.ts";
import { FlatRepositories } from "../publishing/live/flat-repositories.ts";
import type { RepositorySettings } from "../publishing/live/open-repository.ts";
import { openRepository } from "../publishing/live/open-repository.ts";
import type { PublishingObserver } from "../publishing/publishing-observer.ts";
import { watchExpiry } from "../signing/expiry.ts";
import { HardLinks } from "../storage/folder/hard-links.ts";
import type { Tree } from "../storage/tree.ts";
import type { OperatedRepository } from "./control-commands.ts";
import { answerFor } from "./control-commands.ts";
import { ExportAfterPublish } from "./export-after-publish.ts";
import { exportTo, publishedName, publishTo, uploadsIn, writableTree } from "./export-targets.ts";
import { withArchiveKeyring } from "./keyring-overlay.ts";
import { openHealthCheck, openTree } from "./open-tree.ts";
import { layoutOf, openOverrides, openSigner, repositoryDirectory, settingsOf } from "./repository-settings.ts";
import type { SharedResources } from "./shared-resources.ts";
import { openSharedResources } from "./shared-resources.ts";
import { isCorruption } from "./sound-database.ts";

export interface Server {
  /** Where people reach it, without a trailing slash. */
  readonly url: string;
  /** Resolves when it was told to stop and has stopped: what was under way is finished, what is kept is on disk. */
  readonly closed: Promise<void>;
  /** Whether it stopped by itself, because its database is corrupt: the next start sets that aside and has a new one. */
  readonly isDatabaseCorrupt: () => boolean;
}

/** The address can't be listened on. */
class ListenFailed extends RepoError {
  readonly code = "server/listen-failed";
}

interface Surroundings {
  /** Aborting it stops the server, gracefully. */
  readonly signal: AbortSignal;
  readonly log: Log;
}

/**
 * Puts every repository of a configuration into service; what was published before is served at once.
 * @throws StateInUse, ListenFailed, SecretFileError, KeyFileError, UnfitKey, and what keeps the state directory from being opened
 */
export async function serve(configuration: Configuration, surroundings: Surroundings): Promise<Server> {
  let resources: SharedResources | undefined;
  const opened = (made: SharedResources): void => {
    resources = made;
  };
  try {
    return await putIntoService(configuration, surroundings, opened);
  } catch (thrown) {
    if (!isCorruption(thrown) || resources === undefined) throw thrown;
    await resources.close({ isCorrupt: true });
    // Once: the database is a new one now.
    return await putIntoService(configuration, surroundings, opened);
  }
}

/**
 * Serves until it is told to stop, also beyond a database that is found corrupt while it is in use.
 * @param started told of the server once, when it can be reached
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

async function putIntoService(
  configuration: Configuration,
  { signal, log: given }: Surroundings,
  opened: (resources: SharedResources) => void,
): Promise<Server> {
  const corrupt = new AbortController();
  const log = watchedForCorruption(given, () => corrupt.abort());
  const { limits, stateDirectory } = configuration;
  const metrics = createMetrics(systemClock);
  const operated: OperatedRepository[] = [];
  const resources = await openSharedResources(configuration, {
    log,
    cacheObserver: metrics.cacheObserver,
    answer: answerFor(() => operated, log),
  });
  opened(resources);

  const repositories = new Map<RepositoryName, FlatRepositories>();
  const healthChecks: HealthCheckSchedule[] = [];
  const followers: { stop(): Promise<void> }[] = [];
  const tokens = new Map<RepositoryName, () => readonly PingToken[]>();
  for (const one of configuration.repositories) {
    const directory = await repositoryDirectory(stateDirectory, one.name);
    const complain = (complaint: string) => log.warn({ repository: one.name }, complaint);
    const builders = () => one.builders(complain);
    tokens.set(one.name, await tokensOf(one, builders, directory, log));
    const builderDirectories = () => builders().map((builder) => builder.directory);
    const directoriesOfBuilders = new BuilderDirectories(builderDirectories, layoutOf(one));
    const measured = (tree: Tree) => new MeasuredTree(tree, metrics.treeObserverOf(one.name), systemClock);
    const signer = measuredSigner(await openSigner(one, directory, log), metrics.signerObserver, systemClock);
    watchExpiry(signer.keys, { repository: one.name, log, now: systemClock, signal });
    metrics.watchKeys(one.name, signer.keys);
    const overrides = openOverrides(one, configuration, complain);
    const following: ExportAfterPublish[] = [];
    const open = (
      stateName: StateName,
      kept: string,
      shown: (tree: Tree) => Tree,
      { flat, ...own }: Partial<RepositorySettings> & { readonly flat?: TreePath } = {},
    ) => {
      const keptFiles = one.tree.kind === "folder" ? new HardLinks(join(directory, kept)) : undefined;
      const tree = shown(openTree(one.tree, limits, keptFiles, measured, (path) => directoriesOfBuilders.of(path)));
      const settings = settingsOf(one, configuration, overrides, complain);
      const measuring = metrics.observerOf(one.name, flat === undefined ? undefined : () => flatSuiteName(flat));
      const observer =
        flat !== undefined
          ? flatObserver(measuring)
          : withExportAfterPublish(measuring, () => {
              if (stateName === one.name) for (const follower of following) follower.request();
            });
      const shared =
        flat === undefined
          ? resources.shared
          : { ...resources.shared, log: flatLog(resources.shared.log, { name: one.name, at: flat }) };
      return {
        tree,
        repository: openRepository(shared, {
          ...settings,
          builderDirectories,
          ...own,
          name: one.name,
          stateName,
          tree,
          keptFiles,
          signer,
          observer,
          isFlat: flat !== undefined,
        }),
      };
    };
    const { tree, repository: main } = open(one.name, "kept", (whole) =>
      withArchiveKeyring(whole, one, { signer, publicUrl: configuration.publicUrl }),
    );
    const flats = one.flat.map((at) => ({
      at,
      repository: open(flatStateName(one.name, at), join("kept-flat", hashed(at)), (whole) => new FlatTree(whole, at), {
        flat: at,
        configuredSuites: [],
        builderDirectories: () => builderDirectories().flatMap((path) => flatPathsOf(path, at)),
      }).repository,
    }));
    const repository = new FlatRepositories(main, flats);
    repositories.set(one.name, repository);
    operated.push({ repository: main, overrides });
    const follow = (done: string, work: (signal: AbortSignal) => Promise<object | undefined>) => {
      const observer = metrics.exportObserverOf(one.name, done);
      following.push(new ExportAfterPublish({ repository: one.name, done, work, observer, log, now: systemClock }));
    };
    const { exportDirectory, publishBundleFile } = one;
    if (exportDirectory !== undefined) {
      const { keepSeconds } = configuration;
      follow("exported", (stopped) =>
        exportTo(main, { directory: exportDirectory, tree: one.tree, keepSeconds, now: systemClock, signal: stopped }),
      );
    }
    if (publishBundleFile !== undefined) {
      const bundle = await readBundle(publishBundleFile, (complaint) => log.warn({}, complaint));
      const parts = { tree: writableTree(bundle), uploads: uploadsIn(resources.shared.root, one.name) };
      const { repository: published } = open(publishedName(one.name), "kept", (whole) => new FetchableTree(whole), {
        placement: "tree",
        configuredSuites: layoutOf(one).nestedSuites,
        namesHeldIn: one.name,
      });
      follow("published into the tree", (stopped) => publishTo(published, parts, stopped));
      followers.push(published);
    }
    for (const follower of following) follower.request();
    followers.push(...following);
    const { checkSeconds } = configuration;
    if (one.tree.kind === "folder" || checkSeconds === 0) continue;
    healthChecks.push(
      new HealthCheckSchedule({
        tree,
        health: openHealthCheck({ ...one.tree, cap: one.tree.readCap }, limits),
        checkSeconds,
        file: join(directory, "deep-check.json"),
        observer: metrics.healthObserverOf(one.name),
        log,
        now: systemClock,
      }),
    );
  }

  const { publicUrl, behindProxy, metricsToken } = configuration;
  const app = createApp({
    repositories,
    tokens,
    readers: new Map(configuration.repositories.map(({ name, readers }) => [name, readers])),
    metricsToken,
    behindProxy,
    limits: limits.http,
    publicUrl,
    metrics,
    observer: metrics.requestObserver,
    clock: systemClock,
    log,
    unexpected: (thrown) => void (isCorruption(thrown) && corrupt.abort()),
  });
  for (const upkeep of healthChecks) await upkeep.start();
  const running = await listen(app, configuration, log);
  const url = publicUrl ?? urlOf(running.address);
  for (const repository of repositories.values()) {
    repository.start(configuration.pollSeconds);
    log.info({ url: `${url}/${repository.name}/`, keys: repository.key.fingerprints }, `serving ${repository.name}`);
  }

  const stop = async (): Promise<void> => {
    log.info({}, "stopping");
    await running.stop(configuration.gracePeriodSeconds * 1000);
    await Promise.all([...repositories.values(), ...healthChecks, ...followers].map((part) => part.stop()));
    await resources.close({ isCorrupt: corrupt.signal.aborted });
  };
  const { promise: told, resolve: tell } = withResolvers<void>();
  const forget = [signal, corrupt.signal].map((each) => onAbort(each, tell));
  const closed = told.then(async () => {
    for (const each of forget) each();
    await stop();
  });
  return { url, closed, isDatabaseCorrupt: () => corrupt.signal.aborted };
}

/** Whatever fails is logged, and so is what fails because the database is corrupt. */
function watchedForCorruption(log: Log, tell: () => void): Log {
  return {
    info: (context, text) => log.info(context, text),
    warn: (context, text) => log.warn(context, text),
    error(context, text) {
      log.error(context, text);
      if (Object.values(context).some(isCorruption)) tell();
    },
  };
}

/**
 * A repository that starts without builders gets one token for all of it, made once and kept in its directory. It opens
 * nothing while there are builders.
 */
async function tokensOf(
  one: RepositoryConfiguration,
  builders: () => readonly BuilderConfiguration[],
  directory: string,
  log: Log,
): Promise<() => readonly PingToken[]> {
  const file = join(directory, "ping-token");
  const own = builders().length > 0 ? [] : [{ token: await openSecretFile(file, makeToken), scope: rootPath }];
  if (own.length > 0) log.info({ file }, `the token that pings ${one.name} is in this file`);
  return () => {
    const known = builders();
    return known.length > 0 ? known.map(({ token, directory: scope }) => ({ token, scope })) : own;
  };
}

/** Calls after each publication, be it of packages or of what was made for them in the background. */
const withExportAfterPublish = (observer: PublishingObserver, follow: () => void): PublishingObserver => ({
  ...observer,
  published(suite, seconds) {
    observer.published(suite, seconds);
    follow();
  },
  deferredGenerated(suite, maker, seconds) {
    observer.deferredGenerated(suite, maker, seconds);
    follow();
  },
});

const hashed = (text: string): string => createHash("sha256").update(text).digest("hex");

async function listen(app: RequestListener, { listen: address, limits, behindProxy }: Configuration, log: Log) {
  try {
    return await startServer(app, { ...address, limits: limits.http, behindProxy, log, clock: systemClock });
  } catch (thrown) {
    throw new ListenFailed(`cannot listen on ${address.host}:${address.port}: ${messageOf(thrown)}`);
  }
}

/** For this machine's own eyes: an address that means "all" is none that can be asked. */
function urlOf({ host, port }: { readonly host: string; readonly port: number }): string {
  if (host === "0.0.0.0" || host === "::") return `http://localhost:${port}`;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
