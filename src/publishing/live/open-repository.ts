// Puts a repository together from its tree, its state and its signer.
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { RootDatabase } from "lmdb";
import type { Log } from "../../base/log.ts";
import type { RepositoryName, StateName, Suite, TreePath } from "../../base/names.ts";
import { Catalog } from "../../catalog/catalog.ts";
import type { ContentInspector } from "../../catalog/examiner.ts";
import { Examiner } from "../../catalog/examiner.ts";
import type { InspectLimits } from "../../catalog/inspection/inspect-limits.ts";
import { BuilderDirectories } from "../../catalog/layout/builder-directories.ts";
import { Layout } from "../../catalog/layout/repository-layout.ts";
import { FileLists } from "../../catalog/metadata/file-list-store.ts";
import { InspectionStore } from "../../catalog/store/inspection-store.ts";
import type { DirectoryLimits } from "../../catalog/suite/directory-budget.ts";
import { defaultDirectoryLimits } from "../../catalog/suite/directory-budget.ts";
import type { DigestAlgorithm } from "../../debian/digests.ts";
import type { Compressor } from "../../indices/compression/compress.ts";
import type { ContentsCut } from "../../indices/contents/contents.ts";
import type { Signer } from "../../signing/signer.ts";
import type { Tree } from "../../storage/tree.ts";
import type { DeferredGenerator } from "../build/deferred-files.ts";
import { defaultDateLagSeconds } from "../build/release-date.ts";
import type { Placement } from "../build/stanza-renderer.ts";
import { StanzaRenderer } from "../build/stanza-renderer.ts";
import { SuiteBuilder } from "../build/suite-builder.ts";
import { identityFields } from "../build/suite-release.ts";
import type { BackgroundPriority } from "../deferred/background-priority.ts";
import { ContentsBuilder } from "../deferred/contents/contents-builder.ts";
import { ContentsStore } from "../deferred/contents/contents-store.ts";
import type { ContentsTasks } from "../deferred/contents/contents-thread.ts";
import type { DeferredTimes } from "../deferred/deferred-queue.ts";
import { defaultDeferredTimes } from "../deferred/deferred-queue.ts";
import { PdiffBuilder } from "../deferred/pdiff-builder.ts";
import type { PublishingObserver } from "../publishing-observer.ts";
import type { ChangelogLimits } from "../serve/changelog-process.ts";
import { defaultChangelogLimits } from "../serve/changelog-process.ts";
import { ClaimAudit, defaultScrubSeconds } from "../serve/claim-audit.ts";
import { IndexResources } from "../serve/index-resources.ts";
import type { PackageCache } from "../serve/package-cache.ts";
import { PackageResources } from "../serve/package-resources.ts";
import { FirstOwnerStore } from "../store/first-owner-store.ts";
import { identityChanges, rejectIdentityChanges } from "../store/known-identity.ts";
import type { LastDates } from "../store/last-dates.ts";
import { PublicationStore } from "../store/publication-store.ts";
import type { SuiteSettingsProvider } from "../suite-settings.ts";
import type { KeptContents } from "./maintenance.ts";
import { Repository } from "./repository.ts";

