// All Prometheus metrics, in seconds and bytes. Labels contain no caps, tokens or file names.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Clock } from "../base/clock.ts";
import type { ErrorCode } from "../base/error-codes.ts";
import type { RepositoryName, Suite } from "../base/names.ts";
import { ownVersion } from "../base/own-version.ts";
import type { PublishingObserver } from "../publishing/publishing-observer.ts";
import type { PackageCacheObserver } from "../publishing/serve/package-cache.ts";
import type { SuiteCounts } from "../publishing/served-repository.ts";
import type { SigningKey } from "../signing/signer.ts";
import type { HealthObserver } from "../storage/health.ts";
import type { ObservedFleet } from "./cluster-metrics.ts";
import { clusterMetrics } from "./cluster-metrics.ts";
import { healthMetrics } from "./health-metrics.ts";
import { keyMetrics } from "./key-metrics.ts";
import type { SignerObserver } from "./measured-signer.ts";
import type { TreeObserver } from "./measured-tree.ts";
import type { RequestMetrics } from "./request-metrics.ts";
import { requestMetrics } from "./request-metrics.ts";
import { stateMetrics } from "./state-metrics.ts";
import { suiteGauge, suiteMetrics } from "./suite-metrics.ts";
import { webhookMetrics } from "./webhook-metrics.ts";
import type { ObservedWorkers } from "./worker-metrics.ts";
import { sumOf, workerMetrics } from "./worker-metrics.ts";

const workBuckets = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120];

/** The Prometheus registry, and one observer for each subsystem. */
export interface Metrics {
  readonly contentType: string;
  /** The response to a scrape. */
  render(): Promise<string>;
  readonly requestObserver: RequestMetrics["requestObserver"];
  readonly cacheObserver: PackageCacheObserver;
  readonly signerObserver: SignerObserver;
  /** Exports when the keys of a repository expire. */
  watchKeys(repository: RepositoryName, keys: readonly SigningKey[]): void;
  /** Exports the numbers of packages in the suites of a repository. @param counts is called for each scrape */
  watchSuites(repository: RepositoryName, counts: () => Iterable<SuiteCounts>): void;
  /**
   * Exports how many events wait for the webhooks of a repository.
   * @param waiting is called for each scrape; it returns undefined if there are no webhooks
   */
  watchWebhooks(repository: RepositoryName, waiting: () => number | undefined): void;
  /** Removes every series of a repository that is no longer served. */
  forget(repository: RepositoryName): Promise<void>;
  /** Exports the state of the fleet to which this server belongs. @param fleet is called for each scrape */
  watchFleet(fleet: () => ObservedFleet): void;
  /** Exports the state of the processes that serve HTTP, and adds what they count. @param workers is called for each scrape */
  watchWorkers(workers: () => ObservedWorkers): void;
  /** Exports how much room the state directory has. */
  watchStateDirectory(directory: string): void;
  treeObserverOf(repository: RepositoryName): TreeObserver;
  /** @param output the kind of export target, e.g. `exported` */
  exportObserverOf(repository: RepositoryName, output: string): { done(seconds: number): void; failed(): void };
  healthObserverOf(repository: RepositoryName): HealthObserver;
  webhookObserverOf(repository: RepositoryName): {
    /** Counts the results of attempts, and events that are dropped. */
    counted(result: "delivered" | "failed" | "dropped", count: number): void;
  };
  /** @param nameOf returns the name of a suite for labels; by default its own name */
  observerOf(repository: RepositoryName, nameOf?: (suite: Suite) => string): PublishingObserver;
}

