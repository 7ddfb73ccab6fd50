// Builds a repository from its collaborators: the one place where they are connected.
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { RootDatabase } from "lmdb";
import type { Log } from "../../base/log.ts";
import type { RepositoryName, StateName, Suite, TreePath } from "../../base/names.ts";
import { SerialQueue } from "../../base/serial-queue.ts";
import { Catalog } from "../../catalog/catalog.ts";
import type { ContentInspector } from "../../catalog/examiner.ts";
import { Examiner } from "../../catalog/examiner.ts";
import type { InspectLimits } from "../../catalog/inspection/inspect-limits.ts";
import { BuilderDirectories } from "../../catalog/layout/builder-directories.ts";
import { Layout } from "../../catalog/layout/repository-layout.ts";
import { LocalInspections } from "../../catalog/local-inspections.ts";
import { FileLists } from "../../catalog/metadata/file-list-store.ts";
import type { SharedInspections } from "../../catalog/shared-inspections.ts";
import { InspectionStore } from "../../catalog/store/inspection-store.ts";
import type { DirectoryLimits } from "../../catalog/suite/directory-budget.ts";
import { defaultDirectoryLimits } from "../../catalog/suite/directory-budget.ts";
import type { DigestAlgorithm } from "../../debian/digests.ts";
import type { Compressor } from "../../indices/compression/compress.ts";
import type { ContentsCut } from "../../indices/contents/contents.ts";
import type { Signer } from "../../signing/signer.ts";
import type { Tree } from "../../storage/tree.ts";
import { defaultDateLagSeconds } from "../build/release-date.ts";
import type { Replicas } from "../build/replicas.ts";
import { noReplicas } from "../build/replicas.ts";
import type { Placement } from "../build/stanza-renderer.ts";
import { StanzaRenderer } from "../build/stanza-renderer.ts";
import { identityFields } from "../build/suite-release.ts";
import type { BackgroundPriority } from "../deferred/background-priority.ts";
import { ContentsBuilder } from "../deferred/contents/contents-builder.ts";
import { ContentsStore } from "../deferred/contents/contents-store.ts";
import type { ContentsTasks } from "../deferred/contents/contents-thread.ts";
import type { DeferredTimes } from "../deferred/deferred-queue.ts";
import { DeferredQueue, defaultDeferredTimes } from "../deferred/deferred-queue.ts";
import { PdiffBuilder } from "../deferred/pdiff-builder.ts";
import type { PublishingObserver } from "../publishing-observer.ts";
import type { ChangelogLimits } from "../serve/changelog-process.ts";
import { defaultChangelogLimits } from "../serve/changelog-process.ts";
import { ChangelogResources } from "../serve/changelog-resources.ts";
import { ClaimAudit, defaultScrubSeconds } from "../serve/claim-audit.ts";
import { DirectoryListings } from "../serve/directory-listings.ts";
import { IndexResources } from "../serve/index-resources.ts";
import type { PackageCache } from "../serve/package-cache.ts";
import { PackageResources } from "../serve/package-resources.ts";
import { PassthroughSuites } from "../serve/passthrough-suites.ts";
import { PathResolver } from "../serve/path-resolver.ts";
import { TreeFileResources } from "../serve/tree-file-resources.ts";
import { FirstOwnerStore } from "../store/first-owner-store.ts";
import { identityChanges, rejectIdentityChanges } from "../store/known-identity.ts";
import type { LastDates } from "../store/last-dates.ts";
import { PublicationStore } from "../store/publication-store.ts";
import type { SuiteSettingsProvider } from "../suite-settings.ts";
import { DeferredPublisher } from "./deferred-publisher.ts";
import type { KeptContents } from "./maintenance.ts";
import { Maintenance } from "./maintenance.ts";
import { Notices } from "./notices.ts";
import { RefreshStatus } from "./refresh-status.ts";
import { Refresher } from "./refresher.ts";
import { Repository } from "./repository.ts";
import { ServedSuites } from "./served-suites.ts";
import { SuitePublisher } from "./suite-publisher.ts";
import { TreeOutage } from "./tree-outage.ts";

