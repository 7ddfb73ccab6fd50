// The resources that all repositories share: the locked state directory, its database, worker threads, the cache.
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { systemClock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { InspectorPool } from "../catalog/inspection/inspector-pool.ts";
import type { Configuration } from "../config/configuration.ts";
import { isSame } from "../config/configuration-changes.ts";
import { digestAlgorithms } from "../debian/digests.ts";
import { createCompressor } from "../indices/compression/compress.ts";
import { BackgroundPriority } from "../publishing/deferred/background-priority.ts";
import { createContentsThread } from "../publishing/deferred/contents/contents-thread.ts";
import type { SharedState } from "../publishing/live/open-repository.ts";
import type { PackageCacheObserver } from "../publishing/serve/package-cache.ts";
import { PackageCache } from "../publishing/serve/package-cache.ts";
import { LastDates } from "../publishing/store/last-dates.ts";
import { anyContents } from "./repository-settings.ts";
import type { SoundDatabase } from "./sound-database.ts";
import { openSoundDatabase } from "./sound-database.ts";
import { lastDatesName, makeStateDirectory } from "./state-directory.ts";
import type { Answer } from "./state-lock.ts";
import { claimState } from "./state-lock.ts";
import { checkState, markState } from "./state-version.ts";

export interface SharedResources {
  readonly shared: SharedState;
  /**
   * Opens the resources that depend on the configuration, for another one. The state directory and the size of the
   * cache stay.
   * @returns with `shared` being the present one if nothing of it has changed
   */
  prepare(configuration: Configuration): PreparedResources;
  /**
   * Ends the threads and unlocks the directory. The repositories must be stopped before.
   * @param options.isCorrupt whether the next start must set the database aside
   */
  close(options?: { readonly isCorrupt?: boolean }): Promise<void>;
}

export interface PreparedResources {
  readonly shared: SharedState;
  /** Makes it the present one. @returns a function to call when no repository uses the former one any more */
  use(): () => Promise<void>;
}

/** The maximum number of worker threads of each kind. A thread takes about 40 MB, and two keep the main thread busy. */
const maxThreads = 2;

/** @throws StateInUse, StateTooNew, RestoreUnfinished, and errors of opening the state directory */
export async function openSharedResources(
  configuration: Configuration,
  {
    log,
    cacheObserver,
    answer,
  }: {
    readonly log: Log;
    readonly cacheObserver: PackageCacheObserver;
    /** Answers control commands of users who may write to the state directory. */
    readonly answer?: Answer;
  },
): Promise<SharedResources> {
  const { stateDirectory } = configuration;
  await makeStateDirectory(stateDirectory);
  const unlockState = await claimState(stateDirectory, log, answer);
  const threads = Math.min(maxThreads, availableParallelism());
  const database = await openChecked(stateDirectory, log, unlockState);
  const lastDates = LastDates.open(join(stateDirectory, lastDatesName), log);
  const contentsThread = createContentsThread();
  const compressor = createCompressor({ threads });
  const lasting = {
    root: database.root,
    lastDates,
    compressor,
    contents: { tasks: contentsThread, directory: join(stateDirectory, "contents") },
    backgroundPriority: new BackgroundPriority(() => performance.now()),
    cache: PackageCache.open({
      directory: join(stateDirectory, "packages"),
      maxBytes: configuration.cacheBytes,
      observer: cacheObserver,
      log,
    }),
    log,
    now: systemClock,
  };
  const open = (wanted: Configuration) => ({
    inspector: new InspectorPool(inspectOptionsOf(wanted), threads),
    ...lasting,
    ...limitsOf(wanted),
  });
  let current = { settings: sharedSettingsOf(configuration), shared: open(configuration) };
  return {
    get shared() {
      return current.shared;
    },
    prepare(wanted) {
      const former = current;
      const settings = sharedSettingsOf(wanted);
      if (isSame(settings, former.settings)) return { shared: former.shared, use: () => async () => undefined };
      const next = { settings, shared: open(wanted) };
      return {
        shared: next.shared,
        use() {
          current = next;
          return () => former.shared.inspector.close();
        },
      };
    },
    async close({ isCorrupt = false } = {}) {
      const { inspector } = current.shared;
      await Promise.all([inspector.close(), compressor.close(), contentsThread.close(), lastDates.written()]);
      await database.close(isCorrupt);
      await unlockState();
    },
  };
}

const inspectOptionsOf = (configuration: Configuration) => ({
  limits: configuration.limits.inspection,
  algorithms: everyDigestOf(configuration),
  fileLists: anyContents(configuration),
});

const limitsOf = ({ limits }: Configuration) => ({
  inspectionLimits: limits.inspection,
  directoryLimits: limits.directory,
  changelogLimits: limits.changelog,
});

/** The part of a configuration on which the shared resources depend, besides the state directory and the cache. */
const sharedSettingsOf = (configuration: Configuration) => ({
  inspection: inspectOptionsOf(configuration),
  limits: limitsOf(configuration),
});

/** Opens the database, or unlocks its directory again. @throws StateTooNew, RestoreUnfinished */
async function openChecked(directory: string, log: Log, unlock: () => Promise<void>): Promise<SoundDatabase> {
  try {
    checkState(directory, log);
    const database = await openSoundDatabase(directory, log);
    await markState(directory, log);
    return database;
  } catch (thrown) {
    await unlock();
    throw thrown;
  }
}

const everyDigestOf = ({ repositories }: Configuration) =>
  digestAlgorithms.filter((algorithm) => repositories.some(({ digests }) => digests.includes(algorithm)));