/** Creates a separate registry, so that one process can have several. */
export function createMetrics(clock: Clock): Metrics {
  const registry = new Registry();
  // These include the lag of the event loop, during which the server cannot respond.
  collectDefaultMetrics({ register: registry });
  // Remove gauges whose names end like those of counters; they are sums of other metrics.
  for (const sum of ["handles", "requests", "resources"]) registry.removeSingleMetric(`nodejs_active_${sum}_total`);
  const counter = <Label extends string>(name: string, help: string, labelNames: readonly Label[] = []) =>
    new Counter({ name: `tahoe_apt_${name}`, help, labelNames, registers: [registry] });
  const histogram = <Label extends string>(
    name: string,
    help: string,
    buckets: number[],
    labelNames: readonly Label[] = [],
  ) => new Histogram({ name: `tahoe_apt_${name}`, help, buckets, labelNames, registers: [registry] });
  const gauge = <Label extends string>(name: string, help: string, labelNames: readonly Label[] = []) =>
    new Gauge({ name: `tahoe_apt_${name}`, help, labelNames, registers: [registry] });

  gauge("build_info", "Always 1; the labels say which version runs, on which Node.js.", [
    "version",
    "node_version",
  ]).set({ version: ownVersion(), node_version: process.version }, 1);
  const currentAtMs = new Map<RepositoryName, Map<string, number>>();
  const publishing = publishingMetrics({ counter, gauge, histogram, registry, clock, currentAtMs });
  const watchKeys = keyMetrics(registry, clock);
  const watchSuites = suiteMetrics(registry);
  // Other processes of this server count these too.
  const shared = new Registry();
  const { requestObserver, cacheHit } = requestMetrics(shared);
  const signing = histogram("signing_duration_seconds", "Time to sign one Release, inline and detached.", workBuckets);
  const signingErrors = counter("signing_errors_total", "Releases that could not be signed.");
  const looks = histogram(
    "tree_look_duration_seconds",
    "Time to list a directory or to get the entry of a file.",
    workBuckets,
    ["repository"],
  );
  const reads = histogram("tree_read_duration_seconds", "Time that one read waited for the storage.", workBuckets, [
    "repository",
  ]);
  const readBytes = counter("tree_read_bytes_total", "Bytes read from the storage.", ["repository"]);
  const treeErrors = counter("tree_errors_total", "Failed listings and reads, by error code.", [
    "repository",
    "operation",
    "code",
  ]);

  const exports = histogram(
    "output_duration_seconds",
    "Time to update an export target after a publication.",
    workBuckets,
    ["repository", "output"],
  );
  const exportErrors = counter(
    "output_errors_total",
    "Failed updates of export targets, which keep their previous state.",
    ["repository", "output"],
  );

  const webhooks = webhookMetrics(registry);
  const watchFleet = clusterMetrics(registry);
  const workers = workerMetrics(registry);
  return {
    contentType: registry.contentType,
    async render() {
      const summed = sumOf([await shared.getMetricsAsJSON(), ...workers.counted()]);
      return `${await registry.metrics()}\n${await summed.metrics()}`;
    },
    requestObserver,
    cacheObserver: cacheObserver(counter, gauge, cacheHit),
    signerObserver: {
      signed: (seconds) => signing.observe(seconds),
      failed: () => signingErrors.inc(),
    },
    watchKeys,
    watchSuites,
    watchFleet,
    watchWorkers: (watched) => workers.watch(watched),
    async forget(repository) {
      currentAtMs.delete(repository);
      watchKeys(repository, []);
      webhooks.watchWebhooks(repository, () => undefined);
      watchSuites(repository, () => []);
      await removeSeries(registry, repository);
    },
    watchStateDirectory: stateMetrics(registry),
    treeObserverOf: (repository) => ({
      looked: (seconds) => looks.observe({ repository }, seconds),
      read(seconds, bytes) {
        reads.observe({ repository }, seconds);
        readBytes.inc({ repository }, bytes);
      },
      failed: (operation, code) => treeErrors.inc({ repository, operation, code }),
    }),
    exportObserverOf(repository, output) {
      exportErrors.inc({ repository, output }, 0);
      return {
        done: (seconds) => exports.observe({ repository, output }, seconds),
        failed: () => exportErrors.inc({ repository, output }),
      };
    },
    healthObserverOf: healthMetrics({ counter, gauge }),
    ...webhooks,
    observerOf: publishing,
  };
}

