// Reports one event of each kind to the metrics, so that every metric has a value for each of its labels.
import type { RepositoryName } from "../../src/base/names.ts";
import { parseSuite } from "../../src/base/names.ts";
import type { Metrics } from "../../src/observe/metrics.ts";

const sid = parseSuite("sid");

export const aWatchedKey = {
  fingerprint: "AB",
  signingFingerprint: "CD",
  expiresAtSeconds: 5_000,
  changedAtSeconds: 1_000,
};

export function observeEverything(metrics: Metrics, repository: RepositoryName): void {
  const observer = metrics.observerOf(repository);
  observer.inspected("read");
  observer.metadataRejected("malformed");
  observer.audited("confirmed");
  observer.rejected("not-a-deb");
  observer.pending(sid, 2);
  observer.inspecting(sid, 1);
  observer.published(sid, 0.2);
  observer.deferredGenerated(sid, "contents", 3);
  observer.polled(true);
  observer.surveyed();
  observer.refreshFailed("storage/unavailable");
  observer.pingLive(0.3);
  metrics.cacheObserver.hit(10);
  metrics.cacheObserver.miss(10);
  metrics.cacheObserver.bypassed("disk");
  metrics.cacheObserver.stored(10);
  metrics.cacheObserver.evicted(10);
  metrics.cacheObserver.mismatched();
  metrics.cacheObserver.sizeChanged(10, 1);
  metrics.signerObserver.signed(0.1);
  const tree = metrics.treeObserverOf(repository);
  tree.looked(0.1);
  tree.read(0.1, 10);
  tree.failed("read", "storage/unavailable");
  metrics.exportObserverOf(repository, "exported").done(1);
  const health = metrics.healthObserverOf(repository);
  health.checked("healthy");
  health.ended({ healthy: 1, unhealthy: 0, lost: 0, unchecked: 0, repaired: 0, renewed: 1 }, 1000);
  metrics.watchKeys(repository, [aWatchedKey]);
  const published = { binaryPackages: 1, sourcePackages: 1, dateSeconds: 900 };
  metrics.watchSuites(repository, () => [{ suite: "sid", published, rejectedFiles: 0 }]);
  metrics.webhookObserverOf(repository).counted("delivered", 1);
  metrics.watchWebhooks(repository, () => 1);
  metrics.watchFleet(() => ({
    isConnected: true,
    errors: 1,
    members: 3,
    repositories: [{ name: repository, isPublisher: true, leaseChanges: 1, lagSeconds: 0 }],
  }));
  metrics.watchWorkers(() => ({ running: 2, restarts: 1, cpuSeconds: 3, counted: [] }));
  metrics.watchStateDirectory("/tmp");
  metrics.requestObserver.answered("page", 404, 0.1);
}
