// Opens a repository for the duration of one command, without serving it.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RootDatabase } from "lmdb";
import { systemClock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Configuration, RepositoryConfiguration } from "../config/configuration.ts";
import { createMetrics } from "../observe/metrics.ts";
import type { RepositorySettings } from "../publishing/live/open-repository.ts";
import { openRepository } from "../publishing/live/open-repository.ts";
import type { Repository } from "../publishing/live/repository.ts";
import type { Signer } from "../signing/signer.ts";
import { HardLinks } from "../storage/folder/hard-links.ts";
import type { Tree } from "../storage/tree.ts";
import { openTree } from "./open-tree.ts";
import { openOverrides, settingsOf } from "./repository-settings.ts";
import { openSharedResources } from "./shared-resources.ts";

export interface OfflineRepositoryOptions {
  /** Its state directory is locked as by a server. */
  readonly configuration: Configuration;
  readonly one: RepositoryConfiguration;
  readonly signer: Signer;
  /** A decorator of the tree; none by default. */
  readonly shown?: (tree: Tree) => Tree;
  readonly settings?: Partial<RepositorySettings>;
  readonly log: Log;
}

/** Deferred files are generated at once, because there is only one refresh. */
const atOnce = { settleMs: 0, retryMs: 60_000 };

/** Opens a repository, and closes it after `use`. @throws StateInUse, IdentityChanged, errors of `use` */
export async function withOfflineRepository<T>(
  { configuration, one, signer, shown = (tree) => tree, settings = {}, log }: OfflineRepositoryOptions,
  use: (repository: Repository, root: RootDatabase) => Promise<T>,
): Promise<T> {
  const metrics = createMetrics(systemClock);
  const complain = (complaint: string) => log.warn({ repository: one.name }, complaint);
  const resources = await openSharedResources(configuration, { log, cacheObserver: metrics.cacheObserver });
  try {
    const keptFiles =
      one.tree.kind === "folder" ? new HardLinks(join(configuration.stateDirectory, "kept", one.name)) : undefined;
    const repository = openRepository(resources.shared, {
      ...settingsOf(one, configuration, openOverrides(one, configuration.stateDirectory, complain), complain),
      name: one.name,
      tree: shown(openTree(one.tree, configuration.limits, keptFiles, (tree) => tree)),
      keptFiles,
      signer,
      observer: metrics.observerOf(one.name),
      deferredTimes: atOnce,
      ...settings,
    });
    try {
      return await use(repository, resources.shared.root);
    } finally {
      await repository.stop();
    }
  } finally {
    await resources.close();
  }
}

/** Creates a directory that is removed after `use`. */
export async function inTemporaryDirectory<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "tahoe-apt-"));
  try {
    return await use(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