async function removeSeries(registry: Registry, repository: RepositoryName): Promise<void> {
  for (const { name } of registry.getMetricsAsArray()) {
    const metric = registry.getSingleMetric(name);
    const { values = [] } = (await metric?.get()) ?? {};
    for (const { labels } of values) {
      // "le" is no label of a histogram, but of each of its buckets.
      const { le: _, ...own } = labels;
      if (own.repository === repository) metric?.remove(own);
    }
  }
}

type CounterFactory = <Label extends string>(
  name: string,
  help: string,
  labelNames?: readonly Label[],
) => Counter<Label>;
type GaugeFactory = <Label extends string>(name: string, help: string, labelNames?: readonly Label[]) => Gauge<Label>;
type HistogramFactory = <Label extends string>(
  name: string,
  help: string,
  buckets: number[],
  labelNames?: readonly Label[],
) => Histogram<Label>;

function cacheObserver(
  counter: CounterFactory,
  gauge: GaugeFactory,
  hit: RequestMetrics["cacheHit"],
): PackageCacheObserver {
  const misses = counter("cache_misses_total", "Reads of packages that were not in the cache.");
  const missBytes = counter("cache_miss_bytes_total", "Bytes of packages that were not in the cache.");
  const bypasses = counter("cache_bypasses_total", "Packages streamed past the cache.", ["reason"]);
  const filledBytes = counter("cache_filled_bytes_total", "Bytes that were added to the cache.");
  const evictedBytes = counter("cache_evicted_bytes_total", "Bytes that were removed from the cache.");
  const mismatches = counter("content_mismatches_total", "Packages whose bytes differ from their inspection.");
  const heldBytes = gauge("cache_bytes", "Bytes in the cache.");
  const heldFiles = gauge("cache_files", "Packages in the cache.");
  for (const reason of ["size", "disk"]) bypasses.inc({ reason }, 0);
  return {
    hit,
    miss(bytes) {
      misses.inc();
      missBytes.inc(bytes);
    },
    bypassed: (reason) => bypasses.inc({ reason }),
    stored: (bytes) => filledBytes.inc(bytes),
    evicted: (bytes) => evictedBytes.inc(bytes),
    mismatched: () => mismatches.inc(),
    sizeChanged(bytes, files) {
      heldBytes.set(bytes);
      heldFiles.set(files);
    },
  };
}

/** The values of these labels are part of the interface with dashboards, so they keep the words of earlier versions. */
const ownSourceLabels = { entry: "entry", store: "ledger", read: "read" } as const;
/** A server that is alone has no series for the inspections of others. */
const sourceLabels = { ...ownSourceLabels, shared: "shared" } as const;
const reasonLabels = { malformed: "malformed", mismatch: "lie" } as const;
const verdictLabels = { confirmed: "confirmed", refuted: "belied", unknown: "unknown" } as const;

