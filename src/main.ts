// Composition: the one place that names backends and adapters, and puts a configuration into service.
import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { systemClock } from "./base/clock.ts";
import { messageOf, RepoError } from "./base/errors.ts";
import type { Log } from "./base/log.ts";
import type { RepositoryName, Suite } from "./base/names.ts";
import { rootPath } from "./base/names.ts";
import { FlatTree } from "./catalog/flat-tree.ts";
import { Inspector } from "./catalog/inspector.ts";
import type { Configuration, RepositoryConfiguration } from "./configuration.ts";
import { digestAlgorithms } from "./debian/digests.ts";
import { createApp } from "./http/app.ts";
import type { PingToken } from "./http/ping.ts";
import { startServer } from "./http/server.ts";
import { createCompressor } from "./indices/compress.ts";
import { withArchiveKeyring } from "./keyring-tree.ts";
import { measuredSigner } from "./observe/measured-signer.ts";
import { MeasuredTree } from "./observe/measured-tree.ts";
import { createMetrics } from "./observe/metrics.ts";
import { openHealthCheck, openTree } from "./open-tree.ts";
import type { SharedState } from "./publishing/open-repository.ts";
import { openRepository } from "./publishing/open-repository.ts";
import { PackageCache } from "./publishing/package-cache.ts";
import { openStateDatabase } from "./publishing/state-database.ts";
import { flatName, WithFlats } from "./publishing/with-flats.ts";
import { makeToken, openSecretFile } from "./secret-file.ts";
import { watchExpiry } from "./signing/expiry.ts";
import { openKeyFile } from "./signing/key-file.ts";
import { openpgpSigner } from "./signing/openpgp-signer.ts";
import type { Signer } from "./signing/signer.ts";
import { claimState } from "./state-lock.ts";
import { KeptFiles } from "./storage/folder/kept-files.ts";
import type { Tree } from "./storage/tree.ts";
import { identityOf } from "./suite-identity.ts";
import { Upkeep } from "./upkeep.ts";