/** What repositories of one server may share: all of it is keyed by content. */
export interface SharedState {
  /** The state directory's database. */
  readonly root: RootDatabase;
  /** The last Dates, where they outlive the database. */
  readonly lastDates?: LastDates;
  readonly inspector: ContentInspector;
  /** The inspector's limits: some rejections depend on them, and entries' metadata is held against them too. */
  readonly inspectionLimits: InspectLimits;
  /** How much each builder's directory may hold. */
  readonly directoryLimits?: DirectoryLimits;
  /** The usual ones by default. */
  readonly changelogLimits?: ChangelogLimits;
  readonly compressor: Compressor;
  /** What Contents are made with, and a directory for what is too much for memory; undefined where none are made. */
  readonly contents?: { readonly tasks: ContentsTasks; readonly directory: string; readonly cut?: ContentsCut };
  /** Pings of any repository go before what is made in the background for any. */
  readonly backgroundPriority: BackgroundPriority;
  readonly cache: PackageCache;
  readonly indexMemoryBytes?: number;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export interface RepositorySettings {
  readonly name: RepositoryName;
  /** The name under which the state keeps it; by default its own. */
  readonly stateName?: StateName;
  readonly tree: Tree;
  readonly signer: Signer;
  readonly suiteSettings: SuiteSettingsProvider;
  /** The suites that the configuration has a table for: one that the tree does not have is told of. */
  readonly configuredSuites?: readonly Suite[];
  /** Whether the tree is a FlatTree; by default it is none. */
  readonly isFlat?: boolean;
  /** An index gets no pdiffs if its .xz is smaller than this; 64 KiB by default. */
  readonly minPdiffIndexBytes?: number;
  /** The repository whose memory of who had a name first this one shares; by default its own. */
  readonly namesHeldIn?: RepositoryName;
  /** How soon what is late is made. */
  readonly deferredTimes?: DeferredTimes;
  /** Where the indices say that packages are; in the pool by default. */
  readonly placement?: Placement;
  /** The digests of Packages and Sources; SHA256 must be among them. */
  readonly digests: readonly DigestAlgorithm[];
  /** Whether clients may be told another identity of a suite than they know; no by default. */
  readonly acceptIdentityChange?: boolean;
  /** What Release lists; SHA256 alone by default, as in Debian's archive. */
  readonly releaseDigests?: readonly DigestAlgorithm[];
  readonly observer: PublishingObserver;
  /** Every publication gets a Date after this one, seconds since the epoch. */
  readonly datesAfterSeconds?: number;
  /** How far Date lags behind the newest link; `defaultDateLagSeconds` by default. */
  readonly dateLagSeconds?: number;
  readonly concurrentReads?: number;
  /**
   * The directories of the builders that are known at the moment: work is shared out by them, and, where there is none,
   * by the directories that stand directly in a place.
   */
  readonly builderDirectories?: () => readonly TreePath[];
  /** How long a publication stays readable after the next one took its place. */
  readonly keepSeconds: number;
  /** How often one claim is held against its bytes without being asked; 0: only when it is fetched; `defaultScrubSeconds` by default. */
  readonly scrubSeconds?: number;
  /** Where the bytes of unlinked files are kept; not needed where the storage keeps them by itself, as Tahoe does. */
  readonly keptFiles?: KeptContents | undefined;
}

/**
 * Opens a repository that serves its stored publications at once; `start` makes it look at its tree.
 * @throws IdentityChanged
 */
export function openRepository(shared: SharedState, settings: RepositorySettings): Repository {
  // In one transaction: else each of its databases, where it is new, waits for the disk.
  return shared.root.transactionSync(() => putTogether(shared, settings));
}

function putTogether(shared: SharedState, settings: RepositorySettings): Repository {
  const { root, inspector, log, now } = shared;
  const { name, stateName = name, tree, signer, suiteSettings, digests: algorithms, observer } = settings;
  const records = root.openDB<Buffer, string>({ name: "ledger", encoding: "binary" });
  const inspectionStore = new InspectionStore(records, JSON.stringify(shared.inspectionLimits), algorithms);
  const fileLists =
    shared.contents &&
    new FileLists({
      lists: root.openDB({ name: "file-lists", encoding: "binary" }),
      tree,
      limits: shared.inspectionLimits,
      onMalformed: () => observer.metadataRejected("malformed"),
    });
  const layout = new Layout(settings.configuredSuites, { acceptsFlat: settings.isFlat ?? false });
  const builders = new BuilderDirectories(settings.builderDirectories, layout);
  const examiner = new Examiner({
    name: stateName,
    builders,
    tree,
    inspectionStore,
    fileLists,
    inspector,
    observer,
    algorithms,
    limits: shared.inspectionLimits,
    ...(settings.concurrentReads === undefined ? {} : { concurrentReads: settings.concurrentReads }),
  });
  const catalog = new Catalog(examiner, layout);
  const store = new PublicationStore(root, stateName, shared.lastDates);
  if (settings.acceptIdentityChange !== true) {
    const changes = [...store.identities()].flatMap(([suite, known]) =>
      identityChanges(suite, known, identityFields(suite, suiteSettings.of(suite).identity)),
    );
    rejectIdentityChanges(changes);
  }
  const tools = {
    stanzas: new StanzaRenderer(examiner, algorithms, settings.placement ?? "pool"),
    compressor: shared.compressor,
    store,
    signer,
    releaseDigests: settings.releaseDigests ?? (["sha256"] as const),
    now,
    dateLagSeconds: settings.dateLagSeconds ?? defaultDateLagSeconds,
    ...(settings.datesAfterSeconds === undefined ? {} : { datesAfterSeconds: settings.datesAfterSeconds }),
  };
  const audit = new ClaimAudit({
    catalog,
    examiner,
    observer,
    log,
    requestRefresh: (path) => repository.requestRefresh(path),
  });
  // Contents and pdiffs, in this order: the second may be about the first.
  const deferredGenerators: DeferredGenerator[] = [];
  if (shared.contents !== undefined) {
    deferredGenerators.push(
      new ContentsBuilder({
        suiteSettings,
        examiner,
        state: new ContentsStore(root, stateName),
        segments: store.segments,
        compressor: shared.compressor,
        ...shared.contents,
        directory: join(shared.contents.directory, createHash("sha256").update(stateName).digest("hex")),
        limits: shared.inspectionLimits,
        releaseDigests: tools.releaseDigests,
        mismatched: (path) => audit.mismatched(path),
        log,
      }),
    );
  }
  deferredGenerators.push(
    new PdiffBuilder({
      store,
      suiteSettings,
      releaseDigests: tools.releaseDigests,
      ...(settings.minPdiffIndexBytes !== undefined && { minIndexBytes: settings.minPdiffIndexBytes }),
    }),
  );
  const repository = new Repository({
    name,
    stateName,
    key: {
      armored: signer.publicKey,
      binary: signer.publicKeyBytes,
      fingerprints: signer.keys.map(({ fingerprint }) => fingerprint),
    },
    tree,
    catalog,
    builders,
    wake: () => shared.compressor.wake(),
    store,
    indexResources: new IndexResources(store, shared.indexMemoryBytes),
    cache: shared.cache,
    inspectionLimits: shared.inspectionLimits,
    directoryLimits: shared.directoryLimits ?? defaultDirectoryLimits,
    changelogLimits: shared.changelogLimits ?? defaultChangelogLimits,
    examiner,
    configuredSuites: settings.configuredSuites ?? [],
    packages: new PackageResources({ pool: store.pool, tree, audit, cache: shared.cache }),
    audit,
    suiteSettings,
    builderOf: (suite) => new SuiteBuilder(suite, suiteSettings.of(suite), tools),
    heldNames: new FirstOwnerStore(root, settings.namesHeldIn ?? stateName, log),
    deferredGenerators,
    deferredTimes: settings.deferredTimes ?? defaultDeferredTimes,
    backgroundPriority: shared.backgroundPriority,
    observer,
    log,
    now,
    keepSeconds: settings.keepSeconds,
    dateLagSeconds: tools.dateLagSeconds,
    keptFiles: settings.keptFiles,
    scrubSeconds: settings.scrubSeconds ?? defaultScrubSeconds,
  });
  return repository;
}