/** The resources that the repositories of one server share. Their data is keyed by content. */
export interface SharedState {
  /** The database of the state directory. */
  readonly root: RootDatabase;
  /** The last Date of each suite, in a file that outlives the database. */
  readonly lastDates?: LastDates;
  readonly inspector: ContentInspector;
  /** The limits of the inspector. Some rejections depend on them, and metadata of entries is checked against them. */
  readonly inspectionLimits: InspectLimits;
  /** How much each builder's directory may contain; `defaultDirectoryLimits` by default. */
  readonly directoryLimits?: DirectoryLimits;
  /** `defaultChangelogLimits` by default. */
  readonly changelogLimits?: ChangelogLimits;
  readonly compressor: Compressor;
  /** How Contents are generated, and a directory for temporary files; undefined: there are no Contents. */
  readonly contents?: { readonly tasks: ContentsTasks; readonly directory: string; readonly cut?: ContentsCut };
  /** Shared, because pings of one repository have priority over background work of every repository. */
  readonly backgroundPriority: BackgroundPriority;
  readonly cache: PackageCache;
  readonly indexMemoryBytes?: number;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export interface RepositorySettings {
  readonly name: RepositoryName;
  /** The name under which the state directory keeps its data; its own name by default. */
  readonly stateName?: StateName;
  readonly tree: Tree;
  readonly signer: Signer;
  readonly suiteSettings: SuiteSettingsProvider;
  /** The suites that have a table in the configuration. A notice reports those that the tree does not have. */
  readonly configuredSuites?: readonly Suite[];
  /** Whether the tree is a FlatTree; false by default. */
  readonly isFlat?: boolean;
  /** An index gets no pdiffs if its .xz is smaller than this; 64 KiB by default. */
  readonly minPdiffIndexBytes?: number;
  /** The repository whose record of the first owner of each name this one shares; its own by default. */
  readonly namesHeldIn?: RepositoryName;
  /** How soon deferred files are generated; `defaultDeferredTimes` by default. */
  readonly deferredTimes?: DeferredTimes;
  /** Where packages are according to the indices; "pool" by default. */
  readonly placement?: Placement;
  /** The digests in Packages and Sources, which must include SHA256. */
  readonly digests: readonly DigestAlgorithm[];
  /** Whether the identity of a suite may differ from what clients have seen; false by default. */
  readonly acceptIdentityChange?: boolean;
  /** The digests in Release; only SHA256 by default, as in Debian's archive. */
  readonly releaseDigests?: readonly DigestAlgorithm[];
  readonly observer: PublishingObserver;
  /** The other servers of the same repository; none by default. */
  readonly replicas?: Replicas;
  /** Shared by all repositories that are opened from one tree; its own by default. */
  readonly outage?: TreeOutage;
  /** Every publication gets a later Date than this, in seconds since the epoch. */
  readonly datesAfterSeconds?: number;
  /** How far Date lags behind the newest link; `defaultDateLagSeconds` by default. */
  readonly dateLagSeconds?: number;
  readonly concurrentReads?: number;
  /** What the other servers of the same tree have inspected; undefined if this one is alone. */
  readonly sharedInspections?: SharedInspections | undefined;
  /**
   * Returns the directories of the current builders, which get equal shares of the work. Where no builder is
   * configured, each directory directly in a package directory gets a share.
   */
  readonly builderDirectories?: () => readonly TreePath[];
  /** How long a publication stays readable after the next one. */
  readonly keepSeconds: number;
  /**
   * How often one claim is compared with its bytes; 0: only when the package is downloaded; `defaultScrubSeconds` by
   * default.
   */
  readonly scrubSeconds?: number;
  /** Where the bytes of unlinked files are kept; undefined if the storage keeps them itself, as Tahoe does. */
  readonly keptFiles?: KeptContents | undefined;
}

/**
 * Opens a repository that serves its stored publications at once; `start` makes it survey its tree.
 * @throws IdentityChanged
 */
export function openRepository(shared: SharedState, settings: RepositorySettings): Repository {
  // All new databases are created in one transaction: otherwise each of them waits for the disk.
  return shared.root.transactionSync(() => buildRepository(shared, settings));
}

/** Builds a repository from its collaborators, those first that need no others. */
function buildRepository(shared: SharedState, settings: RepositorySettings): Repository {
  const { root, backgroundPriority, cache, compressor, inspectionLimits, log, now } = shared;
  const { name, stateName = name, tree, signer, suiteSettings, observer } = settings;
  const { configuredSuites = [], dateLagSeconds = defaultDateLagSeconds, releaseDigests = ["sha256"] } = settings;
  const { replicas = noReplicas } = settings;
  const stopping = new AbortController();
  const { signal } = stopping;

  // The content of the tree.
  const layout = new Layout(configuredSuites, { acceptsFlat: settings.isFlat ?? false });
  const builders = new BuilderDirectories(settings.builderDirectories, layout);
  const examiner = openExaminer(shared, settings, builders);
  const catalog = new Catalog(examiner, layout);

  // The publications.
  const store = new PublicationStore(root, stateName, shared.lastDates);
  if (settings.acceptIdentityChange !== true) refuseChangedIdentities(store, suiteSettings);
  const firstOwners = new FirstOwnerStore(root, settings.namesHeldIn ?? stateName, log);
  const suites = new ServedSuites({
    suiteSettings,
    store,
    suiteBuilder: {
      stanzas: new StanzaRenderer(examiner, settings.digests, settings.placement ?? "pool"),
      compressor,
      store,
      replicas,
      signer,
      releaseDigests,
      now,
      dateLagSeconds,
      ...(settings.datesAfterSeconds !== undefined && { datesAfterSeconds: settings.datesAfterSeconds }),
    },
    firstOwners,
    builders,
    directoryLimits: shared.directoryLimits ?? defaultDirectoryLimits,
    inspectionLimits,
    catalog,
    observer,
    now,
  });

  // The resources that requests find.
  const audit = new ClaimAudit({ catalog, examiner, observer, log });
  const packages = new PackageResources({ pool: store.pool, tree, audit, cache, hasReplicas: replicas !== noReplicas });
  const treeFiles = new TreeFileResources({ tree, catalog, cache, suites });
  const passthrough = new PassthroughSuites({ suiteSettings, treeFiles, examiner, observer, log }, signal);
  const changelogLimits = shared.changelogLimits ?? defaultChangelogLimits;
  const pathResolver = new PathResolver({
    stateName,
    nestedSuites: layout.nestedSuites,
    store,
    suites,
    passthrough,
    packages,
    indexResources: new IndexResources(store, shared.indexMemoryBytes),
    tree: {
      catalog,
      packages,
      treeFiles,
      changelogs: new ChangelogResources({ catalog, packages, suites, inspectionLimits, changelogLimits, log }, signal),
    },
  });

  const directories = new DirectoryListings({
    store,
    current: () => [...suites].flatMap(({ current }) => current ?? []),
    passthrough,
    treeFiles,
    suiteOf: (path) => layout.suiteOf(path),
  });

  // What runs in the background.
  const publishQueue = new SerialQueue(signal);
  const deferredPublisher = new DeferredPublisher({
    suites,
    publishQueue,
    backgroundPriority,
    replicas,
    dateLagSeconds,
    now,
    signal,
  });
  const contents = openContents(shared, settings, { store, examiner, audit });
  const { minPdiffIndexBytes: minIndexBytes } = settings;
  const pdiffs = new PdiffBuilder({
    suiteSettings,
    store,
    releaseDigests,
    ...(minIndexBytes !== undefined && { minIndexBytes }),
  });
  const deferredQueue = new DeferredQueue({
    // In this order, because there are pdiffs of Contents.
    generators: contents === undefined ? [pdiffs] : [contents, pdiffs],
    target: deferredPublisher,
    backgroundPriority,
    observer,
    log,
    now,
    times: settings.deferredTimes ?? defaultDeferredTimes,
  });
  const { keepSeconds, keptFiles } = settings;
  const maintenance = new Maintenance({
    stateName,
    store,
    catalog,
    suites,
    publishQueue,
    deferredQueue,
    deferredPublisher,
    observer,
    log,
    now,
    keepSeconds,
    keptFiles,
    signal,
  });

  // What pings and polls start.
  const status = new RefreshStatus(stateName, log);
  const outage = settings.outage ?? new TreeOutage(name, log, now);
  const notices = new Notices({ tree, catalog, suites, passthrough, configuredSuites, log, now });
  const publisher = new SuitePublisher({
    catalog,
    suites,
    status,
    maintenance,
    replicas,
    publishQueue,
    observer,
    log,
    now,
    signal,
  });
  const refresher = new Refresher({
    stateName,
    tree,
    catalog,
    builders,
    suites,
    passthrough,
    publisher,
    notices,
    status,
    outage,
    store,
    compressor,
    observer,
    log,
    now,
    signal,
  });
  // The only circle: a package that contradicts its claim is refreshed, and a refresh leads to Contents and an audit.
  audit.refreshWith(refresher);

  return new Repository({
    name,
    key: {
      armored: signer.publicKey,
      binary: signer.publicKeyBytes,
      fingerprints: signer.keys.map(({ fingerprint }) => fingerprint),
    },
    layout,
    catalog,
    examiner,
    localInspections: new LocalInspections(catalog, examiner),
    fileListLimits: inspectionLimits,
    builders,
    store,
    firstOwners,
    suites,
    passthrough,
    pathResolver,
    directories,
    treeFiles,
    audit,
    refresher,
    outage,
    status,
    notices,
    publisher,
    publishQueue,
    maintenance,
    replicas,
    backgroundPriority,
    observer,
    now,
    scrubSeconds: settings.scrubSeconds ?? defaultScrubSeconds,
    keepSeconds,
    stopping,
  });
}

function openExaminer(
  { root, inspector, inspectionLimits: limits, contents }: SharedState,
  { name, stateName = name, tree, digests: algorithms, observer, ...settings }: RepositorySettings,
  builders: BuilderDirectories,
): Examiner {
  // The names of these databases are older than the words of today.
  const inspections = root.openDB<Buffer, string>({ name: "ledger", encoding: "binary" });
  const inspectionStore = new InspectionStore(inspections, JSON.stringify(limits), algorithms);
  const fileLists =
    contents &&
    new FileLists({
      lists: root.openDB({ name: "file-lists", encoding: "binary" }),
      tree,
      limits,
      onMalformed: () => observer.metadataRejected("malformed"),
    });
  return new Examiner({
    name: stateName,
    builders,
    tree,
    inspectionStore,
    fileLists,
    inspector,
    observer,
    algorithms,
    limits,
    shared: settings.sharedInspections,
    ...(settings.concurrentReads !== undefined && { concurrentReads: settings.concurrentReads }),
  });
}

/** @throws IdentityChanged */
function refuseChangedIdentities(store: PublicationStore, suiteSettings: SuiteSettingsProvider): void {
  const changes = [...store.identities()].flatMap(([suite, known]) =>
    identityChanges(suite, known, identityFields(suite, suiteSettings.of(suite).identity)),
  );
  rejectIdentityChanges(changes);
}

/** @returns undefined if this server generates no Contents */
function openContents(
  { root, contents, compressor, inspectionLimits: limits, log }: SharedState,
  { name, stateName = name, suiteSettings, releaseDigests = ["sha256"] }: RepositorySettings,
  {
    store,
    examiner,
    audit,
  }: { readonly store: PublicationStore; readonly examiner: Examiner; readonly audit: ClaimAudit },
): ContentsBuilder | undefined {
  if (contents === undefined) return undefined;
  return new ContentsBuilder({
    suiteSettings,
    examiner,
    audit,
    state: new ContentsStore(root, stateName),
    segments: store.segments,
    compressor,
    tasks: contents.tasks,
    directory: join(contents.directory, createHash("sha256").update(stateName).digest("hex")),
    ...(contents.cut !== undefined && { cut: contents.cut }),
    limits,
    releaseDigests,
    log,
  });
}