export interface Server {
  /** Where people reach it, without a trailing slash. */
  readonly url: string;
  /** Resolves when it was told to stop and has stopped: what was under way is finished, what is kept is on disk. */
  readonly closed: Promise<void>;
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

/** Worker threads of each kind: one takes some 40 MB, and two keep up with what the main thread can bring them. */
const maxThreads = 2;

/**
 * Puts every repository of a configuration into service; what was published before is served at once.
 * @throws StateInUse, ListenFailed, SecretFileError, KeyFileError, UnfitKey, and what keeps the state directory from being opened
 */
export async function serve(configuration: Configuration, { signal, log }: Surroundings): Promise<Server> {
  const { limits, stateDirectory } = configuration;
  await mkdir(stateDirectory, { recursive: true, mode: 0o700 });
  const giveStateBack = await claimState(stateDirectory, log);
  const metrics = createMetrics(systemClock);
  const threads = Math.min(maxThreads, availableParallelism());
  const database = openStateDatabase(join(stateDirectory, "database"));
  const inspector = new Inspector({ limits: limits.inspection, algorithms: everyDigestOf(configuration) }, threads);
  const compressor = createCompressor({ threads });
  const shared: SharedState = {
    root: database,
    inspector,
    inspectionLimits: limits.inspection,
    compressor,
    cache: PackageCache.open({
      directory: join(stateDirectory, "packages"),
      maxBytes: configuration.cacheBytes,
      observer: metrics.cacheObserver,
      log,
    }),
    log,
    now: systemClock,
  };

  const repositories = new Map<RepositoryName, WithFlats>();
  const upkeeps: Upkeep[] = [];
  const tokens = new Map<RepositoryName, readonly PingToken[]>();
  for (const one of configuration.repositories) {
    const directory = join(stateDirectory, "repositories", one.name);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    tokens.set(one.name, await tokensOf(one, directory, log));
    const measured = (tree: Tree) => new MeasuredTree(tree, metrics.treeObserverOf(one.name), systemClock);
    const signer = measuredSigner(await openSigner(one, directory, log), metrics.signerObserver, systemClock);
    watchExpiry(signer.keys, { repository: one.name, log, now: systemClock, signal });
    metrics.watchKeys(one.name, signer.keys);
    const open = (name: RepositoryName, kept: string, shown: (tree: Tree) => Tree) => {
      const keptFiles = one.tree.kind === "folder" ? new KeptFiles(join(directory, kept)) : undefined;
      const tree = shown(openTree(one.tree, limits, keptFiles, measured));
      const settings = settingsOf(one, configuration);
      const observer = metrics.observerOf(name);
      return { tree, repository: openRepository(shared, { ...settings, name, tree, keptFiles, signer, observer }) };
    };
    const { tree, repository: main } = open(one.name, "kept", (whole) =>
      withArchiveKeyring(whole, one, { signer, publicUrl: configuration.publicUrl }),
    );
    const flats = one.flat.map((at) => ({
      at,
      repository: open(flatName(one.name, at), join("kept-flat", hashed(at)), (whole) => new FlatTree(whole, at))
        .repository,
    }));
    const repository = new WithFlats(main, flats);
    repositories.set(one.name, repository);
    const { checkSeconds } = configuration;
    if (one.tree.kind === "folder" || checkSeconds === 0) continue;
    upkeeps.push(
      new Upkeep({
        tree,
        health: openHealthCheck({ gateways: one.tree.gateways, cap: one.tree.readCap }, limits),
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
  });
  const running = await listen(app, configuration);
  const url = publicUrl ?? urlOf(running.address);
  for (const repository of repositories.values()) {
    repository.start(configuration.pollSeconds);
    log.info({ url: `${url}/${repository.name}/`, keys: repository.key.fingerprints }, `serving ${repository.name}`);
  }

  for (const upkeep of upkeeps) await upkeep.start();

  const stop = async (): Promise<void> => {
    log.info({}, "stopping");
    await running.stop(configuration.gracePeriodSeconds * 1000);
    await Promise.all([...repositories.values(), ...upkeeps].map((part) => part.stop()));
    await Promise.all([inspector.close(), compressor.close()]);
    await database.close();
    await giveStateBack();
  };
  const told = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
  return { url, closed: told.then(stop) };
}

/** A repository without builders gets one token for all of it, made once and kept in its directory. */
async function tokensOf(one: RepositoryConfiguration, directory: string, log: Log): Promise<readonly PingToken[]> {
  if (one.builders.length > 0) return one.builders.map(({ token, directory: scope }) => ({ token, scope }));
  const file = join(directory, "ping-token");
  const token = await openSecretFile(file, makeToken);
  log.info({ file }, `the token that pings ${one.name} is in this file`);
  return [{ token, scope: rootPath }];
}

/** Yours, or one that is made on the first start and kept: it is the one thing in the state that can't come back. */
async function openSigner(one: RepositoryConfiguration, directory: string, log: Log): Promise<Signer> {
  const now = systemClock;
  if (one.signingKeys.length > 0)
    return await openpgpSigner(one.signingKeys, { passphrases: one.signingPassphrases, now });
  const file = join(directory, "signing-key.asc");
  return await openpgpSigner([{ file, armored: await openKeyFile(file, { name: one.label, now, log }) }], { now });
}

const settingsOf = (one: RepositoryConfiguration, configuration: Configuration) => ({
  identityOf: (suite: Suite) => identityOf(one, suite),
  viewOf: (suite: Suite) => one.suites.get(suite)?.view,
  isTranslated: (suite: Suite) => one.suites.get(suite)?.translations ?? one.translations,
  algorithms: one.digests,
  releaseAlgorithms: one.releaseDigests,
  acceptIdentityChange: configuration.acceptIdentityChange,
  ...(one.datesAfterSeconds !== undefined && { datesAfterSeconds: one.datesAfterSeconds }),
  keepSeconds: configuration.keepSeconds,
  scrubSeconds: configuration.scrubSeconds,
});

const hashed = (text: string): string => createHash("sha256").update(text).digest("hex");

const everyDigestOf = ({ repositories }: Configuration) =>
  digestAlgorithms.filter((algorithm) => repositories.some(({ digests }) => digests.includes(algorithm)));

async function listen(app: Parameters<typeof startServer>[0], { listen: address }: Configuration) {
  try {
    return await startServer(app, address);
  } catch (thrown) {
    throw new ListenFailed(`cannot listen on ${address.host}:${address.port}: ${messageOf(thrown)}`);
  }
}

/** For this machine's own eyes: an address that means "all" is none that can be asked. */
function urlOf({ host, port }: { readonly host: string; readonly port: number }): string {
  if (host === "0.0.0.0" || host === "::") return `http://localhost:${port}`;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