function publishingMetrics({
  counter,
  gauge,
  histogram,
  registry,
  clock,
  currentAtMs,
}: {
  readonly counter: CounterFactory;
  readonly gauge: GaugeFactory;
  readonly histogram: HistogramFactory;
  readonly registry: Registry;
  readonly clock: Clock;
  /** When the publication of each suite was last known to match the tree. */
  readonly currentAtMs: Map<RepositoryName, Map<string, number>>;
}): Metrics["observerOf"] {
  const inspections = counter("inspections_total", "Inspections by source.", ["repository", "source"]);
  const refusals = counter("entry_metadata_refused_total", "Entries whose metadata was rejected, by reason.", [
    "repository",
    "reason",
  ]);
  const audits = counter("audits_total", "Comparisons of entry metadata with the bytes, by result.", [
    "repository",
    "verdict",
  ]);
  const rejects = counter("rejects_total", "Files that were rejected, by reason.", ["repository", "code"]);
  const pendingSources = gauge("pending_sources", "Source packages that wait for missing files.", [
    "repository",
    "suite",
  ]);
  const uninspected = gauge(
    "uninspected_files",
    "Files that have been waiting long for an inspection, or for its end.",
    ["repository", "suite"],
  );
  const publications = histogram("publication_duration_seconds", "Time to build a suite's publication.", workBuckets, [
    "repository",
  ]);
  const failures = counter("refresh_errors_total", "Failed surveys and builds, by error code.", ["repository", "code"]);
  const pings = histogram("ping_to_live_seconds", "Time from a ping until its change is published.", workBuckets, [
    "repository",
  ]);
  const deferredLag = gauge("late_lag_seconds", "Time from the last publication to its deferred files.", [
    "repository",
    "suite",
    "maker",
  ]);
  const treeUp = gauge("tree_up", "Whether the last attempt to list the directory dists of the tree succeeded.", [
    "repository",
  ]);
  const surveyedAt = gauge("survey_timestamp_seconds", "When the whole tree was last surveyed without a failure.", [
    "repository",
  ]);
  const ofCurrent = (name: string, help: string, readValue: (atMs: number) => number): void =>
    suiteGauge(registry, name, help, function* () {
      for (const [repository, suites] of currentAtMs) {
        for (const [suite, atMs] of suites) yield [repository, suite, readValue(atMs)];
      }
    });
  ofCurrent(
    "publication_confirmed_timestamp_seconds",
    "When the current publication was last known to match the tree; after a start, the time of the start.",
    (atMs) => atMs / 1000,
  );
  ofCurrent(
    "publication_age_seconds",
    "Deprecated: use tahoe_apt_publication_confirmed_timestamp_seconds. The time since then.",
    (atMs) => Math.max(0, clock() - atMs) / 1000,
  );

  return (repository, nameOf = (suite) => suite) => {
    // A repository and the flat repositories in its tree have separate observers with the same repository label.
    const suites = currentAtMs.get(repository) ?? new Map<string, number>();
    currentAtMs.set(repository, suites);
    // Alerts need a series that increases from 0.
    failures.inc({ repository, code: "state/unwritable" satisfies ErrorCode }, 0);
    for (const source of Object.values(ownSourceLabels)) inspections.inc({ repository, source }, 0);
    for (const reason of Object.values(reasonLabels)) refusals.inc({ repository, reason }, 0);
    for (const verdict of Object.values(verdictLabels)) audits.inc({ repository, verdict }, 0);
    return {
      inspected: (source, count = 1) => inspections.inc({ repository, source: sourceLabels[source] }, count),
      metadataRejected: (reason) => refusals.inc({ repository, reason: reasonLabels[reason] }),
      audited: (verdict) => audits.inc({ repository, verdict: verdictLabels[verdict] }),
      pending: (suite, sources) => pendingSources.set({ repository, suite: nameOf(suite) }, sources),
      inspecting: (suite, files) => uninspected.set({ repository, suite: nameOf(suite) }, files),
      rejected: (code) => rejects.inc({ repository, code }),
      published(suite, durationSeconds) {
        publications.observe({ repository }, durationSeconds);
        suites.set(nameOf(suite), clock());
      },
      // Set the age from the start on, so that alerts also work if the server was started while the grid was down.
      restored: (suite) => void suites.set(nameOf(suite), clock()),
      confirmed: (suite) => void suites.set(nameOf(suite), clock()),
      withdrawn(suite) {
        suites.delete(nameOf(suite));
        pendingSources.remove({ repository, suite: nameOf(suite) });
        uninspected.remove({ repository, suite: nameOf(suite) });
      },
      deferredGenerated: (suite, maker, seconds) =>
        deferredLag.set({ repository, suite: nameOf(suite), maker }, seconds),
      polled: (isUp) => treeUp.set({ repository }, isUp ? 1 : 0),
      surveyed: () => surveyedAt.set({ repository }, clock() / 1000),
      refreshFailed: (code) => failures.inc({ repository, code }),
      pingLive: (seconds) => pings.observe({ repository }, seconds),
    };
  };
}
